"""Convolutions are prepared once for calls of the same shapes: no call may be taken for another one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from agreement import assert_same_bits
from cases import CONV_CASES

import fastconv as fc

RNG = np.random.default_rng(5)
X, W = RNG.standard_normal((2, 16, 9, 12), np.float32), RNG.standard_normal((16, 16, 3, 3), np.float32)
WIDE = RNG.standard_normal((2, 16, 18, 24), np.float32)
SQUARE = RNG.standard_normal((2, 16, 12, 12), np.float32)

# Calls that share most of what tells them apart.
FAMILY = [
    (X, W, {}),
    (X[:1], W, {}),
    (X.transpose(0, 1, 3, 2), W, {}),
    (SQUARE, W, {}),
    (SQUARE.transpose(0, 1, 3, 2), W, {}),
    (SQUARE.transpose(0, 3, 2, 1)[:, :, :, ::-1], W[:, :12], {}),
    (SQUARE, W[:, :12], {"data_format": "channels_last"}),
    (X.transpose(0, 2, 3, 1), W, {"data_format": "channels_last"}),
    (np.ascontiguousarray(X.transpose(0, 2, 3, 1)), W, {"data_format": "channels_last"}),
    (WIDE[:, :, ::2, ::2], W, {}),
    (WIDE[:, :, :9, :12], W, {}),
    (WIDE[:, :, 8::-1, :12], W, {}),
    (X.astype(np.float64), W.astype(np.float64), {}),
    (X.astype(np.float16), W.astype(np.float16), {}),
    (X, W[:, :4], {"groups": 4}),
    (X, W[:, :1], {"groups": 16}),
    (X, W[:8], {}),
    (X, W, {"padding": 1}),
    (X, W, {"padding": ((0, 2), (1, 1))}),
    (X, W, {"padding": ((2, 0), (1, 1))}),
    (X, W, {"padding": 1, "padding_mode": "reflect"}),
    (X, W, {"padding": 1, "padding_mode": "replicate"}),
    (X, W, {"padding": 1, "padding_mode": "circular"}),
    (X, W, {"stride": 2}),
    (X, W, {"stride": (1, 2)}),
    (X, W, {"dilation": 2}),
    (X, W[:, :, :1], {}),
    (X, W[:, :, :, :1], {}),
    (X, W, {"algorithm": "implicit_gemm"}),
    (X, W, {"algorithm": "winograd", "precision": "high"}),
    (X, W, {"precision": "medium"}),
]


def results(x, w, keywords):
    y = fc.conv2d(x, w, **keywords)
    dx, dw, db = fc.grad.conv2d(y, x, w, **keywords)
    return y, dx, dw, db


def test_calls_are_not_mixed_up(isa):
    fresh = []
    for call in FAMILY:
        fc.clear_cache()
        fresh.append(results(*call))
    order = [*range(len(FAMILY))] * 3
    random.Random(0).shuffle(order)
    for i in order:
        with fc.threads(1 + i % 2):
            for again, first in zip(results(*FAMILY[i]), fresh[i], strict=True):
                assert_same_bits(again, first)


@pytest.mark.parametrize("case", CONV_CASES[::7], ids=lambda c: c.id)
def test_other_data_of_the_same_shapes(case):
    x, w, b = case.arrays(np.dtype(np.float32))
    function = getattr(fc, f"conv{case.rank}d")
    fc.clear_cache()
    expected = function(-x, w, b, **case.keywords)
    function(x, w, b, **case.keywords)
    other = np.array(-x, order="K")
    assert_same_bits(function(other, w, b, **case.keywords), expected)


def test_what_is_kept_is_bounded():
    fc.clear_cache()
    assert fc.cache_info().calls_kept == 0
    w = np.ones((2, 2, 3), np.float32)
    for size in range(3, 400):
        x = np.ones((1, 2, size), np.float32)
        fc.conv1d(x, w)
    assert fc.cache_info().calls_kept == 256
    np.testing.assert_array_equal(fc.conv1d(x, w), 6)
    fc.clear_cache()
    assert fc.cache_info().calls_kept == 0


def test_long_windows_are_not_kept():
    fc.clear_cache()
    fc.conv1d(np.ones((1, 1, 5000), np.float32), np.ones((1, 1, 3000), np.float32))
    assert fc.cache_info().calls_kept == 0


def test_a_failed_call_leaves_nothing_behind():
    fc.clear_cache()
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (1, 1, 1 << 19, 1 << 19), (0,) * 4)
    with pytest.raises(MemoryError):
        fc.conv2d(huge, np.zeros((64, 1, 1, 1), np.float32))
    assert fc.cache_info().calls_kept == 0
