"""Pools over a channel's whole plane, and over several channels at one pixel; both want the batch axis."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np

from .arrays import Layout, float_array, rounded
from .geometry import Array, check_not_empty


def global_layout(name: str, shape: Sequence[int], data_format: str) -> Layout:
    """Return the layout of an array of any rank that has its batch axis."""
    if len(shape) < 3:
        raise ValueError(f"{name} must have a batch, a channel and spatial axes, got shape {tuple(shape)}")
    return Layout.of(name, shape, len(shape) - 2, data_format)


def reduced_planes(planes: Array, keepdims: bool, layout: Layout) -> Array:
    """Return (N, C) values as (N, C), or with spatial axes of size 1 in the caller's layout."""
    return layout.restore(planes.reshape(*planes.shape, *[1] * layout.rank)) if keepdims else planes


@np.errstate(all="ignore")
def global_max_pool(x: Array, *, keepdims: bool = False, data_format: str = "channels_first") -> Array:
    """Return the largest element of every channel's plane, (N, C)."""
    x = float_array("x", x)
    layout = global_layout("x", x.shape, data_format)
    planes = layout.planes("x", x)
    check_not_empty(planes.shape[2:])
    largest = planes.max(axis=tuple(range(2, planes.ndim)))
    return rounded(reduced_planes(largest, keepdims, layout), x.dtype)


@np.errstate(all="ignore")
def global_avg_pool(x: Array, *, keepdims: bool = False, data_format: str = "channels_first") -> Array:
    """Return the mean of every channel's plane, (N, C)."""
    x = float_array("x", x)
    layout = global_layout("x", x.shape, data_format)
    planes = layout.planes("x", x)
    check_not_empty(planes.shape[2:])
    mean = planes.mean(axis=tuple(range(2, planes.ndim)))
    return rounded(reduced_planes(mean, keepdims, layout), x.dtype)


def channel_windows(channels: int, pool_size: int, stride: int | None) -> list[slice]:
    """Return the slices of the channel axis that a channel pool covers."""
    size = operator.index(pool_size)
    step = size if stride is None else operator.index(stride)
    if min(size, step) < 1:
        raise ValueError(f"pool_size and stride must be at least 1, got {size} and {step}")
    if size > channels:
        raise ValueError(f"pool_size {size} is larger than the {channels} channels of x")
    return [slice(start, start + size) for start in range(0, channels - size + 1, step)]


@np.errstate(all="ignore")
def reduce_channels(
    reduce: Callable[..., Array], x: Array, pool_size: int, stride: int | None, data_format: str
) -> Array:
    """Return `reduce` over windows of `pool_size` channels."""
    x = float_array("x", x)
    layout = global_layout("x", x.shape, data_format)
    planes = layout.planes("x", x)
    windows = channel_windows(planes.shape[1], pool_size, stride)
    y = np.stack([reduce(planes[:, window], axis=1) for window in windows], axis=1)
    return rounded(layout.restore(y), x.dtype)


def channel_max_pool(
    x: Array, pool_size: int, *, stride: int | None = None, data_format: str = "channels_first"
) -> Array:
    """Return the maximum over windows of `pool_size` channels (maxout: Goodfellow et al., 2013)."""
    return reduce_channels(np.max, x, pool_size, stride, data_format)


def channel_avg_pool(
    x: Array, pool_size: int, *, stride: int | None = None, data_format: str = "channels_first"
) -> Array:
    """Return the mean over windows of `pool_size` channels."""
    return reduce_channels(np.mean, x, pool_size, stride, data_format)
