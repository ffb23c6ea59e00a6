"""Pools and their gradients against the reference: every case, dtype and instruction set, on two threads."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from agreement import DTYPES, Guarded, assert_agrees, assert_same_bits, exact_inputs
from cases import ADAPTIVE_CASES, CHANNEL_CASES, POOL_CASES, AdaptiveCase, ChannelCase, PoolCase, generator
from finite_differences import assert_gradient

import fastconv as fc
from fastconv import reference

UNDILATED_POOL_CASES = [case for case in POOL_CASES if case.dilation == 1]
AVERAGES = [{}, {"count_include_pad": False}, {"divisor_override": 3}]


def twin(case, name):
    """Return the operation and the reference's, for the case's rank."""
    return getattr(fc, f"{name}{case.rank}d"), getattr(reference, f"{name}{case.rank}d")


def twin_gradient(case, name):
    return getattr(fc.grad, f"{name}{case.rank}d"), getattr(reference.grad, f"{name}{case.rank}d")


def on_one_and_two_threads(call):
    """Return the call's result, the same bits on one thread and on two."""
    with fc.threads(1):
        result = call()
    with fc.threads(2):
        again = call()
    if isinstance(result, tuple):
        for first, second in zip(result, again, strict=True):
            assert_same_bits(first, second)
    else:
        assert_same_bits(result, again)
    return result


@pytest.mark.parametrize("case", POOL_CASES, ids=lambda case: case.id)
def test_max_pool(case: PoolCase, isa):
    """Maxima and indices are exact in every dtype; equal maxima are frequent in this data."""
    actual, expected = twin(case, "max_pool")
    gradient, exact_gradient = twin_gradient(case, "max_pool")
    for dtype in DTYPES:
        x = case.tied_image(dtype)
        call = functools.partial(actual, x, case.kernel_size, return_indices=True, **case.keywords)
        y, indices = on_one_and_two_threads(call)
        exact_y, exact_indices = expected(x, case.kernel_size, return_indices=True, **case.keywords)
        np.testing.assert_array_equal(y, exact_y, err_msg=str(dtype))
        np.testing.assert_array_equal(indices, exact_indices, err_msg=str(dtype))
        assert (y.dtype, indices.dtype) == (dtype, np.int64)
        assert y.flags.c_contiguous
        assert indices.flags.c_contiguous
        assert_same_bits(actual(x, case.kernel_size, **case.keywords), y)

        dy = case.upstream(y, dtype)
        dx = on_one_and_two_threads(lambda: gradient(dy, indices, x.shape, data_format=case.data_format))  # noqa: B023
        exact_dx = exact_gradient(*exact_inputs(dy), indices, x.shape, data_format=case.data_format)
        assert_agrees(dx, exact_dx, dtype)


@pytest.mark.parametrize("case", POOL_CASES, ids=lambda case: case.id)
def test_avg_pool(case: PoolCase, isa):
    actual, expected = twin(case, "avg_pool")
    gradient, exact_gradient = twin_gradient(case, "avg_pool")
    for number, dtype in enumerate(DTYPES):
        x = case.image(dtype)
        for options in AVERAGES if number < 2 else AVERAGES[:1]:
            keywords = {**case.keywords, **options}
            y = on_one_and_two_threads(functools.partial(actual, x, case.kernel_size, **keywords))
            assert_agrees(y, expected(*exact_inputs(x), case.kernel_size, **keywords), dtype)
            dy = case.upstream(y, dtype)
            dx = on_one_and_two_threads(
                functools.partial(gradient, dy, x.shape, case.kernel_size, **keywords)
            )
            exact_dx = exact_gradient(*exact_inputs(dy), x.shape, case.kernel_size, **keywords)
            assert_agrees(dx, exact_dx, dtype)


