"""Pictures of boxes and masks: what is drawn where, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastconv import pictures
from fastconv.data import digit_scenes
from fastconv.pictures import scenes as drawn

SCENES = digit_scenes(3, seed=1)
FOUND = [[[7, 5, 6, 20, 25, 0.9], [2, 30, 8, 44, 28, 0.456]], [], [[1, 0, 0, 64, 64, 1]]]


@pytest.fixture
def figures(monkeypatch):
    """Collect the figures on their way into files."""
    pytest.importorskip("matplotlib")
    made = []

    def save(figure, path, really=drawn.save):
        made.append(figure)
        really(figure, path)

    monkeypatch.setattr(drawn, "save", save)
    return made


def test_boxes_are_drawn_at_the_edges_of_pixels(figures, tmp_path):
    path = tmp_path / "boxes.png"
    pictures.boxes(SCENES.images, FOUND, path, truths=SCENES.boxes, columns=2, title="found")
    assert path.read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    assert figure.get_suptitle() == "found" and len(figure.axes) == 4
    first = figure.axes[0]
    assert [text.get_text() for text in first.texts] == ["7 0.90", "2 0.46"]
    lines = [(line.get_linestyle(), line.get_xydata()) for line in first.lines]
    solid = [points for style, points in lines if style == "-"]
    assert len(solid) == 2
    np.testing.assert_array_equal(solid[0].min(axis=0), [4.5, 5.5])
    np.testing.assert_array_equal(solid[0].max(axis=0), [19.5, 24.5])
    truths = SCENES.boxes[0][SCENES.boxes[0, :, 0] >= 0]
    dotted = [points for style, points in lines if style == ":"]
    np.testing.assert_allclose([points.min(axis=0) for points in dotted], truths[:, 1:3] - 0.5)
    np.testing.assert_allclose([points.max(axis=0) for points in dotted], truths[:, 3:5] - 0.5)


def test_boxes_have_the_names_of_their_classes(figures, tmp_path):
    colour = np.zeros((1, 8, 9, 3), np.float32)
    names = ["cat", "dog"]
    pictures.boxes(
        colour, [[[1, 1, 1, 5, 5, 0.5]]], tmp_path / "a.png", classes=names, data_format="channels_last"
    )
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["dog 0.50"]


def test_masks_are_drawn_below_their_images(figures, tmp_path):
    path = tmp_path / "masks.png"
    names = ["ground", *"0123456789"]
    pictures.masks(SCENES.images, 0 * SCENES.masks, path, truths=SCENES.masks, classes=names)
    assert path.read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["images", "predictions", "truths"]
    pixels = [axes.images[0].get_array() for axes in figure.axes]
    for column in range(3):
        assert not pixels[3 + column].any()
        truth = np.asarray(pixels[6 + column])
        np.testing.assert_array_equal(truth.any(axis=-1), SCENES.masks[column] > 0)
        kinds = np.unique(SCENES.masks[column])
        assert len(np.unique(truth.reshape(-1, 3), axis=0)) == len(kinds)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        names[kind] for kind in np.unique(SCENES.masks)
    ]


def test_a_picture_has_the_proportions_of_its_images(figures, tmp_path):
    wide = np.zeros((3, 20, 80), np.uint8)
    pictures.boxes(wide, [[]] * 3, tmp_path / "boxes.png", columns=2, tile=4)
    pictures.masks(wide, 0 * wide, tmp_path / "masks.png", tile=4)
    assert figures[0].get_size_inches().tolist() == [2 * 4, 2 * 4 / 4]
    assert figures[1].get_size_inches().tolist() == [3 * 4 + 0.8, 2 * 4 / 4]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda to: pictures.boxes(SCENES.images, FOUND[:2], to), ValueError, "detections for 2 images, exp"),
        (
            lambda to: pictures.boxes(SCENES.images, FOUND, to, truths=SCENES.boxes[:1]),
            ValueError,
            "boxes: there are truths for 1 images, expected 3",
        ),
        (
            lambda to: pictures.boxes(SCENES.images, SCENES.boxes, to),
            ValueError,
            r"boxes: detections must have shape \(N, 6\), got \(5, 5\)",
        ),
        (
            lambda to: pictures.boxes(SCENES.images, FOUND, to, columns=0),
            ValueError,
            "columns must be at least",
        ),
        (
            lambda to: pictures.masks(SCENES.images, SCENES.masks[:2], to),
            ValueError,
            r"masks: predictions must have shape \(3, 64, 64\), got \(2, 64, 64\)",
        ),
        (
            lambda to: pictures.masks(SCENES.images, SCENES.masks, to, truths=SCENES.masks / 1),
            TypeError,
            "masks: truths must hold integers from 0 up, got float64",
        ),
        (
            lambda to: pictures.masks(SCENES.images, 0 * SCENES.masks + 2, to, classes=["ground", "ink"]),
            ValueError,
            "masks: classes has 2 names, but class 2 occurs",
        ),
    ],
)
def test_nonsense_is_refused(call, error, message, tmp_path):
    with pytest.raises(error, match=message):
        call(tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fastconv\[train\]"'):
        pictures.boxes(SCENES.images, FOUND, tmp_path / "none.png")
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fastconv\[train\]"'):
        pictures.masks(SCENES.images, SCENES.masks, tmp_path / "none.png")
