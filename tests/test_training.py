"""The training loop, runs that are interrupted, and what is in their files."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fastconv import nn, training
from fastconv.augment import MixedLabels
from fastconv.data import Loader, digits
from fastconv.models import NETWORKS, lenet5
from fastconv.optim import SGD, cosine_decay
from fastconv.training import RECIPES, Classification, Recipe, Run, YesOrNo, evaluate, fit, predict
from fastconv.training.recipes import AUGMENTATIONS, OPTIMISERS, SCHEDULES, TASKS

QUICK = Recipe(data="digits", epochs=3, batch_size=200, lr=0.05, augment="digits")


def tiny(rng=None, *, classes=10):
    """Make a network with dropout and batch normalisation that trains in no time."""
    rng = np.random.default_rng(rng)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=3, rng=rng),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3, rng=rng),
        nn.Linear(256, classes, rng=rng),
    )


@pytest.fixture
def tiny_network(monkeypatch):
    monkeypatch.setitem(NETWORKS, "tiny", tiny)


def loaders(images=1000, batch_size=50, **keywords):
    x, labels, x_test, labels_test = digits().split()
    return (
        Loader(x[:images], labels[:images], batch_size, **keywords),
        Loader(x_test, labels_test, 250, shuffle=False),
    )


def cosine(step, steps):
    return cosine_decay(step, steps, 0.05)


# The loop


def test_a_short_training_lowers_the_loss():
    model, losses = lenet5(rng=0), []
    optimizer = SGD(model.parameters(), 1.0, momentum=0.9, nesterov=True)
    epochs = list(fit(model, *loaders(), Classification(), optimizer, cosine, 4, after_batch=losses.append))
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4] and len(losses) == 4 * 20
    assert abs(losses[0] - np.log(10)) < 1
    assert np.mean(losses[-20:]) < losses[0] / 5
    assert epochs[-1].train_loss == pytest.approx(np.mean(losses[-20:]), rel=1e-4)
    assert epochs[-1].test_score > 0.85 and epochs[-1].test_loss < 0.6
    assert epochs[-1].train_score > 0.9
    assert epochs[-1].lr == optimizer.lr == cosine(79, 80)
    assert epochs[-1].images_per_second == pytest.approx(1000 / epochs[-1].seconds)


def test_the_same_seed_makes_the_same_training():
    def state(seed):
        model = lenet5(rng=0)
        optimizer = SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
        for _ in fit(model, *loaders(100, 32, seed=seed), Classification(0.1), optimizer, cosine, 2):
            pass
        return model.state_dict()

    first, again, other = state(1), state(1), state(2)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["0.weight"] != other["0.weight"]).any()


def test_evaluate_takes_all_images_in_parts():
    split = digits().split()
    model = lenet5(rng=0)
    whole, parts = (
        evaluate(model, Loader(split.test_images, split.test_labels, size, shuffle=False), Classification())
        for size in (1000, 333)
    )
    assert not model.training
    assert parts == pytest.approx(whole, rel=1e-5)
    scores = model(split.test_images)
    assert whole[1] == (scores.argmax(1) == split.test_labels).mean()
    assert whole[0] == pytest.approx(nn.losses.cross_entropy(scores, split.test_labels)[0])


def test_predictions_come_from_evaluation_mode_in_parts():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9, rng=0))
    x = np.random.default_rng(0).random((7, 1, 2, 2))
    np.testing.assert_array_equal(predict(model, x, batch_size=3), x.reshape(7, 4))
    np.testing.assert_array_equal(predict(model, x, lambda images: 2 * images), 2 * x.reshape(7, 4))


def test_yes_or_no():
    logits, labels = np.array([[2.0], [-1.0], [0.5]]), np.array([1, 0, 0])
    loss, gradient = YesOrNo().loss(logits, labels)
    odds = 1 / (1 + np.exp(-logits[:, 0]))
    assert loss == pytest.approx(-np.log(np.where(labels, odds, 1 - odds)).mean())
    np.testing.assert_allclose(gradient[:, 0], (odds - labels) / 3)
    assert YesOrNo().score(logits, labels) == pytest.approx(2 / 3)


def test_mixed_labels_are_shared_out():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((4, 3))
    first, second = np.array([0, 1, 2, 2]), np.array([1, 1, 0, 2])
    weight = np.array([0.25, 0.5, 1.0, 0.75], np.float32)
    loss, gradient = Classification(0.1).loss(scores, MixedLabels(first, second, weight))
    parts = [
        w * nn.losses.cross_entropy(row[None], np.array([a]), label_smoothing=0.1)[0]
        + (1 - w) * nn.losses.cross_entropy(row[None], np.array([b]), label_smoothing=0.1)[0]
        for row, a, b, w in zip(scores, first, second, weight, strict=True)
    ]
    assert loss == pytest.approx(np.mean(parts))
    assert gradient.shape == scores.shape
    assert Classification().score(np.eye(3)[first], MixedLabels(first, second, weight)) == 1.0


# Recipes


def test_every_recipe_is_made_of_known_words():
    assert set(RECIPES) <= set(NETWORKS)
    for recipe in RECIPES.values():
        assert recipe.task in TASKS
        assert recipe.optimiser in OPTIMISERS
        assert recipe.schedule in SCHEDULES
        assert recipe.augment in AUGMENTATIONS


def test_a_recipe_makes_its_optimiser_and_rate():
    recipe = Recipe(optimiser="adam", lr=0.01, weight_decay=0.1, schedule="step", warmup=0.5, epochs=4)
    optimizer = recipe.optimizer(lenet5(rng=0).parameters())
    assert (type(optimizer).__name__, optimizer.lr, optimizer.weight_decay) == ("Adam", 0.01, 0.1)
    rates = [recipe.learning_rate(10)(step, 40) for step in range(40)]
    assert rates[:5] == sorted(rates[:5]) and rates[0] < 0.002
    assert rates[5:20] == [0.01] * 15
    assert rates[20:30] == pytest.approx([0.001] * 10) and rates[30:] == pytest.approx([0.0001] * 10)
    short = recipe.changed(epochs=1, warmup=3).learning_rate(10)  # half of the ten steps at most
    rates = [short(step, 10) for step in range(10)]
    np.testing.assert_allclose(rates, [*(0.01 * np.arange(1, 6) / 6), *[0.001] * 3, *[0.0001] * 2])
    assert recipe.changed(lr=None, epochs=7) == Recipe(**{**vars(recipe), "epochs": 7})


# Runs


def same_weights(one, other):
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name], err_msg=name)


def figures(path):
    """Read the log without the columns that a clock fills."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def test_a_run_that_stopped_goes_on_to_the_same_bits(tmp_path, tiny_network):
    whole = Run.begin("tiny", QUICK, tmp_path / "whole", seed=3)
    for _ in whole.epochs():
        pass
    cut = Run.begin("tiny", QUICK, tmp_path / "cut", seed=3)
    next(cut.epochs())
    again = Run.resume(tmp_path / "cut" / "checkpoint.npz")
    assert again.steps_done == again.steps // 3
    assert [epoch.number for epoch in again.epochs()] == [2, 3]
    same_weights(whole.model, again.model)
    assert figures(tmp_path / "whole" / "log.csv") == figures(tmp_path / "cut" / "log.csv")
    assert len(figures(tmp_path / "whole" / "log.csv")) == 3
    assert whole.finish() == again.finish()
    assert list(again.epochs()) == []


TRAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from test_training import NETWORKS, tiny
from fastconv.__main__ import main
NETWORKS["tiny"] = tiny
sys.exit(main(["train", "tiny", *sys.argv[2:]]))
"""


def train(*arguments):
    here = __file__.rpartition("/")[0]
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, here, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_epochs(folder, count):
    deadline = time.monotonic() + 120
    log = folder / "log.csv"
    while not log.exists() or len(log.read_text(encoding="utf-8").splitlines()) <= count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_process_that_is_stopped_goes_on_to_the_same_bits(tmp_path, how, status):
    options = ("--data", "digits", "--epochs", 12, "--batch-size", 100, "--augment", "digits", "--seed", 1)
    stopped = train(*options, "--out", tmp_path / "cut")
    wait_for_epochs(tmp_path / "cut", 1)
    stopped.send_signal(how)
    out, error = stopped.communicate(timeout=60)
    assert stopped.returncode == status, out + error
    if how == signal.SIGINT:
        assert f"--resume {tmp_path / 'cut' / 'checkpoint.npz'}" in out
    kept = training.load(tmp_path / "cut" / "checkpoint.npz")
    assert 1 <= len(kept.history) < 12

    resumed = train("--resume", tmp_path / "cut" / "checkpoint.npz")
    whole = train(*options, "--out", tmp_path / "whole")
    for process in (resumed, whole):
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, out + error
    cut, straight = (training.load(tmp_path / name / "checkpoint.npz") for name in ("cut", "whole"))
    assert set(cut.arrays) == set(straight.arrays)
    for name, array in straight.arrays.items():
        np.testing.assert_array_equal(array, cut.arrays[name], err_msg=name)
    assert not list(tmp_path.glob("*/.*"))


def test_early_stopping_takes_the_best_weights(tmp_path, tiny_network, monkeypatch):
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    monkeypatch.setattr(Classification, "score", lambda self, predictions, targets: next(scores, 0.1))
    monkeypatch.setattr(Classification, "mean_score", False)
    run = Run.begin("tiny", QUICK.changed(epochs=20, patience=3), tmp_path)
    states = [run.model.state_dict() for _ in run.epochs()]
    assert len(run.history) == 5 and run.ended
    assert run.history[0].train_score is None
    run.finish()
    for name, array in run.model.state_dict().items():
        np.testing.assert_array_equal(array, states[1][name])


def test_the_best_weights_go_along_to_another_folder(tmp_path, tiny_network, monkeypatch):
    scores = iter([0.9, 0.7, 0.6, 0.5, 0.4])
    monkeypatch.setattr(Classification, "score", lambda self, predictions, targets: next(scores, 0.1))
    monkeypatch.setattr(Classification, "mean_score", False)
    first = Run.begin("tiny", QUICK.changed(epochs=3, patience=3), tmp_path / "here")
    next(first.epochs())
    best = first.model.state_dict()
    run = Run.resume(first.checkpoint, tmp_path / "there")
    assert len(list(run.epochs())) == 2
    run.finish()
    for name, array in run.model.state_dict().items():
        np.testing.assert_array_equal(array, best[name])


def test_early_stopping_never_sees_the_test_images(tmp_path, tiny_network):
    run = Run.begin("tiny", QUICK.changed(patience=2), tmp_path)
    watched = run._held_out.images
    assert len(watched) == 400 and len(run._loader.images) == 3600
    test = {image.tobytes() for image in run.dataset.split.test_images}
    trained = {image.tobytes() for image in run._loader.images}
    assert not test & {image.tobytes() for image in watched}
    assert len(trained & {image.tobytes() for image in watched}) == 0


# Checkpoints


def test_a_checkpoint_is_all_there_is_to_know(tmp_path, tiny_network):
    run = Run.begin("tiny", QUICK, tmp_path, seed=5)
    next(run.epochs())
    kept = training.load(run.checkpoint)
    assert kept.origin == run.origin
    assert kept.history == run.history
    assert kept.origin.classes == tuple("0123456789") and kept.origin.image == (1, 28, 28)
    model = kept.origin.build()
    optimizer = QUICK.optimizer(model.parameters())
    kept.restore(model, optimizer)
    same_weights(model, run.model)
    assert optimizer.steps == 20


def test_a_checkpoint_of_another_network_is_refused(tmp_path, tiny_network):
    Run.begin("tiny", QUICK, tmp_path)
    kept = training.load(tmp_path / "checkpoint.npz")
    other = tiny(1, classes=7)
    before = other.state_dict()
    with pytest.raises(ValueError, match="expected"):
        kept.restore(other)
    with pytest.raises(ValueError, match="keeps 0 random generators, the file 1"):
        kept.restore(lenet5())
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_files_that_are_no_checkpoints(tmp_path, tiny_network):
    with pytest.raises(FileNotFoundError):
        training.load(tmp_path / "none.npz")
    lenet5(0).save_state_dict(tmp_path / "weights.npz")
    with pytest.raises(ValueError, match=r"weights\.npz is no checkpoint of a training"):
        training.load(tmp_path / "weights.npz")
    Run.begin("tiny", QUICK, tmp_path)
    whole = (tmp_path / "checkpoint.npz").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "torn.npz").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"torn\.npz"):
            training.load(tmp_path / "torn.npz")


def test_data_that_is_not_there(tmp_path, tiny_network):
    with pytest.raises(ValueError, match=r"data must be digits, .* got 'nowhere'"):
        Run.begin("tiny", QUICK.changed(data="nowhere"), tmp_path / "out")
    with pytest.raises(ValueError, match="digits has a test part of its own"):
        Run.begin("tiny", QUICK, tmp_path / "out", test="nowhere")
    assert not (tmp_path / "out").exists()