@pytest.mark.parametrize("case", UNDILATED_POOL_CASES, ids=lambda case: case.id)
def test_lp_pool(case: PoolCase, isa):
    actual, expected = twin(case, "lp_pool")
    gradient, exact_gradient = twin_gradient(case, "lp_pool")
    keywords = {name: value for name, value in case.keywords.items() if name != "dilation"}
    for number, dtype in enumerate(DTYPES):
        x = case.image(dtype)
        for p in (1, 2, 3, 1.5) if number < 2 else (2,):
            y = on_one_and_two_threads(functools.partial(actual, x, p, case.kernel_size, **keywords))
            assert_agrees(y, expected(*exact_inputs(x), p, case.kernel_size, **keywords), dtype)
            dy = case.upstream(y, dtype)
            call = functools.partial(gradient, dy, x, y, p, case.kernel_size, **keywords)
            exact_dx = exact_gradient(*exact_inputs(dy, x, y), p, case.kernel_size, **keywords)
            assert_agrees(on_one_and_two_threads(call), exact_dx, dtype)


def test_lp_pool_gradient_is_zero_where_the_input_is():
    x = np.array([[[0.0, 0.0, 3.0, 0.0]]])
    for p in (1, 1.5, 2):
        y = fc.lp_pool1d(x, p, 2)
        np.testing.assert_array_equal(y, [[[0, 3]]])
        np.testing.assert_array_equal(fc.grad.lp_pool1d(np.ones_like(y), x, y, p, 2), [[[0, 0, 1, 0]]])


@pytest.mark.parametrize("case", ADAPTIVE_CASES, ids=lambda case: case.id)
def test_adaptive_pools(case: AdaptiveCase, isa):
    layout = {"data_format": case.data_format}
    for dtype in DTYPES:
        x = case.tied_image(dtype)
        actual, expected = twin(case, "adaptive_max_pool")
        call = functools.partial(actual, x, case.output_size, return_indices=True, **layout)
        y, indices = on_one_and_two_threads(call)
        exact_y, exact_indices = expected(x, case.output_size, return_indices=True, **layout)
        assert_same_bits(y, exact_y)
        assert_same_bits(indices, exact_indices)
        assert_same_bits(actual(x, case.output_size, **layout), y)
        dy = case.upstream(y, dtype)
        gradient, exact_gradient = twin_gradient(case, "adaptive_max_pool")
        dx = on_one_and_two_threads(functools.partial(gradient, dy, indices, x.shape, **layout))
        assert_agrees(dx, exact_gradient(*exact_inputs(dy), indices, x.shape, **layout), dtype)

        actual, expected = twin(case, "adaptive_avg_pool")
        y = on_one_and_two_threads(functools.partial(actual, x, case.output_size, **layout))
        assert_agrees(y, expected(*exact_inputs(x), case.output_size, **layout), dtype)
        gradient, exact_gradient = twin_gradient(case, "adaptive_avg_pool")
        dx = on_one_and_two_threads(functools.partial(gradient, dy, x.shape, **layout))
        assert_agrees(dx, exact_gradient(*exact_inputs(dy), x.shape, **layout), dtype)


@pytest.mark.parametrize("case", CHANNEL_CASES, ids=lambda case: case.id)
def test_global_pools(case: ChannelCase, isa):
    for dtype in DTYPES:
        x = case.tied_image(dtype)
        for keepdims in (False, True):
            keywords = {"keepdims": keepdims, "data_format": case.data_format}
            y = on_one_and_two_threads(functools.partial(fc.global_max_pool, x, **keywords))
            assert_same_bits(y, reference.global_max_pool(x, **keywords))
            dy = generator(case.id).uniform(-1, 1, y.shape).astype(dtype)
            dx = on_one_and_two_threads(functools.partial(fc.grad.global_max_pool, dy, x, **keywords))
            assert_agrees(dx, reference.grad.global_max_pool(*exact_inputs(dy, x), **keywords), dtype)
            y = on_one_and_two_threads(functools.partial(fc.global_avg_pool, x, **keywords))
            assert_agrees(y, reference.global_avg_pool(*exact_inputs(x), **keywords), dtype)
            dx = on_one_and_two_threads(functools.partial(fc.grad.global_avg_pool, dy, x.shape, **keywords))
            assert_agrees(dx, reference.grad.global_avg_pool(*exact_inputs(dy), x.shape, **keywords), dtype)


