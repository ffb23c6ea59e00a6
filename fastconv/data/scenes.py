"""Scenes of several handwritten digits, for detection and segmentation: images, boxes and masks.

The digits are those of ``fastconv.data.digits``, at random places and of random sizes on a dark ground, among
scraps of other digits and under noise. A training scene holds only digits that ``digits().split()`` gives for
training, a test scene only those that it sets apart.

After the cluttered digits of V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, "Recurrent models of visual
attention", NIPS 2014.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastconv.data.digits import digits
from fastconv.detection.boxes import intersection_over_union
from fastconv.nn.arguments import read_int, read_number

INK = 0.5
"""A pixel belongs to a digit where its ink, from 0 to 1, is at least this."""

DIGIT_SIDE = 20
"""Pixels that no digit's ink exceeds in height or width."""

SCRAP_SIDE = 8
"""Height and width of a scrap in the image it is cut from."""

TRIES = 30
"""Sizes and places that are drawn for a digit before it is left out."""


class Scenes(NamedTuple):
    """Scenes with their truths.

    ``images`` float32 (N, 1, size, size) go from 0, the ground, to 1, ink. ``boxes`` float32 (N, M, 5) hold a
    row ``class, left, top, right, bottom`` for each digit: class 0 to 9, edges in pixels from the image's
    corner, so that ``right - left`` is the width; rows of class -1 fill up scenes of fewer than M digits.
    ``masks`` int64 (N, size, size) are 0 on the ground and ``digit + 1`` on a digit's ink.
    """

    images: NDArray[np.float32]
    boxes: NDArray[np.float32]
    masks: NDArray[np.int64]


def digit_scenes(
    count: int,
    *,
    size: int = 64,
    digits_per_scene: tuple[int, int] = (1, 5),
    scale: tuple[float, float] = (0.7, 1.4),
    overlap: float = 0.05,
    clutter: int = 2,
    noise: float = 0.1,
    part: str = "train",
    seed: int | np.random.Generator | None = 0,
) -> Scenes:
    """Draw scenes of several real digits, with a box around each and a mask of their ink.

    Parameters
    ----------
    count : int
        How many scenes.
    size : int
        Height and width of a scene in pixels.
    digits_per_scene : (int, int)
        Fewest and most digits of a scene; every number from one to the other is equally likely. A digit that
        finds no room is left out, but never a scene's first.
    scale : (float, float)
        Smallest and largest magnification of a digit, most of which are 20 pixels high.
    overlap : float
        Largest intersection over union of the boxes of two digits, from 0 to 1. Where their ink meets, the
        mask has the later one's class.
    clutter : int
        Scraps of digits in each scene, 8 × 8 pixels before they are magnified too. They belong to the ground.
    noise : float
        Standard deviation of the normal noise on every pixel; the sum is cut to 0 and 1.
    part : str
        ``"train"`` or ``"test"``: which digits, and which scraps.
    seed : int, numpy.random.Generator or None
        Where all of this is drawn from; the same seed gives the same scenes.

    Returns
    -------
    Scenes
        ``images, boxes, masks``. A box just encloses what is ink of its digit, hidden by another or not.

    Raises
    ------
    ValueError, TypeError
        Numbers out of range, digits too large for the scene, an unknown `part`.

    Examples
    --------
    >>> from fastconv.data import digit_scenes
    >>> images, boxes, masks = digit_scenes(8, digits_per_scene=(2, 2), part="test", seed=1)
    >>> images.shape, boxes.shape, masks.shape
    ((8, 1, 64, 64), (8, 2, 5), (8, 64, 64))
    """
    fewest, most, smallest, largest = _read_ranges(size, digits_per_scene, scale)
    read_int("digit_scenes", "count", count, 0)
    read_int("digit_scenes", "clutter", clutter, 0)
    for name, number, end in (("overlap", overlap, 1), ("noise", noise, math.inf)):
        if not 0 <= read_number("digit_scenes", name, number) <= end:
            raise ValueError(f"digit_scenes: {name} must be from 0 to {end}, got {number}")
    originals, labels = _originals(part)
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 1, size, size), np.float32)
    boxes = np.full((count, most, 5), [-1, 0, 0, 0, 0], np.float32)
    masks = np.zeros((count, size, size), np.int64)

    def drawn(original: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[slice, slice]]:
        """Give an original some size, and the window of the scene where it is to be."""
        ink = _magnified(original, rng.uniform(smallest, largest))
        top, left = (int(rng.integers(size - side + 1)) for side in ink.shape)
        return ink, (slice(top, top + ink.shape[0]), slice(left, left + ink.shape[1]))

    for (image,), rows, mask in zip(images, boxes, masks, strict=True):
        for _ in range(clutter):
            middle = _middle(originals[rng.integers(len(originals))])
            top, left = rng.integers(DIGIT_SIDE - SCRAP_SIDE + 1, size=2)
            ink, window = drawn(middle[top : top + SCRAP_SIDE, left : left + SCRAP_SIDE])
            image[window] = np.maximum(image[window], ink)
        found = 0
        for chosen in rng.integers(len(originals), size=rng.integers(fewest, most + 1)):
            digit = _cropped(originals[chosen])
            for _ in range(TRIES):
                ink, window = drawn(digit)
                box = _box(ink, window)
                if (intersection_over_union(box[np.newaxis], rows[:found, 1:]) <= overlap).all():
                    image[window] = np.maximum(image[window], ink)
                    mask[window][ink >= INK] = labels[chosen] + 1
                    rows[found] = [labels[chosen], *box]
                    found += 1
                    break
    images += rng.normal(0, noise, images.shape).astype(np.float32)
    return Scenes(images.clip(0, 1), boxes, masks)


