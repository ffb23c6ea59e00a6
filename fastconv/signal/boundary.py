"""Correlation of planes that go on beyond their borders, without a padded copy of them.

For a plane `x` extended without end (`c` is the fill value),

    fill  c  c  c  | x0 x1 x2 | c  c  c
    symm  x2 x1 x0 | x0 x1 x2 | x2 x1 x0
    wrap  x0 x1 x2 | x0 x1 x2 | x0 x1 x2

and a kernel `w` of shape (R, S), `y[i, j] = sum_rs w[r, s] x[i + r - top, j + s - left]`. Where no padding
mode of `conv2d` is that extension, zeros are padded instead, and the bands of `y` that depend on samples
outside are computed a second time, from a narrow copy of the extended plane.
"""

import numpy as np
from numpy.typing import NDArray

from fastconv.functional import conv2d
from fastconv.signal.arguments import Array


def correlate_extended(
    x: Array,
    w: Array,
    pads: tuple[tuple[int, int], tuple[int, int]],
    boundary: str,
    fillvalue: float = 0.0,
) -> Array:
    """Correlate planes with a kernel, reading `pads` samples beyond their borders.

    `x` is (N, 1, H, W) and `w` (1, 1, R, S); `pads` is ((top, bottom), (left, right)), each less than the
    kernel's size; `boundary` is "fill", "symm" or "wrap". The result is
    (N, 1, H + top + bottom - R + 1, W + left + right - S + 1).
    """
    if boundary == "symm" and max(map(max, pads)) <= 1:
        return conv2d(x, w, padding=pads, padding_mode="replicate")
    if boundary == "wrap" and all(max(pad) <= n for n, pad in zip(x.shape[2:], pads, strict=True)):
        return conv2d(x, w, padding=pads, padding_mode="circular")

    (top, bottom), (left, right) = pads
    height, width = (n + sum(pad) - k + 1 for n, k, pad in zip(x.shape[2:], w.shape[2:], pads, strict=True))
    bottom, right = height - bottom, width - right
    if top >= bottom or left >= right:
        return conv2d(_extended(x, w, pads, (0, height), (0, width), boundary, fillvalue), w)
    y = conv2d(x, w, padding=pads)
    for rows, columns in (
        ((0, top), (0, width)),
        ((bottom, height), (0, width)),
        ((top, bottom), (0, left)),
        ((top, bottom), (right, width)),
    ):
        if rows[0] < rows[1] and columns[0] < columns[1]:
            band = _extended(x, w, pads, rows, columns, boundary, fillvalue)
            y[:, :, slice(*rows), slice(*columns)] = conv2d(band, w)
    return y


def _extended(
    x: Array,
    w: Array,
    pads: tuple[tuple[int, int], tuple[int, int]],
    rows: tuple[int, int],
    columns: tuple[int, int],
    boundary: str,
    fillvalue: float,
) -> Array:
    """Copy as much of the extended planes as these rows and columns of the result read."""
    row, column = (
        _sources(n, first - before, stop - before + k - 1, boundary)
        for n, k, (before, _), (first, stop) in zip(
            x.shape[2:], w.shape[2:], pads, (rows, columns), strict=True
        )
    )
    band = x[:, :, row[:, np.newaxis], column]
    band[:, :, row < 0] = fillvalue
    band[:, :, :, column < 0] = fillvalue
    return band


def _sources(n: int, first: int, stop: int, boundary: str) -> NDArray[np.intp]:
    """Say which of an axis's `n` samples stands at each extended place, -1 where it is the fill value."""
    place = np.arange(first, stop)
    if boundary == "wrap":
        return place % n
    if boundary == "symm":
        place %= 2 * n
        return np.minimum(place, 2 * n - 1 - place)
    return np.where((place >= 0) & (place < n), place, -1)
