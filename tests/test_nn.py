"""Layers one by one: calls and gradients, statistics, containers, errors."""

from __future__ import annotations

import copy
import pickle
import re
import threading

import numpy as np
import pytest
from test_nn_gradients import CASES, F64, numeric_gradient, spread

from fastconv import nn


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_unpool_undoes_max_pool_and_has_its_gradient(rank):
    x = np.abs(spread((2, 3, *(4, 6, 2)[:rank])))
    pool = getattr(nn, f"MaxPool{rank}d")(2, return_indices=True)
    unpool = getattr(nn, f"MaxUnpool{rank}d")(2)
    (y, indices), back = pool.vjp(x)
    restored, unpool_back = unpool.vjp(y, indices)
    assert restored.shape == x.shape
    np.testing.assert_array_equal(restored[restored != 0], x[restored != 0])
    assert (restored != 0).sum() == y.size
    dy = np.random.default_rng(0).standard_normal(x.shape)
    expected = numeric_gradient(lambda: float((unpool.vjp(y, indices)[0] * dy).sum()), y)
    np.testing.assert_allclose(unpool_back(dy), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(unpool(y, indices), restored)
    np.testing.assert_array_equal(unpool.backward(dy), unpool_back(dy))
    np.testing.assert_array_equal(back(y) != 0, restored != 0)
    pooled, pooled_indices = pool.eval()(x)
    np.testing.assert_array_equal(pooled, y)
    np.testing.assert_array_equal(pooled_indices, indices)


def test_max_unpool_takes_an_output_size():
    y, indices = nn.MaxPool1d(2, return_indices=True)(spread((1, 1, 5)))
    assert nn.MaxUnpool1d(2)(y, indices, (5,)).shape == (1, 1, 5)


def test_adaptive_max_pool_gives_its_indices():
    x = spread((1, 2, 6))
    y, indices = nn.AdaptiveMaxPool1d(3, return_indices=True)(x)
    np.testing.assert_array_equal(np.take_along_axis(x, indices, -1), y)


# Calls and gradients


def test_backward_wants_one_forward_each():
    layer = nn.Linear(3, 2, rng=0)
    dy = np.ones((1, 2), np.float32)
    with pytest.raises(RuntimeError, match=r"Linear.backward.*call the layer in training mode"):
        layer.backward(dy)
    layer(np.ones((1, 3), np.float32))
    layer.backward(dy)
    kept = layer.weight.grad.copy()
    with pytest.raises(RuntimeError, match="no forward pass"):
        layer.backward(dy)
    np.testing.assert_array_equal(layer.weight.grad, kept)


def test_switching_modes_forgets_the_forward_pass():
    layer = nn.Sequential(nn.ReLU())
    x = np.ones((1, 3), np.float32)
    layer(x)
    assert layer.eval() is layer
    with pytest.raises(RuntimeError):
        layer.backward(x)
    assert layer.train() is layer
    layer(x)
    np.testing.assert_array_equal(layer.backward(x), x)


def test_a_pullback_that_fails_can_be_tried_again():
    layer = nn.Flatten()
    layer(np.ones((2, 3, 4)))
    with pytest.raises(ValueError):
        layer.backward(np.ones(5))
    assert layer.backward(np.ones((2, 12))).shape == (2, 3, 4)


@pytest.mark.parametrize(
    "first", [nn.Conv1d(2, 3, 3, padding=1, rng=0, **F64), nn.Linear(5, 5, rng=0, **F64), nn.Tanh()], ids=repr
)
def test_the_gradient_of_the_input_can_be_left_out(first):
    model = nn.Sequential(nn.Sequential(first, nn.ReLU()), nn.Linear(5, 3, rng=1, **F64))
    x = spread((4, 2, 5))
    dy = np.random.default_rng(0).standard_normal(model(x).shape)
    assert model.backward(dy).shape == x.shape
    whole = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    model(x)
    assert model.backward(dy, input_gradient=False) is None
    for parameter, gradient in zip(model.parameters(), whole, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)
    with pytest.raises(RuntimeError, match="no forward pass"):
        model.backward(dy, input_gradient=False)
    model(x)
    with pytest.raises(ValueError, match="dy has shape"):
        model.backward(dy[:1], input_gradient=False)


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 3, 3, rng=0), nn.Linear(5, 3, rng=0)], ids=repr)
def test_a_gradient_that_is_left_out_is_not_computed(layer):
    y, pullback = layer.vjp(np.ones((1, 2, 5, 5), np.float32))
    assert pullback.for_parameters(np.ones_like(y)) is None
    assert layer.weight.grad.any() and layer.bias.grad.any()