@pytest.mark.parametrize("case", CHANNEL_CASES, ids=lambda case: case.id)
def test_channel_pools(case: ChannelCase, isa):
    size, keywords = case.pool_size, {"stride": case.stride, "data_format": case.data_format}
    for dtype in DTYPES:
        x = case.tied_image(dtype)
        y = on_one_and_two_threads(functools.partial(fc.channel_max_pool, x, size, **keywords))
        assert_same_bits(y, reference.channel_max_pool(x, size, **keywords))
        dy = case.upstream(y, dtype)
        dx = on_one_and_two_threads(functools.partial(fc.grad.channel_max_pool, dy, x, size, **keywords))
        assert_agrees(dx, reference.grad.channel_max_pool(*exact_inputs(dy, x), size, **keywords), dtype)
        y = on_one_and_two_threads(functools.partial(fc.channel_avg_pool, x, size, **keywords))
        assert_agrees(y, reference.channel_avg_pool(*exact_inputs(x), size, **keywords), dtype)
        dx = on_one_and_two_threads(
            functools.partial(fc.grad.channel_avg_pool, dy, x.shape, size, **keywords)
        )
        assert_agrees(
            dx, reference.grad.channel_avg_pool(*exact_inputs(dy), x.shape, size, **keywords), dtype
        )


UNPOOL_CASES = [
    case for case in POOL_CASES if case.stride is None and case.padding == 0 and case.dilation == 1
]


@pytest.mark.parametrize("case", UNPOOL_CASES, ids=lambda case: case.id)
def test_max_unpool(case: PoolCase, isa):
    """Into sizes that are given, and into those that the windows imply."""
    layout = {"data_format": case.data_format}
    spatial = slice(1, -1) if case.data_format == "channels_last" else slice(2, None)
    actual, expected = twin(case, "max_unpool")
    gradient, exact_gradient = twin_gradient(case, "max_unpool")
    pool, _ = twin(case, "max_pool")
    for dtype in DTYPES:
        x = case.image(dtype)
        y, indices = pool(x, case.kernel_size, return_indices=True, **case.keywords)
        sizes = x.shape[spatial] if case.batched else case.x[2:]
        call = functools.partial(actual, y, indices, case.kernel_size, output_size=sizes, **layout)
        restored = on_one_and_two_threads(call)
        assert restored.shape == x.shape
        assert_same_bits(restored, expected(y, indices, case.kernel_size, output_size=sizes, **layout))
        dy = generator(case.id).uniform(-1, 1, x.shape).astype(dtype)
        dx = on_one_and_two_threads(functools.partial(gradient, dy, indices, y.shape, **layout))
        assert_same_bits(dx, exact_gradient(dy, indices, y.shape, **layout))
        if not case.ceil_mode:
            restored = actual(y, np.zeros_like(indices), case.kernel_size, **layout)
            assert restored.shape == expected(y, np.zeros_like(indices), case.kernel_size, **layout).shape


