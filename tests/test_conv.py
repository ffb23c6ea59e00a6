"""Convolutions, plain and transposed, against the reference: every case, dtype and instruction set."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from agreement import BFLOAT16, DTYPES, assert_agrees, assert_same_bits, exact_inputs
from cases import (
    ACTIVATIONS,
    CONV_CASES,
    CONV_TRANSPOSE_CASES,
    FORMATS,
    SPECIAL_CONV_CASES,
    ConvCase,
    ConvTransposeCase,
)

import fastconv as fc
from fastconv import reference

CASES = [*CONV_CASES, *CONV_TRANSPOSE_CASES]
# The 16-bit types differ in how arrays are read and written, not in the windows: some cases of each kind do.
SIXTEEN_BIT_CASES = [*CASES[::4], *SPECIAL_CONV_CASES[::3], *(c for c in CASES if c.note == "blocks")]
CASES_AND_DTYPES = [(case, dtype) for dtype in DTYPES[:2] for case in CASES]
CASES_AND_DTYPES += [(c, dtype) for dtype in DTYPES[2:] for c in dict.fromkeys(SIXTEEN_BIT_CASES)]


def name_of(case: ConvCase) -> str:
    kind = "conv_transpose" if isinstance(case, ConvTransposeCase) else "conv"
    return f"{kind}{case.rank}d"


@functools.lru_cache(maxsize=2048)
def exact_result(case: ConvCase, dtype: np.dtype) -> np.ndarray:
    """Return the float64 result for the case's data as they are in `dtype`."""
    return getattr(reference, name_of(case))(*exact_inputs(*case.arrays(dtype)), **case.keywords)


@pytest.mark.parametrize(
    ("case", "dtype"), CASES_AND_DTYPES, ids=[f"{c.id}-{dtype}" for c, dtype in CASES_AND_DTYPES]
)
def test_agrees_with_the_reference(case, dtype, isa):
    x, w, b = case.arrays(dtype)
    function = getattr(fc, name_of(case))
    with fc.threads(1):
        y = function(x, w, b, **case.keywords)
    assert_agrees(y, exact_result(case, dtype), dtype)
    with fc.threads(2):
        assert_same_bits(function(x, w, b, **case.keywords), y)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_activations(activation, data_format, dtype, isa):
    """Over their whole range: far below, around and far above zero."""
    x, w, b = ConvCase(x=(2, 5, 9, 8), w=(6, 5, 3, 3), data_format=data_format).arrays(dtype)
    for scale in (0.01, 1, 50):
        scaled = (x.astype(np.float64) * scale).astype(dtype)
        for name, arrays in (("conv2d", (scaled, w, b)), ("conv_transpose2d", (scaled, w[:5, :4], b[:4]))):
            function, keywords = getattr(reference, name), {"data_format": data_format}
            sums = function(*exact_inputs(*arrays), **keywords)
            exact = function(*exact_inputs(*arrays), activation=activation, **keywords)
            y = getattr(fc, name)(*arrays, activation=activation, **keywords)
            assert_agrees(y, exact, dtype, magnitude=np.abs(sums).max())


def test_float16_sums_are_kept_in_float32():
    """In float16 a sum of 4096 ones would stick at 2048."""
    for dtype in (np.float16, BFLOAT16):
        x, w = np.ones((1, 4096, 3), dtype), np.ones((2, 4096, 1), dtype)
        np.testing.assert_array_equal(fc.conv1d(x, w).astype(np.float64), 4096)
        dw = fc.grad.conv1d(
            np.ones((1, 1, 4096), dtype), np.ones((1, 1, 4096), dtype), np.ones((1, 1, 1), dtype)
        )[1]
        np.testing.assert_array_equal(dw.astype(np.float64), 4096)


def test_padding_spellings_that_mean_the_same():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 3, 3))
    expected = fc.conv2d(x, w, padding=1)
    for padding in ((1, 1), [1, 1], ((1, 1), (1, 1)), [(1, 1), (1, 1)], "same", np.int64(1)):
        assert_same_bits(fc.conv2d(x, w, padding=padding), expected)
    expected = fc.conv1d(x[:, :, 0], w[:, :, 0], padding=2)
    for padding in ((2,), ((2, 2),), "full"):
        assert_same_bits(fc.conv1d(x[:, :, 0], w[:, :, 0], padding=padding), expected)
    assert_same_bits(fc.conv1d(x[:, :, 0], w[:, :, 0], padding="valid"), fc.conv1d(x[:, :, 0], w[:, :, 0]))


def test_same_padding_puts_the_odd_element_after():
    x, w = np.ones((1, 1, 5), np.float32), np.ones((1, 1, 4), np.float32)
    assert fc.conv1d(x, w, padding="same").tolist() == [[[3, 4, 4, 3, 2]]]
    assert fc.conv1d(x, w, padding="same", stride=2).tolist() == [[[3, 4, 2]]]
    assert fc.conv1d(x, w, padding="causal").tolist() == [[[1, 2, 3, 4, 4]]]


def test_transposed_same_multiplies_the_size_by_the_stride():
    for size, kernel, stride in [(5, 3, 2), (5, 2, 3), (4, 5, 1), (7, 4, 4)]:
        x, w = np.ones((1, 1, size), np.float32), np.ones((1, 1, kernel), np.float32)
        assert fc.conv_transpose1d(x, w, stride=stride, padding="same").shape == (1, 1, size * stride)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_unbatched_input_is_a_batch_of_one(dtype, isa):
    case = ConvCase(x=(1, 3, 9, 8), w=(4, 3, 3, 3))
    x, w, b = case.arrays(dtype)
    assert_same_bits(fc.conv2d(x[0], w, b), fc.conv2d(x, w, b)[0])
    assert_same_bits(fc.conv_transpose2d(x[0], w[:3, :2]), fc.conv_transpose2d(x, w[:3, :2])[0])
