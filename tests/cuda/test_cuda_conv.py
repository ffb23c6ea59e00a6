"""The CUDA back end's convolutions, plain and transposed, and their gradients, against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import DTYPES, assert_agrees, assert_same_bits
from cases import ACTIVATIONS, CONV_CASES, CONV_TRANSPOSE_CASES, SPECIAL_CONV_CASES, ConvCase
from test_conv import exact_result, name_of
from test_conv_grad import exact_gradients, magnitude_of

import fastconv as fc

CASES = [*CONV_CASES, *CONV_TRANSPOSE_CASES]
SOME = [*CASES[::6], *SPECIAL_CONV_CASES[::3], *(c for c in CASES if c.note == "blocks")]
CASES_AND_DTYPES = [(case, DTYPES[0]) for case in CASES]
CASES_AND_DTYPES += [(case, dtype) for dtype in DTYPES[1:] for case in dict.fromkeys(SOME)]


@pytest.mark.parametrize(
    ("case", "dtype"), CASES_AND_DTYPES, ids=[f"{c.id}-{dtype}" for c, dtype in CASES_AND_DTYPES]
)
def test_agrees_with_the_reference(case, dtype, on_device):
    x, w, b = case.arrays(dtype)
    assert_agrees(
        on_device(getattr(fc, name_of(case)), x, w, b, **case.keywords), exact_result(case, dtype), dtype
    )
    y, dy, *exact = exact_gradients(case, dtype)
    gradients = on_device(getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, **case.keywords)
    for actual, expected in zip(gradients, exact, strict=True):
        assert_agrees(actual, expected, dtype, magnitude=magnitude_of(expected, case, dtype))


@pytest.mark.parametrize("case", CASES[::6], ids=lambda case: case.id)
def test_every_call_gives_the_same_bits(case, on_device):
    """The executor changes the order in which threads take their turns from launch to launch."""
    x, w, b = case.arrays(np.float32)
    y, dy, *_ = exact_gradients(case, np.dtype(np.float32))

    def call():
        gradients = on_device(getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, **case.keywords)
        return on_device(getattr(fc, name_of(case)), x, w, b, **case.keywords), *gradients

    for first, second in zip(call(), call(), strict=True):
        assert_same_bits(first, second)


@pytest.mark.parametrize("algorithm", ["implicit_gemm", "direct"])
@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: case.id)
def test_every_route(case, algorithm, on_device):
    dtype = np.dtype(np.float32)
    keywords = {**case.keywords, "algorithm": algorithm}
    x, w, b = case.arrays(dtype)
    y = on_device(getattr(fc, name_of(case)), x, w, b, **keywords)
    assert_agrees(y, exact_result(case, dtype), dtype)
    y, dy, *exact = exact_gradients(case, dtype)
    gradients = on_device(getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, **keywords)
    for actual, expected in zip(gradients, exact, strict=True):
        assert_agrees(actual, expected, dtype, magnitude=magnitude_of(expected, case, dtype))


def test_an_unknown_route_is_an_error(on_device):
    x, w = np.ones((1, 1, 5), np.float32), np.ones((1, 1, 3), np.float32)
    with pytest.raises(ValueError, match="algorithm is 'winograd', but the CUDA back end has 'auto'"):
        on_device(fc.conv1d, x, w, algorithm="winograd")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_activations(activation, dtype, on_device):
    case = ConvCase(x=(2, 5, 9, 8), w=(6, 5, 3, 3), activation=activation, padding=1)
    x, w, b = case.arrays(dtype)
    assert_agrees(on_device(fc.conv2d, x, w, b, **case.keywords), exact_result(case, dtype), dtype)
    y, dy, *exact = exact_gradients(case, dtype)
    given = {"b": b} if activation in ("gelu", "silu") else {"y": y}
    for actual, expected in zip(
        on_device(fc.grad.conv2d, dy, x, w, **given, **case.keywords), exact, strict=True
    ):
        assert_agrees(actual, expected, dtype, magnitude=magnitude_of(expected, case, dtype))


def test_an_image_is_the_same_in_every_batch(on_device):
    """The reduction falls into the same parts."""
    case = ConvCase(x=(3, 600, 6, 5), w=(9, 600, 3, 3), padding=1)
    x, w, b = case.arrays(np.float32)
    together = on_device(fc.conv2d, x, w, b, **case.keywords)
    alone = [on_device(fc.conv2d, x[i : i + 1], w, b, **case.keywords) for i in range(len(x))]
    assert_same_bits(together, np.concatenate(alone))


@pytest.mark.parametrize("slices", [np.s_[:, :, ::2, ::-1], np.s_[::-1, :, 1:, 2:], np.s_[:, ::2, ::-1, :]])
def test_strided_arrays(slices, on_device):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 12, 10)).astype(np.float32)[slices]
    w = rng.standard_normal((5, x.shape[1], 3, 3)).astype(np.float32)[::-1]
    np.testing.assert_allclose(on_device(fc.conv2d, x, w), fc.conv2d(x, w), rtol=1e-5, atol=1e-5)