def test_a_parameter_describes_itself():
    assert repr(nn.Linear(3, 2).weight) == "Parameter(weight, shape=(2, 3), float32)"


def test_children_are_named():
    assert [name for name, _ in nn.Residual(nn.ReLU(), nn.Tanh()).children()] == ["main", "shortcut"]
    assert [name for name, _ in Doubled().children()] == ["steps.0", "steps.1"]


def test_gradients_add_up_until_zero_grad():
    layer = nn.Linear(2, 2, rng=0, **F64)
    x, dy = spread((3, 2)), spread((3, 2), 1)
    _, pullback = layer.vjp(x)
    pullback(dy)
    once = layer.weight.grad.copy()
    pullback(dy)
    np.testing.assert_allclose(layer.weight.grad, 2 * once)
    layer.zero_grad()
    np.testing.assert_array_equal(layer.weight.grad, 0)
    layer.weight.grad += 1
    np.testing.assert_array_equal(layer.weight.grad, 1)
    layer.weight.grad = None
    np.testing.assert_array_equal(layer.weight.grad, 0)
    with pytest.raises(
        ValueError, match=r"gradient of parameter 'weight' has shape \(3,\), expected \(2, 2\)"
    ):
        layer.weight.accumulate(np.ones(3))


def test_a_shared_layer_has_the_sum_of_both_gradients():
    shared = nn.Linear(3, 3, rng=0, **F64)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    x = spread((2, 3))
    y = model(x)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    dx = model.backward(dy)

    def loss():
        return float((model.vjp(x)[0] * dy).sum())

    np.testing.assert_allclose(dx, numeric_gradient(loss, x), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(
        shared.weight.grad, numeric_gradient(loss, shared.weight.data), rtol=1e-5, atol=1e-8
    )
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(model.parameters())) == 2
    assert set(model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert model.summary((3,)).parameters == 12


def test_vjp_serves_several_threads():
    layer = nn.Linear(8, 8, rng=0, **F64)
    inputs = [spread((4, 8), seed) for seed in range(8)]
    alone = nn.Linear(8, 8, rng=0, **F64)
    expected = [alone.vjp(x)[1](x) for x in inputs]
    results = [None] * len(inputs)

    def work(index):
        for _ in range(20):
            _, pullback = layer.vjp(inputs[index])
            results[index] = pullback(inputs[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, wanted)
    np.testing.assert_allclose(layer.weight.grad, 20 * alone.weight.grad, rtol=1e-10)


class Doubled(nn.Layer):
    """A layer as a user writes it: layers in a list, a parameter of its own, only vjp."""

    def __init__(self):
        self.scale = nn.Parameter(np.array([2.0]), "scale")
        self.steps = [nn.Linear(2, 2, rng=0, **F64), nn.Dropout(0.5, rng=0)]

    def vjp(self, x):
        hidden, back = self.steps[0].vjp(x)

        def pullback(dy):
            self.scale.accumulate(np.array([np.vdot(dy, hidden)]))
            return back(self.scale.data * dy)

        return self.scale.data * hidden, pullback


def test_a_layer_of_ones_own_needs_only_vjp():
    layer = Doubled()
    x = spread((3, 2))
    assert [name for name, _ in layer.named_parameters()] == ["scale", "steps.0.weight", "steps.0.bias"]
    y = layer(x)
    assert layer.backward(np.ones_like(y)).shape == x.shape
    np.testing.assert_array_equal(layer.eval()(x), y)
    assert not layer.steps[1].training
    rows = layer.summary((2,)).rows
    assert [(row.name, row.parameters) for row in rows] == [("steps.0", 6), ("", 1)]
    with pytest.raises(NotImplementedError, match="Layer defines no vjp"):
        nn.Layer().vjp(x)


def test_layers_can_be_copied_and_pickled_after_a_forward_pass():
    model = nn.Sequential(nn.Conv1d(1, 2, 3, activation="relu", rng=0), nn.Flatten(), nn.Dropout(rng=3))
    x = np.ones((1, 1, 5), np.float32)
    model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with pytest.raises(RuntimeError):
            twin.backward(x)
        np.testing.assert_array_equal(twin.eval()(x), copy.deepcopy(model).eval()(x))
        twin[0].weight.data += 1
    assert model.backward(np.ones((1, 6), np.float32)).shape == x.shape


# Single layers


def test_batch_norm_keeps_running_statistics_with_the_unbiased_variance():
    layer = nn.BatchNorm1d(2, momentum=0.25, **F64)
    x = spread((6, 2))
    layer(x)
    np.testing.assert_allclose(layer.running_mean, 0.25 * x.mean(0))
    np.testing.assert_allclose(layer.running_var, 0.75 + 0.25 * x.var(0, ddof=1))
    assert int(layer.num_batches_tracked) == 1
    layer.eval()
    before = layer.state_dict()
    y = layer(x)
    np.testing.assert_allclose(y, (x - layer.running_mean) / np.sqrt(layer.running_var + 1e-5))
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_batch_norm_without_momentum_averages_all_batches():
    layer = nn.BatchNorm1d(2, momentum=None, **F64)
    batches = [spread((6, 2), seed) for seed in range(3)]
    for x in batches:
        layer(x)
    np.testing.assert_allclose(layer.running_mean, np.mean([x.mean(0) for x in batches], 0))
    np.testing.assert_allclose(layer.running_var, np.mean([x.var(0, ddof=1) for x in batches], 0))


def test_batch_norm_checks_the_rank_before_anything_changes():
    layer = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match=r"BatchNorm2d: x must have 4 axes, got shape \(2, 3\)"):
        layer(np.ones((2, 3), np.float32))
    assert int(layer.num_batches_tracked) == 0
    with pytest.raises(ValueError, match="2 or 3 axes"):
        nn.BatchNorm1d(3)(np.ones((1, 3, 2, 2), np.float32))
    with pytest.raises(ValueError, match="num_features must be at least 1, got 0"):
        nn.BatchNorm2d(0)


def test_normalisation_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    x = spread((4, 6, 5, 3)).astype(np.float32)
    tensor = torch.from_numpy(x)
    mine, theirs = nn.BatchNorm2d(6), torch.nn.BatchNorm2d(6)
    np.testing.assert_allclose(mine(x), theirs(tensor).detach().numpy(), rtol=1e-4, atol=1e-5)
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(mine.state_dict()[name], value.numpy(), rtol=1e-5, atol=1e-6)
    for size in (2, 3, 5):
        expected = torch.nn.LocalResponseNorm(size, 0.3, 0.6, 1.5)(tensor).numpy()
        np.testing.assert_allclose(
            nn.LocalResponseNorm(size, 0.3, 0.6, 1.5)(x), expected, rtol=1e-5, atol=1e-6
        )


def test_dropout_drops_its_share_and_scales_the_rest():
    layer = nn.Dropout(0.25, rng=0)
    x = np.ones((100, 100), np.float32)
    y, pullback = layer.vjp(x)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(pullback(x), y)
    assert (layer(x) != y).any()
    np.testing.assert_array_equal(nn.Dropout(0.25, rng=np.random.default_rng(0))(x), y)
    np.testing.assert_array_equal(nn.Dropout(1)(x), 0)
    np.testing.assert_array_equal(nn.Dropout(0)(x), x)
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="Dropout: p must be from 0 to 1"):
            nn.Dropout(p)


