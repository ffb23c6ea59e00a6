"""Data that comes with the package: 5,000 handwritten digits.

The digits are from the MNIST database of Y. LeCun, C. Cortes and C. Burges; origin and licence of this
selection are in ``digits.LICENSE`` beside this file.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Digits", "Split", "digits"]


class Split(NamedTuple):
    """A data set in two parts: images float32 (N, 1, H, W), labels int64 (N,).

    The images are standardised: those for training have mean 0 and standard deviation 1, taken over all
    pixels, and the test images went through the same shift and scale.
    """

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


class Digits(NamedTuple):
    """Images uint8 (N, 28, 28), 0 background to 255 ink, and their labels uint8 (N,), 0 to 9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def split(self, test: int = 1000, seed: int | np.random.Generator | None = 0) -> Split:
        """Choose images for testing at random, from each class its share, and standardise all.

        Parameters
        ----------
        test : int
            How many to test with; the others are for training.
        seed : int, numpy.random.Generator or None
            Where the choice comes from; the same seed gives the same parts. Both parts are in random order.

        Returns
        -------
        Split
            ``train_images, train_labels, test_images, test_labels``.

        Raises
        ------
        ValueError
            A `test` that leaves either part empty.

        Examples
        --------
        >>> from fastconv.data import digits
        >>> x, labels, x_test, labels_test = digits().split()
        >>> x.shape, x_test.shape, labels_test.shape
        ((4000, 1, 28, 28), (1000, 1, 28, 28), (1000,))
        """
        count = len(self.labels)
        if not 0 < test < count:
            raise ValueError(f"split: test must be between 0 and {count}, got {test}")
        rng = np.random.default_rng(seed)
        order = rng.permutation(count)
        labels = self.labels[order]
        # Within each class, images get evenly spaced places from 0 to 1; the first `test` of all
        # take an equal share of each.
        place = np.empty(count)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            place[members] = (np.arange(len(members)) + 0.5) / len(members)
        chosen = np.zeros(count, np.bool_)
        chosen[np.argsort(place, kind="stable")[:test]] = True
        train_images, test_images = self.images[order[~chosen]], self.images[order[chosen]]
        mean, deviation = train_images.mean(), train_images.std()
        standardised = [
            ((images[:, np.newaxis] - mean) / deviation).astype(np.float32)
            for images in (train_images, test_images)
        ]
        wide = labels.astype(np.int64)
        return Split(standardised[0], wide[~chosen], standardised[1], wide[chosen])


def digits() -> Digits:
    """Load the 5,000 digits, 500 of each class, sorted by class.

    Returns
    -------
    Digits
        ``images`` uint8 (5000, 28, 28) and ``labels`` uint8 (5000,); its ``split()`` makes training data of
        them.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998).

    Examples
    --------
    >>> from fastconv.data import digits
    >>> images, labels = digits()
    >>> images.shape, images.dtype, labels.shape
    ((5000, 28, 28), dtype('uint8'), (5000,))
    """
    with resources.files(__name__).joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        return Digits(arrays["images"], arrays["labels"])
