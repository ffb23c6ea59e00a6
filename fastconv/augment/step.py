"""What an augmentation is: a callable ``(images, rng) -> images``, and how several make one.

A step that changes the labels too has a second method, ``with_labels(images, labels, rng)``, which returns
both; ``apply`` calls the one or the other, so that a loop need not know which kind it has.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[Any]  # float32 or float64 (N, C, H, W)
Rng = np.random.Generator | int | None

_BLOCK = 2**15  # numbers in the images of a block


class Augmentation(Protocol):
    """Anything that takes a batch and a generator and gives a new batch, a plain function too."""

    def __call__(self, images: Images, rng: np.random.Generator, /) -> Images: ...


class Step(ABC):
    """Base of the augmentations here: checks the images, makes the generator, calls ``_changed``."""

    def __call__(self, images: Images, rng: Rng = None) -> Images:
        """Make a new batch of `images`, which stay as they are.

        Parameters
        ----------
        images : ndarray of float32 or float64 (N, C, H, W)
            A batch.
        rng : numpy.random.Generator, int or None
            Where the draws come from; an int is a seed. Each image draws for itself.

        Returns
        -------
        ndarray (N, C, H, W)
            A new array of the same dtype.

        Raises
        ------
        TypeError
            Images that are no array of float32 or float64.
        ValueError
            Images with other than four axes, or too small for the step.
        """
        return self._changed(read_images(type(self).__name__, images), np.random.default_rng(rng))

    @abstractmethod
    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        """Make the new batch of images that are checked."""


def read_images(where: str, images: Any) -> Images:
    """Take a batch (N, C, H, W) of float32 or float64, and nothing else; give it C-contiguous.

    Sums over other strides would go another way, and round otherwise.
    """
    if not isinstance(images, np.ndarray):
        raise TypeError(f"{where}: images must be a NumPy array, got {type(images).__name__}")
    if images.dtype not in (np.float32, np.float64):
        mend = "; np.divide(images, 255, dtype=np.float32) would fit" if images.dtype == np.uint8 else ""
        raise TypeError(f"{where}: images must be float32 or float64, got {images.dtype}{mend}")
    if images.ndim != 4:
        raise ValueError(f"{where}: images must have the axes (N, C, H, W), got shape {images.shape}")
    return np.ascontiguousarray(images)


def blocks(images: Images) -> Iterator[slice]:
    """Part a batch into runs of images so few that what is made of them on the way stays in the cache."""
    few = max(1, _BLOCK // max(1, math.prod(images.shape[1:])))
    for start in range(0, len(images), few):
        yield slice(start, start + few)


def check_augmentation(where: str, name: str, value: Any) -> None:
    """Raise a TypeError unless `value` can be called as an augmentation."""
    if isinstance(value, type):
        made = value.__name__
        raise TypeError(f"{where}: {made} is a class; make a step of it: {made}(...)")
    if not callable(value):
        raise TypeError(f"{where}: {name} must be callable, got {value!r}")


def apply(augment: Augmentation, images: Images, labels: NDArray[Any], rng: Rng = None) -> tuple[Images, Any]:
    """Augment images together with their labels.

    Parameters
    ----------
    augment : callable
        ``(images, rng) -> images``; where it has a method ``with_labels(images, labels, rng)``, that is
        called instead and gives both.
    images : ndarray (N, C, H, W)
        A batch.
    labels : ndarray (N, ...)
        What belongs to each image.
    rng : numpy.random.Generator, int or None
        Where the draws come from; an int is a seed.

    Returns
    -------
    images, labels
        The new batch, and the labels as they were or as the augmentation made them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> images, labels = augment.apply(
    ...     augment.MixUp(0.2), np.ones((4, 3, 8, 8), np.float32), np.array([0, 1, 2, 3]), rng=0
    ... )
    >>> labels.first
    array([0, 1, 2, 3])
    """
    rng = np.random.default_rng(rng)
    with_labels = getattr(augment, "with_labels", None)
    if with_labels is None:
        return augment(images, rng), labels
    both: tuple[Images, Any] = with_labels(images, labels, rng)
    return both


@dataclass(frozen=True, init=False)
class Compose(Step):
    """Several augmentations, one after the other.

    Parameters
    ----------
    *steps : callable
        Each ``(images, rng) -> images``, of this package or your own, with or without ``with_labels``.

    Raises
    ------
    TypeError
        A step that can't be called.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> twist = augment.Compose(augment.PadCrop(4), augment.Flip(), augment.CutOut(8))
    >>> twist(np.ones((16, 3, 32, 32), np.float32), rng=0).shape
    (16, 3, 32, 32)
    """

    steps: tuple[Augmentation, ...]

    def __init__(self, *steps: Augmentation) -> None:
        for step in steps:
            check_augmentation("Compose", "a step", step)
        object.__setattr__(self, "steps", steps)

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        for step in self.steps:
            images = step(images, rng)
        return images

    def with_labels(self, images: Images, labels: NDArray[Any], rng: Rng = None) -> tuple[Images, Any]:
        """Do the same to images and labels together; see ``apply``."""
        images, rng = read_images("Compose", images), np.random.default_rng(rng)
        for step in self.steps:
            images, labels = apply(step, images, labels, rng)
        return images, labels