def test_softmax_rows_sum_to_one_along_any_axis():
    x = spread((2, 3, 4)) * 100
    for axis in (0, 1, 2, -2):
        y = nn.Softmax(axis)(x)
        assert y.flags.c_contiguous
        np.testing.assert_allclose(y.sum(axis), 1)
        expected = np.exp(x - x.max(axis, keepdims=True))
        np.testing.assert_allclose(y, expected / expected.sum(axis, keepdims=True), atol=1e-12)


def test_conv_layers_check_their_arguments():
    with pytest.raises(ValueError, match="Conv2d: in_channels must be at least 1, got 0"):
        nn.Conv2d(0, 3, 3)
    with pytest.raises(ValueError, match="Conv1d: out_channels must be divisible by groups=2, got 3"):
        nn.Conv1d(4, 3, 3, groups=2)
    with pytest.raises(
        ValueError, match=r"Conv3d: kernel_size must be a positive int or 3 of them, got \(3, 3\)"
    ):
        nn.Conv3d(1, 1, (3, 3))
    with pytest.raises(ValueError, match="ConvTranspose2d: kernel_size"):
        nn.ConvTranspose2d(1, 1, 0)
    with pytest.raises(ValueError, match=r"init must be one of he_normal, .* got 'uniform'"):
        nn.Conv2d(1, 1, 3, init="uniform")
    with pytest.raises(ValueError, match="Linear: out_features must be at least 1"):
        nn.Linear(3, 0)


