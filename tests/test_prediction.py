"""What trained networks find in image files: classes, boxes and masks, told and drawn by the command."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from fastconv import nn, training
from fastconv.__main__ import main
from fastconv.data import image_files
from fastconv.detection import GridDetection
from fastconv.models import NETWORKS
from fastconv.pictures import grids, scenes
from fastconv.training import Boxes, Classification, Masks, Predictor, Recipe, Run, YesOrNo, datasets

Image = pytest.importorskip("PIL.Image")

CLASSES = ["cat", "dog"]


def bright_cells(rng=None):
    """Make a detector that finds a 7, 24 pixels wide and 20 high, around each bright cell of 8 × 8."""
    layer = nn.Conv2d(1, 15, 8, stride=8, rng=0)
    layer.weight.data[...] = 0
    layer.weight.data[0] = 4 / 64  # sigmoid(4 × brightness - 2) is the score
    layer.bias.data[...] = 0
    layer.bias.data[[0, 3, 5 + 7]] = -2, np.log(1.5), 50
    return nn.Sequential(layer)


def bright_pixels(rng=None):
    """Make a network that takes pixels for the class 3, the digit 2, where they are brighter than half."""
    layer = nn.Conv2d(1, 11, 1, rng=0)
    layer.weight.data[...] = 0
    layer.weight.data[3] = 4
    layer.bias.data[...] = -9
    layer.bias.data[[0, 3]] = 2, 0
    return nn.Sequential(layer)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Give a function that makes the checkpoint of one of the networks above."""
    monkeypatch.setattr(datasets, "SCENES", 2)
    monkeypatch.setattr(datasets, "TEST_SCENES", 2)

    def make(network, task):
        monkeypatch.setitem(NETWORKS, network.__name__, network)
        recipe = Recipe(data="scenes", task=task)
        return Run.begin(network.__name__, recipe, tmp_path / network.__name__).checkpoint

    return make


@pytest.fixture
def figures(monkeypatch):
    """Collect the figures on their way into files."""
    pytest.importorskip("matplotlib")
    made = []

    def save(figure, path, really=scenes.save):
        made.append(figure)
        really(figure, path)

    for module in (grids, scenes):
        monkeypatch.setattr(module, "save", save)
    return made


def scene():
    """Draw a bright cell, beside it one half as bright, and another of these further down."""
    pixels = np.zeros((64, 64), np.uint8)
    pixels[16:24, 24:32] = 255
    pixels[16:24, 32:40] = pixels[48:56, 48:56] = 128
    return pixels


