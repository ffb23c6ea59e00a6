"""A picture of what an augmentation does: images beside several draws of each."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.augment.normalise import Normalise
from fastconv.augment.step import Augmentation, Compose, Images, Rng, apply
from fastconv.nn.arguments import read_int

_GAP = 2  # white pixels between images


def samples_picture(
    images: NDArray[Any],
    augment: Augmentation,
    path: str | os.PathLike[str],
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
    path : path
        The file, ``.png``.
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
    try:
        figures = import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('a picture needs matplotlib: pip install "fastconv[train]"') from error
    rng = np.random.default_rng(rng)
    originals = np.divide(images, 255, dtype=np.float32) if images.dtype == np.uint8 else images
    if isinstance(augment, Compose):
        augment = Compose(*(step for step in augment.steps if not isinstance(step, Normalise)))
    numbers = np.arange(len(images))
    augmented = [apply(augment, originals, numbers, rng)[0] for _ in range(draws)]

    left, right = _mosaic([originals]), _mosaic(augmented)
    low, high = min(0.0, float(originals.min())), max(1.0, float(originals.max()))
    height = 9 * len(left) / (left.shape[1] + right.shape[1]) + 0.4  # inches, with the titles
    figure = figures.Figure(figsize=(9, height), layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=(left.shape[1], right.shape[1]))
    for axes, mosaic, title in zip(panels, (left, right), ("images", "augmented"), strict=True):
        shown = np.clip((mosaic - low) / (high - low), 0, 1)
        axes.imshow(shown.squeeze(-1) if shown.shape[-1] == 1 else shown, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.savefig(path, dpi=150)


def _mosaic(batches: list[Images]) -> NDArray[Any]:
    """Put batches side by side, an image of each in every row: (rows, columns, channels), NaN between."""
    tiles = np.stack(batches, 1)
    widths = [(0, 0)] * 3 + [(0, _GAP)] * 2
    gapped = np.pad(tiles, widths, constant_values=np.inf)
    rows, columns, channels, height, width = gapped.shape
    joined = gapped.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    return joined[:-_GAP, :-_GAP]
