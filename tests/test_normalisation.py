"""Batch and local response normalisation in the compiled core, against formulas of higher precision."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import DTYPES, STORAGE_ERROR, assert_same_bits

from fastconv import _core

FORMATS = ["channels_first", "channels_last"]

# Batches, channels and spaces that meet every way a tensor is cut: rows of few and of many channels, folded
# ones with and without a rest, short planes summed as columns, planes longer than a piece, several chunks.
SHAPES = [
    *[(2, c) for c in (1, 2, 3, 5, 8, 17)],
    (301, 3),
    (700, 70),
    (9, 600),
    (3, 4, 1),
    *[(2, 3, n) for n in (2, 7, 15, 16, 17, 33, 70)],
    (9, 5, 7, 7),
    (70, 90, 3, 3),
    (8, 40, 5, 51),
    (2, 3, 31, 37),
    (1, 2, 300, 301),
    (3, 2, 4, 5, 6),
]


def exact_of(x):
    """Return `x` with more digits than any kernel has, so that NumPy's own sums do not err."""
    return x.astype(np.longdouble)


def per_channel(values, ndim, data_format):
    axis = ndim - 1 if data_format == "channels_last" else 1
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def reduced_axes(ndim, data_format):
    axis = ndim - 1 if data_format == "channels_last" else 1
    return tuple(i for i in range(ndim) if i != axis)


def tensor(rng, shape, data_format, dtype, scale=1.0):
    if data_format == "channels_last":
        shape = (shape[0], *shape[2:], shape[1])
    return (scale * rng.standard_normal(shape)).astype(dtype)


def unit(dtype):
    return float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps)


