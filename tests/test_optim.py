"""Optimisers against their formulas in NumPy and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn, optim

STEPS = 6


def sgd(p, g, s, t, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = g + weight_decay * p
    s["v"] = momentum * s.get("v", 0) + g
    return p - lr * (g + momentum * s["v"] if nesterov else s["v"])


def rmsprop(p, g, s, t, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0):
    g = g + weight_decay * p
    s["q"] = alpha * s.get("q", 0) + (1 - alpha) * g**2
    s["v"] = momentum * s.get("v", 0) + g / (np.sqrt(s["q"]) + eps)
    return p - lr * s["v"]


def adam(p, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["q"] = betas[1] * s.get("q", 0) + (1 - betas[1]) * g**2
    return p - lr * (s["m"] / (1 - betas[0] ** t)) / (np.sqrt(s["q"] / (1 - betas[1] ** t)) + eps)


def adamw(p, g, s, t, weight_decay=1e-2, **settings):
    return adam(p, g, s, t, weight_decay=weight_decay, decoupled=True, **settings)


CASES = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.1, "momentum": 0.5}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    (optim.AdamW, adamw, {}),
    (optim.AdamW, adamw, {"lr": 0.05, "betas": (0.7, 0.9), "weight_decay": 0.3}),
]


def start(dtype):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in ((3, 4), (37,))]


def gradients(dtype):
    rng = np.random.default_rng(1)
    return [[rng.standard_normal(shape).astype(dtype) for shape in ((3, 4), (37,))] for _ in range(STEPS)]


def train(optimizer, steps):
    for step in steps:
        optimizer.zero_grad()
        for parameter, gradient in zip(optimizer.parameters, step, strict=True):
            parameter.accumulate(gradient.copy())
        optimizer.step()


@pytest.mark.parametrize(("kind", "formula", "settings"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_steps_follow_the_formula(kind, formula, settings, dtype, tolerance):
    arrays = start(dtype)
    parameters = [nn.Parameter(array) for array in arrays]
    expected, memory = start(np.float64), [{}, {}]
    train(kind(parameters, **settings), gradients(dtype))
    for t, step in enumerate(gradients(np.float64 if dtype == np.float64 else np.float32), 1):
        expected = [
            formula(p, g.astype(np.float64), s, t, **settings)
            for p, g, s in zip(expected, step, memory, strict=True)
        ]
    for parameter, array, wanted in zip(parameters, arrays, expected, strict=True):
        assert parameter.data is array and array.dtype == dtype
        np.testing.assert_allclose(array, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("kind", "formula", "settings"), CASES)
def test_steps_are_pytorchs(kind, formula, settings):
    torch = pytest.importorskip("torch")
    parameters = [nn.Parameter(array) for array in start(np.float64)]
    tensors = [torch.nn.Parameter(torch.from_numpy(array)) for array in start(np.float64)]
    theirs = getattr(torch.optim, kind.__name__)(tensors, **settings)
    train(kind(parameters, **settings), gradients(np.float64))
    for step in gradients(np.float64):
        for tensor, gradient in zip(tensors, step, strict=True):
            tensor.grad = torch.from_numpy(gradient)
        theirs.step()
    for parameter, tensor in zip(parameters, tensors, strict=True):
        np.testing.assert_allclose(parameter.data, tensor.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("kind", "formula", "settings"), CASES)
def test_a_loaded_state_goes_on_as_if_never_stopped(kind, formula, settings):
    steps = gradients(np.float64)
    whole = [nn.Parameter(array) for array in start(np.float64)]
    train(kind(whole, **settings), steps)

    parts = [nn.Parameter(array) for array in start(np.float64)]
    first = kind(parts, **settings)
    train(first, steps[:3])
    state = first.state_dict()
    train(first, steps[3:4])
    for parameter, array in zip(parts, start(np.float64), strict=True):
        parameter.data[...] = array
    train(kind(parts, **settings), steps[:3])
    second = kind(parts, **(settings | {"lr": 7}))
    second.load_state_dict(state)
    train(second, steps[3:])
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_state_that_does_not_fit_changes_nothing():
    def make(*shapes, kind=optim.Adam):
        return kind([nn.Parameter(np.ones(shape)) for shape in shapes], lr=0.1)

    optimizer = make(3, 4)
    train(optimizer, [[np.ones(3), np.ones(4)]])
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match="the state is for 1 parameters, not 2"):
        optimizer.load_state_dict(make(3).state_dict())
    with pytest.raises(ValueError, match=r"mean of parameter '' has shape \(5,\), expected \(4,\)"):
        optimizer.load_state_dict(make(3, 5).state_dict())
    with pytest.raises(ValueError, match="the state has settings"):
        optimizer.load_state_dict(make(3, 4, kind=optim.SGD).state_dict())
    with pytest.raises(ValueError, match=r"the state has arrays \[\], expected \['mean', 'square_avg'\]"):
        optimizer.load_state_dict(before | {"arrays": [{}, {}]})
    after = optimizer.state_dict()
    assert after["steps"] == before["steps"] == 1 and after["settings"] == before["settings"]
    for one, other in zip(before["arrays"], after["arrays"], strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_learning_rate_may_change():
    parameter = nn.Parameter(np.zeros(1))
    optimizer = optim.SGD([parameter], lr=1.0)
    for lr in (1.0, 0.5):
        optimizer.lr = lr
        train(optimizer, [[np.ones(1)]])
    np.testing.assert_array_equal(parameter.data, -1.5)
    assert repr(optimizer) == "SGD(1 parameters, lr=0.5, momentum=0.0, nesterov=False, weight_decay=0.0)"


def test_a_parameter_given_twice_counts_once():
    layer = nn.Linear(1, 1, bias=False, init="zeros", dtype=np.float64)
    optimizer = optim.SGD([*layer.parameters(), *layer.parameters()], lr=1.0)
    layer.weight.grad += 1
    optimizer.step()
    np.testing.assert_array_equal(layer.weight.data, -1)
    optimizer.zero_grad()
    np.testing.assert_array_equal(layer.weight.grad, 0)


def test_wrong_arguments_are_refused():
    layer = nn.Linear(2, 2)
    parameters = list(layer.parameters())
    for make, message in [
        (lambda: optim.SGD(parameters, lr=-1), "SGD: lr must be finite and not negative, got -1"),
        (lambda: optim.SGD(parameters, lr=float("nan")), "lr must be"),
        (lambda: optim.SGD(parameters, lr=1, momentum=1.0), "momentum must be from 0 up to 1, got 1.0"),
        (lambda: optim.SGD(parameters, lr=1, nesterov=True), "nesterov=True needs a momentum"),
        (lambda: optim.Adam(parameters, betas=(0.9, 1.0)), r"betas must be from 0 up to 1, got \(0.9, 1.0\)"),
        (lambda: optim.Adam(parameters, betas=(0.9,)), "betas must be two numbers"),
        (lambda: optim.RMSprop(parameters, weight_decay=-0.1), "weight_decay must be"),
        (lambda: optim.AdamW([]), "AdamW: there are no parameters"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match=r"must be Parameter objects, .* got tuple"):
        optim.SGD(layer.named_parameters(), lr=1)
    with pytest.raises(TypeError, match="parameter 'weight' must be float32 or float64, got float16"):
        optim.SGD(nn.Linear(2, 2, dtype=np.float16).parameters(), lr=1)


def test_cosine_decay_rises_and_falls():
    rates = [optim.cosine_decay(step, 100, 2.0, warmup=9) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.linspace(0.2, 2.0, 10))
    assert rates[9] == 2.0 and (np.diff(rates[9:]) < 0).all() and rates[-1] > 0
    assert optim.cosine_decay(50, 100, 2.0) == pytest.approx(1.0)
    assert optim.cosine_decay(100, 100, 2.0) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="warmup must be from 0 up to total=3, got 3"):
        optim.cosine_decay(0, 3, 1.0, warmup=3)
