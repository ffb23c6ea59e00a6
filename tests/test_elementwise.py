"""Activations, their derivatives, softmax and masks in the compiled core, against float64 formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from agreement import BFLOAT16, DTYPES, STORAGE_ERROR, assert_same_bits

from fastconv import _core

NAMES = ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"]
NEEDS_INPUT = {"gelu", "silu"}

# Errors of the kernels in half units in the last place of the compute type, relative to the result. That of
# gelu is relative to x where x is negative: its tail multiplies the rounding errors of x squared.
HALF_UNITS = {"relu": 0, "relu6": 0, "leaky_relu": 2, "sigmoid": 4, "tanh": 5, "gelu": 10, "silu": 5}


def density(x):
    return np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, x.dtype.type(0.01) * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "gelu": lambda x: x * scipy.special.ndtr(x.astype(np.float64)),
    "silu": lambda x: x / (1 + np.exp(-x)),
}
SLOPES = {
    "relu": lambda y: np.where(y > 0, 1.0, 0.0),
    "relu6": lambda y: np.where((y > 0) & (y < 6), 1.0, 0.0),
    "leaky_relu": lambda y: np.where(y > 0, 1.0, 0.01),
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "gelu": lambda x: scipy.special.ndtr(x.astype(np.float64)) + x * density(x),
    "silu": lambda x: (s := 1 / (1 + np.exp(-x))) * (1 + x * (1 - s)),
}


def half_unit(dtype) -> float:
    return float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps) / 2


def tiny(dtype) -> float:
    """Return what may be lost where results are flushed to zero."""
    smallest = {"float64": 5e-306, "float32": 1e-36, "float16": 3e-8, "bfloat16": 1e-36}
    return smallest[np.dtype(dtype).name]


def wide(x):
    """Return `x` with more digits than any kernel has."""
    return x.astype(np.longdouble)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_activation_is_accurate(name, dtype, isa):
    rng = np.random.default_rng(1)
    x = np.concatenate(
        [
            rng.uniform(-1, 1, 4000),
            rng.uniform(-12, 12, 4000),
            rng.uniform(-90, 90, 2000),
            np.exp(rng.uniform(-60, 4, 1000)),
            -np.exp(rng.uniform(-60, 4, 1000)),
        ]
    ).astype(dtype)
    exact = FORMULAS[name](wide(x))
    actual = _core.activation(x, name)
    assert actual.dtype == dtype
    scale = np.maximum(np.abs(exact), np.abs(wide(x))) if name == "gelu" else np.abs(exact)
    allowed = scale * HALF_UNITS[name] * half_unit(dtype) + 1.001 * STORAGE_ERROR[dtype.name] * np.abs(exact)
    error = np.abs(wide(actual) - exact)
    worst = np.argmax(error - allowed)
    assert (error <= allowed + tiny(dtype)).all(), f"{x[worst]}: got {actual[worst]}, expected {exact[worst]}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_activation_at_the_ends_of_the_range(name, dtype, isa):
    inf, nan = np.inf, np.nan
    largest = float(np.finfo(dtype).max)
    x = np.array([inf, -inf, nan, largest, -largest, 0.0, -0.0], dtype)
    top = {"relu6": 6.0, "sigmoid": 1.0, "tanh": 1.0}.get(name, inf)
    bottom = {"leaky_relu": -inf, "tanh": -1.0}.get(name, 0.0)
    y = _core.activation(x, name)
    assert y[0] == top
    assert y[1] == bottom
    assert np.isnan(y[2])
    assert y[3] == min(top, largest)
    assert y[4] == pytest.approx(max(bottom, -largest * 0.01), rel=1e-6)
    assert y[5] == y[6] == (0.5 if name == "sigmoid" else 0.0)
    if name == "tanh":
        assert not np.signbit(y[5])
        assert np.signbit(y[6])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_activation_grad(name, dtype, isa):
    rng = np.random.default_rng(2)
    x = rng.uniform(-8, 8, 3000).astype(dtype)
    dy = rng.standard_normal(3000).astype(dtype)
    source = x if name in NEEDS_INPUT else _core.activation(x, name)
    exact = wide(dy) * SLOPES[name](wide(source))
    actual = _core.activation_grad(dy, name, **({"x": x} if name in NEEDS_INPUT else {"y": source}))
    assert actual.dtype == dtype
    allowed = 12 * half_unit(dtype) * np.abs(wide(dy)) * 2 + 1.001 * STORAGE_ERROR[dtype.name] * np.abs(exact)
    assert (np.abs(wide(actual) - exact) <= allowed + tiny(dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [None, *NAMES])
def test_add(name, dtype, isa):
    rng = np.random.default_rng(4)
    compute = np.float64 if dtype == np.float64 else np.float32
    for size in (0, 1, 7, 64, 3001):
        a, b = (rng.uniform(-8, 8, size).astype(dtype) for _ in range(2))
        total = a.astype(compute) + b.astype(compute)
        expected = (total if name is None else _core.activation(total, name)).astype(dtype)
        assert_same_bits(_core.add(a, b, name), expected)
        assert_same_bits(_core.add(a[::-1], b[::-1], name), expected[::-1].copy())
        assert _core.add(a, b, name, out=b) is b
        assert_same_bits(b, expected)


def test_add_refuses_what_does_not_fit():
    a = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"add: b has shape \(3, 2\)"):
        _core.add(a, np.ones((3, 2), np.float32))
    with pytest.raises(TypeError, match="add: a has dtype float32, but b has float64"):
        _core.add(a, np.ones((2, 3)))
    with pytest.raises(ValueError, match="add: name is 'softplus', expected one of 'relu'"):
        _core.add(a, a, "softplus")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slopes_at_the_ends_of_the_range(dtype, isa):
    x = np.array([np.inf, -np.inf, np.nan], dtype)
    one = np.ones(3, dtype)
    for name in NEEDS_INPUT:
        slope = _core.activation_grad(one, name, x=x)
        assert slope[0] == 1
        assert slope[1] == 0
        assert np.isnan(slope[2])


@pytest.mark.parametrize("name", NAMES)
def test_slopes_agree_with_differences(name):
    x = np.linspace(-4, 4, 81) + 0.013
    h = 1e-6
    difference = (_core.activation(x + h, name) - _core.activation(x - h, name)) / (2 * h)
    dx = _core.activation_grad(np.ones_like(x), name, x=x, y=_core.activation(x, name))
    np.testing.assert_allclose(dx, difference, atol=1e-8)


@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_nan_passes_the_gradient_on(name):
    y = np.array([np.nan, 0.0, 1.0], np.float32)
    np.testing.assert_array_equal(_core.activation_grad(np.full(3, 2.0, np.float32), name, y=y), [2, 0, 2])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_an_element_has_the_same_bits_wherever_it_lies(name, dtype, isa):
    x = np.random.default_rng(3).uniform(-9, 9, 71).astype(dtype)
    dy = x[::-1].copy()
    whole = _core.activation(x, name)
    slopes = _core.activation_grad(dy, name, x=x, y=whole)
    for size in range(71):
        assert_same_bits(_core.activation(x[:size], name), whole[:size])
        assert_same_bits(_core.activation(x[71 - size :], name), whole[71 - size :])
        part = _core.activation_grad(dy[:size], name, x=x[:size], y=whole[:size])
        assert_same_bits(part, slopes[:size])
    y = x.copy()
    assert _core.activation(y, name, y) is y
    assert_same_bits(y, whole)
    assert_same_bits(_core.activation(x[::-2], name), np.ascontiguousarray(whole[::-2]))
    matrix = x[:70].reshape(7, 10)
    assert_same_bits(_core.activation(matrix.T, name), np.ascontiguousarray(whole[:70].reshape(7, 10).T))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_softmax_and_its_gradient(dtype, isa):
    rng = np.random.default_rng(4)
    for cols in (*range(1, 40), 64, 70, 1000, 5003):
        x = (4 * rng.standard_normal((3, cols))).astype(dtype)
        dy = rng.standard_normal((3, cols)).astype(dtype)
        y = _core.softmax(x)
        exact = scipy.special.softmax(x.astype(np.float64), axis=-1)
        storage = 1.001 * STORAGE_ERROR[dtype.name]
        small = 5 * half_unit(dtype)
        assert y.dtype == dtype
        # the exponent's own rounding grows with its size
        assert (np.abs(wide(y) - exact) <= exact * (10 * small + storage) + tiny(dtype)).all()
        dx = _core.softmax_grad(dy, y)
        dot = (dy.astype(np.float64) * y.astype(np.float64)).sum(-1, keepdims=True)
        exact = y.astype(np.float64) * (dy.astype(np.float64) - dot)
        bound = y.astype(np.float64) * (np.abs(dy.astype(np.float64)) + 1) * 4 * small + storage * np.abs(
            exact
        )
        assert (np.abs(wide(dx) - exact) <= bound + tiny(dtype)).all()


def test_softmax_of_extremes(isa):
    largest = np.finfo(np.float32).max
    rows = np.array(
        [[largest, 0, -largest], [0, -np.inf, 0], [-1e30, -1e30, -2e30], [1, np.nan, 2]], np.float32
    )
    y = _core.softmax(rows)
    np.testing.assert_array_equal(y[:3], [[1, 0, 0], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    assert np.isnan(y[3]).all()
    assert np.isnan(_core.softmax(np.full(3, -np.inf))).all()
    assert _core.softmax(np.empty((2, 0))).shape == (2, 0)
    assert _core.softmax(np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", [np.bool_, np.uint8])
def test_scale_mask(dtype, kind, isa):
    rng = np.random.default_rng(5)
    for size in range(71):
        x = rng.standard_normal(size).astype(dtype)
        mask = (rng.random(size) < 0.5).astype(kind)
        expected = (x.astype(np.float64) * mask * 2.0).astype(dtype)
        np.testing.assert_array_equal(_core.scale_mask(x, mask, 2.0), expected)
    x, mask = rng.standard_normal((6, 5)).astype(dtype), rng.random((5, 6)) < 0.5
    np.testing.assert_array_equal(_core.scale_mask(x, mask.T, 1), x * mask.T.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16], ids=str)
def test_threads_do_not_change_a_bit(dtype, isa):
    rng = np.random.default_rng(6)
    x = rng.standard_normal((70, 1001)).astype(dtype)
    mask = rng.random(x.shape) < 0.5

    def everything():
        y = _core.softmax(x)
        return [
            *(_core.activation(x, name) for name in NAMES),
            *(_core.activation_grad(x, name, x=x, y=x) for name in NAMES),
            *(y, _core.softmax_grad(x, y), _core.scale_mask(x, mask, 2)),
        ]

    before = _core.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            results.append(everything())
    finally:
        _core.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_same_bits(a, b)


def test_agrees_with_torch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x = np.random.default_rng(7).standard_normal(1000).astype(np.float32) * 4
    for name in NAMES:
        t = torch.from_numpy(x).requires_grad_()
        expected = getattr(torch if name in ("sigmoid", "tanh") else f, name)(t)
        expected.sum().backward()
        y = _core.activation(x, name)
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
        dx = _core.activation_grad(np.ones_like(x), name, x=x, y=y)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-5, atol=2e-6)


def test_errors():
    x = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="name is 'elu', expected one of 'relu', 'relu6'"):
        _core.activation(x, "elu")
    with pytest.raises(ValueError, match="name is 3"):
        _core.activation(x, 3)
    with pytest.raises(TypeError, match=r"x\.astype\(np\.float32\)"):
        _core.activation(np.arange(3), "relu")
    with pytest.raises(ValueError, match="the gradient of 'gelu' needs x"):
        _core.activation_grad(x, "gelu", y=x)
    with pytest.raises(ValueError, match="the gradient of 'tanh' needs y"):
        _core.activation_grad(x, "tanh", x=x)
    with pytest.raises(ValueError, match=r"y has shape \(2,\), but dy has \(3,\)"):
        _core.activation_grad(x, "tanh", y=x[:2])
    with pytest.raises(TypeError, match="float64"):
        _core.softmax_grad(x, x.astype(np.float64))
    with pytest.raises(ValueError, match="no axis"):
        _core.softmax(np.ones((), np.float32))
    with pytest.raises(TypeError, match="mask has dtype int64"):
        _core.scale_mask(x, np.ones(3, np.int64), 1)
    with pytest.raises(ValueError, match=r"mask has shape \(1, 3\)"):
        _core.scale_mask(x, np.ones((1, 3), bool), 1)
    with pytest.raises(TypeError, match="scale must be a number"):
        _core.scale_mask(x, np.ones(3, bool), "2")
