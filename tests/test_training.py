"""LeNet-5, the training loop, and ``python -m fastconv train``, with the train extra and without."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

import numpy as np
import pytest

from fastconv import _core, models, nn
from fastconv.data import digits
from fastconv.models import NETWORKS, lenet5
from fastconv.training import RECIPES, Recipe, add_train_parser, evaluate, fit

# Runs ``python -m fastconv`` where nothing of the train extra can be imported.
WITHOUT_EXTRA = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tqdm", "matplotlib", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
sys.argv[0] = "fastconv"
runpy.run_module("fastconv", run_name="__main__", alter_sys=True)
"""


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


def test_lenet5_has_61706_parameters():
    summary = lenet5(rng=0).summary((1, 28, 28))
    assert summary.parameters == 61_706
    assert summary.multiply_adds == 416_520
    assert [row.parameters for row in summary.rows] == [156, 0, 2416, 0, 0, 48120, 10164, 850]
    assert summary.rows[2].output_shape == (16, 10, 10)
    text = str(summary).splitlines()
    assert text[0].split() == ["layer", "output", "shape", "parameters", "multiply-adds"]
    assert text[-1].split() == ["total", "61,706", "416,520"]
    assert str(lenet5(rng=0).summary((1, 1, 28, 28))) == str(summary)


def test_lenet5_is_made_by_its_seed():
    x = np.ones((1, 1, 28, 28), np.float32)
    np.testing.assert_array_equal(lenet5(3)(x), lenet5(np.random.default_rng(3))(x))
    assert (lenet5(3)(x) != lenet5(4)(x)).all()
    assert lenet5(0, classes=7, dtype=np.float64)(x.astype(np.float64)).shape == (1, 7)


def test_lenet5_in_pytorch_gives_the_same():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Tanh()),
        torch.nn.AvgPool2d(2),
        torch.nn.Sequential(torch.nn.Conv2d(6, 16, 5), torch.nn.Tanh()),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Sequential(torch.nn.Linear(400, 120), torch.nn.Tanh()),
        torch.nn.Sequential(torch.nn.Linear(120, 84), torch.nn.Tanh()),
        torch.nn.Sequential(torch.nn.Linear(84, 10)),
    ).double()
    mine = lenet5(dtype=np.float64)
    mine.load_state_dict(
        {name.replace(".0.", "."): p.detach().numpy() for name, p in theirs.named_parameters()}
    )
    x, labels = digits().split().test_images[:8].astype(np.float64), digits().split().test_labels[:8]
    scores = mine(x)
    expected = theirs(torch.from_numpy(x))
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-8, atol=1e-10)
    torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels)).backward()
    mine.backward(nn.losses.cross_entropy(scores, labels)[1])
    for parameter, tensor in zip(mine.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=1e-7, atol=1e-10)


def test_every_recipe_has_its_network():
    assert set(RECIPES) <= set(NETWORKS)
    assert all(getattr(models, name) is NETWORKS[name] for name in NETWORKS)


def test_a_short_training_lowers_the_loss():
    split = digits().split(test=4000)
    recipe = Recipe(epochs=4, batch_size=50, lr=0.05)
    losses = []
    epochs = list(fit(lenet5(rng=0), split, recipe, rng=0, after_batch=losses.append))
    assert len(epochs) == 4 and len(losses) == 4 * 20
    assert abs(losses[0] - np.log(10)) < 1
    assert np.mean(losses[-20:]) < losses[0] / 5
    assert epochs[-1].train_loss == pytest.approx(np.mean(losses[-20:]), rel=1e-4)
    assert epochs[-1].test_accuracy > 0.85 and epochs[-1].test_loss < 0.6
    assert epochs[-1].images_per_second > 0


def test_the_same_seed_makes_the_same_training():
    split = digits().split(test=4900)
    recipe = Recipe(epochs=2, batch_size=32, lr=0.05, weight_decay=1e-3, label_smoothing=0.1)

    def state(seed):
        model = lenet5(rng=0)
        for _ in fit(model, split, recipe, rng=seed):
            pass
        return model.state_dict()

    first, again, other = state(1), state(1), state(2)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["0.weight"] != other["0.weight"]).any()