def assert_close(actual, exact, dtype, bound):
    assert actual.dtype == dtype
    assert actual.shape == exact.shape
    error = np.abs(exact_of(actual) - exact)
    allowed = (
        bound + 1.001 * STORAGE_ERROR[np.dtype(dtype).name] * np.abs(exact) + 1e-7 * (dtype == np.float16)
    )
    assert (error <= allowed).all(), f"error {np.max(error - allowed)} above the bound"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_in_training(shape, data_format, dtype, isa):
    rng = np.random.default_rng(len(shape) + shape[0])
    x = tensor(rng, shape, data_format, dtype) + np.asarray(3, dtype)
    dy = tensor(rng, shape, data_format, dtype)
    channels = shape[1]
    weight = rng.uniform(0.5, 2, channels).astype(dtype)
    bias = rng.standard_normal(channels).astype(dtype)
    statistic = np.float64 if dtype == np.float64 else np.float32
    running_mean, running_var = np.ones(channels, statistic), np.full(channels, 2, statistic)
    y, mean, inv_std = _core.batch_norm(
        x, weight, bias, running_mean, running_var, 0.25, 1e-3, True, data_format
    )

    axes = reduced_axes(x.ndim, data_format)
    count = x.size // channels
    spread = lambda v: per_channel(v, x.ndim, data_format)  # noqa: E731
    exact_mean, variance = exact_of(x).mean(axes), exact_of(x).var(axes)
    exact_inv = 1 / np.sqrt(variance + 1e-3)
    eps = unit(dtype)
    # A rounded mean, a few units off at most, moves every result by so much of a standard deviation.
    error = 8 * eps * (np.abs(exact_mean) + 4) * exact_inv
    assert mean.dtype == inv_std.dtype == statistic
    assert (np.abs(mean - exact_mean) <= 2 * eps * (np.abs(exact_mean) + 1)).all()
    np.testing.assert_allclose(inv_std, exact_inv, rtol=8 * eps)
    np.testing.assert_allclose(running_mean, 0.75 + 0.25 * exact_mean, rtol=8 * eps, atol=8 * eps)
    np.testing.assert_allclose(running_var, 1.5 + 0.25 * variance * count / (count - 1), rtol=8 * eps)
    normal = (exact_of(x) - spread(exact_mean)) * spread(exact_inv)
    exact = normal * spread(exact_of(weight)) + spread(exact_of(bias))
    assert_close(y, exact, dtype, spread(error * 2) + 8 * eps * np.abs(exact))

    dx, dweight, dbias = _core.batch_norm_grad(dy, x, weight, mean, inv_std, True, data_format)
    exact_dbias, exact_dweight = exact_of(dy).sum(axes), (exact_of(dy) * normal).sum(axes)
    size = np.abs(exact_of(dy)).sum(axes)
    assert_close(dbias, exact_dbias, dtype, 4 * eps * size)
    assert_close(dweight, exact_dweight, dtype, (error + 8 * eps) * size * 4)
    slope = spread(exact_of(weight) * exact_inv)
    exact = slope * (exact_of(dy) - spread(exact_dbias) / count - normal * spread(exact_dweight) / count)
    assert_close(dx, exact, dtype, spread(error + 16 * eps) * slope * 16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("data_format", FORMATS)
def test_batch_norm_with_given_statistics(data_format, dtype, isa):
    rng = np.random.default_rng(1)
    for shape in [(1, 3, 5, 5), (2, 19, 1), (10, 66, 7, 7), (0, 3, 2)]:
        x, dy = (tensor(rng, shape, data_format, dtype) for _ in range(2))
        mean = rng.standard_normal(shape[1]).astype(dtype)
        var = rng.uniform(0.5, 2, shape[1]).astype(dtype)
        kept = mean.copy(), var.copy()
        y, m, inv_std = _core.batch_norm(x, None, None, mean, var, 0.1, 1e-5, False, data_format)
        assert_same_bits(mean, kept[0])
        assert_same_bits(var, kept[1])
        spread = lambda v: per_channel(exact_of(v), x.ndim, data_format)  # noqa: B023, E731
        exact_inv = 1 / np.sqrt(spread(var) + 1e-5)
        exact = (exact_of(x) - spread(mean)) * exact_inv
        assert_close(y, exact, dtype, 8 * unit(dtype) * (np.abs(exact) + 1))
        dx, dweight, dbias = _core.batch_norm_grad(dy, x, None, m, inv_std, False, data_format)
        assert_close(dx, exact_of(dy) * exact_inv, dtype, 8 * unit(dtype) * np.abs(exact_of(dy)))
        axes = reduced_axes(x.ndim, data_format)
        assert_close(dbias, exact_of(dy).sum(axes), dtype, 8 * unit(dtype) * np.abs(exact_of(dy)).sum(axes))
        bound = 16 * unit(dtype) * (np.abs(exact_of(dy)) * (np.abs(exact) + 1)).sum(axes)
        assert_close(dweight, (exact_of(dy) * exact).sum(axes), dtype, bound)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("shape", [(64, 5, 7, 7), (4, 3, 80, 80), (2000, 6), (3, 2, 40001)], ids=str)
def test_moments_do_not_cancel(shape, data_format, isa):
    """The deviation stays right where the mean is ten thousand times as large."""
    x = tensor(np.random.default_rng(2), shape, data_format, np.float32) + np.float32(1e4)
    _, mean, inv_std = _core.batch_norm(x, None, None, None, None, 0.1, 0.0, True, data_format)
    axes = reduced_axes(x.ndim, data_format)
    np.testing.assert_allclose(mean, exact_of(x).mean(axes), rtol=1e-7)
    np.testing.assert_allclose(inv_std, 1 / exact_of(x).std(axes), rtol=2e-6)


def test_a_first_piece_unlike_the_others(isa):
    """The shift of a piece comes from its first samples: a bad guess must cost few digits."""
    for data_format in FORMATS:
        x = tensor(np.random.default_rng(3), (256, 3, 4, 4), data_format, np.float32) + np.float32(50)
        x[:1] = -1000
        _, _, inv_std = _core.batch_norm(x, None, None, None, None, 0.1, 0.0, True, data_format)
        np.testing.assert_allclose(inv_std, 1 / exact_of(x).std(reduced_axes(4, data_format)), rtol=5e-6)


def test_constant_input_has_no_variance(isa):
    y, mean, inv_std = _core.batch_norm(
        np.full((4, 2, 9), 0.1, np.float32), None, None, None, None, 0.1, 1e-5, True, "channels_first"
    )
    np.testing.assert_array_equal(mean, np.float32(0.1))
    np.testing.assert_allclose(inv_std, 1e5**0.5, rtol=1e-6)
    assert np.abs(y).max() < 1e-5


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 5), (2, 0), (2, 3, 0), (0, 0, 0)], ids=str)
def test_empty_arrays(shape, data_format, isa):
    x = tensor(np.random.default_rng(0), shape, data_format, np.float32)
    channels = shape[1]
    running = np.ones(channels, np.float32), np.ones(channels, np.float32)
    y, mean, inv_std = _core.batch_norm(x, None, None, *running, 0.5, 1e-5, True, data_format)
    dx, dweight, dbias = _core.batch_norm_grad(x, x, None, mean, inv_std, True, data_format)
    lrn, scale = _core.local_response_norm(x, 3, 1e-2, 0.75, 1.0, data_format)
    lrn_dx = _core.local_response_norm_grad(x, x, lrn, scale, 3, 1e-2, 0.75, data_format)
    assert y.shape == dx.shape == lrn.shape == lrn_dx.shape == x.shape
    for values, expected in ((mean, 0), (dweight, 0), (dbias, 0), (running[0], 1), (running[1], 1)):
        np.testing.assert_array_equal(values, np.full(channels, expected))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    ("shape", "size"),
    [((2, 9, 5, 5), 5), ((1, 4, 30), 4), ((3, 70), 3), ((2, 3, 600), 9), ((1, 33, 7), 1), ((2, 2, 3), 1000)],
    ids=str,
)
def test_local_response_norm(shape, size, data_format, dtype, isa):
    rng = np.random.default_rng(4)
    x, dy = (tensor(rng, shape, data_format, dtype, scale) for scale in (3.0, 1.0))
    alpha, beta, k = 0.3, 0.75, 1.5
    y, scale = _core.local_response_norm(x, size, alpha, beta, k, data_format)

    axis = x.ndim - 1 if data_format == "channels_last" else 1
    channels = shape[1]
    first = np.moveaxis(exact_of(x), axis, 0)

    def windowed(terms, before, after):
        return np.stack([terms[max(c - before, 0) : c + after + 1].sum(0) for c in range(channels)])

    before, after = size // 2, (size - 1) // 2
    exact_scale = k + alpha / size * windowed(first**2, before, after)
    eps = unit(dtype)
    back = lambda v: np.moveaxis(v, 0, axis)  # noqa: E731
    assert_close(scale, back(exact_scale), dtype, 8 * eps * back(exact_scale))
    exact = back(first * exact_scale**-beta)
    assert_close(y, exact, dtype, 12 * eps * np.abs(exact))

    dx = _core.local_response_norm_grad(dy, x, y, scale, size, alpha, beta, data_format)
    dy0, y0, s0 = (np.moveaxis(exact_of(v), axis, 0) for v in (dy, y, scale))
    sums = windowed(dy0 * y0 / s0, after, before)
    exact = dy0 * s0**-beta - 2 * alpha * beta / size * first * sums
    bound = np.abs(dy0) * s0**-beta + np.abs(first) * windowed(np.abs(dy0 * y0 / s0), after, before)
    assert_close(dx, back(exact), dtype, 24 * eps * back(bound))


