"""The CUDA back end's pools and their gradients against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import DTYPES, assert_agrees, assert_same_bits, exact_inputs
from cases import ADAPTIVE_CASES, CHANNEL_CASES, POOL_CASES, generator
from test_pool import AVERAGES, UNDILATED_POOL_CASES, twin, twin_gradient

import fastconv as fc
from fastconv import reference


@pytest.mark.parametrize("case", POOL_CASES, ids=lambda case: case.id)
def test_max_pool(case, on_device):
    actual, expected = twin(case, "max_pool")
    gradient, exact_gradient = twin_gradient(case, "max_pool")
    for dtype in DTYPES:
        x = case.tied_image(dtype)
        y, indices = on_device(actual, x, case.kernel_size, return_indices=True, **case.keywords)
        exact_y, exact_indices = expected(x, case.kernel_size, return_indices=True, **case.keywords)
        np.testing.assert_array_equal(y, exact_y, err_msg=str(dtype))
        np.testing.assert_array_equal(indices, exact_indices, err_msg=str(dtype))
        assert_same_bits(on_device(actual, x, case.kernel_size, **case.keywords), y)

        dy, layout = case.upstream(y, dtype), {"data_format": case.data_format}
        dx = on_device(gradient, dy, indices, x.shape, **layout)
        assert_agrees(dx, exact_gradient(*exact_inputs(dy), indices, x.shape, **layout), dtype)
        assert_same_bits(on_device(gradient, dy, indices, x.shape, **layout), dx)


@pytest.mark.parametrize("case", POOL_CASES, ids=lambda case: case.id)
def test_avg_pool(case, on_device):
    actual, expected = twin(case, "avg_pool")
    gradient, exact_gradient = twin_gradient(case, "avg_pool")
    for number, dtype in enumerate(DTYPES):
        x = case.image(dtype)
        for options in AVERAGES if number < 2 else AVERAGES[:1]:
            keywords = {**case.keywords, **options}
            y = on_device(actual, x, case.kernel_size, **keywords)
            assert_agrees(y, expected(*exact_inputs(x), case.kernel_size, **keywords), dtype)
            dy = case.upstream(y, dtype)
            dx = on_device(gradient, dy, x.shape, case.kernel_size, **keywords)
            exact_dx = exact_gradient(*exact_inputs(dy), x.shape, case.kernel_size, **keywords)
            assert_agrees(dx, exact_dx, dtype)


@pytest.mark.parametrize("case", UNDILATED_POOL_CASES, ids=lambda case: case.id)
def test_lp_pool(case, on_device):
    actual, expected = twin(case, "lp_pool")
    gradient, exact_gradient = twin_gradient(case, "lp_pool")
    keywords = {name: value for name, value in case.keywords.items() if name != "dilation"}
    for number, dtype in enumerate(DTYPES):
        x = case.image(dtype)
        for p in (1, 2, 3, 1.5) if number < 2 else (2,):
            y = on_device(actual, x, p, case.kernel_size, **keywords)
            assert_agrees(y, expected(*exact_inputs(x), p, case.kernel_size, **keywords), dtype)
            dy = case.upstream(y, dtype)
            exact_dx = exact_gradient(*exact_inputs(dy, x, y), p, case.kernel_size, **keywords)
            dx = on_device(gradient, dy, x, y, p, case.kernel_size, **keywords)
            assert_agrees(dx, exact_dx, dtype)


@pytest.mark.parametrize("case", ADAPTIVE_CASES, ids=lambda case: case.id)
def test_adaptive_pools(case, on_device):
    layout = {"data_format": case.data_format}
    for dtype in DTYPES:
        x = case.tied_image(dtype)
        actual, expected = twin(case, "adaptive_max_pool")
        y, indices = on_device(actual, x, case.output_size, return_indices=True, **layout)
        exact_y, exact_indices = expected(x, case.output_size, return_indices=True, **layout)
        assert_same_bits(y, exact_y)
        assert_same_bits(indices, exact_indices)
        dy = case.upstream(y, dtype)
        gradient, exact_gradient = twin_gradient(case, "adaptive_max_pool")
        dx = on_device(gradient, dy, indices, x.shape, **layout)
        assert_agrees(dx, exact_gradient(*exact_inputs(dy), indices, x.shape, **layout), dtype)

        actual, expected = twin(case, "adaptive_avg_pool")
        y = on_device(actual, x, case.output_size, **layout)
        assert_agrees(y, expected(*exact_inputs(x), case.output_size, **layout), dtype)
        gradient, exact_gradient = twin_gradient(case, "adaptive_avg_pool")
        dx = on_device(gradient, dy, x.shape, **layout)
        assert_agrees(dx, exact_gradient(*exact_inputs(dy), x.shape, **layout), dtype)


@pytest.mark.parametrize("case", CHANNEL_CASES, ids=lambda case: case.id)
def test_pools_of_planes_and_channels(case, on_device):
    layout = {"data_format": case.data_format}
    for dtype in DTYPES:
        x = case.tied_image(dtype)
        windows = {"stride": case.stride, **layout}
        for name, arguments, keywords in (
            ("global_max_pool", (), layout),
            ("channel_max_pool", (case.pool_size,), windows),
            ("global_avg_pool", (), layout),
            ("channel_avg_pool", (case.pool_size,), windows),
        ):
            y = on_device(getattr(fc, name), x, *arguments, **keywords)
            exact = getattr(reference, name)(*exact_inputs(x), *arguments, **keywords)
            assert_agrees(y, exact, dtype)
            dy = generator(case.id).uniform(-1, 1, y.shape).astype(dtype)
            like, exact_like = (x, *exact_inputs(x)) if "max" in name else (x.shape, x.shape)
            dx = on_device(getattr(fc.grad, name), dy, like, *arguments, **keywords)
            exact_dx = getattr(reference.grad, name)(*exact_inputs(dy), exact_like, *arguments, **keywords)
            assert_agrees(dx, exact_dx, dtype)


def test_special_values(on_device):
    x = np.array([[[1, np.nan, 2, np.inf, -np.inf, 3, -np.inf, -np.inf]]], np.float32)
    y, indices = on_device(fc.max_pool1d, x, 2, return_indices=True)
    np.testing.assert_array_equal(y, [[[np.nan, np.inf, 3, -np.inf]]])
    np.testing.assert_array_equal(indices, [[[1, 3, 5, 6]]])


def test_indices_that_are_none_are_left_out(on_device):
    """A device can't wait to look at them: nothing is read or written there."""
    small = np.ones((1, 1, 4), np.float32)
    indices = np.array([[[0, 7, -1, 2]]])
    np.testing.assert_array_equal(on_device(fc.grad.max_pool1d, small, indices, (1, 1, 3)), [[[1, 0, 1]]])


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_unpooling(data_format, on_device):
    layout = {"data_format": data_format}
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 6)).astype(np.float32)
    y, indices = fc.max_pool2d(x, 3, stride=1, return_indices=True, **layout)
    keywords = {"stride": 1, **layout}
    expected = fc.max_unpool2d(y, indices, 3, **keywords)
    assert_same_bits(on_device(fc.max_unpool2d, y, indices, 3, **keywords), expected)
    expected = fc.grad.max_unpool2d(x, indices, y.shape, **layout)
    assert_same_bits(on_device(fc.grad.max_unpool2d, x, indices, y.shape, **layout), expected)
