"""Gradients of every operation, each the adjoint of the forward's loop, upstream gradient `dy` first.

A linear operation y = A x has the gradient dx = Aᵀ dy whatever x is: where the forward gathered from a
strided slice, the gradient adds into the same slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .arrays import Layout, float_array, for_each_rank, rounded
from .channel_pooling import channel_windows, global_layout
from .convolution import (
    check_channels,
    correlate,
    correlate_adjoint_filters,
    correlate_adjoint_input,
)
from .convolution import conv as conv_forward
from .convolution import conv_transpose as conv_transpose_forward
from .elementwise import DERIVATIVE_FROM_ARGUMENT, activation_grad
from .geometry import (
    Array,
    Index,
    Padding,
    PerAxis,
    Windows,
    conv_windows,
    pad,
    pool_windows,
    trailing,
    transposed_windows,
    unpad,
)
from .pooling import (
    adaptive_cells,
    averaging_weights,
    check_norm,
    index_planes,
    overhang_pads,
    pad_with,
)

Gradients = tuple[Array | None, Array | None, Array | None]


def before_activation(
    dy: Array, activation: str | None, y: Array | None, argument: Callable[[], Array]
) -> Array:
    """Return the gradient at the activation's argument, which `argument` computes where it is needed."""
    if activation is None:
        return dy.astype(np.float64)
    x = argument() if activation in DERIVATIVE_FROM_ARGUMENT else None
    y64 = None if y is None else float_array("y", y, dy.dtype).astype(np.float64)
    return activation_grad(dy.astype(np.float64), activation, x, y64)


def check_shape(name: str, planes: Array, expected: Sequence[int]) -> None:
    """Check that `planes`, an upstream gradient, has the forward result's shape."""
    if planes.shape != tuple(expected):
        raise ValueError(
            f"{name} has shape {planes.shape} as (N, C, *spatial), but the result has {tuple(expected)}"
        )


def conv(
    rank: int,
    dy: Array,
    x: Array,
    w: Array,
    *,
    b: Array | None = None,
    y: Array | None = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    data_format: str = "channels_first",
    activation: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
) -> Gradients:
    """Return the gradients (dx, dw, db) of a convolution; ``None`` where `needs` is false.

    With an `activation`, `y` is the forward's result; ``gelu`` and ``silu`` use `b` instead and compute
    their argument again.
    """
    dy = float_array("dy", dy)
    x, w = float_array("x", x, dy.dtype), float_array("w", w, dy.dtype)
    layout = Layout.of("x", x.shape, rank, data_format)
    planes, filters = layout.planes("x", x), w.astype(np.float64)
    check_channels(planes.shape[1], w, b, groups)
    windows = conv_windows(planes.shape[2:], w.shape[2:], stride, padding, dilation)

    def argument() -> Array:
        return conv_forward(
            rank,
            x.astype(np.float64),
            filters,
            None if b is None else b.astype(np.float64),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            data_format=data_format,
        )

    upstream = layout.planes("dy", before_activation(dy, activation, y, argument))
    check_shape("dy", upstream, (len(planes), len(w), *windows.output))
    padded = pad(planes, windows.pads, padding_mode)
    dx = dw = db = None
    if needs[0]:
        dpadded = correlate_adjoint_input(upstream, filters, windows, groups, padded.shape[2:])
        dx = rounded(layout.restore(unpad(dpadded, windows.pads, padding_mode)), dy.dtype)
    if needs[1]:
        dw = rounded(correlate_adjoint_filters(upstream, padded, windows, groups), dy.dtype)
    if needs[2]:
        db = rounded(upstream.sum(axis=(0, *range(2, upstream.ndim))), dy.dtype)
    return dx, dw, db


def conv_transpose(
    rank: int,
    dy: Array,
    x: Array,
    w: Array,
    *,
    b: Array | None = None,
    y: Array | None = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    data_format: str = "channels_first",
    activation: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
) -> Gradients:
    """Return the gradients (dx, dw, db) of a transposed convolution; ``None`` where `needs` is false.

    The forward is the adjoint of a convolution, so dx is that convolution of dy.
    """
    dy = float_array("dy", dy)
    x, w = float_array("x", x, dy.dtype), float_array("w", w, dy.dtype)
    layout = Layout.of("x", x.shape, rank, data_format)
    planes, filters = layout.planes("x", x), w.astype(np.float64)
    check_channels(planes.shape[1], w, b, groups, transposed=True)
    windows, sizes = transposed_windows(
        planes.shape[2:], w.shape[2:], stride, padding, output_padding, dilation
    )

    def argument() -> Array:
        return conv_transpose_forward(
            rank,
            x.astype(np.float64),
            filters,
            None if b is None else b.astype(np.float64),
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
            data_format=data_format,
        )

    upstream = layout.planes("dy", before_activation(dy, activation, y, argument))
    check_shape("dy", upstream, (len(planes), w.shape[1] * groups, *sizes))
    padded = pad(upstream, windows.pads)
    dx = dw = db = None
    if needs[0]:
        dx = rounded(layout.restore(correlate(padded, filters, windows, groups)), dy.dtype)
    if needs[1]:
        dw = rounded(correlate_adjoint_filters(planes, padded, windows, groups), dy.dtype)
    if needs[2]:
        db = rounded(upstream.sum(axis=(0, *range(2, upstream.ndim))), dy.dtype)
    return dx, dw, db


