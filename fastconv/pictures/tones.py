"""From arrays to what a picture shows: planes of grey or RGB, and the values that are black and white.

    bytes                        0 is black, 255 is white
    floats within [0, 1]         0 is black, 1 is white
    other floats                 the lowest is black, the highest white, over all images of the picture

so that tiles of one picture can be compared, and images that were standardised (a mean subtracted, divided by
a standard deviation) look as before, but for a shift in contrast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.nn.arguments import check_data_format
from fastconv.pictures.figure import Limits

Array = NDArray[Any]


def as_planes(name: str, images: Iterable[Any], data_format: str) -> list[Array]:
    """Read images as arrays (H, W) or (H, W, 3)."""
    check_data_format(name, data_format)
    first = data_format == "channels_first"
    forms = "(1, H, W) or (3, H, W)" if first else "(H, W, 1) or (H, W, 3)"
    planes = []
    for index, image in enumerate(images):
        array = np.asarray(image)
        if array.dtype.kind not in "buif":
            raise TypeError(f"{name}: image {index} has dtype {array.dtype}, expected numbers")
        channels = array.shape[0 if first else -1] if array.ndim == 3 else 1
        if not array.size or array.ndim not in (2, 3) or channels not in (1, 3):
            raise ValueError(f"{name}: image {index} has shape {array.shape}, expected (H, W), {forms}")
        if array.ndim == 3:
            array = np.moveaxis(array, 0, -1) if first else array
            array = array[..., 0] if array.shape[-1] == 1 else array
        planes.append(array)
    if not planes:
        raise ValueError(f"{name}: there are no images")
    return planes


def common_limits(planes: Sequence[Array]) -> Limits:
    """Choose the values that are black and white, for all images alike."""
    if all(plane.dtype == np.uint8 for plane in planes):
        return 0.0, 255.0
    finite = [plane[np.isfinite(plane)] for plane in planes]
    low = min((float(values.min()) for values in finite if values.size), default=0.0)
    high = max((float(values.max()) for values in finite if values.size), default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def toned(plane: Array, limits: Limits) -> Array:
    """Map a colour image into [0, 1]; one of grey is left to the colour map."""
    if plane.ndim == 2:
        return plane
    low, high = limits
    return np.nan_to_num(np.clip((plane.astype(np.float64) - low) / (high - low), 0, 1))


def mosaic(tiles: Array, columns: int, gap: int = 1) -> Array:
    """Lay tiles (N, h, w) or (N, h, w, 3) side by side, row after row, with gaps of NaN (white for RGB)."""
    count, height, width, *colour = tiles.shape
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, *colour), 1.0 if colour else np.nan
    )
    for index, tile in enumerate(tiles):
        top, left = (height + gap) * (index // columns), (width + gap) * (index % columns)
        sheet[top : top + height, left : left + width] = tile
    return sheet