def write(path, pixels, rows=1, columns=1):
    """Save an image with each pixel `rows` high and `columns` wide."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.repeat(rows, 0).repeat(columns, 1)).save(path)
    return path


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def refused(capsys, *arguments):
    """Return what the command prints as it refuses."""
    with pytest.raises(SystemExit) as left:
        predict(*arguments)
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert not printed.out
    return printed.err


# Boxes


BEST = "left 16.0, top 10.0, right 40.0, bottom 30.0"
SECOND = "left 40.0, top 42.0, right 64.0, bottom 62.0"


def test_boxes_are_told_the_best_first_and_once(tmp_path, checkpoint, capsys):
    kept, path = checkpoint(bright_cells, "boxes"), write(tmp_path / "a.png", scene())
    dark = write(tmp_path / "dark.png", 0 * scene())
    capsys.readouterr()
    assert predict(kept, path, dark) == 0
    lines = [f"{path}: 7 88.1%, {BEST}", f"{path}: 7 50.2%, {SECOND}", f"{dark}: nothing found"]
    assert capsys.readouterr().out.splitlines() == lines
    assert predict(kept, path, "--top", 1) == 0
    assert capsys.readouterr().out.splitlines() == lines[:1]


def test_boxes_are_in_pixels_of_the_file_and_drawn_there(tmp_path, checkpoint, capsys, figures):
    kept = checkpoint(bright_cells, "boxes")
    path = write(tmp_path / "wide.png", np.stack([scene(), 0 * scene(), scene()], 2), rows=2, columns=5)
    out = tmp_path / "deep" / "er"
    capsys.readouterr()
    assert predict(kept, path, "--out", out) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    told = [[float(number) for number in re.findall(r"[\d.]+(?=,|$)", line)] for line in lines]
    assert told == [[80.0, 20.0, 200.0, 60.0]]  # the other one is too dark in magenta
    assert last == f"picture: {out / 'wide.png'}"
    assert (out / "wide.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figures[0].axes
    np.testing.assert_array_equal(axes.images[0].get_array() * 255, np.asarray(Image.open(path)))
    assert [text.get_text().partition(" ")[0] for text in axes.texts] == ["7"]
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_xydata().min(axis=0), [79.5, 19.5])
    np.testing.assert_allclose(line.get_xydata().max(axis=0), [199.5, 59.5])


def test_boxes_of_images_of_several_sizes():
    prediction = np.random.default_rng(0).normal(0, 2, (2, 15, 3, 4))
    plain = GridDetection().detect(prediction)
    (same, other) = Boxes().find(prediction, [(24, 32), (12, 160)])
    np.testing.assert_array_equal(same, plain[0])
    np.testing.assert_allclose(other, plain[1] * [1, 5, 0.5, 5, 0.5, 1])
    assert len(same) > 1 and len(other) > 0
    with pytest.raises(ValueError, match="zip"):
        Boxes().find(prediction, [(24, 32)])


def test_boxes_are_drawn_beside_the_truth(figures, tmp_path):
    prediction = np.full((1, 7, 2, 2), -9.0)
    prediction[0, :, 0, 1] = [9, 0, 0, 0, 0, -9, 9]
    truths = np.array([[[0, 1, 2, 7, 9]]])
    task = Boxes(classes=2, anchor=(4, 4))
    task.draw_mistakes(np.zeros((1, 1, 16, 16)), truths, prediction, CLASSES, tmp_path / "boxes.png")
    (axes,) = figures[0].axes
    corners = {line.get_linestyle(): line.get_xydata().min(axis=0).tolist() for line in axes.lines}
    assert corners == {":": [0.5, 1.5], "-": [9.5, 1.5]}
    assert [text.get_text() for text in axes.texts] == ["dog 1.00"]


# Masks


def two_blocks():
    pixels = np.zeros((64, 64), np.uint8)
    pixels[:16, :32] = pixels[40:48, 40:56] = 255
    return pixels


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 5)])
def test_masks_are_told_and_drawn(tmp_path, checkpoint, capsys, figures, rows, columns):
    kept = checkpoint(bright_pixels, "masks")
    path = write(tmp_path / "two.jpeg.png", two_blocks(), rows, columns)
    dark = write(tmp_path / "dark.png", 0 * scene())
    capsys.readouterr()
    assert predict(kept, path, dark, "--out", tmp_path / "out") == 0
    first, second = (tmp_path / "out" / name for name in ("two.jpeg.png", "dark.png"))
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: ground 84.4%, 2 15.6%",
        f"picture: {first}",
        f"{dark}: ground 100.0%",
        f"picture: {second}",
    ]
    assert first.is_file() and second.is_file()
    photograph, mask = (axes.images[0].get_array() for axes in figures[0].axes)
    np.testing.assert_array_equal(photograph * 255, np.asarray(Image.open(path).convert("RGB")))
    np.testing.assert_array_equal(mask.any(axis=2), photograph.any(axis=2))
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["ground", "2"]
    assert predict(kept, path, "--top", 1) == 0
    assert capsys.readouterr().out == f"{path}: ground 84.4%\n"


def test_a_mask_takes_the_class_at_the_middle_of_each_pixel():
    prediction = np.eye(11)[np.array([[[0, 1, 2, 3], [4, 5, 6, 7]]])].transpose(0, 3, 1, 2)
    (smaller,) = Masks().find(prediction, [(1, 2)])
    np.testing.assert_array_equal(smaller, [[5, 7]])
    (larger,) = Masks().find(prediction, [(3, 6)])
    np.testing.assert_array_equal(larger, [[0, 1, 1, 2, 3, 3], [4, 5, 5, 6, 7, 7], [4, 5, 5, 6, 7, 7]])


# Classes


def test_one_class_of_several_and_yes_or_no():
    scores = np.log([[0.2, 0.7, 0.06, 0.04], [0.1, 0.1, 0.3, 0.5]])
    found = Classification().find(scores, [(1, 1)] * 2)
    np.testing.assert_allclose(found, np.exp(scores))
    assert Classification().tell(found[0], "abcd") == ["b 70.0%, a 20.0%, c 6.0%"]
    assert Classification().tell(found[1], "abcd", 1) == ["d 50.0%"]
    found = YesOrNo().find(np.log([[3.0], [0.25]]), [(1, 1)] * 2)  # odds
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.8, 0.2]])
    assert YesOrNo().tell(found[0], CLASSES) == ["dog 75.0%, cat 25.0%"]


@pytest.mark.parametrize(
    ("task", "prediction"),
    [(Classification(), np.log([[0.1, 0.9], [0.8, 0.2]])), (YesOrNo(), np.log([[9.0], [0.25]]))],
)
def test_mistakes_in_classes(figures, tmp_path, task, prediction):
    images = np.zeros((2, 1, 4, 4))
    task.draw_mistakes(images, np.array([0, 0]), prediction, CLASSES, tmp_path / "wrong.png")
    assert [axes.get_title() for axes in figures[0].axes] == ["says dog (90%)\nis cat"]


def test_an_image_is_drawn_with_its_classes_above(tmp_path, figures, capsys):
    run = Run.begin("lenet5", Recipe(data="digits"), tmp_path / "lenet5")
    path = write(tmp_path / "colour.png", np.arange(300, dtype=np.uint8).reshape(10, 10, 3) // 2)
    capsys.readouterr()
    assert predict(run.checkpoint, path, "--out", tmp_path / "out") == 0
    line, _ = capsys.readouterr().out.splitlines()
    (axes,) = figures[0].axes
    assert axes.get_title() == line.removeprefix(f"{path}: ").replace(", ", "\n")
    assert len(re.findall("%", line)) == 3
    np.testing.assert_allclose(axes.images[0].get_array() * 255, np.asarray(Image.open(path)))
    assert (tmp_path / "out" / "colour.png").is_file()


# Networks that are trained


@pytest.mark.parametrize(("network", "panels"), [("grid_detector", 8), ("unet", 3 * 8)])
def test_what_a_training_left_is_used(tmp_path, monkeypatch, capsys, figures, network, panels):
    monkeypatch.setattr(datasets, "SCENES", 32)
    monkeypatch.setattr(datasets, "TEST_SCENES", 10)
    out = tmp_path / "run"
    assert main(["train", network, "--set", "width=4", "--epochs", "2", "--out", str(out)]) == 0
    kept = training.load(out / "checkpoint.npz")
    model = kept.origin.build()
    kept.restore(model)
    paths = [write(tmp_path / f"{place}.png", scene() // place) for place in (1, 2)]
    scores = model.eval()(np.stack([scene(), scene() // 2])[:, np.newaxis] / np.float32(255))
    task = Predictor.load(out / "checkpoint.npz").task
    expected = [
        f"{path}: {line}"
        for path, found in zip(paths, task.find(scores, [(64, 64)] * 2), strict=True)
        for line in task.tell(found, kept.origin.classes)
    ]
    capsys.readouterr()
    assert predict(out / "checkpoint.npz", *paths) == 0
    assert capsys.readouterr().out.splitlines() == expected
    figures.clear()
    assert main(["show", "mistakes", str(out / "checkpoint.npz")]) == 0
    assert len(figures[0].axes) == panels
    assert (out / "mistakes.png").is_file()


# What is refused


def test_without_matplotlib_nothing_is_computed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(Predictor, "load", lambda path: pytest.fail("the network is loaded"))
    message = refused(capsys, "any.npz", "any.png", "--out", tmp_path / "out")
    assert 'pictures need matplotlib: pip install "fastconv[train]"' in message
    assert not list(tmp_path.iterdir())


def test_pictures_are_not_written_over_images_or_one_another(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    first, second = (write(tmp_path / name / "a.png", scene()) for name in ("one", "two"))
    before = first.read_bytes()
    message = refused(capsys, "any.npz", first, "--out", tmp_path / "two" / ".." / "one")
    assert f"--out: the picture of {first} would be written over" in message
    message = refused(capsys, "any.npz", first, second, "--out", tmp_path / "three")
    assert f"--out: the picture of {second} would be written over {tmp_path / 'three' / 'a.png'}" in message
    assert first.read_bytes() == before and not (tmp_path / "three").exists()


def test_a_folder_for_pictures_that_is_a_file(tmp_path, checkpoint, capsys):
    pytest.importorskip("matplotlib")
    path = write(tmp_path / "a.png", scene())
    assert f"File exists: '{path}'" in refused(capsys, checkpoint(bright_cells, "boxes"), path, "--out", path)


def test_nothing_is_told_where_one_of_the_images_is_none(tmp_path, checkpoint, capsys):
    kept = checkpoint(bright_cells, "boxes")
    (tmp_path / "no.png").write_bytes(b"nothing")
    path = write(tmp_path / "a.png", scene())
    assert "no.png can't be read as an image" in refused(
        capsys, kept, path, tmp_path / "no.png", "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()


def test_the_images_are_those_of_the_files(tmp_path, checkpoint):
    predictor = Predictor.load(checkpoint(bright_cells, "boxes"))
    path = write(tmp_path / "a.png", scene(), 3, 2)
    np.testing.assert_array_equal(
        predictor.read([path, path]), image_files([path] * 2, size=64, colour=False)
    )
