"""``python -m fastconv``: training with the extra and without, prediction, summaries, pictures, studies."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from fastconv import training
from fastconv.__main__ import main
from fastconv.data import Loader, digits
from fastconv.models import lenet5
from fastconv.studies import STUDIES

QUICK = ("--epochs", 1, "--batch-size", 400, "--lr", 0.1)

# Runs ``python -m fastconv`` where nothing of the train extra can be imported.
WITHOUT_EXTRA = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tqdm", "matplotlib", "safetensors", "PIL", "pooch", "h5py"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
sys.argv[0] = "fastconv"
runpy.run_module("fastconv", run_name="__main__", alter_sys=True)
"""


def run(*arguments):
    return main([str(argument) for argument in arguments])


def command(*arguments, python=("-m", "fastconv"), folder, fails=False):
    done = subprocess.run(
        [sys.executable, *python, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done


def refused(capsys, *arguments):
    """Return what a command prints that is refused."""
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    assert left.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def extra():
    for package in ("tqdm", "matplotlib", "safetensors", "PIL"):
        pytest.importorskip(package)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train LeNet-5 for a moment, and give the folder of its files."""
    out = tmp_path_factory.mktemp("trained")
    run("train", "lenet5", "--epochs", 2, "--batch-size", 100, "--augment", "digits", "--out", out)
    return out


# Training


def test_a_training_saves_what_it_says(tmp_path, capsys, extra):
    out = tmp_path / "deep" / "er"
    assert run("train", "lenet5", *QUICK, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "lenet5: 61,706 parameters; 4,000 images to train with, 1,000 to test with" in printed
    assert "epoch   1/1" in printed
    assert f"weights: {out / 'weights.safetensors'}" in printed and f"plot: {out / 'training.png'}" in printed
    names = ["checkpoint.npz", "log.csv", "training.png", "weights.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "training.png").read_bytes().startswith(b"\x89PNG")


def test_the_recipe_reaches_its_accuracy(tmp_path, extra):
    done = command("train", "lenet5", "--threads", 1, folder=tmp_path)
    accuracy = float(re.search(r"accuracy on the test images: ([\d.]+) %", done.stdout)[1])
    assert accuracy >= 97.5
    assert re.search(r"trained with [\d,]+ images per second", done.stdout)
    assert "batch/s" in done.stderr
    model = lenet5()
    model.load_state_dict(tmp_path / "runs" / "lenet5" / "weights.safetensors")
    split = digits().split()
    loader = Loader(split.test_images, split.test_labels, 250, shuffle=False)
    found = training.evaluate(model, loader, training.Classification())[1]
    assert 100 * found == pytest.approx(accuracy, abs=0.11)


def test_the_command_does_without_the_extra(tmp_path):
    arguments = ("train", "lenet5", *QUICK, "--seed", 3, "--out", "here")
    done = command(*arguments, python=("-c", WITHOUT_EXTRA), folder=tmp_path)
    assert 'no progress bar: it needs tqdm (pip install "fastconv[train]")' in done.stdout
    assert 'no plot: it needs matplotlib (pip install "fastconv[train]")' in done.stdout
    assert "epoch   1/1" in done.stdout
    names = ["checkpoint.npz", "log.csv", "weights.npz"]
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == names
    lenet5().load_state_dict(tmp_path / "here" / "weights.npz")


def test_options_change_the_recipe(tmp_path, trained):
    recipe = training.load(trained / "checkpoint.npz").origin.recipe
    assert recipe == training.RECIPES["lenet5"].changed(epochs=2, batch_size=100, augment="digits")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lenet9",), "invalid choice: 'lenet9'"),
        (
            ("vgg16",),
            "data must be digits, fashion_mnist, scenes or the path of a folder or zip file, got None",
        ),
        (("lenet5", "--data", "nowhere"), "got 'nowhere'"),
        (("lenet5", "--epochs", "0"), "must be at least 1, got 0"),
        (("lenet5", "--lr", "-1"), "must be above 0, got -1"),
        (("lenet5", "--batch-size", "1.5"), "invalid"),
        (("lenet5", "--threads", "two"), "invalid"),
        (("lenet5", "--set", "width=3"), "unexpected keyword argument 'width'"),
        (("lenet5", "--set", "width"), "must be NAME=VALUE, got width"),
        (("lenet5", "--augment", "more"), "invalid choice: 'more'"),
        (("lenet5", "--resume", "none.npz"), "none.npz"),
        (("lenet5", "--resume", "none.npz", "--lr", "0.1", "--seed", "1"), "it takes no --lr, --seed"),
    ],
)
def test_a_training_refuses_nonsense(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "train", *arguments)
    assert not list(tmp_path.iterdir())


def test_arguments_reach_the_network(tmp_path):
    run("train", "lenet5", *QUICK, "--set", "classes=12", "--out", tmp_path)
    kept = training.load(tmp_path / "checkpoint.npz")
    assert kept.origin.arguments == {"classes": 12}
    assert kept.arrays["model.7.weight"].shape == (12, 84)


def test_an_unfinished_training_is_not_written_over(tmp_path, capsys):
    begun = training.Run.begin(
        "lenet5", training.RECIPES["lenet5"].changed(epochs=2, batch_size=400), tmp_path
    )
    next(begun.epochs())
    before = begun.checkpoint.read_bytes()
    message = refused(capsys, "train", "lenet5", *QUICK, "--out", tmp_path)
    assert "has 1 epochs behind it and is not at its end: go on with --resume" in message
    assert begun.checkpoint.read_bytes() == before
    assert run("train", "lenet5", "--resume", begun.checkpoint) == 0
    assert run("train", "lenet5", *QUICK, "--out", tmp_path) == 0  # that one is at its end


def test_a_training_of_another_network_is_not_resumed(trained, capsys):
    message = refused(capsys, "train", "fashion_net", "--resume", trained / "checkpoint.npz")
    assert "is of lenet5, not of fashion_net" in message


# Prediction


def write_digits(folder, count):
    pillow = pytest.importorskip("PIL.Image")
    split = digits().split(standardise=False)
    paths = [folder / f"{place}.png" for place in range(count)]
    for path, image in zip(paths, split.test_images, strict=False):
        pillow.fromarray(image[0]).save(path)
    return paths, split.test_labels[:count]


def test_predictions_are_those_of_the_network(tmp_path, trained, capsys):
    paths, _ = write_digits(tmp_path, 20)
    capsys.readouterr()
    assert run("predict", trained / "checkpoint.npz", *paths, "--top", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    model = lenet5()
    kept = training.load(trained / "checkpoint.npz")
    kept.restore(model)
    images = digits().split(standardise=False).test_images[:20]
    scores = model.eval()(kept.origin.normalise((images / 255).astype(np.float32)))
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    for path, line, row in zip(paths, lines, probabilities, strict=True):
        first, second = np.argsort(row)[::-1][:2]
        assert line == f"{path}: {first} {row[first]:.1%}, {second} {row[second]:.1%}"


def test_predictions_refuse_what_is_no_image(tmp_path, trained, capsys):
    (tmp_path / "no.png").write_bytes(b"nothing")
    pytest.importorskip("PIL")
    assert "no.png can't be read as an image" in refused(
        capsys, "predict", trained / "checkpoint.npz", tmp_path / "no.png"
    )
    assert "no.png" in refused(capsys, "predict", tmp_path / "no.png", tmp_path / "no.png")


# Summaries, pictures, studies


def test_summary(capsys):
    assert run("summary", "lenet5") == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["total", "61,706", "416,520"]
    assert run("summary", "resnet20", "--input", 3, 64, 64) == 0
    assert "(N, 64, 16, 16)" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["data", "augmented", "filters", "features", "mistakes"])
def test_pictures_of_a_training(tmp_path, trained, extra, capsys, what):
    path = tmp_path / "picture.png"
    capsys.readouterr()
    assert run("show", what, trained / "checkpoint.npz", "--out", path) == 0
    assert capsys.readouterr().out == f"picture: {path}\n"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_an_image_that_is_not_there(trained, extra, capsys):
    message = refused(capsys, "show", "features", trained / "checkpoint.npz", "--image", 1001)
    assert "there are 1,000 test images, got 1001" in message


def test_a_study_tells_figures_and_pictures(tmp_path, capsys, extra):
    assert run("study", "edges", "--quick", "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "picture: " in printed and sorted(tmp_path.glob("*.png"))
    assert refused(capsys, "study", "everything")
    assert all(callable(study) for study in STUDIES.values())