def test_max_unpool_sizes_follow_stride_and_padding():
    y, indices = np.ones((1, 1, 4)), np.arange(4).reshape(1, 1, 4)
    for stride, padding, size in [(None, 0, 12), (2, 0, 9), (2, 1, 7), (2, ((0, 2),), 7), (1, (1,), 4)]:
        assert fc.max_unpool1d(y, indices, 3, stride=stride, padding=padding).shape == (1, 1, size)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_infinities(dtype, isa):
    """A NaN wins and is kept, with its place; minus infinity loses even to nothing but itself."""
    nan, inf = np.nan, np.inf
    x = np.array([[[1.0, nan, 3.0, 2.0, -inf, -inf, -inf, 5.0, inf, 4.0]]], dtype)
    y, indices = fc.max_pool1d(x, 3, stride=1, return_indices=True)
    np.testing.assert_array_equal(y.astype(float), [[[nan, nan, 3, 2, -inf, 5, inf, inf]]])
    assert indices.tolist() == [[[1, 1, 2, 3, 4, 7, 8, 8]]]
    y, indices = fc.max_pool1d(x[..., 4:6], 3, stride=1, padding=2, return_indices=True)
    assert indices.tolist() == [[[0, 0, 0, 1]]]  # padding never wins, not even against minus infinity
    assert np.isneginf(y.astype(float)).all()
    y, indices = fc.adaptive_max_pool1d(x, 5, return_indices=True)
    np.testing.assert_array_equal(y.astype(float), [[[nan, 3, -inf, 5, inf]]])
    assert indices.tolist() == [[[1, 2, 4, 7, 8]]]
    assert np.isnan(fc.global_max_pool(x).astype(float)).all()
    np.testing.assert_array_equal(
        fc.channel_max_pool(np.swapaxes(x, 1, 2), 5).astype(float), [[[nan], [inf]]]
    )
    np.testing.assert_array_equal(fc.avg_pool1d(x, 5).astype(float), reference.avg_pool1d(x.astype(float), 5))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 31, 64])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_nan_anywhere_is_seen(size, data_format, isa):
    """Vector maxima drop NaNs on one side only, and tails have code of their own: try every place."""
    for place in range(size):
        x = np.zeros((1, 3, 1, size) if data_format == "channels_first" else (1, 1, size, 3), np.float32)
        x.reshape(-1)[place] = np.nan
        for y in (
            fc.max_pool2d(x, (1, size), data_format=data_format),
            fc.max_pool2d(x, (1, 2), stride=1, padding=((0, 0), (1, 1)), data_format=data_format),
            fc.global_max_pool(x, data_format=data_format),
        ):
            expected = 2 if y.size > 3 else 1
            assert np.isnan(y).sum() == expected


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("case", POOL_CASES[::17], ids=lambda case: case.id)
def test_out(name, case: PoolCase, isa):
    actual, _ = twin(case, name)
    for dtype in DTYPES:
        x = case.image(dtype)
        y = actual(x, case.kernel_size, **case.keywords)
        guarded = Guarded(y.shape, dtype)
        assert actual(x, case.kernel_size, out=guarded.array, **case.keywords) is guarded.array
        guarded.assert_intact()
        assert_same_bits(guarded.array, y)


@pytest.mark.parametrize("case", POOL_CASES[::9], ids=lambda case: case.id)
def test_gradients_are_difference_quotients(case: PoolCase, isa):
    x, window = case.image(), case.kernel_size
    maximum, _ = twin(case, "max_pool")
    mean, _ = twin(case, "avg_pool")
    y, indices = maximum(x, window, return_indices=True, **case.keywords)
    dy = case.upstream(y)
    dx = twin_gradient(case, "max_pool")[0](dy, indices, x.shape, data_format=case.data_format)
    assert_gradient(lambda v: maximum(v, window, **case.keywords), x, dx, dy)
    for options in AVERAGES:
        dx = twin_gradient(case, "avg_pool")[0](dy, x.shape, window, **case.keywords, **options)
        assert_gradient(lambda v, o=options: mean(v, window, **case.keywords, **o), x, dx, dy)
    if case.dilation == 1:
        keywords = {name: value for name, value in case.keywords.items() if name != "dilation"}
        norm, _ = twin(case, "lp_pool")
        y = norm(x, 2.5, window, **keywords)
        dx = twin_gradient(case, "lp_pool")[0](dy, x, y, 2.5, window, **keywords)
        assert_gradient(lambda v: norm(v, 2.5, window, **keywords), x, dx, dy)


