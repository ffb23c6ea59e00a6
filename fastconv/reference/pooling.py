"""Pools: a maximum, a mean or a p-norm of what lies under each window, and the maximum's inverse.

As in a convolution the loop runs over the taps of the window: a strided slice holds what lies under one tap
of every window. Padding is never the maximum, and a NaN always is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .arrays import Layout, float_array, for_each_rank, numpy_array, rounded
from .geometry import (
    Array,
    Padding,
    PerAxis,
    Windows,
    check_not_empty,
    is_sequence,
    per_axis,
    pool_windows,
    trailing,
    window_pads,
)


def overhang_pads(sizes: Sequence[int], windows: Windows) -> tuple[tuple[int, int], ...]:
    """Return the pads with the `after` ones grown to what the last windows of ``ceil_mode`` reach."""
    pads = []
    for axis, size in enumerate(sizes):
        before, after = windows.pads[axis]
        reach = (windows.output[axis] - 1) * windows.stride[axis]
        reach += (windows.kernel[axis] - 1) * windows.dilation[axis] + 1
        pads.append((before, max(after, reach - size - before)))
    return tuple(pads)


def pad_with(planes: Array, pads: Sequence[tuple[int, int]], value: float) -> Array:
    """Return `planes` with its last axes padded by `value`."""
    lead = [(0, 0)] * (planes.ndim - len(pads))
    return np.pad(planes, [*lead, *pads], constant_values=value)


def averaging_weights(
    sizes: Sequence[int], windows: Windows, count_include_pad: bool, divisor_override: int | None
) -> Array:
    """Return, per window, one over the number its sum is divided by.

    The declared padding counts if the caller wants it to; what ``ceil_mode`` reaches beyond it never does.
    A window that counts nothing has the mean 0.
    """
    if divisor_override is not None:
        if divisor_override == 0:
            raise ValueError("divisor_override must not be 0")
        return np.full(windows.output, 1 / divisor_override)
    counted = pad_with(np.ones(sizes), windows.pads, value=float(count_include_pad))
    beyond = [
        (0, grown - declared)
        for (_, grown), (_, declared) in zip(overhang_pads(sizes, windows), windows.pads, strict=True)
    ]
    counted = pad_with(counted, beyond, value=0.0)
    counts = sum((counted[under_tap] for _, under_tap in windows.taps()), start=np.zeros(windows.output))
    return np.divide(1.0, counts, where=counts > 0, out=np.zeros(windows.output))


def adaptive_windows(size: int, count: int) -> Iterator[slice]:
    """Yield `count` slices that cover an axis of `size`: number i is [floor(i s/c), ceil((i+1) s/c))."""
    for i in range(count):
        yield slice(i * size // count, -(-(i + 1) * size // count))


def adaptive_sizes(output_size: int | Sequence[int | None] | None, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return `output_size` with ``None`` replaced by the input's size."""
    entries: Sequence[Any] = list(output_size) if is_sequence(output_size) else [output_size] * len(sizes)
    if len(entries) != len(sizes):
        raise ValueError(f"output_size must have {len(sizes)} entries, got {output_size!r}")
    return per_axis(
        "output_size", [s if e is None else e for e, s in zip(entries, sizes, strict=True)], len(sizes)
    )


