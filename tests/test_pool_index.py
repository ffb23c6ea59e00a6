"""What the max pool layers keep of their maxima: little, and enough for the functions' own gradient."""

from __future__ import annotations

import ctypes
import itertools
import mmap

import numpy as np
import pytest
from agreement import DTYPES, assert_same_bits
from cases import POOL_CASES, PoolCase, generator

import fastconv as fc
from fastconv import nn


def pool_of(case: PoolCase) -> nn.Layer:
    return getattr(nn, f"MaxPool{case.rank}d")(case.kernel_size, **case.keywords)


def assert_like_the_functions(x: np.ndarray, layer: nn.Layer, rank: int) -> None:
    """Compare a layer's result and gradient with the functions', which go by flat positions."""
    window = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "data_format")
    keywords = {name: getattr(layer, name) for name in window}
    expected, indices = getattr(fc, f"max_pool{rank}d")(x, **keywords, return_indices=True)
    y, pullback = layer.vjp(x)
    np.testing.assert_array_equal(y, expected)
    dy = generator("dy").uniform(-1, 1, y.shape).astype(x.dtype)
    gradient = getattr(fc.grad, f"max_pool{rank}d")
    assert_same_bits(pullback(dy), gradient(dy, indices, x.shape, data_format=layer.data_format))


@pytest.mark.parametrize("case", POOL_CASES, ids=lambda case: case.id)
def test_gradient_is_that_of_the_functions(case: PoolCase, isa):
    for dtype in DTYPES:
        assert_like_the_functions(case.tied_image(dtype), pool_of(case), case.rank)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("width", [2, 3, 7, 8, 9, 16, 17, 33, 300])
def test_rows_of_every_width(width, dtype, data_format, isa):
    """Of any length beside a vector's, with what is no number or the smallest one in the windows."""
    x = np.round(generator(f"{width}").standard_normal((2, 5, 6, width)) * 2)
    x[0, 1:3] = -np.inf
    x[0, 2, ::2] = np.nan
    x[1, :, 3, width // 2] = np.inf
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1) if data_format == "channels_last" else x).astype(dtype)
    windows = [
        (2, None, 0, 1),
        (3, 2, 1, 1),
        (3, 1, 1, 1),
        (2, 1, 1, 2),
        ((2, 5), (2, 3), (1, 4), 1),
        (1, 5, 0, 1),
    ]
    for kernel_size, stride, padding, dilation in windows:
        layer = nn.MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode=True, data_format=data_format)
        assert_like_the_functions(x, layer, 2)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("kernel_size", [(16, 16), (16, 17), (1, 300)])
def test_windows_beyond_what_a_byte_tells_apart(kernel_size, data_format):
    shape = (1, 2, 40, 320) if data_format == "channels_first" else (1, 40, 320, 2)
    x = generator(data_format).standard_normal(shape)
    assert_like_the_functions(x, nn.MaxPool2d(kernel_size, (3, 2), data_format=data_format), 2)


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="memory has no protection here")
def test_nothing_is_read_beside_the_input(isa):
    """The input lies in a page between two without access: one element too far is a crash."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 3 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for wall in (start, start + 2 * page):
        assert libc.mprotect(ctypes.c_void_p(wall), ctypes.c_size_t(page), 0) == 0
    windows = [(2, None, 0), (3, 2, 1), (3, 1, 1), (5, 3, 4)]
    for dtype, width, window in itertools.product((np.float32, np.float16), (5, 8, 13, 17, 24), windows):
        count, size = 12 * width, np.dtype(dtype).itemsize
        for offset in (page, 2 * page - size * count):
            x = np.frombuffer(memory, dtype, count, offset).reshape(1, 2, 6, width)
            x[...] = generator(f"{width}").standard_normal(x.shape)
            assert_like_the_functions(x, nn.MaxPool2d(*window), 2)


def test_a_view_is_read_as_it_lies():
    x = generator("view").standard_normal((2, 3, 12, 20)).astype(np.float32)
    for view in (x[:, ::-1, ::2], x[..., ::2], x.transpose(0, 1, 3, 2)):
        assert_like_the_functions(view, nn.MaxPool2d(3, 2, 1), 2)


def test_windows_without_an_element_are_refused_as_by_the_functions():
    layer = nn.MaxPool1d(2, 1, padding=2, dilation=3)
    x = np.ones((1, 1, 1))
    y, pullback = layer.vjp(x)
    _, indices = fc.max_pool1d(x, 2, stride=1, padding=2, dilation=3, return_indices=True)
    with pytest.raises(ValueError, match=r"grad\.max_pool1d: indices") as expected:
        fc.grad.max_pool1d(np.ones_like(y), indices, x.shape)
    with pytest.raises(ValueError, match=r"grad\.max_pool1d: indices") as got:
        pullback(np.ones_like(y))
    assert str(got.value) == str(expected.value)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_byte_is_kept_for_each_maximum(data_format):
    x = np.zeros((4, 64, 64, 64), np.float32)
    layer = nn.MaxPool2d(2, data_format=data_format)
    before = fc.cache_info().bytes_in_use
    y, pullback = layer.vjp(x)
    kept = fc.cache_info().bytes_in_use - before
    assert y.nbytes + y.size <= kept <= y.nbytes + 1.1 * y.size
    del pullback
    assert fc.cache_info().bytes_in_use - before <= 1.1 * y.nbytes


def test_indices_that_are_asked_for_are_positions():
    x = generator("positions").standard_normal((1, 2, 4, 6))
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(1, 2, -1), indices.reshape(1, 2, -1), -1), y.reshape(1, 2, -1)
    )
