"""A picture of what an augmentation does: images beside several draws of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.augment.normalise import Normalise
from fastconv.augment.step import Augmentation, Compose, Rng, apply
from fastconv.nn.arguments import read_int
from fastconv.pictures.figure import Target
from fastconv.pictures.grids import image_grid
from fastconv.pictures.tones import common_limits


def samples_picture(
    images: NDArray[Any],
    augment: Augmentation,
    path: Target,
    rng: Rng = 0,
    *,
    draws: int = 7,
) -> None:
    """Save a PNG with a row for each image: the image itself, then `draws` augmented forms of it.

    ``Normalise`` steps of a ``Compose`` are left out: they would change nothing but how the picture is shown.

    Parameters
    ----------
    images : ndarray of uint8, float32 or float64 (N, C, H, W)
        A few images of one or three channels; uint8 ones count as floats from 0 to 1.
    augment : callable
        The augmentation, with labels or without.
    path : path or binary file
        Where the PNG goes.
    rng : numpy.random.Generator, int or None
        Where the draws come from; an int is a seed.
    draws : int
        Augmented forms of each image.

    Raises
    ------
    ValueError
        No images, or channels that are neither one nor three.
    ModuleNotFoundError
        Without matplotlib, of the extra ``train``.

    Examples
    --------
    >>> from fastconv import augment, data
    >>> images = data.digits().split(standardise=False).train_images[:8]
    >>> augment.samples_picture(images, augment.Affine(degrees=15, shift=2), "samples.png")  # doctest: +SKIP
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(
            f"samples_picture: images must be (N, 1 or 3, H, W) and at least one, got shape {images.shape}"
        )
    read_int("samples_picture", "draws", draws)
    rng = np.random.default_rng(rng)
    originals = np.divide(images, 255, dtype=np.float32) if images.dtype == np.uint8 else images
    if isinstance(augment, Compose):
        augment = Compose(*(step for step in augment.steps if not isinstance(step, Normalise)))
    numbers = np.arange(len(images))
    columns = [originals, *(apply(augment, originals, numbers, rng)[0] for _ in range(draws))]
    image_grid(
        [image for row in zip(*columns, strict=True) for image in row],
        path,
        columns=len(columns),
        title="each image, and augmented forms of it",
        limits=common_limits([originals]),  # brighter forms are cut to them
    )
