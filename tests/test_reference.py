"""The oracle itself, against truths that share no code with it: plain loops, SciPy, finite differences."""

from __future__ import annotations

import functools
import inspect
import itertools
import math

import numpy as np
import pytest
from cases import (
    CHANNEL_CASES,
    CONV_CASES,
    CONV_TRANSPOSE_CASES,
    POOL_CASES,
    ChannelCase,
    ConvCase,
    ConvTransposeCase,
    PoolCase,
    generator,
)
from finite_differences import assert_gradient
from plain_loops import convolution_in_loops, pool_windows_in_loops

from fastconv import reference

by_id = {"ids": lambda case: case.id}


def operation(case, name, module=reference):
    return getattr(module, f"{name}{case.rank}d")


# ---------------------------------------------------------------- plain loops


@pytest.mark.parametrize(
    ("stride", "pads", "dilation", "groups"),
    [
        ((1, 1), ((0, 0), (0, 0)), (1, 1), 1),
        ((2, 1), ((1, 2), (0, 3)), (1, 2), 2),
        ((1, 3), ((3, 0), (2, 2)), (2, 1), 4),
    ],
)
def test_convolution_equals_seven_loops(stride, pads, dilation, groups):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((4, 4 // groups, 3, 2))
    b = rng.standard_normal(4)
    expected = convolution_in_loops(x, w, b, stride, pads, dilation, groups)
    y = reference.conv2d(x, w, b, stride=stride, padding=pads, dilation=dilation, groups=groups)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


LOOPED_POOL_CASES = [case for case in POOL_CASES if 0 < math.prod(case.x) < 2000]


@pytest.mark.parametrize("case", LOOPED_POOL_CASES, **by_id)
def test_pools_equal_loops(case: PoolCase):
    """One plane, every window: the first maximum and its position, both means, a norm."""
    channels_first = PoolCase(**{**vars(case), "data_format": "channels_first", "batched": True})
    x, window, keywords = channels_first.tied_image(), case.kernel_size, channels_first.keywords
    results = {
        "max": operation(case, "max_pool")(x, window, return_indices=True, **keywords),
        "mean": operation(case, "avg_pool")(x, window, **keywords),
        "mean of covered": operation(case, "avg_pool")(x, window, count_include_pad=False, **keywords),
        "sum": operation(case, "avg_pool")(x, window, divisor_override=1, **keywords),
    }
    windows = list(pool_windows_in_loops(case, x[0, -1]))
    assert len(windows) == results["sum"][0, 0].size
    for place, covered, padded in windows:
        values = [value for value, _ in covered]
        best, where = max(values), next(position for value, position in covered if value == max(values))
        here = (0, -1, *place)
        assert (results["max"][0][here], results["max"][1][here]) == (best, where)
        assert math.isclose(results["sum"][here], sum(values), abs_tol=1e-12)
        assert math.isclose(results["mean"][here], sum(values) / (len(values) + padded), abs_tol=1e-12)
        assert math.isclose(results["mean of covered"][here], sum(values) / len(values), abs_tol=1e-12)


@pytest.mark.parametrize(("size", "count"), [(7, 3), (7, 7), (3, 5), (12, 4), (5, 1)])
def test_adaptive_pools_equal_loops(size, count):
    x = np.random.default_rng(4).standard_normal((2, 3, size))
    windows = [x[..., i * size // count : math.ceil((i + 1) * size / count)] for i in range(count)]
    means, maxima = ([getattr(w, kind)(axis=-1) for w in windows] for kind in ("mean", "max"))
    np.testing.assert_allclose(reference.adaptive_avg_pool1d(x, count), np.stack(means, axis=-1), atol=1e-15)
    y, indices = reference.adaptive_max_pool1d(x, count, return_indices=True)
    np.testing.assert_array_equal(y, np.stack(maxima, axis=-1))
    np.testing.assert_array_equal(np.take_along_axis(x, indices, axis=-1), y)
    dy = np.random.default_rng(5).standard_normal(y.shape)
    dx = reference.grad.adaptive_avg_pool1d(dy, x.shape)
    assert_gradient(lambda v: reference.adaptive_avg_pool1d(v, count), x, dx, dy)
    dx = reference.grad.adaptive_max_pool1d(dy, indices, x.shape)
    assert_gradient(lambda v: reference.adaptive_max_pool1d(v, count), x, dx, dy)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_max_unpool_puts_the_maxima_back(data_format):
    x = np.random.default_rng(6).standard_normal((2, 7, 9, 6))
    y, indices = reference.max_pool2d(x, 2, return_indices=True, data_format=data_format)
    sizes = x.shape[2:] if data_format == "channels_first" else x.shape[1:3]
    unpool = functools.partial(
        reference.max_unpool2d, indices=indices, kernel_size=2, output_size=sizes, data_format=data_format
    )
    restored = unpool(y)
    np.testing.assert_array_equal(np.sort(restored[restored != 0]), np.sort(y.ravel()))
    np.testing.assert_array_equal(restored[restored != 0], x[restored != 0])
    dy = np.random.default_rng(7).standard_normal(x.shape)
    dx = reference.grad.max_unpool2d(dy, indices, y.shape, data_format=data_format)
    assert_gradient(unpool, y, dx, dy)


UNDILATED_POOL_CASES = [case for case in POOL_CASES if case.dilation == 1]


@pytest.mark.parametrize("case", UNDILATED_POOL_CASES, **by_id)
def test_lp_pool_is_a_root_of_the_powers_sum(case: PoolCase):
    keywords = {name: value for name, value in case.keywords.items() if name != "dilation"}
    x = case.image()
    for p in (1, 2.5):
        y = operation(case, "lp_pool")(x, p, case.kernel_size, **keywords)
        total = operation(case, "avg_pool")(np.abs(x) ** p, case.kernel_size, divisor_override=1, **keywords)
        np.testing.assert_allclose(y, total ** (1 / p), rtol=1e-13)


def test_lp_pool_is_the_norm():
    x = np.random.default_rng(5).standard_normal((2, 3, 9, 8))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(2, 3))[:, :, ::2, ::2]
    for p in (0.5, 1, 2.5):
        expected = (np.abs(windows) ** p).sum(axis=(-2, -1)) ** (1 / p)
        np.testing.assert_allclose(reference.lp_pool2d(x, p, (3, 2), stride=2), expected, rtol=1e-12)


def test_same_padding_is_tensorflows():
    """Output ceil(input / stride), the odd element after; pads worked out by hand."""
    x, w = np.ones((1, 1, 5)), np.ones((1, 1, 4))
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="same"), [[[3, 4, 4, 3, 2]]])
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="same", stride=2), [[[3, 4, 2]]])
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="same", stride=3), [[[3, 3]]])
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="causal"), [[[1, 2, 3, 4, 4]]])
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="full"), [[[1, 2, 3, 4, 4, 3, 2, 1]]])


