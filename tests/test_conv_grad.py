"""Gradients of convolutions, plain and transposed: against the reference and against differences."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from agreement import DTYPES, STORAGE_ERROR, SUM_ERROR, assert_agrees, assert_same_bits, exact_inputs
from cases import ACTIVATIONS, CONV_CASES, CONV_TRANSPOSE_CASES, ConvCase
from finite_differences import assert_gradient
from test_conv import CASES_AND_DTYPES, name_of

import fastconv as fc
from fastconv import reference


@functools.lru_cache(maxsize=2048)
def exact_gradients(case: ConvCase, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return y and dy in `dtype`, and the float64 gradients at the case's data as they are in `dtype`."""
    x, w, b = case.arrays(dtype)
    y = getattr(reference, name_of(case))(x, w, b, **case.keywords)
    dy = case.upstream(y, dtype)
    exact_dy, exact_x, exact_w, exact_b, exact_y = exact_inputs(dy, x, w, b, y)
    gradient = getattr(reference.grad, name_of(case))
    return y, dy, *gradient(exact_dy, exact_x, exact_w, b=exact_b, y=exact_y, **case.keywords)


def magnitude_of(exact: np.ndarray, case: ConvCase, dtype: np.dtype) -> float:
    """Return the size of what is rounded: with an activation dy * slope may be stored before it is summed."""
    stored = STORAGE_ERROR[dtype.name] / SUM_ERROR[dtype.name] if case.activation else 0
    return max(1, stored) * np.abs(exact).max(initial=1)


@pytest.mark.parametrize(
    ("case", "dtype"), CASES_AND_DTYPES, ids=[f"{c.id}-{dtype}" for c, dtype in CASES_AND_DTYPES]
)
def test_agrees_with_the_reference(case, dtype, isa):
    x, w, b = case.arrays(dtype)
    y, dy, *exact = exact_gradients(case, dtype)
    gradient = getattr(fc.grad, name_of(case))
    with fc.threads(1):
        gradients = gradient(dy, x, w, b=b, y=y, **case.keywords)
    for actual, expected in zip(gradients, exact, strict=True):
        assert_agrees(actual, expected, dtype, magnitude=magnitude_of(expected, case, dtype))
    with fc.threads(2):
        for actual, expected in zip(gradient(dy, x, w, b=b, y=y, **case.keywords), gradients, strict=True):
            assert_same_bits(actual, expected)


# In the sums of the largest cases differences would drown in rounding.
DIFFERENCE_CASES = [c for c in (*CONV_CASES[::5], *CONV_TRANSPOSE_CASES[::4]) if c.note != "blocks"]


@pytest.mark.parametrize("case", DIFFERENCE_CASES, ids=lambda case: case.id)
def test_is_the_difference_quotient(case, isa):
    """fastconv's gradient against fastconv's own function: no second implementation involved."""
    x, w, b = case.arrays()
    function = functools.partial(getattr(fc, name_of(case)), **case.keywords)
    y = function(x, w, b)
    dy = case.upstream(y)
    dx, dw, db = getattr(fc.grad, name_of(case))(dy, x, w, b=b, y=y, **case.keywords)
    assert_gradient(lambda v: function(v, w, b), x, dx, dy)
    assert_gradient(lambda v: function(x, v, b), w, dw, dy)
    if b is not None:
        assert_gradient(lambda v: function(x, w, v), b, db, dy)


@pytest.mark.parametrize("case", [CONV_CASES[40], CONV_TRANSPOSE_CASES[40]], ids=lambda case: case.id)
@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)))
def test_needs_skips_without_changing_the_rest(case, needs):
    x, w, b = case.arrays(np.float32)
    y = getattr(fc, name_of(case))(x, w, b, **case.keywords)
    dy = case.upstream(y, np.float32)
    gradient = functools.partial(getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, **case.keywords)
    for wanted, actual, full in zip(needs, gradient(needs=needs), gradient(), strict=True):
        if wanted:
            assert_same_bits(actual, full)
        else:
            assert actual is None


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_activations(activation, dtype, isa):
    """The ones that need the result get y alone, gelu and silu b alone."""
    case = ConvCase(x=(2, 5, 9, 8), w=(6, 5, 3, 3), activation=activation, padding=1)
    x, w, b = case.arrays(dtype)
    y, dy, *exact = exact_gradients(case, dtype)
    given = {"b": b} if activation in ("gelu", "silu") else {"y": y}
    for actual, expected in zip(fc.grad.conv2d(dy, x, w, **given, **case.keywords), exact, strict=True):
        assert_agrees(actual, expected, dtype, magnitude=magnitude_of(expected, case, dtype))


@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
def test_activation_without_the_result_is_an_error(activation):
    x, w = np.ones((1, 1, 5)), np.ones((1, 1, 3))
    for gradient, dy in (
        (fc.grad.conv1d, np.ones((1, 1, 3))),
        (fc.grad.conv_transpose1d, np.ones((1, 1, 7))),
    ):
        with pytest.raises(ValueError, match=r"\by\b"):
            gradient(dy, x, w, activation=activation)


def test_upstream_gradient_is_left_alone():
    """With an activation dy is multiplied on the way in: not in the caller's memory."""
    case = ConvCase(x=(2, 3, 9, 8), w=(4, 3, 3, 3), activation="relu")
    x, w, b = case.arrays(np.float32)
    y = fc.conv2d(x, w, b, **case.keywords)
    dy = case.upstream(y, np.float32)
    copies = [a.copy() for a in (dy, x, w, y)]
    fc.grad.conv2d(dy, x, w, y=y, **case.keywords)
    for array, copy in zip((dy, x, w, y), copies, strict=True):
        assert_same_bits(array, copy)


def test_second_derivative_from_the_same_functions():
    """d/dw of <dx(w), v> is the filter gradient with x := v, because dx is bilinear in dy and w."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 7, 6)), rng.standard_normal((4, 3, 3, 2))
    v, dy = rng.standard_normal(x.shape), rng.standard_normal((2, 4, 5, 5))
    dw = fc.grad.conv2d(dy, v, w, needs=(False, True, False))[1]
    assert_gradient(lambda u: fc.grad.conv2d(dy, x, u, needs=(True, False, False))[0], w, dw, v)
