"""Layers: derivatives by finite differences, the two ways to call them, state, summary, errors."""

from __future__ import annotations

import copy
import pickle
import threading

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
    with pytest.raises(TypeError):
        nn.Conv2d(1.5, 1, 3)
    with pytest.raises(ValueError, match="Linear: out_features must be at least 1"):
        nn.Linear(3, 0)


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match="channels"):
        nn.Conv2d(3, 4, 3)(np.ones((1, 2, 5, 5), np.float32))
    with pytest.raises(TypeError, match=r"float64.*float32|float32.*float64"):
        nn.Conv2d(2, 4, 3)(np.ones((1, 2, 5, 5)))
    with pytest.raises(ValueError, match=r"Flatten: axes 1 to -1 can't be merged in x of shape \(3,\)"):
        nn.Flatten()(np.ones(3))


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


def test_layers_describe_themselves():
    assert repr(nn.Conv2d(1, 6, 5, padding=2, bias=False)) == "Conv2d(1, 6, (5, 5), padding=2, bias=False)"
    assert repr(nn.MaxPool2d((3, 2), ceil_mode=True)) == "MaxPool2d((3, 2), ceil_mode=True)"
    assert repr(nn.Linear(3, 2)) == "Linear(3, 2)"
    text = repr(nn.Sequential(nn.ReLU(), nn.Residual(nn.Tanh())))
    assert text == "Sequential(\n  (0): ReLU()\n  (1): Residual(\n    (main): Tanh()\n  )\n)"


# First values


def test_initialisers_have_the_stated_variance():
    shape = (64, 48, 5, 3)
    fan_in, fan_out = nn.init.fans(shape)
    assert (fan_in, fan_out) == (48 * 15, 64 * 15)
    he, glorot = 2 / fan_in, 2 / (fan_in + fan_out)
    for name, variance in {"he": he, "he_uniform": he, "glorot": glorot, "glorot_normal": glorot}.items():
        weight = nn.init.initialiser(name)(shape, rng=0, dtype=np.float64)
        assert abs(weight.var() / variance - 1) < 0.02
        assert abs(weight.mean()) < 4 * np.sqrt(variance / weight.size)
    for draw, variance in ((nn.init.he_uniform, he), (nn.init.glorot, glorot)):
        bound = np.sqrt(3 * variance)
        assert 0.99 * bound < np.abs(draw(shape, rng=0)).max() <= bound * (1 + 1e-6)
    assert np.abs(nn.init.he_normal(shape, rng=0)).max() > 3.5 * np.sqrt(he)
    assert not nn.init.zeros(shape).any()
    with pytest.raises(ValueError, match="at least two axes"):
        nn.init.fans((3,))


def test_layers_draw_by_their_own_fans():
    grouped = nn.Conv2d(64, 128, 3, groups=4, rng=0).weight.data
    assert abs(grouped.var() / (2 / (16 * 9)) - 1) < 0.05
    transposed = nn.ConvTranspose2d(64, 32, 3, rng=0).weight.data
    assert transposed.shape == (64, 32, 3, 3)
    assert abs(transposed.var() / (2 / (64 * 9)) - 1) < 0.05
    assert not nn.Conv2d(1, 2, 3, init="zeros").weight.data.any()


def test_seeds_make_the_same_weights_in_every_dtype():
    make = [lambda **k: nn.Conv2d(2, 3, 3, **k), lambda **k: nn.Linear(4, 3, **k)]
    for layer in make:
        first = layer(rng=5).weight.data
        np.testing.assert_array_equal(first, layer(rng=np.random.default_rng(5)).weight.data)
        np.testing.assert_array_equal(first, layer(rng=5, **F64).weight.data.astype(np.float32))
        assert (first != layer(rng=6).weight.data).all()


# Summary


def test_summary_of_one_layer():
    summary = nn.Conv3d(1, 10, 3, rng=0).summary((1, 8, 8, 8))
    assert summary.parameters == 280
    assert summary.multiply_adds == 10 * 6**3 * 27
    assert summary.rows == (nn.SummaryRow("", "Conv3d", (10, 6, 6, 6), 280, 10 * 6**3 * 27),)


def test_summary_takes_a_batch_axis_too_and_counts_one_sample():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, rng=0), nn.GlobalAvgPool(), nn.Linear(8, 2, rng=0))
    assert str(model.summary((5, 3, 6, 7))) == str(model.summary((3, 6, 7)))
    for shape in ((4, 6, 7), (1, 2, 3, 4, 5, 6), (), (3, 0, 4)):
        with pytest.raises(ValueError):
            model.summary(shape)


def test_summary_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(rng=0).eval(), nn.Linear(4, 2, rng=0))
    before = model.state_dict()
    rows = model.summary((4,)).rows
    assert [row.name for row in rows] == ["0", "1", "2"]
    assert [layer.training for layer in model] == [True, False, True] and model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(ValueError):
        model.summary((3,))
    assert model.training
    assert model(np.ones((2, 4), np.float32)).shape == (2, 2)


def test_summary_shows_layers_within_blocks():
    block = nn.Residual(nn.Conv2d(4, 4, 3, padding=1, rng=0), nn.ConvTranspose2d(4, 4, 1, rng=0))
    model = nn.Sequential(block, nn.Concat(nn.MaxPool2d(2, return_indices=False), nn.AvgPool2d(2)))
    rows = model.summary((4, 6, 6)).rows
    assert [row.name for row in rows] == ["0.main", "0.shortcut", "1.0", "1.1"]
    assert [row.multiply_adds for row in rows] == [4 * 36 * 36, 4 * 36 * 4, 0, 0]
    pair = nn.MaxPool2d(2, return_indices=True).summary((1, 4, 6))
    assert pair.rows[0].output_shape == (1, 2, 3)