# ---------------------------------------------------------------- SciPy


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_full_convolution_is_scipys_correlate(rank):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(rank)
    x, w = rng.standard_normal((9, 8, 7)[:rank]), rng.standard_normal((4, 3, 5)[:rank])
    y = getattr(reference, f"conv{rank}d")(x[None, None], w[None, None], padding="full")
    np.testing.assert_allclose(y[0, 0], signal.correlate(x, w, mode="full", method="direct"), atol=1e-13)


@pytest.mark.parametrize(
    ("mode", "scipys"), [("reflect", "mirror"), ("replicate", "nearest"), ("circular", "wrap")]
)
def test_padding_modes_are_scipys(mode, scipys):
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((9, 8)), rng.standard_normal((5, 3))
    y = reference.conv2d(x[None, None], w[None, None], padding=(2, 1), padding_mode=mode)
    np.testing.assert_allclose(y[0, 0], ndimage.correlate(x, w, mode=scipys), atol=1e-13)


# ---------------------------------------------------------------- finite differences and definitions


SMALL_CONV_CASES = [case for case in CONV_CASES if math.prod(case.x) < 3000]


@pytest.mark.parametrize("case", SMALL_CONV_CASES[::4], **by_id)
def test_convolution_gradients_are_differences(case: ConvCase):
    x, w, b = case.arrays()
    conv = operation(case, "conv")
    y = conv(x, w, b, **case.keywords)
    dy = case.upstream(y)
    dx, dw, db = operation(case, "conv", reference.grad)(dy, x, w, b=b, y=y, **case.keywords)
    assert_gradient(lambda v: conv(v, w, b, **case.keywords), x, dx, dy)
    assert_gradient(lambda v: conv(x, v, b, **case.keywords), w, dw, dy)
    if b is not None:
        assert_gradient(lambda v: conv(x, w, v, **case.keywords), b, db, dy)


