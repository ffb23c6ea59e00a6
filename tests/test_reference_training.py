"""The oracle's activations, normalisations, losses and optimiser steps: differences, plain loops, PyTorch."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from cases import ACTIVATIONS
from finite_differences import assert_gradient

from fastconv import reference


@pytest.fixture(scope="module")
def torch():
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch", reason="PyTorch is not installed: no second opinion from it")


def torch_activation(torch, z, name):
    return getattr(torch.nn.functional, name)(z)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(torch, name):
    x = np.concatenate([np.linspace(-8, 8, 101), [0.0, 6.0, -30.0, 30.0]])
    tx = torch.tensor(x, requires_grad=True)
    ty = torch_activation(torch, tx, name)
    dy = np.linspace(-1, 1, x.size)
    ty.backward(torch.tensor(dy))
    y = reference.activation(x, name)
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-13, atol=1e-13)
    gradient = reference.activation_grad(dy, name, x=x, y=y)
    np.testing.assert_allclose(gradient, tx.grad.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_torchs(torch, training, affine):
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((4, 5, 3, 2)) * 2 + 1, rng.standard_normal((4, 5, 3, 2))
    weight, bias = (rng.standard_normal(5), rng.standard_normal(5)) if affine else (None, None)
    running = rng.standard_normal(5), rng.uniform(0.5, 2, 5)
    leaves = [None if a is None else torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    trunning = [torch.tensor(a) for a in running]
    ty = torch.nn.functional.batch_norm(leaves[0], *trunning, *leaves[1:], training, 0.1, 1e-5)
    ty.backward(torch.tensor(dy))
    y, mean, inv_std = reference.batch_norm(x, weight, bias, *running, 0.1, 1e-5, training, "channels_first")
    np.testing.assert_allclose(y, ty.detach().numpy(), atol=1e-12)
    for ours, theirs in zip(running, trunning, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)
    gradients = reference.batch_norm_grad(dy, x, weight, mean, inv_std, training, "channels_first")
    for ours, leaf in zip(gradients, leaves, strict=True):
        if leaf is not None:
            np.testing.assert_allclose(ours, leaf.grad.numpy(), atol=1e-12)
    last, _, _ = reference.batch_norm(
        np.moveaxis(x, 1, -1), weight, bias, mean, 1 / inv_std**2 - 1e-5, 0.1, 1e-5, False, "channels_last"
    )
    np.testing.assert_allclose(np.moveaxis(last, -1, 1), y, atol=1e-12)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_local_response_norm_is_torchs(torch, size):
    rng = np.random.default_rng(7)
    x, dy = rng.standard_normal((2, 9, 3, 4)), rng.standard_normal((2, 9, 3, 4))
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.nn.functional.local_response_norm(tx, size, alpha=0.3, beta=0.75, k=2.0)
    ty.backward(torch.tensor(dy))
    y, scale = reference.local_response_norm(x, size, 0.3, 0.75, 2.0, "channels_first")
    np.testing.assert_allclose(y, ty.detach().numpy(), atol=1e-12)
    dx = reference.local_response_norm_grad(dy, x, y, scale, size, 0.3, 0.75, "channels_first")
    np.testing.assert_allclose(dx, tx.grad.numpy(), atol=1e-12)


def test_losses_are_torchs(torch):
    rng = np.random.default_rng(8)
    logits, labels = rng.standard_normal((6, 4)) * 3, rng.integers(0, 4, 6)
    functional = torch.nn.functional
    for smoothing, given in itertools.product((0.0, 0.1), (labels, rng.uniform(0, 1, logits.shape))):
        tlogits = torch.tensor(logits, requires_grad=True)
        expected = functional.cross_entropy(tlogits, torch.tensor(given), label_smoothing=smoothing)
        expected.backward()
        loss, gradient = reference.cross_entropy(logits, given, smoothing)
        assert math.isclose(loss, expected.item(), rel_tol=1e-12)
        np.testing.assert_allclose(gradient, tlogits.grad.numpy(), atol=1e-14)
    targets = rng.uniform(0, 1, logits.shape)
    for ours, theirs in (
        (reference.binary_cross_entropy_with_logits, functional.binary_cross_entropy_with_logits),
        (reference.mse, functional.mse_loss),
    ):
        tlogits = torch.tensor(logits, requires_grad=True)
        expected = theirs(tlogits, torch.tensor(targets))
        expected.backward()
        loss, gradient = ours(logits, targets)
        assert math.isclose(loss, expected.item(), rel_tol=1e-12)
        np.testing.assert_allclose(gradient, tlogits.grad.numpy(), atol=1e-14)


def test_softmax_and_linear_are_torchs(torch):
    rng = np.random.default_rng(9)
    x, dy = rng.standard_normal((5, 3, 7)), rng.standard_normal((5, 3, 7))
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.softmax(tx, dim=-1)
    ty.backward(torch.tensor(dy))
    y = reference.softmax(x)
    np.testing.assert_allclose(y, ty.detach().numpy(), atol=1e-14)
    np.testing.assert_allclose(reference.softmax_grad(dy, y), tx.grad.numpy(), atol=1e-14)

    w, b = rng.standard_normal((4, 7)), rng.standard_normal(4)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    ty = torch.nn.functional.linear(*leaves)
    dy = rng.standard_normal(ty.shape)
    ty.backward(torch.tensor(dy))
    np.testing.assert_allclose(reference.linear(x, w, b), ty.detach().numpy(), atol=1e-13)
    np.testing.assert_array_equal(reference.linear(x, w, b, "relu"), np.maximum(reference.linear(x, w, b), 0))
    for ours, leaf in zip(reference.linear_grad(dy, x, w), leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad.numpy(), atol=1e-13)
    assert reference.linear_grad(dy, x, w, (False, True, False))[::2] == (None, None)


def _run_optimiser(torch, make, step):
    """Return PyTorch's and the reference's parameter after four steps on the same gradients."""
    rng = np.random.default_rng(10)
    start = rng.standard_normal(12)
    gradients = rng.standard_normal((4, 12))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = make([parameter])
    ours = start.copy()
    for number, gradient in enumerate(gradients, start=1):
        parameter.grad = torch.tensor(gradient)
        optimiser.step()
        step(ours, gradient, number)
    return parameter.detach().numpy(), ours


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_is_torchs(torch, momentum, nesterov):
    velocity = np.zeros(12) if momentum else None
    theirs, ours = _run_optimiser(
        torch,
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.01),
        lambda p, g, _: reference.sgd_step(p, g, velocity, 0.1, momentum, 0.01, nesterov),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop_is_torchs(torch, momentum):
    square_avg, velocity = np.zeros(12), np.zeros(12) if momentum else None
    theirs, ours = _run_optimiser(
        torch,
        lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.9, eps=1e-8, weight_decay=0.01, momentum=momentum),
        lambda p, g, _: reference.rmsprop_step(p, g, square_avg, velocity, 0.1, 0.9, 1e-8, 0.01, momentum),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_is_torchs(torch, decoupled):
    m, v = np.zeros(12), np.zeros(12)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    theirs, ours = _run_optimiser(
        torch,
        lambda p: kind(p, lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01),
        lambda p, g, n: reference.adam_step(p, g, m, v, 0.1, 0.9, 0.99, 1e-8, 0.01, decoupled, n),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


# ---------------------------------------------------------------- without PyTorch


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_gradients_are_differences(name):
    x, dy = np.random.default_rng(0).uniform(-7, 7, (2, 61))
    y = reference.activation(x, name)
    assert_gradient(
        lambda v: reference.activation(v, name), x, reference.activation_grad(dy, name, x=x, y=y), dy
    )
    if name not in ("gelu", "silu"):
        np.testing.assert_allclose(
            reference.activation_grad(dy, name, x=x), reference.activation_grad(dy, name, y=y)
        )


def test_activations_at_points_known_by_heart():
    x = np.array([-1.0, 0.0, 1.0, 7.0])
    expected = {
        "relu": [0, 0, 1, 7],
        "relu6": [0, 0, 1, 6],
        "leaky_relu": [-0.01, 0, 1, 7],
        "sigmoid": [1 / (1 + math.e), 0.5, math.e / (1 + math.e), 1 / (1 + math.exp(-7))],
        "tanh": [math.tanh(v) for v in x],
        "gelu": [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x],
        "silu": [v / (1 + math.exp(-v)) for v in x],
    }
    assert set(expected) == set(ACTIVATIONS)
    for name, values in expected.items():
        np.testing.assert_allclose(reference.activation(x, name), values, rtol=1e-14)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_batch_norm_is_its_formula(training, data_format):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, 4, 5, 3)) * 2 + 1, rng.standard_normal((2, 4, 5, 3))
    channel = 1 if data_format == "channels_first" else 3
    weight, bias = rng.standard_normal((2, x.shape[channel]))
    mean, var = rng.standard_normal(x.shape[channel]), rng.uniform(1, 2, x.shape[channel])

    def norm(x, weight, bias):
        return reference.batch_norm(
            x, weight, bias, mean.copy(), var.copy(), 0.1, 1e-5, training, data_format
        )[0]

    running = mean.copy(), var.copy()
    y, used_mean, inv_std = reference.batch_norm(x, weight, bias, *running, 0.1, 1e-5, training, data_format)
    for c in range(x.shape[channel]):
        values = np.take(x, c, axis=channel)
        m, v = (values.mean(), values.var()) if training else (mean[c], var[c])
        expected = (values - m) / math.sqrt(v + 1e-5) * weight[c] + bias[c]
        np.testing.assert_allclose(np.take(y, c, axis=channel), expected, atol=1e-12)
        if training:
            assert math.isclose(running[0][c], 0.9 * mean[c] + 0.1 * m)
            assert math.isclose(running[1][c], 0.9 * var[c] + 0.1 * values.var(ddof=1))
    gradients = reference.batch_norm_grad(dy, x, weight, used_mean, inv_std, training, data_format)
    assert_gradient(lambda v: norm(v, weight, bias), x, gradients[0], dy)
    assert_gradient(lambda v: norm(x, v, bias), weight, gradients[1], dy)
    assert_gradient(lambda v: norm(x, weight, v), bias, gradients[2], dy)
    if not training:
        with pytest.raises(ValueError, match="running"):
            reference.batch_norm(x, weight, bias, None, None, 0.1, 1e-5, False, data_format)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_local_response_norm_is_its_formula(size, data_format):
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, 2, 6, 4, 3))
    channel = 1 if data_format == "channels_first" else 3
    x, dy = np.moveaxis(x, 1, channel), np.moveaxis(dy, 1, channel)
    y, scale = reference.local_response_norm(x, size, 0.3, 0.75, 2.0, data_format)
    for c in range(6):
        near = [
            np.take(x, n, axis=channel) ** 2 for n in range(c - size // 2, c - size // 2 + size) if 0 <= n < 6
        ]
        expected = 2.0 + 0.3 / size * sum(near)
        np.testing.assert_allclose(np.take(scale, c, axis=channel), expected)
        np.testing.assert_allclose(np.take(y, c, axis=channel), np.take(x, c, axis=channel) / expected**0.75)
    dx = reference.local_response_norm_grad(dy, x, y, scale, size, 0.3, 0.75, data_format)
    assert_gradient(
        lambda v: reference.local_response_norm(v, size, 0.3, 0.75, 2.0, data_format)[0], x, dx, dy
    )


def test_losses_are_their_formulas():
    rng = np.random.default_rng(3)
    logits, labels, targets = rng.standard_normal((4, 3)), np.array([0, 2, 1, 1]), rng.uniform(0, 1, (4, 3))
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(reference.softmax(logits), probability)
    plain = -np.mean([math.log(probability[row, label]) for row, label in enumerate(labels)])
    assert math.isclose(reference.cross_entropy(logits, labels, 0.0)[0], plain)
    smoothed = 0.9 * plain - 0.1 * np.log(probability).mean()
    assert math.isclose(reference.cross_entropy(logits, labels, 0.1)[0], smoothed)
    p = 1 / (1 + np.exp(-logits))
    binary = -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    assert math.isclose(reference.binary_cross_entropy_with_logits(logits, targets)[0], binary)
    assert math.isclose(reference.mse(logits, targets)[0], ((logits - targets) ** 2).mean())
    for loss in (
        lambda v: reference.cross_entropy(v, labels, 0.1),
        lambda v: reference.cross_entropy(v, targets, 0.1),
        lambda v: reference.binary_cross_entropy_with_logits(v, targets),
        lambda v: reference.mse(v, targets),
    ):
        assert_gradient(lambda v, f=loss: np.array(f(v)[0]), logits, loss(logits)[1], np.array(1.0))


def test_losses_of_extreme_logits_are_finite():
    logits = np.array([[1000.0, -1000.0, 0.0]])
    assert reference.cross_entropy(logits, np.array([1]), 0.0)[0] == 2000
    assert (
        reference.binary_cross_entropy_with_logits(logits, np.array([[1.0, 0.0, 0.5]]))[0] == math.log(2) / 3
    )


def test_elementwise_gradients_are_differences():
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((2, 5, 7))
    assert_gradient(reference.softmax, x, reference.softmax_grad(dy, reference.softmax(x)), dy)
    w, b, dy = rng.standard_normal((4, 7)), rng.standard_normal(4), rng.standard_normal((5, 4))
    dx, dw, db = reference.linear_grad(dy, x, w)
    assert_gradient(lambda v: reference.linear(v, w, b), x, dx, dy)
    assert_gradient(lambda v: reference.linear(x, v, b), w, dw, dy)
    assert_gradient(lambda v: reference.linear(x, w, v), b, db, dy)
    mask = rng.integers(0, 2, x.shape).astype(bool)
    np.testing.assert_array_equal(reference.scale_mask(x, mask, 2.0), np.where(mask, 2 * x, 0))


def test_optimisers_take_the_steps_of_their_papers():
    """Two steps on one number, written out."""
    start, gradients, lr = 2.0, (0.5, -1.5), 0.1

    def run(step, *state):
        parameter = np.array([start])
        for number, gradient in enumerate(gradients, start=1):
            step(parameter, np.array([gradient]), number, *state)
        return float(parameter[0])

    first = start - lr * 0.5
    assert math.isclose(
        run(lambda p, g, _: reference.sgd_step(p, g, None, lr, 0.0, 0.0, False)), first - lr * -1.5
    )
    velocity = np.zeros(1)
    heavy = run(lambda p, g, _: reference.sgd_step(p, g, velocity, lr, 0.9, 0.0, False))
    assert math.isclose(heavy, first - lr * (0.9 * 0.5 - 1.5))
    velocity = np.zeros(1)
    nesterov = run(lambda p, g, _: reference.sgd_step(p, g, velocity, lr, 0.9, 0.0, True))
    ahead = start - lr * (0.5 + 0.9 * 0.5)
    assert math.isclose(nesterov, ahead - lr * (-1.5 + 0.9 * (0.9 * 0.5 - 1.5)))
    decayed = run(lambda p, g, _: reference.sgd_step(p, g, None, lr, 0.0, 0.01, False))
    once = start - lr * (0.5 + 0.01 * start)
    assert math.isclose(decayed, once - lr * (-1.5 + 0.01 * once))

    square = np.zeros(1)
    rms = run(lambda p, g, _: reference.rmsprop_step(p, g, square, None, lr, 0.9, 0.0, 0.0, 0.0))
    mean = 0.1 * 0.25
    after = start - lr * 0.5 / math.sqrt(mean)
    assert math.isclose(rms, after + lr * 1.5 / math.sqrt(0.9 * mean + 0.1 * 2.25))

    for decoupled in (False, True):
        m, v = np.zeros(1), np.zeros(1)
        adam = run(
            lambda p, g, n, d=decoupled, m=m, v=v: reference.adam_step(
                p, g, m, v, lr, 0.9, 0.99, 0.0, 0.0, d, n
            )
        )
        first_moment, second_moment = 0.9 * 0.05 + 0.1 * -1.5, 0.99 * 0.0025 + 0.01 * 2.25
        step = first_moment / (1 - 0.9**2) / math.sqrt(second_moment / (1 - 0.99**2))
        assert math.isclose(adam, start - lr - lr * step)  # Adam's first step is lr, whatever the gradient
    m, v, parameter = np.zeros(1), np.zeros(1), np.array([start])
    reference.adam_step(parameter, np.array([0.5]), m, v, lr, 0.9, 0.99, 0.0, 0.01, True, 1)
    assert math.isclose(parameter[0], start * (1 - lr * 0.01) - lr)