def test_evaluate_takes_all_images_in_parts():
    split = digits().split()
    model = lenet5(rng=0)
    whole = evaluate(model, split.test_images, split.test_labels, batch_size=1000)
    parts = evaluate(model, split.test_images, split.test_labels, batch_size=333)
    assert not model.training
    assert parts == pytest.approx(whole, rel=1e-5)
    scores = model(split.test_images)
    assert whole[1] == (scores.argmax(1) == split.test_labels).mean()
    assert whole[0] == pytest.approx(nn.losses.cross_entropy(scores, split.test_labels)[0])


def run_here(*arguments):
    parser = argparse.ArgumentParser()
    add_train_parser(parser.add_subparsers())
    parsed = parser.parse_args(["train", "lenet5", *map(str, arguments)])
    return parsed.func(parsed)


def test_a_run_saves_what_it_says(tmp_path, capsys):
    for package in ("tqdm", "matplotlib", "safetensors"):
        pytest.importorskip(package)
    threads = _core.get_num_threads()
    out = tmp_path / "deep" / "er"
    assert run_here("--epochs", 2, "--batch-size", 400, "--threads", threads, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "epoch   2/2" in printed
    assert f"weights: {out / 'weights.safetensors'}" in printed and f"plot: {out / 'training.png'}" in printed
    assert sorted(path.name for path in out.iterdir()) == ["training.png", "weights.safetensors"]


def test_a_run_without_the_extra_names_it(tmp_path, capsys, monkeypatch):
    for module in ("tqdm", "matplotlib.figure", "safetensors"):
        monkeypatch.setitem(sys.modules, module, None)
    assert run_here("--epochs", 1, "--batch-size", 400, "--lr", 0.1, "--seed", 1, "--out", tmp_path) == 0
    assert capsys.readouterr().out.count('pip install "fastconv[train]"') == 2
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]


def test_the_command_reaches_its_accuracy(tmp_path):
    for package in ("tqdm", "matplotlib", "safetensors"):
        pytest.importorskip(package)
    done = command("train", "lenet5", "--threads", 1, folder=tmp_path)
    accuracy = float(re.search(r"accuracy on the test digits: ([\d.]+) %", done.stdout)[1])
    assert accuracy >= 97.5
    assert re.search(r"trained with [\d,]+ images per second", done.stdout)
    assert "lenet5: 61,706 parameters; 4,000 digits to train with, 1,000 to test with" in done.stdout
    assert "batch/s" in done.stderr
    out = tmp_path / "runs" / "lenet5"
    assert sorted(path.name for path in out.iterdir()) == ["training.png", "weights.safetensors"]
    assert (out / "training.png").read_bytes().startswith(b"\x89PNG")
    model = lenet5()
    model.load_state_dict(out / "weights.safetensors")
    split = digits().split()
    assert 100 * evaluate(model, split.test_images, split.test_labels)[1] == pytest.approx(accuracy, abs=0.11)


def test_the_command_does_without_the_extra(tmp_path):
    arguments = (
        "train",
        "lenet5",
        "--epochs",
        1,
        "--batch-size",
        100,
        "--lr",
        0.05,
        "--seed",
        3,
        "--out",
        "here",
    )
    done = command(*arguments, python=("-c", WITHOUT_EXTRA), folder=tmp_path)
    assert 'no progress bar: it needs tqdm (pip install "fastconv[train]")' in done.stdout
    assert 'no plot: it needs matplotlib (pip install "fastconv[train]")' in done.stdout
    assert "epoch   1/1" in done.stdout
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["weights.npz"]
    lenet5().load_state_dict(tmp_path / "here" / "weights.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lenet9",), "invalid choice: 'lenet9'"),
        (("vgg16",), "invalid choice: 'vgg16'"),
        (("lenet5", "--epochs", "0"), "must be at least 1, got 0"),
        (("lenet5", "--lr", "-1"), "must be above 0, got -1"),
        (("lenet5", "--batch-size", "1.5"), "invalid"),
        (("lenet5", "--threads", "two"), "invalid"),
    ],
)
def test_the_command_refuses_nonsense(tmp_path, arguments, message):
    done = command("train", *arguments, folder=tmp_path, fails=True)
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