@pytest.mark.parametrize("case", CONV_TRANSPOSE_CASES[::4], **by_id)
def test_transposed_gradients_are_differences(case: ConvTransposeCase):
    x, w, b = case.arrays()
    conv = operation(case, "conv_transpose")
    y = conv(x, w, b, **case.keywords)
    dy = case.upstream(y)
    dx, dw, db = operation(case, "conv_transpose", reference.grad)(dy, x, w, b=b, y=y, **case.keywords)
    assert_gradient(lambda v: conv(v, w, b, **case.keywords), x, dx, dy)
    assert_gradient(lambda v: conv(x, v, b, **case.keywords), w, dw, dy)
    if b is not None:
        assert_gradient(lambda v: conv(x, w, v, **case.keywords), b, db, dy)


@pytest.mark.parametrize("case", POOL_CASES[::3], **by_id)
def test_pool_gradients_are_differences(case: PoolCase):
    x, window = case.image(), case.kernel_size
    maximum, mean = operation(case, "max_pool"), operation(case, "avg_pool")
    y, indices = maximum(x, window, return_indices=True, **case.keywords)
    dy = case.upstream(y)
    dx = operation(case, "max_pool", reference.grad)(dy, indices, x.shape, data_format=case.data_format)
    assert_gradient(lambda v: maximum(v, window, **case.keywords), x, dx, dy)
    for options in ({}, {"count_include_pad": False}, {"divisor_override": 3}):
        dx = operation(case, "avg_pool", reference.grad)(dy, x.shape, window, **case.keywords, **options)
        assert_gradient(lambda v, o=options: mean(v, window, **case.keywords, **o), x, dx, dy)
    if case.dilation == 1:
        keywords = {name: value for name, value in case.keywords.items() if name != "dilation"}
        norm = operation(case, "lp_pool")
        for p in (1.5, 2, 3):
            y = norm(x, p, window, **keywords)
            dx = operation(case, "lp_pool", reference.grad)(dy, x, y, p, window, **keywords)
            assert_gradient(lambda v, p=p: norm(v, p, window, **keywords), x, dx, dy)


@pytest.mark.parametrize("case", CHANNEL_CASES, **by_id)
def test_channel_and_global_pools(case: ChannelCase):
    """Values from NumPy's own reductions, gradients from differences."""
    x, layout = case.image(), {"data_format": case.data_format}
    channel = 1 if case.data_format == "channels_first" else x.ndim - 1
    spatial = tuple(axis for axis in range(1, x.ndim) if axis != channel)
    windows = np.lib.stride_tricks.sliding_window_view(x, case.pool_size, axis=channel)
    step = case.stride or case.pool_size
    windows = np.moveaxis(np.moveaxis(windows, channel, 0)[::step], 0, channel)
    keywords = {"stride": case.stride, **layout}
    grad = reference.grad

    y = reference.channel_max_pool(x, case.pool_size, **keywords)
    np.testing.assert_array_equal(y, windows.max(axis=-1))
    dy = case.upstream(y)
    dx = grad.channel_max_pool(dy, x, case.pool_size, **keywords)
    assert_gradient(lambda v: reference.channel_max_pool(v, case.pool_size, **keywords), x, dx, dy)

    y = reference.channel_avg_pool(x, case.pool_size, **keywords)
    np.testing.assert_allclose(y, windows.mean(axis=-1), atol=1e-15)
    dx = grad.channel_avg_pool(dy, x.shape, case.pool_size, **keywords)
    assert_gradient(lambda v: reference.channel_avg_pool(v, case.pool_size, **keywords), x, dx, dy)

    for keepdims in (False, True):
        keywords = {"keepdims": keepdims, **layout}
        y = reference.global_max_pool(x, **keywords)
        np.testing.assert_array_equal(y, x.max(axis=spatial, keepdims=keepdims))
        dy = generator(case.id).standard_normal(y.shape)
        dx = grad.global_max_pool(dy, x, **keywords)
        assert_gradient(lambda v, k=keywords: reference.global_max_pool(v, **k), x, dx, dy)
        y = reference.global_avg_pool(x, **keywords)
        np.testing.assert_allclose(y, x.mean(axis=spatial, keepdims=keepdims), atol=1e-15)
        dx = grad.global_avg_pool(dy, x.shape, **keywords)
        assert_gradient(lambda v, k=keywords: reference.global_avg_pool(v, **k), x, dx, dy)


def test_first_of_equal_maxima_wins():
    x = np.ones((1, 2, 4))
    assert reference.max_pool1d(x, 2, return_indices=True)[1].tolist() == [[[0, 2], [0, 2]]]
    assert reference.grad.global_max_pool(np.ones((1, 2)), x).tolist() == [[[1, 0, 0, 0]] * 2]
    assert reference.grad.channel_max_pool(np.ones((1, 1, 4)), x, 2).tolist() == [[[1] * 4, [0] * 4]]


