"""A convolution, its activation and the max pool behind them in one pass: as the layers apart."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from agreement import DTYPES, assert_agrees, assert_same_bits
from finite_differences import assert_gradient

import fastconv as fc
from fastconv import nn, reference

RANKS = (1, 2, 3)
CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
SIZES = {1: (23,), 2: (11, 14), 3: (6, 5, 9)}
JOINING = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Tanh)
WINDOWS = {
    "side by side": {"kernel_size": 2},
    "overlapping": {"kernel_size": 3, "stride": 2, "padding": 1},
    "ceil_mode": {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    "dilated": {"kernel_size": 2, "stride": 1, "dilation": 2, "padding": 1},
}


def drawn(*shape, seed=0, dtype=np.float32, data_format="channels_first"):
    x = np.random.default_rng(seed).standard_normal(shape)
    if data_format == "channels_last":
        x = np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(x.astype(dtype))


def layers_of(rank, activation, window, data_format="channels_first", dtype=np.float32, **keywords):
    conv = CONVS[rank](4, 6, 3, data_format=data_format, dtype=dtype, rng=1, **{"padding": 1} | keywords)
    if conv.bias is not None:
        conv.bias.data[:] = drawn(6, seed=2)
    pool = POOLS[rank](**WINDOWS[window], data_format=data_format)
    return [conv, *([] if activation is None else [activation()]), pool]


def passes(*layers, differentiable=True):
    return len(nn.Sequential(*layers)._steps(differentiable))


def gradients(layers, pullback, dy):
    """Return dx and the gradients of all parameters."""
    model = nn.Sequential(*layers)
    model.zero_grad()
    return [pullback(dy), *(p.grad.copy() for p in model.parameters())]


def vjp_apart(layers, x):
    """Differentiate the layers with no pass in common but that of convolution and activation."""
    *first, pool = layers
    z, back_through_conv = nn.Sequential(*first).vjp(x)
    y, back_through_pool = pool.vjp(z)
    return y, lambda dy: back_through_conv(back_through_pool(dy))


def assert_as_apart(layers, x, *, tolerance=0.0):
    """Compare results bit by bit, and gradients as far as their sums are in one order."""
    model = nn.Sequential(*layers)
    assert passes(*layers) == 1
    expected, back_apart = vjp_apart(layers, x)
    y, pullback = model.vjp(x)
    assert_same_bits(y, expected)
    assert_same_bits(model.forward(x), expected)
    dy = drawn(*y.shape, seed=3, dtype=x.dtype)
    for got, want in zip(gradients(layers, pullback, dy), gradients(layers, back_apart, dy), strict=True):
        assert got.dtype == want.dtype
        largest = np.abs(want.astype(np.float64)).max(initial=0)
        np.testing.assert_allclose(
            got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance * largest
        )


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("activation", [None, *JOINING])
@pytest.mark.parametrize("rank", RANKS)
def test_results_and_gradients_are_those_of_the_layers_apart(rank, activation, window, data_format):
    layers = layers_of(rank, activation, window, data_format, np.float64)
    for batch in (0, 1, 3):
        x = drawn(batch, 4, *SIZES[rank], dtype=np.float64, data_format=data_format)
        assert_as_apart(layers, x, tolerance=1e-14)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("activation", [None, nn.ReLU, nn.Tanh])
def test_every_dtype(activation, dtype, isa):
    tolerance = {2: 2e-2, 4: 2e-6, 8: 1e-14}[dtype.itemsize]
    for window, data_format in itertools.product(WINDOWS, ("channels_first", "channels_last")):
        layers = layers_of(2, activation, window, data_format, dtype)
        assert_as_apart(
            layers, drawn(3, 4, 11, 14, dtype=dtype, data_format=data_format), tolerance=tolerance
        )


def test_side_by_side_windows_change_no_bit_of_a_gradient():
    for activation in (None, nn.ReLU, nn.LeakyReLU):
        assert_as_apart(layers_of(2, activation, "side by side"), drawn(3, 4, 12, 16))


@pytest.mark.parametrize(
    "keywords",
    [
        {"stride": 2},
        {"dilation": 2},
        {"groups": 2},
        {"bias": False},
        {"padding": "same", "padding_mode": "circular"},
        {"precision": "medium"},
    ],
    ids=str,
)
def test_arguments_of_the_convolution_reach_it(keywords):
    assert_as_apart(layers_of(2, None, "overlapping", **keywords), drawn(2, 4, 11, 14), tolerance=2e-6)


def test_an_activation_of_the_convolutions_own():
    conv = nn.Conv2d(4, 6, 3, activation="tanh", rng=0)
    assert_as_apart([conv, nn.MaxPool2d(3, 2)], drawn(2, 4, 11, 14), tolerance=2e-6)


def test_a_single_image_without_a_batch():
    layers = layers_of(2, nn.ReLU, "overlapping")
    assert_as_apart(layers, drawn(4, 11, 14), tolerance=2e-6)


def test_more_images_than_are_made_at_a_time():
    """Their results of 4 MiB each are never together in memory, and the last part is a smaller one."""
    conv = nn.Conv2d(1, 16, 3, padding=1, rng=0)
    layers = [conv, nn.ReLU(), nn.MaxPool2d(2)]
    x = drawn(11, 1, 256, 256)
    assert_as_apart(layers, x, tolerance=2e-6)
    fc.clear_cache()
    y = nn.Sequential(*layers).forward(x)
    assert fc.cache_info().bytes_cached < 16 * 11 * 256 * 256 * 4 * 0.75
    for n in range(len(x)):
        assert_same_bits(y[n : n + 1], nn.Sequential(*layers).forward(x[n : n + 1]))


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("rank", RANKS)
def test_results_are_the_references(rank, data_format):
    conv, relu, pool = layers_of(rank, nn.ReLU, "overlapping", data_format, np.float64)
    x = drawn(2, 4, *SIZES[rank], dtype=np.float64, data_format=data_format)
    z = getattr(reference, f"conv{rank}d")(
        x, conv.weight.data, conv.bias.data, padding=1, activation="relu", data_format=data_format
    )
    expected = getattr(reference, f"max_pool{rank}d")(z, 3, stride=2, padding=1, data_format=data_format)
    model = nn.Sequential(conv, relu, pool)
    for y in (model(x), model.eval()(x)):
        assert_agrees(y, expected, np.float64)


@pytest.mark.parametrize("activation", [None, *JOINING])
@pytest.mark.parametrize("window", WINDOWS)
def test_gradients_are_difference_quotients(window, activation):
    layers = layers_of(2, activation, window, dtype=np.float64)
    model, x = nn.Sequential(*layers), drawn(2, 4, 6, 7, dtype=np.float64)
    y, pullback = model.vjp(x)
    dy = drawn(*y.shape, seed=3, dtype=np.float64)
    dx, dw, db = gradients(layers, pullback, dy)
    assert_gradient(model.forward, x, dx, dy)
    for parameter, gradient in zip(model.parameters(), (dw, db), strict=True):
        at = parameter.data

        def with_values(values, parameter=parameter, at=at):
            parameter.data = values
            y = model.forward(x)
            parameter.data = at
            return y

        assert_gradient(with_values, at, gradient, dy)


def test_what_is_no_number_stays_so():
    layers = layers_of(2, nn.ReLU, "overlapping")
    x = drawn(2, 4, 11, 14)
    x[0, 1, 3, 4] = np.nan
    x[1, 0, 5, 5] = -np.inf
    assert_same_bits(nn.Sequential(*layers).forward(x), vjp_apart(layers, x)[0])
    assert np.isnan(nn.Sequential(*layers).forward(x)[0]).any()


def test_windows_beyond_what_a_byte_tells_apart():
    conv = nn.Conv2d(2, 3, 3, padding=1, rng=0)
    assert_as_apart([conv, nn.ReLU(), nn.MaxPool2d(17, 3)], drawn(2, 2, 40, 44), tolerance=2e-6)


def test_what_stays_apart():
    conv, pool = nn.Conv2d(4, 4, 1, rng=0), nn.MaxPool2d(2)
    assert passes(conv, pool) == passes(conv, nn.ReLU(), pool) == 1
    assert passes(conv, nn.GELU(), pool) == 3
    assert passes(nn.Conv2d(4, 4, 1, activation="silu", rng=0), pool) == 2
    assert passes(conv, nn.LeakyReLU(0.2), pool) == 3
    assert passes(conv, pool, nn.ReLU()) == 2
    assert passes(conv, pool, pool) == 2
    assert passes(conv, nn.MaxPool2d(2, return_indices=True)) == 2
    assert passes(conv, nn.MaxPool2d(2, data_format="channels_last")) == 2
    assert passes(conv, nn.MaxPool1d(2)) == 2
    assert passes(conv, nn.AvgPool2d(2)) == 2
    assert passes(nn.ConvTranspose2d(4, 4, 1, rng=0), pool) == 2
    assert passes(nn.Residual(conv), nn.ReLU(), pool) == 2


def test_derived_and_wrapped_layers_are_called():
    class Doubled(nn.MaxPool2d):
        def forward(self, x):
            return 2 * super().forward(x)

    conv, x = nn.Conv2d(4, 4, 1, rng=0), drawn(2, 4, 6, 6)
    np.testing.assert_array_equal(
        nn.Sequential(conv, Doubled(2)).forward(x), 2 * nn.MaxPool2d(2)(conv.forward(x))
    )
    model, seen = nn.Sequential(conv, nn.MaxPool2d(2)), []
    inner = model[1].forward
    model[1].forward = lambda x: seen.append(x.shape) or inner(x)
    model.eval()(x)
    assert seen == [(2, 4, 6, 6)]


@pytest.mark.parametrize("activation", [None, nn.ReLU])
def test_a_batch_normalisation_folds_in_too(activation):
    conv, *_, pool = layers_of(2, None, "overlapping", dtype=np.float64)
    norm = nn.BatchNorm2d(6, dtype=np.float64)
    norm.running_mean[:], norm.running_var[:] = drawn(6, seed=4), np.arange(1, 7)
    layers = [conv, norm, *([] if activation is None else [activation()]), pool]
    model, x = nn.Sequential(*layers).eval(), drawn(2, 4, 11, 14, dtype=np.float64)
    assert passes(*layers, differentiable=False) == 1
    expected = x
    for layer in layers:
        expected = layer.forward(expected)
    np.testing.assert_allclose(model(x), expected, rtol=1e-12, atol=1e-12)
    few = x[:1, :, :2, :2]  # smaller than the filters
    np.testing.assert_allclose(model(few), pool(nn.Sequential(*layers[:-1]).eval()(few)), rtol=1e-12)
    last = nn.MaxPool2d(2, data_format="channels_last")
    y = nn.Sequential(conv, norm, last).eval()(x)
    np.testing.assert_array_equal(y, last(nn.Sequential(conv, norm).eval()(x)))


def test_little_is_kept_for_the_gradient():
    """Of 8 MiB of the convolution's result only the maxima and a byte for each."""
    model = nn.Sequential(nn.Conv2d(4, 32, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2))
    x = drawn(16, 4, 64, 64)
    before = fc.cache_info().bytes_in_use
    y, pullback = model.vjp(x)
    kept = fc.cache_info().bytes_in_use - before
    assert y.nbytes + y.size <= kept <= 1.1 * (y.nbytes + y.size)
    pullback(np.ones_like(y))


