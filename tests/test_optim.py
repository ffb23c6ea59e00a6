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
    with pytest.raises(ValueError, match=r"mean of parameter number 1 has shape \(5,\), expected \(4,\)"):
        optimizer.load_state_dict(make(3, 5).state_dict())
    with pytest.raises(ValueError, match="the state has settings"):
        optimizer.load_state_dict(make(3, 4, kind=optim.SGD).state_dict())
    with pytest.raises(ValueError, match=r"the state has arrays \[\], expected \['mean', 'square_avg'\]"):
        optimizer.load_state_dict(before | {"arrays": [{}, {}]})
    assert before["steps"] == 1
    assert_same_state(optimizer.state_dict(), before)


KINDS = [optim.SGD, optim.RMSprop, optim.Adam, optim.AdamW]


def read_only(shape):
    array = np.ones(shape)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda q: setattr(q, "grad", np.ones(5)),
            ValueError,
            r"the gradient of {} has shape \(5,\), .*\(3, 2\)",
        ),
        (
            lambda q: setattr(q, "grad", np.ones((3, 2), "f4")),
            TypeError,
            "gradient of {} has dtype float32, .*64",
        ),
        (lambda q: setattr(q, "grad", np.ones((3, 2), int)), TypeError, "gradient of {} has dtype int64"),
        (lambda q: setattr(q, "grad", 1.0), TypeError, "gradient of {} must be a NumPy array .* got float"),
        (
            lambda q: setattr(q, "data", read_only((3, 2))),
            ValueError,
            "{} is changed in place, but is read-only",
        ),
        (lambda q: setattr(q, "data", np.ones((2, 3)).T), ValueError, "{} .* must be C-contiguous"),
        (lambda q: setattr(q, "data", np.ones((3, 2), ">f8")), TypeError, "{} must be float32 or float64"),
        (lambda q: setattr(q, "data", [1.0]), TypeError, "{} .* must be a NumPy array, got list"),
    ],
)
@pytest.mark.parametrize("name", ["scale", ""])
def test_a_step_that_can_not_be_made_changes_nothing(kind, spoil, error, message, name):
    p, q = nn.Parameter(np.ones(4)), nn.Parameter(np.ones((3, 2)), name)
    optimizer = kind([p, q], lr=0.1)
    before = optimizer.state_dict()
    p.grad += 1
    spoil(q)
    label = r"parameter 'scale' \(number 1\)" if name else "parameter number 1"
    with pytest.raises(error, match=f"{kind.__name__}: .*" + message.replace("{}", label)):
        optimizer.step()
    np.testing.assert_array_equal(p.data, 1)
    assert_same_state(optimizer.state_dict(), before)


def assert_same_state(one, other):
    assert (one["settings"], one["steps"]) == (other["settings"], other["steps"])
    for arrays, others in zip(one["arrays"], other["arrays"], strict=True):
        assert arrays.keys() == others.keys()
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], others[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_checks_parameters_and_settings_as_they_are_now(kind):
    p = nn.Parameter(np.ones(4))
    optimizer = kind([p], lr=0.1, **({"momentum": 0.5} if kind is optim.SGD else {}))
    p.data = np.ones(3)
    with pytest.raises(ValueError, match=r"parameter number 0 has shape \(3,\), expected \(4,\)"):
        optimizer.step()
    p.data = np.ones(4)
    for lr, error in ((float("nan"), ValueError), (None, TypeError)):
        optimizer.lr = lr
        with pytest.raises(error, match=f"{kind.__name__}: lr must be"):
            optimizer.step()
    assert optimizer.steps == 0
    np.testing.assert_array_equal(p.data, 1)


@pytest.mark.parametrize("kind", [optim.SGD, optim.RMSprop])
def test_momentum_may_be_switched_on(kind):
    results = []
    for momentum in (0.0, 0.5):
        p = nn.Parameter(np.ones(2))
        optimizer = kind([p], lr=0.1, momentum=momentum)
        optimizer.momentum = 0.5
        train(optimizer, [[np.ones(2)]] * 2)
        results.append(p.data)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: [], TypeError, "Adam: the state must be a mapping, got list"),
        (lambda s: {"settings": s["settings"]}, ValueError, "Adam: the state has no steps, arrays"),
        (lambda s: s | {"steps": "x"}, TypeError, "the state's steps must be an integer, got 'x'"),
        (lambda s: s | {"steps": 1.0}, TypeError, "steps must be an integer, got 1.0"),
        (lambda s: s | {"steps": -1}, ValueError, "steps must be at least 0, got -1"),
        (lambda s: s | {"settings": [1]}, TypeError, "settings must be a mapping, got list"),
        (
            lambda s: s | {"settings": s["settings"] | {"lr": float("nan")}},
            ValueError,
            "Adam: lr must be finite",
        ),
        (lambda s: s | {"settings": s["settings"] | {"betas": 0.9}}, TypeError, "betas must be two numbers"),
        (lambda s: s | {"arrays": 3}, TypeError, "the state's arrays must be a list, got int"),
        (lambda s: s | {"arrays": [3]}, TypeError, "arrays for parameter 'w' .number 0. must be a mapping"),
        (lambda s: with_mean(s, np.array([{}, {}])), TypeError, "mean of parameter 'w' .* has dtype object"),
        (lambda s: with_mean(s, ["a", "b"]), TypeError, "mean of parameter 'w' .number 0. has dtype <U1"),
        (lambda s: with_mean(s, [[1.0], [1.0, 2.0]]), TypeError, "mean of parameter 'w' .* can't be read"),
        (
            lambda s: with_mean(s, 1.0),
            ValueError,
            r"mean of parameter 'w' .* has shape \(\), expected \(2,\)",
        ),
        (lambda s: with_mean(s, [0, 1e300]), ValueError, "mean of parameter 'w' .* holds 1e.300, .* float32"),
    ],
)
def test_a_state_of_wrong_parts_changes_nothing(change, error, message):
    optimizer = optim.Adam([nn.Parameter(np.ones(2, np.float32), "w")])
    train(optimizer, [[np.ones(2, np.float32)]])
    before = optimizer.state_dict()
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(change(optimizer.state_dict()))
    assert_same_state(optimizer.state_dict(), before)


