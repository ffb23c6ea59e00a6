"""Mix-up: images blended in pairs, and their labels with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastconv.augment.step import Images, Rng, Step, read_images
from fastconv.nn.arguments import read_number


class MixedLabels(NamedTuple):
    """Two labels of each image, and the share of the first: ``weight * first + (1 - weight) * second``.

    Attributes
    ----------
    first, second : ndarray (N, ...)
        The labels of the two images that were blended.
    weight : ndarray of float32 (N,)
        From 0 to 1.
    """

    first: NDArray[Any]
    second: NDArray[Any]
    weight: NDArray[np.float32]

    def soft(self, classes: int) -> NDArray[np.float32]:
        """Write labels that are class numbers as probabilities of the classes.

        Parameters
        ----------
        classes : int
            How many there are.

        Returns
        -------
        ndarray of float32 (N, classes)
            Each row sums to 1.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv.augment import MixedLabels
        >>> MixedLabels(np.array([0, 1]), np.array([2, 1]), np.array([0.75, 0.5], np.float32)).soft(3)
        array([[0.75, 0.  , 0.25],
               [0.  , 1.  , 0.  ]], dtype=float32)
        """
        one_hot = np.eye(classes, dtype=np.float32)
        share = self.weight[:, np.newaxis]
        soft: NDArray[np.float32] = share * one_hot[self.first] + (1 - share) * one_hot[self.second]
        return soft


@dataclass(frozen=True)
class MixUp(Step):
    """Blend each image with another of the batch, by a weight from a Beta(alpha, alpha) distribution.

    It has ``with_labels``; there the labels become ``MixedLabels``.

    Parameters
    ----------
    alpha : float
        Above 0; 0.2 gives mostly one of the two images, 1 every weight equally.

    Raises
    ------
    ValueError
        An `alpha` not above 0.
    TypeError
        When called for images alone.

    References
    ----------
    H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> images = np.ones((4, 3, 8, 8), np.float32)
    >>> mixed, labels = augment.MixUp(0.2).with_labels(images, np.array([0, 1, 2, 1]), rng=0)
    >>> mixed.shape, labels.soft(3).shape
    ((4, 3, 8, 8), (4, 3))
    """

    alpha: float

    def __post_init__(self) -> None:
        if read_number("MixUp", "alpha", self.alpha) <= 0:
            raise ValueError(f"MixUp: alpha must be above 0, got {self.alpha}")

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        raise TypeError(
            "MixUp changes the labels too: call with_labels(images, labels, rng), or augment.apply"
        )

    def with_labels(
        self, images: Images, labels: NDArray[Any], rng: Rng = None
    ) -> tuple[Images, MixedLabels]:
        """Blend images in pairs; see the class.

        Parameters
        ----------
        images : ndarray of float32 or float64 (N, C, H, W)
            A batch.
        labels : ndarray (N, ...)
            What belongs to each image.
        rng : numpy.random.Generator, int or None
            Where partners and weights come from; an int is a seed.

        Returns
        -------
        images : ndarray (N, C, H, W)
            A new batch.
        labels : MixedLabels
            The labels of both images in each, and the share of the first.
        """
        images, rng = read_images("MixUp", images), np.random.default_rng(rng)
        if isinstance(labels, MixedLabels):
            raise TypeError("MixUp: labels are mixed already")
        labels = np.asarray(labels)
        if labels.ndim < 1 or len(labels) != len(images):
            raise ValueError(
                f"MixUp: labels must be one for each of {len(images)} images, got shape {labels.shape}"
            )
        partner = rng.permutation(len(images))
        weight = rng.beta(self.alpha, self.alpha, len(images)).astype(np.float32)
        share = weight.astype(images.dtype)[:, np.newaxis, np.newaxis, np.newaxis]
        mixed = images * share
        mixed += images[partner] * (1 - share)
        return mixed, MixedLabels(labels, labels[partner], weight)