def test_nan_wins_every_maximum():
    x = np.array([[[1.0, np.nan, 3.0, -np.inf, -np.inf, 2.0]]])
    y, indices = reference.max_pool1d(x, 2, stride=1, return_indices=True)
    np.testing.assert_array_equal(y, [[[np.nan, np.nan, 3, -np.inf, 2]]])
    assert indices.tolist() == [[[1, 1, 2, 3, 5]]]
    y, indices = reference.adaptive_max_pool1d(x, 3, return_indices=True)
    np.testing.assert_array_equal(y, [[[np.nan, 3, 2]]])
    assert indices.tolist() == [[[1, 2, 5]]]
    assert np.isnan(reference.global_max_pool(x)).all()


# ---------------------------------------------------------------- the frame: dtypes, out, im2col


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_results_have_the_inputs_dtype_and_are_rounded_once(dtype):
    rng = np.random.default_rng(11)
    x, w = rng.standard_normal((1, 30, 9)).astype(dtype), rng.standard_normal((4, 30, 3)).astype(dtype)
    y = reference.conv1d(x, w)
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y, reference.conv1d(x.astype(float), w.astype(float)).astype(dtype))


def test_out_is_filled_and_returned():
    x, w = np.ones((1, 2, 5)), np.ones((3, 2, 2))
    out = np.full((1, 3, 4), np.nan)
    assert reference.conv1d(x, w, out=out) is out
    np.testing.assert_array_equal(out, 4.0)
    with pytest.raises(ValueError, match="shape"):
        reference.conv1d(x, w, out=np.zeros((1, 3, 5)))
    with pytest.raises(TypeError, match="float32"):
        reference.conv1d(x, w, out=out.astype(np.float32))


def test_functions_show_explicit_signatures():
    parameters = inspect.signature(reference.conv2d).parameters
    assert list(parameters)[:4] == ["x", "w", "b", "stride"]
    assert parameters["stride"].kind is inspect.Parameter.KEYWORD_ONLY
    assert list(inspect.signature(reference.grad.max_pool3d).parameters)[:3] == [
        "dy",
        "indices",
        "input_shape",
    ]
    assert reference.avg_pool1d.__name__ == "avg_pool1d"


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in CONV_CASES
        if (c.padding_mode, c.data_format, c.batched) == ("zeros", "channels_first", True)
    ],
    **by_id,
)
def test_im2col_equals_the_reference(case: ConvCase):
    x, w, b = case.arrays()
    keywords = {name: case.keywords[name] for name in ("stride", "padding", "dilation", "groups")}
    y = operation(case, "conv")(x, w, b, **keywords)
    np.testing.assert_allclose(reference.im2col_conv(x, w, b, **keywords), y, atol=1e-11)
    dy = case.upstream(y)
    expected = operation(case, "conv", reference.grad)(dy, x, w, **keywords)
    for form in ("auto", "col2im", "im2col"):
        actual = reference.im2col_conv_grad(dy, x, w, input_form=form, **keywords)
        for ours, exact in zip(actual, expected, strict=True):
            assert ours.flags.c_contiguous
            np.testing.assert_allclose(ours, exact, atol=1e-11)