def test_sizes_may_be_numpys_integers():
    i = np.int64
    layer = nn.Conv2d(i(2), np.array(3), i(3), groups=np.uint8(1))
    assert layer.weight.data.shape == (3, 2, 3, 3) and layer.kernel_size == (3, 3)
    assert repr(layer) == "Conv2d(2, 3, (3, 3))"
    assert nn.Conv2d(2, 3, np.array([3, 2])).kernel_size == (3, 2)
    assert nn.ConvTranspose1d(2, 3, np.array(4)).weight.data.shape == (2, 3, 4)
    assert nn.Linear(i(4), i(2)).weight.data.shape == (2, 4)
    assert nn.BatchNorm1d(i(4)).weight.data.shape == (4,)
    assert nn.LocalResponseNorm(i(3)).size == 3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Conv2d(2, 3, 3.0), TypeError, "Conv2d: kernel_size must be an integer, got 3.0"),
        (lambda: nn.Conv2d(2, 3, (3, True)), TypeError, "Conv2d: kernel_size must be an integer, got True"),
        (lambda: nn.Conv2d(2, 3, "33"), TypeError, "Conv2d: kernel_size must be an integer, got '3'"),
        (lambda: nn.Conv2d(2.0, 3, 3), TypeError, "Conv2d: in_channels must be an integer, got 2.0"),
        (lambda: nn.Conv2d(True, 3, 3), TypeError, "Conv2d: in_channels must be an integer, got True"),
        (
            lambda: nn.ConvTranspose3d(2, None, 3),
            TypeError,
            "ConvTranspose3d: out_channels must be an integer",
        ),
        (lambda: nn.Conv1d(2, 2, 3, groups=np.bool_(True)), TypeError, "Conv1d: groups must be an integer"),
        (lambda: nn.Linear(2.0, 3), TypeError, "Linear: in_features must be an integer, got 2.0"),
        (lambda: nn.Linear(2, True), TypeError, "Linear: out_features must be an integer, got True"),
        (lambda: nn.BatchNorm2d(3.0), TypeError, "BatchNorm2d: num_features must be an integer, got 3.0"),
        (lambda: nn.BatchNorm2d(3, eps=None), TypeError, "BatchNorm2d: eps must be a number, got None"),
        (
            lambda: nn.BatchNorm2d(3, momentum="x"),
            TypeError,
            "BatchNorm2d: momentum must be a number, got 'x'",
        ),
        (lambda: nn.BatchNorm1d(3, data_format="NCL"), ValueError, "BatchNorm1d: data_format must be one of"),
        (lambda: nn.LocalResponseNorm(3.0), TypeError, "LocalResponseNorm: size must be an integer, got 3.0"),
        (lambda: nn.LocalResponseNorm(0), ValueError, "LocalResponseNorm: size must be at least 1, got 0"),
        (lambda: nn.LocalResponseNorm(3, beta=()), TypeError, "LocalResponseNorm: beta must be a number"),
        (
            lambda: nn.LocalResponseNorm(3, data_format=3),
            ValueError,
            "LocalResponseNorm: data_format must be",
        ),
        (lambda: nn.Dropout(None), TypeError, "Dropout: p must be a number, got None"),
        (lambda: nn.Dropout("0.5"), TypeError, "Dropout: p must be a number, got '0.5'"),
        (lambda: nn.LeakyReLU(None), TypeError, "LeakyReLU: negative_slope must be a number, got None"),
        (lambda: nn.LeakyReLU(np.nan), ValueError, "LeakyReLU: negative_slope must be finite, got nan"),
        (lambda: nn.Softmax(None), TypeError, "Softmax: axis must be an integer, got None"),
        (lambda: nn.Flatten(1.0), TypeError, "Flatten: start_dim must be an integer, got 1.0"),
        (lambda: nn.Flatten(data_format="NHWC"), ValueError, "Flatten: data_format must be one of"),
        (
            lambda: nn.Residual(nn.ReLU(), activation="gelu"),
            ValueError,
            "Residual: activation 'gelu' has no common pass with a sum",
        ),
    ],
)
def test_wrong_arguments_are_named(make, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        make()


class Foreign:
    """An array of another library: all it has is the DLPack protocol."""

    def __init__(self, array):
        self.__dlpack__, self.__dlpack_device__ = array.__dlpack__, array.__dlpack_device__


@pytest.mark.parametrize(("make", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_layers_take_what_functions_take(make, shape):
    x = spread(shape)
    y, pullback = make().vjp(x)
    dy = spread(y.shape, 1)
    dx = pullback(dy)
    foreign_y, foreign_pullback = make().vjp(Foreign(x))
    for result, expected in [
        (foreign_y, y),
        (foreign_pullback(Foreign(dy)), dx),
        (make().eval()(Foreign(x)), make().eval()(x)),
    ]:
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("make", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_pullbacks_take_only_what_is_like_the_result(make, shape):
    layer = make()
    y, pullback = layer.vjp(spread(shape))
    layers = [type(within).__name__ for _, within in layer.named_layers()]
    for wrong in (np.ones((*y.shape, 1)), np.ones((1,) * y.ndim), np.ones(1), np.ones((2, *y.shape))):
        with pytest.raises(ValueError, match=f"^({'|'.join(layers)}): dy has shape"):
            pullback(wrong)
    with pytest.raises(TypeError, match=f"^({'|'.join(layers)}): dy has dtype float32, expected float64"):
        pullback(y.astype(np.float32))
    with pytest.raises(TypeError, match=rf"^({'|'.join(layers)}): dy has dtype int64, .*astype"):
        pullback(np.ones(y.shape, np.int64))
    for parameter in layer.parameters():
        assert not parameter.grad.any()


@pytest.mark.parametrize(("make", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_inputs_are_floating_arrays(make, shape):
    for training in (True, False):
        layer = make().train(training)
        with pytest.raises(TypeError, match=r"^[\w.]+: x must be a NumPy array or an object with __dlpack__"):
            layer(spread(shape).tolist())
        if type(layer) not in (nn.Flatten, nn.Sequential):
            with pytest.raises(TypeError, match=r"^[\w.]+: x has dtype int64"):
                layer(np.ones(shape, np.int64))


@pytest.mark.parametrize("slope", [0.01, 0.2])
def test_every_slope_of_leaky_relu_is_alike(slope):
    layer = nn.LeakyReLU(slope)
    for order in "CF":
        x = np.array([[-1.0, 2.0, 3.0], [4.0, -5.0, np.nan]], np.float32, order=order)
        y, pullback = layer.vjp(x)
        assert y.flags.c_contiguous and pullback(x).flags.c_contiguous
        np.testing.assert_array_equal(y, np.where(x > 0, x, x * np.float32(slope)))
    y = layer(np.array(-1.0))
    assert type(y) is np.ndarray and y.shape == () and y == -slope


def test_layers_name_themselves_and_what_they_expected():
    for layer, x, error, message in [
        (nn.Linear(3, 2), np.ones((2, 4), "f4"), ValueError, "Linear: x has shape (2, 4), expected (..., 3)"),
        (nn.Linear(3, 2), np.ones((2, 3)), TypeError, "Linear: x has dtype float64, but weight has float32"),
        (nn.BatchNorm2d(3), np.ones((2, 3, 2, 2)), TypeError, "BatchNorm2d: x has dtype float64, but weight"),
        (
            nn.BatchNorm1d(3),
            np.ones((2, 4), "f4"),
            ValueError,
            "BatchNorm1d: x of shape (2, 4) has 4 channels",
        ),
        (
            nn.BatchNorm1d(3),
            np.ones((1, 3), "f4"),
            ValueError,
            "BatchNorm1d: x has shape (1, 3), expected more",
        ),
        (nn.LocalResponseNorm(3), np.ones(3), ValueError, "LocalResponseNorm: x must have at least 2 axes"),
        (nn.Softmax(2), np.ones((2, 3)), ValueError, "Softmax: x of shape (2, 3) has no axis 2"),
        (nn.Softmax(), np.array(1.0), ValueError, "Softmax: x of shape () has no axis -1"),
    ]:
        for call in (layer.forward, layer.vjp):
            with pytest.raises(error, match=f"^{re.escape(message)}"):
                call(x)


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match="channels"):
        nn.Conv2d(3, 4, 3)(np.ones((1, 2, 5, 5), np.float32))
    with pytest.raises(TypeError, match=r"float64.*float32|float32.*float64"):
        nn.Conv2d(2, 4, 3)(np.ones((1, 2, 5, 5)))
    with pytest.raises(ValueError, match=r"Flatten: axes 1 to -1 can't be merged in x of shape \(3,\)"):
        nn.Flatten()(np.ones(3))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_goes_through_all_layers(name):
    dtype = np.float16 if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16

    def make(dtype):
        rng = np.random.default_rng(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, rng=rng, dtype=dtype),
            nn.BatchNorm2d(4, dtype=dtype),
            nn.LeakyReLU(0.2),
            nn.MaxPool2d(2),
            nn.LocalResponseNorm(3),
            nn.Residual(nn.Conv2d(4, 4, 1, activation="gelu", rng=rng, dtype=dtype)),
            nn.Concat(nn.Tanh(), nn.GELU()),
            nn.Flatten(),
            nn.Linear(32, 3, activation="silu", rng=rng, dtype=dtype),
            nn.Softmax(),
        )

    half, single = make(dtype), make(np.float32)
    single.load_state_dict(half.state_dict())
    x, dy = spread((2, 3, 4, 4)).astype(dtype), spread((2, 3)).astype(dtype)
    y, dx = half(x), half.backward(dy)
    expected_y, expected_dx = single(x.astype(np.float32)), single.backward(dy.astype(np.float32))
    assert y.dtype == dx.dtype == dtype and half[1].running_mean.dtype == np.float32
    tolerance = 0.1 if name == "bfloat16" else 0.02
    np.testing.assert_allclose(y.astype(np.float32), expected_y, atol=tolerance)
    np.testing.assert_allclose(dx.astype(np.float32), expected_dx, atol=tolerance * np.abs(expected_dx).max())
    for parameter in half.parameters():
        assert parameter.grad.dtype == dtype


# Containers


def test_sequential_is_a_sequence():
    layers = [nn.ReLU(), nn.Tanh(), nn.Flatten()]
    model = nn.Sequential(*layers)
    assert len(model) == 3 and list(model) == layers and model[-1] is layers[-1]
    assert isinstance(model[1:], nn.Sequential) and list(model[1:]) == layers[1:]
    named = nn.Sequential({"features": nn.Linear(2, 3, rng=0), "head": nn.Linear(3, 1, rng=0)})
    assert next(name for name, _ in named.named_parameters()) == "features.weight"
    assert [name for name, _ in named[1:].named_parameters()] == ["head.weight", "head.bias"]


def test_containers_take_layers_only():
    with pytest.raises(TypeError, match="Sequential: 1 must be a layer, got function"):
        nn.Sequential(nn.ReLU(), lambda x: x)
    with pytest.raises(TypeError, match="Residual: shortcut must be a layer, got int"):
        nn.Residual(nn.ReLU(), 3)
    with pytest.raises(ValueError, match="at least one branch"):
        nn.Concat()
    with pytest.raises(
        ValueError, match="data_format must be one of channels_first, channels_last, got 'NHWC'"
    ):
        nn.Concat(nn.ReLU(), data_format="NHWC")


def test_paths_must_fit():
    x = np.ones((1, 2, 6), np.float32)
    with pytest.raises(ValueError, match=r"main gives shape \(1, 2, 4\), but the shortcut \(1, 2, 6\)"):
        nn.Residual(nn.Conv1d(2, 2, 3, rng=0))(x)
    with pytest.raises(ValueError, match=r"differ in channels only, got shapes \(1, 2, 4\), \(1, 2, 6\)"):
        nn.Concat(nn.Conv1d(2, 2, 3, rng=0), nn.ReLU())(x)


def test_residual_leaves_its_input_alone():
    x = spread((2, 3))
    kept = x.copy()
    block = nn.Residual(nn.Flatten(), nn.Dropout(rng=0).eval())
    np.testing.assert_array_equal(block(x), 2 * kept)
    dy = np.ones_like(x)
    np.testing.assert_array_equal(block.backward(dy), 2)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(dy, 1)


def test_flattened_channels_are_in_one_order():
    x = spread((2, 3, 4, 5))
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    np.testing.assert_array_equal(nn.Flatten(data_format="channels_last")(last), nn.Flatten()(x))
    some = nn.Flatten(2, 3, data_format="channels_last")
    np.testing.assert_array_equal(some(last), nn.Flatten(2, 3)(x))


def test_layers_describe_themselves():
    assert repr(nn.Conv2d(1, 6, 5, padding=2, bias=False)) == "Conv2d(1, 6, (5, 5), padding=2, bias=False)"
    assert repr(nn.MaxPool2d((3, 2), ceil_mode=True)) == "MaxPool2d((3, 2), ceil_mode=True)"
    assert repr(nn.Linear(3, 2)) == "Linear(3, 2)"
    text = repr(nn.Sequential(nn.ReLU(), nn.Residual(nn.Tanh())))
    assert text == "Sequential(\n  (0): ReLU()\n  (1): Residual(\n    (main): Tanh()\n  )\n)"
    text = repr(nn.Residual(nn.Tanh(), activation="relu"))
    assert text == "Residual(activation='relu'\n  (main): Tanh()\n)"
