"""Data that comes with the package: 5,000 handwritten digits.

The digits are from the MNIST database of Y. LeCun, C. Cortes and C. Burges; origin and licence of this
selection are in ``digits.LICENSE`` beside this file.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastconv.data.split import Seed, Split, split_by_class


class Digits(NamedTuple):
    """Images uint8 (N, 28, 28), 0 background to 255 ink, and their labels uint8 (N,), 0 to 9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def split(self, test: float = 1000, seed: Seed = 0, *, standardise: bool = True) -> Split:
        """Choose images for testing at random, from each class its share, and standardise all.

        Parameters
        ----------
        test : int or float
            How many to test with, or which share of all; the others are for training.
        seed : int, numpy.random.Generator or None
            Where the choice comes from; the same seed gives the same parts. Both parts are in random order.
        standardise : bool
            Whether the images become float32 with mean 0 and deviation 1. Without, they stay uint8, as
            ``Loader`` and augmentations want them.

        Returns
        -------
        Split
            ``train_images, train_labels, test_images, test_labels``, images (N, 1, 28, 28).

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
        return split_by_class(self.images[:, np.newaxis], self.labels, test, seed, standardise)


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
    stored = resources.files("fastconv.data").joinpath("digits.npz")
    with stored.open("rb") as file, np.load(file) as arrays:
        return Digits(arrays["images"], arrays["labels"])