def test_im2col_computes_in_the_inputs_dtype():
    rng = np.random.default_rng(12)
    x, w = rng.standard_normal((2, 3, 9, 8), np.float32), rng.standard_normal((4, 3, 3, 3), np.float32)
    y = reference.im2col_conv2d(x, w)
    gradients = reference.im2col_conv2d_grad(y, x, w, needs=(True, False, True))
    assert y.dtype == gradients[0].dtype == gradients[2].dtype == np.float32
    assert gradients[1] is None


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x, w: reference.conv2d(x.astype(int), w), TypeError, "astype"),
        (lambda x, w: reference.conv2d(x, w.astype(np.float32)), TypeError, "float32"),
        (lambda x, w: reference.conv2d(x.tolist(), w), TypeError, "list"),
        (lambda x, w: reference.conv2d(x[0, 0], w), ValueError, "axes"),
        (lambda x, w: reference.conv2d(x, w[0]), ValueError, "axes"),
        (lambda x, w: reference.conv2d(x, w, groups=2), ValueError, "channels"),
        (lambda x, w: reference.conv2d(x, w, groups=0), ValueError, "groups"),
        (lambda x, w: reference.conv2d(x, w, x[0, 0, 0]), ValueError, "b must"),
        (lambda x, w: reference.conv2d(x, w, stride=0), ValueError, "stride"),
        (lambda x, w: reference.conv2d(x, w, stride=(1, 2, 3)), ValueError, "stride"),
        (lambda x, w: reference.conv2d(x, w, padding="causal"), ValueError, "causal"),
        (lambda x, w: reference.conv2d(x, w, padding=((1, 2), (3,))), ValueError, "pair"),
        (lambda x, w: reference.conv1d(x[0, :, :3], w[0], padding=(1, 2)), ValueError, "1-D"),
        (lambda x, w: reference.conv2d(x, w, dilation=9), ValueError, "larger"),
        (lambda x, w: reference.conv2d(x, w, padding_mode="mirror"), ValueError, "padding_mode"),
        (lambda x, w: reference.conv2d(x, w, padding=7, padding_mode="reflect"), ValueError, "reflect"),
        (lambda x, w: reference.conv2d(x, w, data_format="NCHW"), ValueError, "data_format"),
        (lambda x, w: reference.conv2d(x, w, activation="swish"), ValueError, "activation"),
        (lambda x, w: reference.conv2d(x[:, :, :0], w), ValueError, "empty"),
        (lambda x, w: reference.conv_transpose2d(x, w, output_padding=1), ValueError, "output_padding"),
        (lambda x, w: reference.conv_transpose2d(x, w, padding="full"), ValueError, "padding"),
        (lambda x, w: reference.conv_transpose2d(x, w, padding=9), ValueError, "nothing"),
        (lambda x, w: reference.max_pool2d(x, 2, padding=2), ValueError, "padding"),
        (lambda x, w: reference.max_pool2d(x, 9), ValueError, "larger"),
        (lambda x, w: reference.avg_pool2d(x, 2, divisor_override=0), ValueError, "divisor"),
        (lambda x, w: reference.lp_pool2d(x, 0, 2), ValueError, "p must"),
        (lambda x, w: reference.adaptive_avg_pool2d(x, (1, 2, 3)), ValueError, "output_size"),
        (lambda x, w: reference.channel_max_pool(x, 9), ValueError, "pool_size"),
        (lambda x, w: reference.global_avg_pool(x[0, 0]), ValueError, "batch"),
        (lambda x, w: reference.max_unpool2d(x, np.zeros(x.shape), 2), TypeError, "int64"),
        (lambda x, w: reference.max_unpool2d(x, np.full(x.shape, 999), 2), ValueError, "indices"),
        (
            lambda x, w: reference.max_unpool2d(x, np.zeros(x.shape, int), 2, padding="same"),
            ValueError,
            "output_size",
        ),
        (lambda x, w: reference.conv2d(np.ma.array(x), w), TypeError, "x is a masked array"),
        (
            lambda x, w: reference.conv_transpose2d(x, w, stride=2, padding="same", output_padding=1),
            ValueError,
            'output_padding.*padding="same"',
        ),
        (
            lambda x, w: reference.max_unpool2d(x, np.zeros(x.shape, int), 2, output_size=(1000, 1)),
            ValueError,
            r"output_size \(1000, 1\)",
        ),
        (lambda x, w: reference.channel_max_pool(x, (2,)), TypeError, "tuple"),
        (lambda x, w: reference.channel_max_pool(x, 2, stride=0), ValueError, "stride"),
        (lambda x, w: reference.grad.conv2d(x, x, w), ValueError, "dy"),
        (lambda x, w: reference.grad.conv2d(x, x, w, activation="relu"), ValueError, "needs y"),
        (lambda x, w: reference.activation(x, "swish"), ValueError, "activation"),
        (lambda x, w: reference.activation_grad(x, "swish"), ValueError, "activation"),
        (lambda x, w: reference.im2col_conv_grad(x, x, w), ValueError, "dy"),
    ],
)
def test_bad_arguments_are_errors(call, error, match):
    x, w = np.ones((2, 3, 7, 6)), np.ones((3, 3, 3, 3))
    with pytest.raises(error, match=match):
        call(x, w)


def test_every_public_operation_has_a_reference():
    """What the contract lists, by name; gradients carry the names of their functions."""
    ranked = ["conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool"]
    ranked += ["adaptive_max_pool", "adaptive_avg_pool", "max_unpool"]
    names = [f"{name}{rank}d" for name, rank in itertools.product(ranked, (1, 2, 3))]
    names += ["global_max_pool", "global_avg_pool", "channel_max_pool", "channel_avg_pool"]
    for name in names:
        assert callable(getattr(reference, name))
        assert callable(getattr(reference.grad, name))
