"""Every layer's derivative by finite differences, and its two ways to be called."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn

F64 = {"dtype": np.float64}
LAST = {"data_format": "channels_last"}


def spread(shape, seed=0):
    """Distinct values away from 0, so that no maximum, no kink is within a finite difference's reach."""
    rng = np.random.default_rng(seed)
    values = (np.arange(np.prod(shape)) + 0.7) / np.prod(shape) * 3
    return (rng.permutation(values) * rng.choice([-1, 1], values.size)).reshape(shape)


def numeric_gradient(function, array, step=1e-6):
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        below = function()
        array[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


def conv_cases():
    yield "conv1d", lambda: nn.Conv1d(2, 3, 3, rng=0, **F64), (2, 2, 7)
    yield "conv1d causal", lambda: nn.Conv1d(2, 2, 2, padding="causal", dilation=2, rng=0, **F64), (1, 2, 6)
    yield "conv2d", lambda: nn.Conv2d(2, 3, (3, 2), stride=2, padding=1, rng=0, **F64), (2, 2, 5, 6)
    yield "conv2d groups", lambda: nn.Conv2d(4, 4, 3, groups=2, bias=False, rng=0, **F64), (1, 4, 4, 5)
    yield "conv2d last", lambda: nn.Conv2d(2, 3, 3, padding=1, rng=0, **F64, **LAST), (2, 4, 5, 2)
    yield "conv2d mode", lambda: nn.Conv2d(1, 2, 3, 1, 1, 1, 1, True, "reflect", rng=0, **F64), (1, 1, 4, 4)
    yield "conv2d single", lambda: nn.Conv2d(2, 3, 3, rng=0, **F64), (2, 4, 5)
    yield "conv3d", lambda: nn.Conv3d(2, 2, 2, dilation=2, rng=0, **F64), (1, 2, 4, 3, 4)
    for name in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"):
        yield (
            f"conv2d {name}",
            lambda name=name: nn.Conv2d(2, 2, 2, activation=name, rng=0, **F64),
            (1, 2, 4, 3),
        )
    yield "transpose1d", lambda: nn.ConvTranspose1d(3, 2, 3, 2, 1, 1, rng=0, **F64), (2, 3, 4)
    yield "transpose2d", lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, groups=2, rng=0, **F64), (1, 4, 3, 2)
    yield (
        "transpose2d silu",
        lambda: nn.ConvTranspose2d(2, 2, 2, activation="silu", rng=0, **F64),
        (1, 2, 3, 3),
    )
    yield (
        "transpose2d last",
        lambda: nn.ConvTranspose2d(2, 3, 2, bias=False, rng=0, **F64, **LAST),
        (1, 3, 3, 2),
    )
    yield "transpose3d", lambda: nn.ConvTranspose3d(2, 1, 2, dilation=2, rng=0, **F64), (1, 2, 2, 2, 3)


def pool_cases():
    for rank, size in ((1, (7,)), (2, (5, 6)), (3, (4, 3, 5))):
        first, last = (2, 2, *size), (2, *size, 2)
        for name in ("MaxPool", "AvgPool"):
            kind = getattr(nn, f"{name}{rank}d")
            yield f"{name}{rank}d", lambda kind=kind: kind(2), first
            yield f"{name}{rank}d pads", lambda kind=kind: kind(3, 2, 1, ceil_mode=True), first
            yield f"{name}{rank}d last", lambda kind=kind: kind(2, stride=1, **LAST), last
        adaptive_avg = getattr(nn, f"AdaptiveAvgPool{rank}d")
        adaptive_max = getattr(nn, f"AdaptiveMaxPool{rank}d")
        yield f"AdaptiveAvgPool{rank}d", lambda kind=adaptive_avg: kind(3), first
        yield f"AdaptiveMaxPool{rank}d", lambda kind=adaptive_max: kind(2, **LAST), last
        norm = getattr(nn, f"LPPool{rank}d")
        yield f"LPPool{rank}d", lambda kind=norm: kind(3, 2, stride=1), first
    yield "MaxPool2d dilation", lambda: nn.MaxPool2d(2, 1, dilation=2), (1, 2, 4, 5)
    yield "AvgPool2d inner", lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False), (1, 2, 4, 4)
    yield "AvgPool2d divisor", lambda: nn.AvgPool2d(2, divisor_override=3), (1, 2, 4, 4)
    for kind in (nn.GlobalAvgPool, nn.GlobalMaxPool):
        yield kind.__name__, lambda kind=kind: kind(), (2, 3, 4, 2)
        yield f"{kind.__name__} kept", lambda kind=kind: kind(keepdims=True, **LAST), (2, 4, 3)
    for kind in (nn.ChannelAvgPool, nn.ChannelMaxPool):
        yield kind.__name__, lambda kind=kind: kind(2), (2, 4, 3)
        yield f"{kind.__name__} last", lambda kind=kind: kind(3, stride=1, **LAST), (2, 3, 5)


