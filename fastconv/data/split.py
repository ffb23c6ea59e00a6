"""A data set in two parts, one to train with and one to test with, and how the parts are chosen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastconv.augment.normalise import channel_moments
from fastconv.nn.arguments import read_int

Seed = int | np.random.Generator | None


class Split(NamedTuple):
    """A data set in two parts: images (N, C, H, W), labels int64 (N,), or other targets (N, ...).

    The images are float32 and standardised, or uint8 as they came where that was asked for.
    """

    train_images: NDArray[Any]
    train_labels: NDArray[Any]
    test_images: NDArray[Any]
    test_labels: NDArray[Any]

    def standardised(self) -> Split:
        """Shift and scale the channels of all images by what gives those for training mean 0, deviation 1.

        Mean and deviation are taken over all images for training and all their pixels; the test images go
        through the same shift and scale.

        Returns
        -------
        Split
            With images of float32.

        Examples
        --------
        >>> from fastconv.data import digits
        >>> raw = digits().split(standardise=False)
        >>> raw.train_images.dtype, round(float(raw.standardised().train_images.std()), 3)
        (dtype('uint8'), 1.0)
        """
        mean, deviation = channel_moments(self.train_images)
        train, test = (
            _standardised(images, mean, deviation) for images in (self.train_images, self.test_images)
        )
        return Split(train, self.train_labels, test, self.test_labels)


def _standardised(
    images: NDArray[Any], mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float32]:
    standardised = np.empty(images.shape, np.float32)
    for channel in range(images.shape[1]):
        plane = images[:, channel]
        if images.dtype == np.uint8:
            # There are but 256 results.
            table = ((np.arange(256) - mean[channel]) / deviation[channel]).astype(np.float32)
            standardised[:, channel] = table[plane]
        else:
            standardised[:, channel] = (plane - mean[channel]) / deviation[channel]
    return standardised


def split_by_class(
    images: NDArray[np.uint8], labels: NDArray[Any], test: float, seed: Seed, standardise: bool
) -> Split:
    """Choose images for testing at random, from each class its share.

    Parameters
    ----------
    images : ndarray of uint8 (N, C, H, W)
        All images.
    labels : ndarray of int (N,)
        Their classes.
    test : int or float
        How many to test with, or which share of all.
    seed : int, numpy.random.Generator or None
        Where the choice comes from.
    standardise : bool
        Whether the images become float32 of mean 0 and deviation 1, or stay as they are.
    """
    count = len(labels)
    chosen_count = _read_test(test, count)
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    labels = labels[order].astype(np.int64)
    # Within each class, images get evenly spaced places from 0 to 1; the first of all take an equal share
    # of each.
    place = np.empty(count)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    chosen = np.zeros(count, np.bool_)
    chosen[np.argsort(place, kind="stable")[:chosen_count]] = True
    split = Split(images[order[~chosen]], labels[~chosen], images[order[chosen]], labels[chosen])
    return split.standardised() if standardise else split


def _read_test(test: Any, count: int) -> int:
    if isinstance(test, float):
        if not 0 < test < 1:
            raise ValueError(f"split: test as a share must be between 0 and 1, got {test}")
        test = min(max(round(test * count), 1), count - 1)
    chosen = read_int("split", "test", test, None)
    if not 0 < chosen < count:
        raise ValueError(f"split: test must be between 0 and {count}, got {test}")
    return chosen
