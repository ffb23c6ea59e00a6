"""Operations one element at a time, sharing nothing with the oracle, not even what "same" stands for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from cases import PoolCase


def each_axis(value, rank):
    return [value] * rank if isinstance(value, int) else list(value)


def numeric_pads(case, kernel, stride, dilation):
    """Return the (before, after) pads that a case's `padding` stands for."""
    padding, rank = case.padding, case.rank
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if padding == "valid":
        return [(0, 0)] * rank
    if padding == "full":
        return [(r, r) for r in reach]
    if padding == "causal":
        return [(reach[0], 0)]
    if padding == "same":
        needed = [
            max((math.ceil(size / s) - 1) * s + r + 1 - size, 0)
            for size, s, r in zip(case.x[2:], stride, reach, strict=True)
        ]
        return [(n // 2, n - n // 2) for n in needed]
    entries = each_axis(padding, rank)
    return [(e, e) if isinstance(e, int) else e for e in entries]


def convolution_in_loops(x, w, b, stride, pads, dilation, groups):
    """Return a 2-D convolution, one multiplication at a time."""
    (n, _, height, width), (k, c, kernel_height, kernel_width) = x.shape, w.shape
    (top, bottom), (left, right) = pads
    rows = (height + top + bottom - dilation[0] * (kernel_height - 1) - 1) // stride[0] + 1
    columns = (width + left + right - dilation[1] * (kernel_width - 1) - 1) // stride[1] + 1
    y = np.zeros((n, k, rows, columns))
    for image, filter_, row, column in np.ndindex(*y.shape):
        total = b[filter_]
        first_channel = filter_ // (k // groups) * c
        for channel, i, j in np.ndindex(c, kernel_height, kernel_width):
            r = row * stride[0] - top + i * dilation[0]
            s = column * stride[1] - left + j * dilation[1]
            if 0 <= r < height and 0 <= s < width:
                total += x[image, first_channel + channel, r, s] * w[filter_, channel, i, j]
        y[image, filter_, row, column] = total
    return y


def window_starts(size, pads, extent, stride, ceil_mode):
    """Return where a pool's windows start; ceil_mode adds one that overhangs, but none in the pads."""
    before, after = pads
    starts = list(range(-before, size + after - extent + 1, stride))
    following = starts[-1] + stride if starts else -before
    if ceil_mode and following - stride + extent < size + after and following < size:
        starts.append(following)
    return starts


def pool_windows_in_loops(case: PoolCase, plane: np.ndarray) -> Iterator[tuple[tuple[int, ...], list, int]]:
    """Yield each window's place, the (value, position) pairs under it, and how many taps see padding."""
    rank, sizes = case.rank, plane.shape
    kernel, dilation = each_axis(case.kernel_size, rank), each_axis(case.dilation, rank)
    stride = kernel if case.stride is None else each_axis(case.stride, rank)
    pads = numeric_pads(case, kernel, stride, dilation)
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    axes = zip(sizes, pads, extents, stride, strict=True)
    starts = [window_starts(*axis, case.ceil_mode) for axis in axes]
    for place in itertools.product(*(range(len(s)) for s in starts)):
        covered, padded = [], 0
        for tap in itertools.product(*map(range, kernel)):
            at = tuple(s[o] + t * d for s, o, t, d in zip(starts, place, tap, dilation, strict=True))
            if all(0 <= a < size for a, size in zip(at, sizes, strict=True)):
                covered.append((plane[at], int(np.ravel_multi_index(at, sizes))))
            elif all(-p <= a < size + q for a, size, (p, q) in zip(at, sizes, pads, strict=True)):
                padded += 1
        yield place, covered, padded