def with_mean(state, mean):
    return state | {"arrays": [state["arrays"][0] | {"mean": mean}]}


def test_a_state_may_come_from_json_or_fortran():
    optimizer = optim.Adam([nn.Parameter(np.ones((2, 2)))])
    train(optimizer, [[np.arange(4.0).reshape(2, 2)]])
    state = optimizer.state_dict()
    settings = state["settings"] | {"betas": list(state["settings"]["betas"])}
    arrays = [{name: np.asfortranarray(array) for name, array in state["arrays"][0].items()}]
    optimizer.load_state_dict(state | {"settings": settings, "arrays": arrays})
    assert_same_state(optimizer.state_dict(), state)
    optimizer.step()


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
    for make, message in [
        (lambda: optim.SGD(parameters, lr=None), "SGD: lr must be a number, got None"),
        (lambda: optim.SGD(parameters, lr=True), "SGD: lr must be a number, got True"),
        (lambda: optim.SGD(parameters, lr="0.1"), "SGD: lr must be a number, got '0.1'"),
        (lambda: optim.SGD(parameters, lr=1, nesterov=2), "SGD: nesterov must be True or False, got 2"),
        (lambda: optim.Adam(parameters, betas=0.9), "Adam: betas must be two numbers, got 0.9"),
        (lambda: optim.AdamW(parameters, betas=(0.9, None)), "AdamW: betas must be a number, got None"),
        (lambda: optim.RMSprop(parameters, eps=1j), "RMSprop: eps must be a number, got 1j"),
        (lambda: optim.SGD(layer, lr=1), "SGD: parameters must be Parameter objects, .* got Linear"),
        (lambda: optim.SGD(layer.weight, lr=1), "parameters must be Parameter objects, .* got Parameter"),
        (lambda: optim.SGD([nn.Parameter([1.0])], lr=1), "parameter number 0 .* NumPy array, got list"),
    ]:
        with pytest.raises(TypeError, match=message):
            make()
    for data in (np.ones((2, 3)).T, np.ones((4, 4))[::2], read_only(3)):
        with pytest.raises(ValueError, match=r"SGD: parameter 'w' .number 0. is changed in place"):
            optim.SGD([nn.Parameter(data, "w")], lr=1)
    with pytest.raises(TypeError, match=r"must be Parameter objects, .* got tuple"):
        optim.SGD(layer.named_parameters(), lr=1)
    with pytest.raises(
        TypeError, match=r"parameter 'weight' .number 0. must be float32 or float64, got float16"
    ):
        optim.SGD(nn.Linear(2, 2, dtype=np.float16).parameters(), lr=1)


def test_cosine_decay_rises_and_falls():
    rates = [optim.cosine_decay(step, 100, 2.0, warmup=9) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.linspace(0.2, 2.0, 10))
    assert rates[9] == 2.0 and (np.diff(rates[9:]) < 0).all() and rates[-1] > 0
    assert optim.cosine_decay(50, 100, 2.0) == pytest.approx(1.0)
    assert optim.cosine_decay(100, 100, 2.0) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="warmup must be from 0 up to total=3, got 3"):
        optim.cosine_decay(0, 3, 1.0, warmup=3)


def test_step_decay_drops_at_its_shares():
    rates = [optim.step_decay(step, 100, 2.0, warmup=9) for step in range(100)]
    np.testing.assert_allclose(rates[:9], 0.2 * np.arange(1, 10))
    assert set(rates[9:50]) == {2.0}
    np.testing.assert_allclose([rates[50], rates[74], rates[75], rates[99]], [0.2, 0.2, 0.02, 0.02])
    assert optim.step_decay(30, 100, 2.0, drops=(0.3, 0.6), factor=0.5) == 1.0
    with pytest.raises(ValueError, match="step_decay: warmup must be from 0 up to total=3, got 3"):
        optim.step_decay(0, 3, 1.0, warmup=3)


def test_a_constant_rate_only_rises():
    assert [optim.constant(step, 5, 3.0, warmup=2) for step in range(5)] == [1.0, 2.0, 3.0, 3.0, 3.0]
    with pytest.raises(ValueError, match="constant: warmup must be from 0 up to total=3, got -1"):
        optim.constant(0, 3, 1.0, warmup=-1)