def test_an_infinity_leaves_the_window_again(isa):
    x = np.ones((1, 8, 40), np.float32)
    x[0, 2, 3] = np.inf
    y, _ = _core.local_response_norm(x, 3, 1.0, 0.75, 1.0, "channels_first")
    assert np.isfinite(y[0, 4:]).all()
    np.testing.assert_array_equal(y[0, 6, 3], y[0, 6, 4])


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_threads_and_strides_do_not_change_a_bit(dtype, isa):
    rng = np.random.default_rng(5)
    before = _core.get_num_threads()
    try:
        for shape in [(70, 33, 3, 3), (3, 5, 150, 151), (999, 7), (33, 300, 2)]:
            for data_format in FORMATS:
                x, dy = (tensor(rng, shape, data_format, dtype) for _ in range(2))
                results = []
                for threads, copy in ((1, True), (2, False), (3, True)):
                    _core.set_num_threads(threads)
                    given = x if copy else np.asfortranarray(x)
                    y, mean, inv = _core.batch_norm(
                        given, None, None, None, None, 0.1, 1e-5, True, data_format
                    )
                    lrn, scale = _core.local_response_norm(given, 5, 1e-2, 0.75, 1.0, data_format)
                    results.append(
                        [
                            *(y, mean, inv, lrn, scale),
                            *_core.batch_norm_grad(dy, given, None, mean, inv, True, data_format),
                            _core.local_response_norm_grad(dy, given, lrn, scale, 5, 1e-2, 0.75, data_format),
                        ]
                    )
                for other in results[1:]:
                    for a, b in zip(results[0], other, strict=True):
                        assert_same_bits(a, b)
    finally:
        _core.set_num_threads(before)


