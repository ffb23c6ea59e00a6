"""Neighbours of a Sequential that are computed in one pass: the same results, gradients and names."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn

X = np.random.default_rng(0).standard_normal((2, 4, 9, 8)).astype(np.float32)


def image_layers():
    yield nn.Conv2d(4, 6, 3, padding=1, rng=1)
    yield nn.Conv2d(4, 6, 1, bias=False, rng=1)
    yield nn.ConvTranspose2d(4, 3, 2, stride=2, rng=1)
    yield nn.Residual(nn.Conv2d(4, 4, 3, padding=1, rng=1))
    yield nn.Residual(nn.Conv2d(4, 6, 1, rng=1), nn.Conv2d(4, 6, 3, padding=1, rng=2))


def steps(*layers: nn.Layer) -> int:
    return len(nn.Sequential(*layers)._steps(differentiable=True))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Tanh])
@pytest.mark.parametrize("layer", list(image_layers()), ids=repr)
def test_an_activation_joins_the_layer_before(layer, activation):
    model = nn.Sequential(layer, activation())
    assert len(model._steps(differentiable=True)) == 1
    apart, back_apart = layer.vjp(X)
    y, back_through_activation = activation().vjp(apart)
    np.testing.assert_array_equal(model.eval()(X), y)
    np.testing.assert_array_equal(model.train()(X), y)

    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    model.zero_grad()
    dx_apart = back_apart(back_through_activation(dy))
    apart_grads = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    np.testing.assert_allclose(model.backward(dy), dx_apart, rtol=1e-6, atol=1e-6)
    for parameter, expected in zip(model.parameters(), apart_grads, strict=True):
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-5, atol=1e-5)
    assert getattr(layer, "activation", None) is None


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Tanh])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_batch_norm_joins_too(activation, data_format):
    x = X if data_format == "channels_first" else np.ascontiguousarray(np.moveaxis(X, 1, -1))
    apart, joined = (nn.BatchNorm2d(4, data_format=data_format) for _ in range(2))
    for layer in (apart, joined):
        layer.weight.data[:] = [0.5, -1, 2, 1]
        layer.bias.data[:] = [0, 1, -0.5, 3]
    model = nn.Sequential(joined, activation())
    assert len(model._steps(differentiable=True)) == 1

    z, back_through_norm = apart.vjp(x)
    y, back_through_activation = activation().vjp(z)
    np.testing.assert_array_equal(model(x), y)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    np.testing.assert_array_equal(model.backward(dy), back_through_norm(back_through_activation(dy)))
    np.testing.assert_array_equal(joined.weight.grad, apart.weight.grad)
    np.testing.assert_array_equal(joined.bias.grad, apart.bias.grad)

    assert joined.num_batches_tracked == apart.num_batches_tracked == 1
    np.testing.assert_array_equal(joined.running_mean, apart.running_mean)
    np.testing.assert_array_equal(joined.running_var, apart.running_var)
    np.testing.assert_array_equal(model.eval()(x), activation()(apart.eval()(x)))


def test_linear_joins_too():
    layer = nn.Linear(8, 5, rng=0)
    model = nn.Sequential(layer, nn.ReLU())
    assert len(model._steps(differentiable=True)) == 1
    np.testing.assert_array_equal(model(X), np.maximum(layer(X), 0))
    assert sorted(model.state_dict()) == ["0.bias", "0.weight"]


def test_what_stays_apart():
    conv = nn.Conv2d(4, 4, 1, rng=0)
    assert steps(conv, nn.GELU()) == 2  # its gradient needs what comes before it
    assert steps(conv, nn.LeakyReLU(0.2)) == 2
    assert steps(nn.Conv2d(4, 4, 1, activation="relu", rng=0), nn.ReLU()) == 2
    assert steps(conv, nn.ReLU(), nn.Sigmoid()) == 2
    assert steps(nn.MaxPool2d(2), nn.ReLU()) == 2


def test_derived_classes_keep_their_own_order():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * -2

    class Counted(nn.ReLU):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    conv = nn.Conv2d(4, 4, 1, rng=0)
    doubled = Doubled(4, 4, 1, rng=0)
    model = nn.Sequential(doubled, nn.ReLU()).eval()
    np.testing.assert_array_equal(model(X), np.maximum(conv(X) * -2, 0))
    counted = Counted()
    nn.Sequential(conv, counted).eval()(X)
    assert counted.calls == 1


@pytest.mark.parametrize("wrapped", [0, 1])
def test_wrapped_methods_are_called(wrapped):
    model = nn.Sequential(nn.Conv2d(4, 4, 1, rng=0), nn.ReLU()).eval()
    expected = model(X)
    inner, seen = model[wrapped].forward, []

    def watched(x):
        seen.append(x.shape)
        return inner(x)

    model[wrapped].forward = watched
    np.testing.assert_array_equal(model(X), expected)
    assert len(seen) == 1


def test_paths_of_a_residual_have_one_dtype():
    class Wide(nn.Layer):
        def forward(self, x):
            return x.astype(np.float64)

    with pytest.raises(TypeError, match="Residual: main gives dtype float64, but the shortcut float32"):
        nn.Residual(Wide()).eval()(X)