def other_cases():
    yield "linear", lambda: nn.Linear(4, 3, rng=0, **F64), (2, 4)
    yield "linear axes", lambda: nn.Linear(3, 2, bias=False, rng=0, **F64), (2, 2, 3)
    for name in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"):
        yield f"linear {name}", lambda name=name: nn.Linear(3, 4, activation=name, rng=0, **F64), (3, 3)
    for kind in (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.Softmax):
        yield kind.__name__, lambda kind=kind: kind(), (3, 4)
    yield "leaky slope", lambda: nn.LeakyReLU(0.3), (3, 4)
    yield "softmax axis", lambda: nn.Softmax(axis=1), (2, 3, 4)
    yield "flatten", lambda: nn.Flatten(), (2, 3, 2)
    yield "flatten last", lambda: nn.Flatten(**LAST), (2, 3, 2, 2)
    yield "flatten last of two axes", lambda: nn.Flatten(**LAST), (2, 3)
    yield "flatten some", lambda: nn.Flatten(0, 1), (2, 3, 2)
    yield "batch norm 1d", lambda: nn.BatchNorm1d(3, **F64), (5, 3)
    yield "batch norm 1d length", lambda: nn.BatchNorm1d(3, momentum=None, **F64), (2, 3, 4)
    yield "batch norm 2d last", lambda: nn.BatchNorm2d(3, **F64, **LAST), (2, 2, 3, 3)
    yield "batch norm 2d plain", lambda: nn.BatchNorm2d(2, affine=False, **F64), (2, 2, 2, 3)
    yield "batch norm 3d", lambda: nn.BatchNorm3d(2, track_running_stats=False, **F64), (2, 2, 2, 1, 2)
    yield "batch norm eval", lambda: nn.BatchNorm1d(3, **F64).eval(), (5, 3)
    yield "local response", lambda: nn.LocalResponseNorm(3, alpha=0.5, k=2.0), (2, 5, 3)
    yield "local response last", lambda: nn.LocalResponseNorm(4, alpha=0.5, **LAST), (2, 3, 5)
    yield "dropout eval", lambda: nn.Dropout(0.4, rng=0).eval(), (3, 4)
    yield (
        "sequential",
        lambda: nn.Sequential(nn.Linear(3, 4, rng=0, **F64), nn.Tanh(), nn.Linear(4, 2, rng=1, **F64)),
        (2, 3),
    )
    yield "sequential empty", lambda: nn.Sequential(), (2, 3)
    yield "residual", lambda: nn.Residual(nn.Linear(3, 3, rng=0, **F64)), (2, 3)
    yield "residual tanh", lambda: nn.Residual(nn.Linear(3, 3, rng=0, **F64), activation="tanh"), (2, 3)
    yield (
        "residual and tanh in one pass",
        lambda: nn.Sequential(nn.Residual(nn.Linear(3, 3, rng=0, **F64)), nn.Tanh()),
        (2, 3),
    )
    yield (
        "convolution and sigmoid in one pass",
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, rng=0, **F64), nn.Sigmoid()),
        (2, 2, 5, 4),
    )
    yield (
        "residual shortcut",
        lambda: nn.Residual(
            nn.Linear(3, 2, activation="tanh", rng=0, **F64), nn.Linear(3, 2, bias=False, rng=1, **F64)
        ),
        (2, 3),
    )
    yield (
        "concat",
        lambda: nn.Concat(
            nn.Conv1d(2, 3, 1, rng=0, **F64), nn.Conv1d(2, 1, 3, padding=1, rng=1, **F64), nn.Tanh()
        ),
        (2, 2, 4),
    )
    yield "concat last", lambda: nn.Concat(nn.Linear(2, 3, rng=0, **F64), nn.Tanh(), **LAST), (2, 3, 2)


CASES = [*conv_cases(), *pool_cases(), *other_cases()]


@pytest.fixture(params=CASES, ids=[case[0] for case in CASES])
def case(request):
    _, make, shape = request.param
    return make, spread(shape, seed=1)


def test_gradients_are_those_of_finite_differences(case):
    make, x = case
    layer = make()
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data += 0.1 * spread(parameter.data.shape, seed)
    y, pullback = layer.vjp(x)
    dy = np.random.default_rng(2).standard_normal(y.shape)

    def loss():
        return float((layer.vjp(x)[0] * dy).sum())

    dx = pullback(dy)
    assert dx.shape == x.shape
    np.testing.assert_allclose(dx, numeric_gradient(loss, x), rtol=1e-5, atol=1e-7)
    for name, parameter in layer.named_parameters():
        expected = numeric_gradient(loss, parameter.data)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_call_and_backward_do_what_vjp_does(case):
    make, x = case
    called, pure = make(), make()
    y = called(x)
    expected_y, pullback = pure.vjp(x)
    np.testing.assert_array_equal(y, expected_y)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    if called.training:
        np.testing.assert_array_equal(called.backward(dy), pullback(dy))
        for p, q in zip(called.parameters(), pure.parameters(), strict=True):
            np.testing.assert_array_equal(p.grad, q.grad)
            assert np.abs(p.grad).max() > 0
        np.testing.assert_array_equal(make()(x), expected_y)


def test_evaluation_computes_the_same_function_and_keeps_nothing(case):
    make, x = case
    layer = make()
    layer.eval()
    y = layer(x)
    # Not always the same bits: forward computes some activations in the product's own pass, vjp after it.
    np.testing.assert_allclose(y, layer.vjp(x)[0], rtol=1e-12, atol=1e-14)
    with pytest.raises(RuntimeError, match="no forward pass"):
        layer.backward(np.ones_like(y))
