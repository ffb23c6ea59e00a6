"""Convolutions (cross-correlations, as in every deep-learning framework) and transposed convolutions.

    y[n, k, o] = b[k] + sum over c and taps t of  x_padded[n, c, o * stride + t * dilation] * w[k, c, t]

The sum is written as a loop over the taps: under one tap lies a strided slice of the padded input, and its
contribution to all outputs is one matrix product over the channels. With groups the channels of input and
output fall into as many blocks, and block g of the output sees block g of the input.

Three functions hold it all: `correlate` is the sum above, `correlate_adjoint_input` and
`correlate_adjoint_filters` run the same loop backwards. A gradient is one of those two; a transposed
convolution is `correlate_adjoint_input`. (Dumoulin and Visin, "A guide to convolution arithmetic for deep
learning", 2016.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .arrays import Layout, float_array, for_each_rank, rounded
from .elementwise import activate
from .geometry import (
    Array,
    Padding,
    PerAxis,
    Windows,
    conv_windows,
    pad,
    trailing,
    transposed_windows,
    unpad,
)


def grouped(planes: Array, groups: int) -> Array:
    """Return (N, C, *spatial) as (N, groups, C // groups, pixels)."""
    n, c, *spatial = planes.shape
    return planes.reshape(n, groups, c // groups, math.prod(spatial))


def filter_blocks(filters: Array, tap: tuple[int, ...], groups: int) -> Array:
    """Return what (K, C // groups, *kernel) filters hold at one tap as (groups, K // groups, C // groups)."""
    k, c = filters.shape[:2]
    return filters[trailing(tap)].reshape(groups, k // groups, c)


def correlate(padded: Array, filters: Array, windows: Windows, groups: int) -> Array:
    """Return (N, K, *output) from padded planes and (K, C // groups, *kernel) filters."""
    n, k = len(padded), len(filters)
    y = np.zeros((n, groups, k // groups, math.prod(windows.output)))
    for tap, under_tap in windows.taps():
        y += filter_blocks(filters, tap, groups) @ grouped(padded[under_tap], groups)
    return y.reshape(n, k, *windows.output)


def correlate_adjoint_input(
    dy: Array, filters: Array, windows: Windows, groups: int, padded_sizes: Sequence[int]
) -> Array:
    """Return the gradient at the padded planes: every tap scatters where `correlate` gathered."""
    channels = groups * filters.shape[1]
    dx = np.zeros((len(dy), channels, *padded_sizes))
    for tap, under_tap in windows.taps():
        contribution = filter_blocks(filters, tap, groups).swapaxes(1, 2) @ grouped(dy, groups)
        dx[under_tap] += contribution.reshape(len(dy), channels, *windows.output)
    return dx


def correlate_adjoint_filters(dy: Array, padded: Array, windows: Windows, groups: int) -> Array:
    """Return the gradient at the filters: for every tap, a product over all images and pixels."""
    k, c = dy.shape[1], padded.shape[1] // groups
    dw = np.zeros((k, c, *windows.kernel))
    for tap, under_tap in windows.taps():
        blocks = grouped(dy, groups) @ grouped(padded[under_tap], groups).swapaxes(2, 3)
        dw[trailing(tap)] = blocks.sum(axis=0).reshape(k, c)
    return dw


def check_channels(
    x_channels: int, w: Array, b: Array | None, groups: int, *, transposed: bool = False
) -> None:
    """Check channels, groups and bias of a convolution, whose w is (K, C // groups, *kernel).

    A transposed one has w of (C, K // groups, *kernel).
    """
    if groups < 1:
        raise ValueError(f"groups must be at least 1, got {groups}")
    reads = len(w) if transposed else w.shape[1] * groups
    if reads != x_channels or min(w.shape) < 1:
        raise ValueError(
            f"x has {x_channels} channels, but w of shape {w.shape} with groups={groups} reads {reads}"
        )
    if len(w) % groups:
        raise ValueError(f"w of shape {w.shape} has {len(w)} filters, which groups={groups} does not divide")
    filters = w.shape[1] * groups if transposed else len(w)
    if b is not None and b.shape != (filters,):
        raise ValueError(f"b must have shape ({filters},), got {b.shape}")


def conv(
    rank: int,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    data_format: str = "channels_first",
    activation: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the convolution of `x` with the filters `w`, plus `b`, through `activation`.

    Parameters
    ----------
    x : array, (N, C, *spatial), or (N, *spatial, C) with ``data_format="channels_last"``; N may be left out
    w : array, (K, C // groups, *kernel)
    b : array, (K,), optional
    stride, dilation : int or one int per spatial axis
    padding : int, one int or (before, after) pair per axis, or "valid", "same", "full", "causal" (1-D)
    padding_mode : "zeros", "reflect", "replicate" or "circular"
    precision, algorithm : accepted for the signature's sake; the reference always computes in float64
    out : array to fill, optional

    Returns
    -------
    array of `x`'s dtype and layout with K channels

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import reference
    >>> reference.conv1d(np.array([[1.0, 2.0, 4.0]]), np.array([[[1.0, -1.0]]]))
    array([[-1., -2.]])
    """
    x = float_array("x", x)
    w = float_array("w", w, x.dtype)
    b = None if b is None else float_array("b", b, x.dtype)
    if w.ndim != rank + 2:
        raise ValueError(
            f"w must be (filters, channels // groups, *kernel) with {rank + 2} axes, got {w.shape}"
        )
    layout = Layout.of("x", x.shape, rank, data_format)
    planes = layout.planes("x", x)
    check_channels(planes.shape[1], w, b, groups)
    windows = conv_windows(planes.shape[2:], w.shape[2:], stride, padding, dilation)
    y = correlate(pad(planes, windows.pads, padding_mode), w.astype(np.float64), windows, groups)
    return finish(y, b, activation, layout, x, out)


def conv_transpose(
    rank: int,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    data_format: str = "channels_first",
    activation: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the transposed convolution: the input gradient of the convolution with the same arguments.

    Parameters
    ----------
    x : array, (N, C, *spatial), or (N, *spatial, C) with ``data_format="channels_last"``; N may be left out
    w : array, (C, K // groups, *kernel)
    b : array, (K,), optional
    stride, dilation : int or one int per spatial axis
    padding : as for a convolution: it *takes away* from the result; or "valid", "same" (input × stride)
    output_padding : int or one int per axis, added to the result's size after the last element
    precision, algorithm : accepted for the signature's sake; the reference always computes in float64
    out : array to fill, optional

    Returns
    -------
    array of `x`'s dtype and layout with K channels

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import reference
    >>> reference.conv_transpose1d(np.array([[1.0, 2.0]]), np.array([[[1.0, 10.0]]]), stride=2)
    array([[ 1., 10.,  2., 20.]])
    """
    x = float_array("x", x)
    w = float_array("w", w, x.dtype)
    b = None if b is None else float_array("b", b, x.dtype)
    if w.ndim != rank + 2:
        raise ValueError(
            f"w must be (channels, filters // groups, *kernel) with {rank + 2} axes, got {w.shape}"
        )
    layout = Layout.of("x", x.shape, rank, data_format)
    planes = layout.planes("x", x)
    check_channels(planes.shape[1], w, b, groups, transposed=True)
    windows, sizes = transposed_windows(
        planes.shape[2:], w.shape[2:], stride, padding, output_padding, dilation
    )
    padded_sizes = [size + before + after for size, (before, after) in zip(sizes, windows.pads, strict=True)]
    padded = correlate_adjoint_input(planes, w.astype(np.float64), windows, groups, padded_sizes)
    return finish(unpad(padded, windows.pads), b, activation, layout, x, out)


def finish(
    y: Array, b: Array | None, activation: str | None, layout: Layout, x: Array, out: Array | None
) -> Array:
    """Return planes `y` with bias and activation, in the layout and dtype of `x`."""
    if b is not None:
        y = y + b.astype(np.float64).reshape(-1, *[1] * layout.rank)
    return rounded(layout.restore(activate(y, activation)), x.dtype, out)


conv1d, conv2d, conv3d = for_each_rank(conv)
conv_transpose1d, conv_transpose2d, conv_transpose3d = for_each_rank(conv_transpose)