def test_the_gradient_by_the_input_can_be_left_out():
    model = nn.Sequential(*layers_of(2, nn.ReLU, "overlapping"))
    x = drawn(2, 4, 11, 14)
    dy = drawn(*model(x).shape, seed=3)
    model.backward(dy)
    whole = [parameter.grad.copy() for parameter in model.parameters()]
    model.zero_grad()
    model(x)
    assert model.backward(dy, input_gradient=False) is None
    for parameter, gradient in zip(model.parameters(), whole, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


def test_models_are_copied_and_pickled_as_before():
    model = nn.Sequential(*layers_of(2, nn.ReLU, "overlapping"))
    x = drawn(2, 4, 11, 14)
    y = model(x)
    assert sorted(model.state_dict()) == ["0.bias", "0.weight"]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin(x), y)


@pytest.mark.parametrize("mode", ["forward", "vjp"])
@pytest.mark.parametrize(
    ("conv", "pool", "shape"),
    [
        ({}, {"kernel_size": 2}, (2, 5, 6, 6)),
        ({}, {"kernel_size": 2}, (4, 6)),
        ({}, {"kernel_size": 9}, (2, 4, 6, 6)),
        ({}, {"kernel_size": 2, "padding": 2}, (2, 4, 6, 6)),
        ({}, {"kernel_size": (2, 2, 2)}, (2, 4, 6, 6)),
        ({"padding": 0}, {"kernel_size": 2}, (2, 4, 2, 2)),
        ({"precision": "exact"}, {"kernel_size": 2}, (2, 4, 6, 6)),
    ],
    ids=str,
)
def test_errors_are_those_of_the_layers_apart(conv, pool, shape, mode):
    conv_layer = nn.Conv2d(4, 6, 3, rng=0, **{"padding": 1} | conv)
    pool_layer = nn.MaxPool2d(**pool)
    x = drawn(*shape)
    with pytest.raises((TypeError, ValueError)) as expected:
        pool_layer.forward(conv_layer.forward(x))
    with pytest.raises(expected.type) as got:
        getattr(nn.Sequential(conv_layer, pool_layer), mode)(x)
    assert str(got.value) == str(expected.value)


def test_wrong_gradients_are_named_as_before():
    layers = layers_of(2, nn.ReLU, "overlapping")
    x = drawn(2, 4, 11, 14)
    for dy in (np.ones((1, 2), np.float32), np.ones((2, 6, 6, 7))):
        with pytest.raises((TypeError, ValueError)) as expected:
            vjp_apart(layers, x)[1](dy)
        with pytest.raises(expected.type) as got:
            nn.Sequential(*layers).vjp(x)[1](dy)
        assert str(got.value) == str(expected.value)