@pytest.mark.parametrize("case", ADAPTIVE_CASES, ids=lambda case: case.id)
def test_adaptive_gradients_are_difference_quotients(case: AdaptiveCase, isa):
    x, size, layout = case.image(), case.output_size, {"data_format": case.data_format}
    maximum, _ = twin(case, "adaptive_max_pool")
    y, indices = maximum(x, size, return_indices=True, **layout)
    dy = case.upstream(y)
    dx = twin_gradient(case, "adaptive_max_pool")[0](dy, indices, x.shape, **layout)
    assert_gradient(lambda v: maximum(v, size, **layout), x, dx, dy)
    mean, _ = twin(case, "adaptive_avg_pool")
    dx = twin_gradient(case, "adaptive_avg_pool")[0](dy, x.shape, **layout)
    assert_gradient(lambda v: mean(v, size, **layout), x, dx, dy)


@pytest.mark.parametrize("case", CHANNEL_CASES, ids=lambda case: case.id)
def test_channel_and_global_gradients_are_difference_quotients(case: ChannelCase, isa):
    x, layout = case.image(), {"data_format": case.data_format}
    windows = {"pool_size": case.pool_size, "stride": case.stride, **layout}
    dy = case.upstream(fc.channel_max_pool(x, **windows))
    dx = fc.grad.channel_max_pool(dy, x, **windows)
    assert_gradient(lambda v: fc.channel_max_pool(v, **windows), x, dx, dy)
    dx = fc.grad.channel_avg_pool(dy, x.shape, **windows)
    assert_gradient(lambda v: fc.channel_avg_pool(v, **windows), x, dx, dy)
    for keywords in ({"keepdims": False, **layout}, {"keepdims": True, **layout}):
        dy = generator(case.id).uniform(-1, 1, fc.global_max_pool(x, **keywords).shape)
        dx = fc.grad.global_max_pool(dy, x, **keywords)
        assert_gradient(lambda v, k=keywords: fc.global_max_pool(v, **k), x, dx, dy)
        dx = fc.grad.global_avg_pool(dy, x.shape, **keywords)
        assert_gradient(lambda v, k=keywords: fc.global_avg_pool(v, **k), x, dx, dy)


@pytest.mark.parametrize("case", UNPOOL_CASES, ids=lambda case: case.id)
def test_unpooling_gradients_are_difference_quotients(case: PoolCase, isa):
    pool, _ = twin(case, "max_pool")
    y, indices = pool(case.image(), case.kernel_size, return_indices=True, **case.keywords)
    sizes = {"output_size": case.x[2:], "data_format": case.data_format}
    unpool = functools.partial(
        twin(case, "max_unpool")[0], indices=indices, kernel_size=case.kernel_size, **sizes
    )
    dy = generator(case.id).uniform(-1, 1, unpool(y).shape)
    dx = twin_gradient(case, "max_unpool")[0](dy, indices, y.shape, data_format=case.data_format)
    assert_gradient(unpool, y, dx, dy)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("shape", [(1, 3, 700, 700), (1, 2, 400_000), (2, 1, 3, 150_000)])
def test_means_of_wide_windows_keep_their_accuracy(shape, data_format, isa):
    x = np.random.default_rng(0).random(shape, np.float32) + 1000
    spatial = tuple(range(2, x.ndim))
    exact = x.mean(spatial, np.float64)
    if data_format == "channels_last":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    rank = len(spatial)
    for mean in (
        fc.global_avg_pool(x, data_format=data_format),
        getattr(fc, f"avg_pool{rank}d")(x, shape[2:], data_format=data_format).reshape(exact.shape),
        getattr(fc, f"adaptive_avg_pool{rank}d")(x, 1, data_format=data_format).reshape(exact.shape),
    ):
        np.testing.assert_allclose(mean, exact, rtol=2e-7)