class SceneLoader:
    """Batches ``(images, truths)`` of scenes that are drawn anew for each epoch; one pass is one epoch.

    Parameters
    ----------
    count : int
        Scenes of an epoch.
    batch_size : int
        Scenes in a batch; the last one may have fewer.
    truths : str
        What comes with the images: ``"boxes"`` or ``"masks"``.
    seed : int
        Where the scenes come from, together with the number of the epoch.
    **keywords
        As in `digit_scenes`.

    Attributes
    ----------
    epoch : int
        Number of the epoch that is next, from 0. Set it to go on with a training.

    Raises
    ------
    ValueError, TypeError
        Numbers below 1, unknown `truths`; when the scenes are drawn: what `digit_scenes` refuses.

    Examples
    --------
    >>> from fastconv.data import SceneLoader
    >>> loader = SceneLoader(10, 4, "boxes", size=48)
    >>> [(images.shape, boxes.shape) for images, boxes in loader][-1]
    ((2, 1, 48, 48), (2, 5, 5))
    >>> len(loader), loader.epoch
    (3, 1)
    """

    def __init__(self, count: int, batch_size: int, truths: str, *, seed: int = 0, **keywords: Any) -> None:
        self.count = read_int("SceneLoader", "count", count)
        self.batch_size = read_int("SceneLoader", "batch_size", batch_size)
        self.seed = read_int("SceneLoader", "seed", seed, 0)
        if truths not in ("boxes", "masks"):
            raise ValueError(f'SceneLoader: truths must be "boxes" or "masks", got {truths!r}')
        self.truths = truths
        self.keywords = keywords
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        scenes = digit_scenes(self.count, seed=rng, **self.keywords)
        truths = getattr(scenes, self.truths)
        for start in range(0, self.count, self.batch_size):
            batch = slice(start, start + self.batch_size)
            yield scenes.images[batch], truths[batch]
        self.epoch += 1


def _read_ranges(size: Any, count: Any, scale: Any) -> tuple[int, int, float, float]:
    where = "digit_scenes"
    fewest, most = (read_int(where, "digits_per_scene", number) for number in count)
    smallest, largest = (read_number(where, "scale", number) for number in scale)
    if fewest > most:
        raise ValueError(f"{where}: digits_per_scene must be fewest and most, got {count}")
    if not 0 < smallest <= largest:
        raise ValueError(f"{where}: scale must be smallest and largest, above 0, got {scale}")
    least = math.ceil(DIGIT_SIDE * largest)
    if read_int(where, "size", size) < least:
        raise ValueError(f"{where}: size must be at least {least} for scale={scale}, got {size}")
    return fewest, most, smallest, largest


def _originals(part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the digits (K, 28, 28) of one part, from 0 to 1, and their labels."""
    if part not in ("train", "test"):
        raise ValueError(f'digit_scenes: part must be "train" or "test", got {part!r}')
    split = digits().split(standardise=False)
    images, labels = split[:2] if part == "train" else split[2:]
    return np.asarray(images[:, 0] / 255, np.float32), labels


def _middle(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off the margin that MNIST leaves around all digits."""
    margin = (len(image) - DIGIT_SIDE) // 2
    return image[margin:-margin, margin:-margin]


def _cropped(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off the rows and columns around a digit that hold no ink."""
    rows, columns = (np.flatnonzero((image > 0).any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _magnified(image: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Change the size by linear interpolation; where it shrinks, by means over what a pixel covers.

    The whitest stays as white as it was.
    """
    rows, columns = (_interpolation(side, max(1, round(scale * side))) for side in image.shape)
    made = rows @ image @ columns.T
    return np.asarray(made * (image.max() / made.max()) if made.any() else made, np.float32)


@lru_cache(maxsize=1024)
def _interpolation(inputs: int, outputs: int) -> NDArray[np.float32]:
    """Return the matrix that takes `inputs` pixels of a line to `outputs`."""
    centres = (np.arange(outputs) + 0.5) * inputs / outputs - 0.5
    distances = np.abs(centres[:, np.newaxis] - np.arange(inputs))
    tents = (1 - distances / max(1, inputs / outputs)).clip(0)
    return np.asarray(tents / tents.sum(axis=1, keepdims=True), np.float32)


def _box(ink: NDArray[np.float32], window: tuple[slice, slice]) -> NDArray[np.float32]:
    """Return left, top, right, bottom of the pixels that belong to a digit."""
    rows, columns = (
        side.start + np.flatnonzero((ink >= INK).any(axis=axis))
        for side, axis in zip(window, (1, 0), strict=True)
    )
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