def test_agrees_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    x = rng.standard_normal((4, 6, 5, 7)).astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    layer = torch.nn.BatchNorm2d(6, momentum=0.3)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(6) + 0.5)
    t = torch.from_numpy(x).requires_grad_()
    expected = layer(t)
    expected.backward(torch.from_numpy(dy))
    weight = layer.weight.detach().numpy()
    mean, var = np.zeros(6, np.float32), np.ones(6, np.float32)
    y, m, inv_std = _core.batch_norm(x, weight, None, mean, var, 0.3, 1e-5, True, "channels_first")
    dx, dweight, dbias = _core.batch_norm_grad(dy, x, weight, m, inv_std, True, "channels_first")
    for ours, theirs in (
        (y, expected.detach()),
        (mean, layer.running_mean),
        (var, layer.running_var),
        (dx, t.grad),
        (dweight, layer.weight.grad),
        (dbias, layer.bias.grad),
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-5)

    for size in (1, 2, 3, 4, 5, 8):
        t = torch.from_numpy(x).requires_grad_()
        expected = torch.nn.functional.local_response_norm(t, size, 0.5, 0.7, 2.0)
        expected.backward(torch.from_numpy(dy))
        y, scale = _core.local_response_norm(x, size, 0.5, 0.7, 2.0, "channels_first")
        dx = _core.local_response_norm_grad(dy, x, y, scale, size, 0.5, 0.7, "channels_first")
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_errors():
    x = np.ones((2, 3, 4), np.float32)
    c = np.ones(3, np.float32)

    def batch_norm(x=x, weight=None, mean=None, var=None, training=True, data_format="channels_first"):
        return _core.batch_norm(x, weight, None, mean, var, 0.1, 1e-5, training, data_format)

    with pytest.raises(ValueError, match=r"x has shape \(3,\), expected \(N, C, ...\)"):
        batch_norm(c)
    with pytest.raises(ValueError, match=r"weight has shape \(2,\), expected \(3,\)"):
        batch_norm(weight=c[:2])
    with pytest.raises(TypeError, match="weight has float64"):
        batch_norm(weight=c.astype(np.float64))
    with pytest.raises(ValueError, match="more than one element for each channel"):
        batch_norm(x[:1, :, :1])
    with pytest.raises(ValueError, match="needs running_mean and running_var"):
        batch_norm(training=False)
    with pytest.raises(ValueError, match="data_format is 'NCHW'"):
        batch_norm(data_format="NCHW")
    frozen = c.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="running_var is changed in place, but is read-only"):
        batch_norm(mean=c, var=frozen)
    np.testing.assert_array_equal(c, 1)
    with pytest.raises(ValueError, match=r"dy has shape \(2, 3, 3\)"):
        _core.batch_norm_grad(x[..., :3], x, None, c, c, True, "channels_first")
    with pytest.raises(ValueError, match="size is 0, expected at least 1"):
        _core.local_response_norm(x, 0, 1.0, 0.75, 1.0, "channels_first")
    with pytest.raises(TypeError, match="beta must be a number"):
        _core.local_response_norm(x, 2, 1.0, None, 1.0, "channels_first")