def scatter(dy: Array, indices: Array, input_shape: Sequence[int], rank: int, data_format: str) -> Array:
    """Return zeros of `input_shape` with every element of `dy` added where its index says."""
    dy = float_array("dy", dy)
    layout = Layout.of("input_shape", input_shape, rank, data_format)
    upstream = layout.planes("dy", dy)
    n, c, *sizes = layout.planes_shape(input_shape)
    check_shape("dy", upstream, (n, c, *upstream.shape[2:]))
    positions = index_planes(layout, indices, upstream.shape, math.prod(sizes))
    dx = np.zeros((n, c, math.prod(sizes)))
    image, channel = np.ogrid[:n, :c]
    np.add.at(dx, (image[..., None], channel[..., None], positions), upstream.reshape(positions.shape))
    return rounded(layout.restore(dx.reshape(n, c, *sizes)), dy.dtype)


def max_pool(
    rank: int, dy: Array, indices: Array, input_shape: Sequence[int], *, data_format: str = "channels_first"
) -> Array:
    """Return the gradient of a max pool, from the indices that it returned."""
    return scatter(dy, indices, input_shape, rank, data_format)


def adaptive_max_pool(
    rank: int, dy: Array, indices: Array, input_shape: Sequence[int], *, data_format: str = "channels_first"
) -> Array:
    """Return the gradient of an adaptive max pool, from the indices that it returned."""
    return scatter(dy, indices, input_shape, rank, data_format)


def max_unpool(
    rank: int, dy: Array, indices: Array, input_shape: Sequence[int], *, data_format: str = "channels_first"
) -> Array:
    """Return the gradient of a max unpool: what `dy` holds at the indices."""
    dy = float_array("dy", dy)
    layout = Layout.of("dy", dy.shape, rank, data_format)
    upstream = layout.planes("dy", dy)
    shape = layout.planes_shape(input_shape)
    check_shape("dy", upstream, (*shape[:2], *upstream.shape[2:]))
    positions = index_planes(layout, indices, shape, math.prod(upstream.shape[2:]))
    flat = upstream.reshape(*shape[:2], math.prod(upstream.shape[2:]))
    return rounded(layout.restore(np.take_along_axis(flat, positions, axis=-1).reshape(shape)), dy.dtype)


def spread(contribution: Callable[[Index], Array], windows: Windows, shape: Sequence[int]) -> Array:
    """Return planes of `shape` with, for every tap, its contribution added to what lies under it."""
    sizes = shape[2:]
    pads = overhang_pads(sizes, windows)
    dpadded = np.zeros(
        (*shape[:2], *(s + before + after for s, (before, after) in zip(sizes, pads, strict=True)))
    )
    for _, under_tap in windows.taps():
        dpadded[under_tap] += contribution(under_tap)
    return unpad(dpadded, pads)


