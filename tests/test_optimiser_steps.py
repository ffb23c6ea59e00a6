"""Optimiser steps of the compiled core, against the formulas in NumPy and against PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from agreement import assert_same_bits

from fastconv import _core

DTYPES = [np.float32, np.float64]
SIZES = [*range(71), 16384, 40001]


def tolerance(dtype):
    return {"rtol": 40 * np.finfo(dtype).eps, "atol": 40 * np.finfo(dtype).eps}


def arrays(rng, size, dtype, count):
    return [rng.standard_normal(size).astype(dtype) for _ in range(count)]


def sgd(p, g, u, lr, momentum, decay, nesterov):
    g = g + decay * p
    if u is not None:
        u[...] = momentum * u + g
        g = g + momentum * u if nesterov else u
    p -= lr * g


def rmsprop(p, g, s, u, lr, alpha, eps, decay, momentum):
    g = g + decay * p
    s[...] = alpha * s + (1 - alpha) * g * g
    w = g / (np.sqrt(s) + eps)
    if u is not None:
        u[...] = momentum * u + w
        w = u
    p -= lr * w


def adam(p, g, m, v, lr, beta1, beta2, eps, decay, decoupled, step):
    if decoupled:
        p *= 1 - lr * decay
    else:
        g = g + decay * p
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    root = np.sqrt(v) / np.sqrt(1 - beta2**step)
    p -= lr / (1 - beta1**step) * m / (root + eps)


def check(kernel, formula, given, settings, dtype):
    """Compare all arrays that a step may change: every one but the gradient, which must stay."""
    exact = [None if a is None else a.astype(np.float64) for a in given]
    gradient = given[1].copy()
    kernel(*given, *settings)
    formula(*exact, *settings)
    assert_same_bits(given[1], gradient)
    for actual, expected in zip(given, exact, strict=True):
        if actual is not None:
            np.testing.assert_allclose(actual, expected, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd(dtype, isa):
    rng = np.random.default_rng(1)
    for size, decay in itertools.product(SIZES, (0.0, 0.1)):
        p, g, u = arrays(rng, size, dtype, 3)
        check(_core.sgd_step, sgd, [p.copy(), g, None], (0.1, 0.0, decay, False), dtype)
        check(_core.sgd_step, sgd, [p.copy(), g, u.copy()], (0.1, 0.9, decay, False), dtype)
        check(_core.sgd_step, sgd, [p, g, u], (0.1, 0.9, decay, True), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rmsprop(dtype, isa):
    rng = np.random.default_rng(2)
    for size, decay in itertools.product(SIZES, (0.0, 0.1)):
        p, g, s, u = arrays(rng, size, dtype, 4)
        s *= s
        check(_core.rmsprop_step, rmsprop, [p.copy(), g, s.copy(), None], (0.1, 0.9, 1e-3, decay, 0.0), dtype)
        check(_core.rmsprop_step, rmsprop, [p, g, s, u], (0.1, 0.9, 1e-3, decay, 0.8), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_adam(dtype, isa):
    rng = np.random.default_rng(3)
    for size, decoupled in itertools.product(SIZES, (False, True)):
        p, g, m, v = arrays(rng, size, dtype, 4)
        v *= v
        settings = (0.1, 0.9, 0.99, 1e-3, 0.1 * (size % 2), decoupled, 1 + size)
        check(_core.adam_step, adam, [p, g, m, v], settings, dtype)


def test_an_infinite_parameter_without_decay_stays(isa):
    p = np.array([np.inf, 1.0], np.float32)
    _core.sgd_step(p, np.ones(2, np.float32), None, 0.5, 0.0, 0.0, False)
    np.testing.assert_array_equal(p, [np.inf, 0.5])


def test_threads_and_strides_of_the_gradient_do_not_change_a_bit(isa):
    rng = np.random.default_rng(4)
    p, g, m, v = arrays(rng, (201, 333), np.float32, 4)
    v *= v
    before = _core.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            state = p.copy(), m.copy(), v.copy()
            gradient = np.asfortranarray(g) if threads == 2 else g
            _core.adam_step(state[0], gradient, state[1], state[2], 0.1, 0.9, 0.99, 1e-8, 0.1, True, 3)
            results.append(state)
    finally:
        _core.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "rmsprop", "rmsprop momentum", "adam", "adamw"])
def test_several_steps_agree_with_torch(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    p = rng.standard_normal(50)
    theirs = torch.nn.Parameter(torch.from_numpy(p.copy()))
    a, b = np.zeros(50), np.zeros(50)
    optimizer, step = {
        "sgd": (
            torch.optim.SGD([theirs], 0.1, momentum=0.9, weight_decay=0.01),
            lambda g, n: _core.sgd_step(p, g, a, 0.1, 0.9, 0.01, False),
        ),
        "nesterov": (
            torch.optim.SGD([theirs], 0.1, momentum=0.9, nesterov=True),
            lambda g, n: _core.sgd_step(p, g, a, 0.1, 0.9, 0.0, True),
        ),
        "rmsprop": (
            torch.optim.RMSprop([theirs], 0.1, weight_decay=0.01),
            lambda g, n: _core.rmsprop_step(p, g, a, None, 0.1, 0.99, 1e-8, 0.01, 0.0),
        ),
        "rmsprop momentum": (
            torch.optim.RMSprop([theirs], 0.1, alpha=0.9, momentum=0.8),
            lambda g, n: _core.rmsprop_step(p, g, a, b, 0.1, 0.9, 1e-8, 0.0, 0.8),
        ),
        "adam": (
            torch.optim.Adam([theirs], 0.1, weight_decay=0.01),
            lambda g, n: _core.adam_step(p, g, a, b, 0.1, 0.9, 0.999, 1e-8, 0.01, False, n),
        ),
        "adamw": (
            torch.optim.AdamW([theirs], 0.1, weight_decay=0.01),
            lambda g, n: _core.adam_step(p, g, a, b, 0.1, 0.9, 0.999, 1e-8, 0.01, True, n),
        ),
    }[name]
    for n in range(1, 8):
        g = rng.standard_normal(50)
        theirs.grad = torch.from_numpy(g.copy())
        optimizer.step()
        step(g, n)
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_errors_come_before_anything_is_written():
    p, g, u = np.ones(4, np.float32), np.ones(4, np.float32), np.ones(4, np.float32)

    def sgd_step(param=p, grad=g, velocity=u, momentum=0.9):
        _core.sgd_step(param, grad, velocity, 0.1, momentum, 0.0, False)

    frozen = p.copy()
    frozen.flags.writeable = False
    for arguments, error, text in (
        ({"param": p[::2], "grad": g[:2]}, ValueError, "param is changed in place and must be C-contiguous"),
        ({"param": p.astype(">f4")}, ValueError, "native byte order"),
        ({"param": frozen}, ValueError, "param is changed in place, but is read-only"),
        ({"param": [1.0]}, TypeError, "param is changed in place and must be a NumPy array, got list"),
        ({"param": p.astype(np.float16)}, TypeError, "param has dtype float16, expected float32 or float64"),
        ({"grad": g[:3]}, ValueError, r"grad has shape \(3,\), but param has \(4,\)"),
        ({"grad": g.astype(np.float64)}, TypeError, "grad has float64"),
        ({"velocity": u[:3]}, ValueError, r"velocity has shape \(3,\)"),
        ({"velocity": u.astype(np.float64)}, TypeError, "velocity has float64"),
        ({"velocity": frozen}, ValueError, "velocity is changed in place, but is read-only"),
        ({"velocity": None}, ValueError, "momentum needs a velocity"),
        ({"momentum": "much"}, TypeError, "momentum must be a number, got 'much'"),
    ):
        with pytest.raises(error, match=text):
            sgd_step(**arguments)
    with pytest.raises(TypeError, match="square_avg must be a NumPy array, got None"):
        _core.rmsprop_step(p, g, None, u, 0.1, 0.9, 1e-8, 0.0, 0.0)
    with pytest.raises(ValueError, match="step is 0, expected at least 1"):
        _core.adam_step(p, g, u, u.copy(), 0.1, 0.9, 0.99, 1e-8, 0.0, False, 0)
    for array in (p, g, u):
        np.testing.assert_array_equal(array, 1)