def adaptive_cells(
    sizes: Sequence[int], output: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Yield every output position with the slices of the input that it covers."""
    per_axis_slices = [list(adaptive_windows(s, o)) for s, o in zip(sizes, output, strict=True)]
    for cell in np.ndindex(*output):
        yield cell, tuple(slices[i] for slices, i in zip(per_axis_slices, cell, strict=True))


def max_pool(
    rank: int,
    x: Array,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    data_format: str = "channels_first",
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Return the largest element under each window, and with `return_indices` where it lies.

    The int64 indices are flat positions in the channel's unpadded plane; the first of equal maxima counts.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import reference
    >>> reference.max_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2, return_indices=True)
    (array([[3., 5.]]), array([[1, 3]]))
    """
    x = float_array("x", x)
    layout = Layout.of("x", x.shape, rank, data_format)
    planes = layout.planes("x", x)
    sizes = planes.shape[2:]
    windows = pool_windows(sizes, kernel_size, stride, padding, dilation, ceil_mode)
    pads = overhang_pads(sizes, windows)
    padded = pad_with(planes, pads, value=-np.inf)
    positions = pad_with(np.arange(math.prod(sizes)).reshape(sizes), pads, value=-1)

    largest = np.full((*planes.shape[:2], *windows.output), -np.inf)
    indices = np.full(largest.shape, -1)
    for _, under_tap in windows.taps():
        value, position = padded[under_tap], positions[under_tap]
        larger = (value > largest) | (np.isnan(value) & ~np.isnan(largest)) | (indices < 0)
        wins = (position >= 0) & larger
        largest, indices = np.where(wins, value, largest), np.where(wins, position, indices)

    y = rounded(layout.restore(largest), x.dtype, out)
    return (y, np.ascontiguousarray(layout.restore(indices))) if return_indices else y


def avg_pool(
    rank: int,
    x: Array,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: str = "channels_first",
    out: Array | None = None,
) -> Array:
    """Return the mean of what lies under each window; padding is zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import reference
    >>> reference.avg_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2)
    array([[2. , 3.5]])
    """
    x = float_array("x", x)
    layout = Layout.of("x", x.shape, rank, data_format)
    planes = layout.planes("x", x)
    sizes = planes.shape[2:]
    windows = pool_windows(sizes, kernel_size, stride, padding, dilation, ceil_mode)
    padded = pad_with(planes, overhang_pads(sizes, windows), value=0.0)
    total = np.zeros((*planes.shape[:2], *windows.output))
    for _, under_tap in windows.taps():
        total += padded[under_tap]
    y = total * averaging_weights(sizes, windows, count_include_pad, divisor_override)
    return rounded(layout.restore(y), x.dtype, out)


def lp_pool(
    rank: int,
    x: Array,
    p: float,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    data_format: str = "channels_first",
) -> Array:
    """Return the p-norm (sum |x|^p)^(1/p) of what lies under each window; padding is zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import reference
    >>> reference.lp_pool1d(np.array([[3.0, -4.0]]), 2, 2)
    array([[5.]])
    """
    x = float_array("x", x)
    check_norm(p)
    layout = Layout.of("x", x.shape, rank, data_format)
    planes = layout.planes("x", x)
    sizes = planes.shape[2:]
    windows = pool_windows(sizes, kernel_size, stride, padding, 1, ceil_mode)
    padded = pad_with(planes, overhang_pads(sizes, windows), value=0.0)
    total = np.zeros((*planes.shape[:2], *windows.output))
    for _, under_tap in windows.taps():
        total += np.abs(padded[under_tap]) ** p
    return rounded(layout.restore(total ** (1 / p)), x.dtype)


def check_norm(p: float) -> None:
    """Check the exponent of a p-norm."""
    if not 0 < p < math.inf:
        raise ValueError(f"p must be positive and finite, got {p!r}")


def adaptive_max_pool(
    rank: int,
    x: Array,
    output_size: int | Sequence[int | None] | None,
    *,
    return_indices: bool = False,
    data_format: str = "channels_first",
) -> Array | tuple[Array, Array]:
    """Return the maxima of `output_size` windows that together cover the input.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import reference
    >>> reference.adaptive_max_pool1d(np.array([[1.0, 3.0, 2.0]]), 2)
    array([[3., 3.]])
    """
    x = float_array("x", x)
    layout = Layout.of("x", x.shape, rank, data_format)
    planes = layout.planes("x", x)
    sizes = planes.shape[2:]
    check_not_empty(sizes)
    output = adaptive_sizes(output_size, sizes)
    positions = np.arange(math.prod(sizes)).reshape(sizes)
    largest = np.zeros((*planes.shape[:2], *output))
    indices = np.zeros(largest.shape, dtype=np.int64)
    for cell, covered in adaptive_cells(sizes, output):
        under = planes[trailing(covered)].reshape(*planes.shape[:2], positions[covered].size)
        winner = under.argmax(axis=-1)  # the first NaN, where there is one
        largest[trailing(cell)] = np.take_along_axis(under, winner[..., None], axis=-1)[..., 0]
        indices[trailing(cell)] = positions[covered].ravel()[winner]
    y = rounded(layout.restore(largest), x.dtype)
    return (y, np.ascontiguousarray(layout.restore(indices))) if return_indices else y


def adaptive_avg_pool(
    rank: int,
    x: Array,
    output_size: int | Sequence[int | None] | None,
    *,
    data_format: str = "channels_first",
) -> Array:
    """Return the means of `output_size` windows that together cover the input.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import reference
    >>> reference.adaptive_avg_pool1d(np.array([[1.0, 3.0, 2.0]]), 2)
    array([[2. , 2.5]])
    """
    x = float_array("x", x)
    layout = Layout.of("x", x.shape, rank, data_format)
    planes = layout.planes("x", x)
    check_not_empty(planes.shape[2:])
    output = adaptive_sizes(output_size, planes.shape[2:])
    y = np.zeros((*planes.shape[:2], *output))
    for cell, covered in adaptive_cells(planes.shape[2:], output):
        y[trailing(cell)] = planes[trailing(covered)].mean(axis=tuple(range(2, 2 + rank)))
    return rounded(layout.restore(y), x.dtype)


def unpooled_sizes(
    sizes: Sequence[int],
    kernel_size: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    output_size: Sequence[int] | None,
) -> tuple[int, ...]:
    """Return the spatial sizes that a max_unpool restores.

    Where the caller names them they must be less than a stride from those that the windows cover exactly.
    """
    rank = len(sizes)
    kernel = per_axis("kernel_size", kernel_size, rank)
    steps = kernel if stride is None else per_axis("stride", stride, rank)
    given = None if output_size is None else per_axis("output_size", output_size, rank)
    if given is None and isinstance(padding, str) and padding != "valid":
        raise ValueError(f"padding={padding!r} fits several sizes: max_unpool needs output_size")
    pads = window_pads(padding, given or sizes, kernel, steps)
    restored = tuple(
        (size - 1) * step + k - before - after
        for size, step, k, (before, after) in zip(sizes, steps, kernel, pads, strict=True)
    )
    if given is None and min(restored) < 1:
        raise ValueError(f"padding {pads} leaves nothing of the result: its sizes would be {restored}")
    if given and any(abs(g - n) >= step for g, n, step in zip(given, restored, steps, strict=True)):
        raise ValueError(f"output_size {given} must be less than the stride {steps} away from {restored}")
    return given or restored


def max_unpool(
    rank: int,
    x: Array,
    indices: Array,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_size: Sequence[int] | None = None,
    data_format: str = "channels_first",
) -> Array:
    """Return zeros with every element of `x` put where `indices`, those of a max pool, say.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import reference
    >>> reference.max_unpool1d(np.array([[3.0, 5.0]]), np.array([[1, 3]]), 2)
    array([[0., 3., 0., 5.]])
    """
    x = float_array("x", x)
    layout = Layout.of("x", x.shape, rank, data_format)
    planes = layout.planes("x", x)
    sizes = unpooled_sizes(planes.shape[2:], kernel_size, stride, padding, output_size)
    positions = index_planes(layout, indices, planes.shape, math.prod(sizes))
    y = np.zeros((*planes.shape[:2], math.prod(sizes)))
    np.put_along_axis(y, positions, planes.reshape(positions.shape), axis=-1)
    return rounded(layout.restore(y.reshape(*planes.shape[:2], *sizes)), x.dtype)


def index_planes(layout: Layout, indices: Array, shape: Sequence[int], limit: int) -> Array:
    """Return checked `indices` as (N, C, windows)."""
    indices = numpy_array("indices", indices)
    if indices.dtype != np.int64:
        raise TypeError(f"indices must be int64, got {indices.dtype}")
    planes = layout.planes("indices", indices)
    if planes.shape != tuple(shape):
        raise ValueError(f"indices has shape {indices.shape}, which does not fit the pooled array")
    if planes.size and not (planes.min() >= 0 and planes.max() < limit):
        raise ValueError(f"indices must lie in 0 .. {limit - 1}")
    return planes.reshape(*planes.shape[:2], math.prod(planes.shape[2:]))


max_pool1d, max_pool2d, max_pool3d = for_each_rank(max_pool)
avg_pool1d, avg_pool2d, avg_pool3d = for_each_rank(avg_pool)
lp_pool1d, lp_pool2d, lp_pool3d = for_each_rank(lp_pool)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = for_each_rank(adaptive_max_pool)
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = for_each_rank(adaptive_avg_pool)
max_unpool1d, max_unpool2d, max_unpool3d = for_each_rank(max_unpool)