def avg_pool(
    rank: int,
    dy: Array,
    input_shape: Sequence[int],
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: str = "channels_first",
) -> Array:
    """Return the gradient of an average pool."""
    dy = float_array("dy", dy)
    layout = Layout.of("input_shape", input_shape, rank, data_format)
    upstream, shape = layout.planes("dy", dy), layout.planes_shape(input_shape)
    windows = pool_windows(shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    check_shape("dy", upstream, (*shape[:2], *windows.output))
    share = upstream * averaging_weights(shape[2:], windows, count_include_pad, divisor_override)
    return rounded(layout.restore(spread(lambda _: share, windows, shape)), dy.dtype)


def lp_pool(
    rank: int,
    dy: Array,
    x: Array,
    y: Array,
    p: float,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    data_format: str = "channels_first",
) -> Array:
    """Return the gradient of a p-norm pool, sign(x) |x|^(p-1) y^(1-p) dy; where x is 0 it is 0."""
    dy = float_array("dy", dy)
    x = float_array("x", x, dy.dtype)
    check_norm(p)
    layout = Layout.of("x", x.shape, rank, data_format)
    upstream, planes = layout.planes("dy", dy), layout.planes("x", x)
    norms = layout.planes("y", float_array("y", y, dy.dtype))
    windows = pool_windows(planes.shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    check_shape("dy", upstream, (*planes.shape[:2], *windows.output))
    check_shape("y", norms, upstream.shape)
    padded = pad_with(planes, overhang_pads(planes.shape[2:], windows), value=0.0)

    def contribution(under_tap: Index) -> Array:
        value = padded[under_tap]
        slope = np.sign(value) * (np.abs(value) / norms) ** (p - 1)
        return np.where(value == 0, 0.0, slope * upstream)

    return rounded(layout.restore(spread(contribution, windows, planes.shape)), dy.dtype)


def adaptive_avg_pool(
    rank: int, dy: Array, input_shape: Sequence[int], *, data_format: str = "channels_first"
) -> Array:
    """Return the gradient of an adaptive average pool."""
    dy = float_array("dy", dy)
    layout = Layout.of("input_shape", input_shape, rank, data_format)
    upstream, shape = layout.planes("dy", dy), layout.planes_shape(input_shape)
    check_shape("dy", upstream, (*shape[:2], *upstream.shape[2:]))
    dx = np.zeros(shape)
    for cell, covered in adaptive_cells(shape[2:], upstream.shape[2:]):
        count = math.prod(s.stop - s.start for s in covered)
        share = upstream[trailing(cell)] / count
        dx[trailing(covered)] += share.reshape(*shape[:2], *[1] * rank)
    return rounded(layout.restore(dx), dy.dtype)


def global_upstream(dy: Array, layout: Layout, shape: Sequence[int], keepdims: bool) -> Array:
    """Return `dy` of a global pool as (N, C, 1, ...)."""
    upstream = layout.planes("dy", dy) if keepdims else dy.astype(np.float64)
    check_shape("dy", upstream, (*shape[:2], *([1] * layout.rank if keepdims else [])))
    return upstream.reshape(*shape[:2], *[1] * layout.rank)


@np.errstate(all="ignore")
def global_max_pool(
    dy: Array, x: Array, *, keepdims: bool = False, data_format: str = "channels_first"
) -> Array:
    """Return the gradient of a global max pool: `dy` at each plane's first maximum."""
    dy, x = float_array("dy", dy), float_array("x", x)
    layout = global_layout("x", x.shape, data_format)
    planes = layout.planes("x", x)
    upstream = global_upstream(dy, layout, planes.shape, keepdims)
    flat = planes.reshape(*planes.shape[:2], math.prod(planes.shape[2:]))
    dx = np.zeros(flat.shape)
    np.put_along_axis(dx, flat.argmax(axis=-1)[..., None], upstream.reshape(*planes.shape[:2], 1), axis=-1)
    return rounded(layout.restore(dx.reshape(planes.shape)), dy.dtype)


@np.errstate(all="ignore")
def global_avg_pool(
    dy: Array, input_shape: Sequence[int], *, keepdims: bool = False, data_format: str = "channels_first"
) -> Array:
    """Return the gradient of a global average pool."""
    dy = float_array("dy", dy)
    layout = global_layout("input_shape", input_shape, data_format)
    shape = layout.planes_shape(input_shape)
    upstream = global_upstream(dy, layout, shape, keepdims)
    return rounded(layout.restore(np.broadcast_to(upstream / math.prod(shape[2:]), shape)), dy.dtype)


@np.errstate(all="ignore")
def channel_max_pool(
    dy: Array, x: Array, pool_size: int, *, stride: int | None = None, data_format: str = "channels_first"
) -> Array:
    """Return the gradient of a channel max pool: `dy` at the first maximum of each window."""
    dy, x = float_array("dy", dy), float_array("x", x)
    layout = global_layout("x", x.shape, data_format)
    planes, upstream = layout.planes("x", x), layout.planes("dy", dy)
    windows = channel_windows(planes.shape[1], pool_size, stride)
    check_shape("dy", upstream, (len(planes), len(windows), *planes.shape[2:]))
    dx = np.zeros(planes.shape)
    for i, window in enumerate(windows):
        winner = planes[:, window].argmax(axis=1, keepdims=True)
        at_winner = np.arange(window.stop - window.start).reshape(1, -1, *[1] * layout.rank) == winner
        dx[:, window] += np.where(at_winner, upstream[:, i : i + 1], 0.0)
    return rounded(layout.restore(dx), dy.dtype)


@np.errstate(all="ignore")
def channel_avg_pool(
    dy: Array,
    input_shape: Sequence[int],
    pool_size: int,
    *,
    stride: int | None = None,
    data_format: str = "channels_first",
) -> Array:
    """Return the gradient of a channel average pool."""
    dy = float_array("dy", dy)
    layout = global_layout("input_shape", input_shape, data_format)
    upstream, shape = layout.planes("dy", dy), layout.planes_shape(input_shape)
    windows = channel_windows(shape[1], pool_size, stride)
    check_shape("dy", upstream, (shape[0], len(windows), *shape[2:]))
    dx = np.zeros(shape)
    for i, window in enumerate(windows):
        dx[:, window] += upstream[:, i : i + 1] / pool_size
    return rounded(layout.restore(dx), dy.dtype)


conv1d, conv2d, conv3d = for_each_rank(conv)
conv_transpose1d, conv_transpose2d, conv_transpose3d = for_each_rank(conv_transpose)
max_pool1d, max_pool2d, max_pool3d = for_each_rank(max_pool)
avg_pool1d, avg_pool2d, avg_pool3d = for_each_rank(avg_pool)
lp_pool1d, lp_pool2d, lp_pool3d = for_each_rank(lp_pool)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = for_each_rank(adaptive_max_pool)
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = for_each_rank(adaptive_avg_pool)
max_unpool1d, max_unpool2d, max_unpool3d = for_each_rank(max_unpool)
