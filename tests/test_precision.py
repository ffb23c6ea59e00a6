"""What each word of `precision` promises, on layers of the networks that people train."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from agreement import assert_agrees, assert_same_bits, exact_inputs
from cases import CONV_CASES, ConvCase

import fastconv as fc
from fastconv import reference

# Channels, kernels and strides as in the networks; fewer pixels, so that the scalar kernels finish too.
LAYERS = [
    ConvCase(note="LeNet-5", x=(4, 6, 14, 14), w=(16, 6, 5, 5)),
    ConvCase(note="AlexNet first", x=(1, 3, 67, 67), w=(96, 3, 11, 11), stride=4),
    ConvCase(note="AlexNet second", x=(1, 64, 15, 15), w=(192, 64, 5, 5), padding=2),
    ConvCase(note="VGG first", x=(1, 3, 48, 48), w=(64, 3, 3, 3), padding=1),
    ConvCase(note="VGG", x=(1, 64, 32, 32), w=(64, 64, 3, 3), padding=1),
    ConvCase(note="VGG", x=(1, 256, 14, 14), w=(256, 256, 3, 3), padding=1),
    ConvCase(note="VGG", x=(2, 512, 5, 5), w=(512, 512, 3, 3), padding=1),
    ConvCase(note="ResNet stem", x=(1, 3, 56, 56), w=(64, 3, 7, 7), stride=2, padding=3),
    ConvCase(note="ResNet 1x1", x=(2, 256, 14, 14), w=(64, 256, 1, 1)),
    ConvCase(note="ResNet downsampling", x=(1, 128, 15, 15), w=(256, 128, 1, 1), stride=2),
    ConvCase(note="ResNeXt", x=(1, 128, 14, 14), w=(128, 4, 3, 3), groups=32, padding=1),
    ConvCase(note="MobileNet", x=(2, 96, 28, 28), w=(96, 1, 3, 3), groups=96, padding=1),
    ConvCase(note="WaveNet", x=(1, 64, 400), w=(64, 64, 3), dilation=16, padding="causal"),
    ConvCase(note="C3D", x=(1, 32, 6, 12, 12), w=(48, 32, 3, 3, 3), padding=1),
    # Sums that a BLAS takes for products with a vector, and adds up in many short chains.
    ConvCase(note="LeNet-5 first", x=(8, 1, 28, 28), w=(6, 1, 5, 5), padding=2),
    ConvCase(note="ConvNeXt", x=(1, 8, 28, 28), w=(8, 1, 7, 7), groups=8, padding=3),
    ConvCase(note="RepLKNet", x=(1, 4, 31, 31), w=(4, 1, 31, 31), groups=4, padding=15),
    ConvCase(note="a thousand taps", x=(1, 1, 2500), w=(3, 1, 1001)),
    ConvCase(note="one filter", x=(2, 128, 6, 6), w=(1, 128, 3, 3), padding=1),
    ConvCase(note="one filter a group", x=(2, 36, 16, 10), w=(4, 9, 1, 7), groups=4),
    ConvCase(note="one pixel", x=(2, 512, 3, 3), w=(64, 512, 3, 3)),
    ConvCase(note="few filters a group", x=(4, 64, 48, 48), w=(64, 2, 3, 3), groups=32, padding=1),
    ConvCase(note="few pixels an image", x=(3, 64, 15, 6), w=(16, 16, 5, 3), groups=4, stride=2),
]


@dataclass(frozen=True)
class Layer:
    """A layer's float32 data, its exact results, and the error of NumPy's im2col and BLAS product."""

    inputs: tuple[np.ndarray, ...]
    exact: dict[str, np.ndarray]
    numpy_error: dict[str, float]


def error_of(actual: np.ndarray, exact: np.ndarray) -> float:
    """Return the normwise relative error."""
    return float(np.linalg.norm(actual.astype(np.float64) - exact) / np.linalg.norm(exact))


@functools.cache
def layer_of(case: ConvCase) -> Layer:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(case.x, np.float32), rng.standard_normal(case.w, np.float32)
    keywords = {name: case.keywords[name] for name in ("stride", "padding", "dilation", "groups")}
    y = getattr(reference, f"conv{case.rank}d")(*exact_inputs(x, w), **keywords)
    dy = rng.standard_normal(y.shape, np.float32)
    gradient = getattr(reference.grad, f"conv{case.rank}d")
    dx, dw, _ = gradient(*exact_inputs(dy, x, w), **keywords)
    exact = {"y": y, "dx": dx, "dw": dw}
    numpys = {"y": reference.im2col_conv(x, w, **keywords)}
    forms = [reference.im2col_conv_grad(dy, x, w, input_form=f, **keywords) for f in ("col2im", "im2col")]
    errors = {
        "y": error_of(numpys["y"], y),
        "dx": max(error_of(form[0], dx) for form in forms),
        "dw": error_of(forms[0][1], dw),
    }
    return Layer((dy, x, w), exact, errors)


def errors_of(case: ConvCase, **precision: str) -> dict[str, float]:
    """Return fastconv's errors for a layer."""
    layer = layer_of(case)
    dy, x, w = layer.inputs
    y = getattr(fc, f"conv{case.rank}d")(x, w, **case.keywords, **precision)
    dx, dw, _ = getattr(fc.grad, f"conv{case.rank}d")(dy, x, w, **case.keywords, **precision)
    return {name: error_of(a, layer.exact[name]) for name, a in (("y", y), ("dx", dx), ("dw", dw))}


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_highest_is_as_good_as_numpys_product(case, isa):
    allowed = layer_of(case).numpy_error
    for name, error in errors_of(case).items():
        assert error <= 1.5 * allowed[name], f"{name}: {error:.3g}, NumPy's {allowed[name]:.3g}"


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize(("word", "promise"), [("high", 1e-5), ("medium", 5e-3)])
def test_high_and_medium_keep_their_promises(case, word, promise, isa):
    for name, error in errors_of(case, precision=word).items():
        assert error <= promise, name


@pytest.mark.parametrize(("word", "promise"), [("high", 1e-5), ("medium", 5e-3)])
def test_transposed_convolutions_keep_them_too(word, promise, isa):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((1, 64, 9, 9), np.float32), rng.standard_normal((64, 32, 4, 4), np.float32)
    keywords = {"stride": 2, "padding": 1}
    exact = reference.conv_transpose2d(*exact_inputs(x, w), **keywords)
    assert error_of(fc.conv_transpose2d(x, w, precision=word, **keywords), exact) <= promise
    dy = rng.standard_normal(exact.shape, np.float32)
    exact_gradients = reference.grad.conv_transpose2d(*exact_inputs(dy, x, w), **keywords)
    gradients = fc.grad.conv_transpose2d(dy, x, w, precision=word, **keywords)
    for actual, expected in zip(gradients, exact_gradients, strict=True):
        assert error_of(actual, expected) <= promise


@pytest.mark.parametrize("word", ["highest", "high", "medium"])
def test_the_word_may_come_from_the_call_the_block_or_the_process(word):
    case = LAYERS[4]
    _, x, w = layer_of(case).inputs
    expected = fc.conv2d(x, w, padding=1, precision=word)
    with fc.precision(word):
        assert_same_bits(fc.conv2d(x, w, padding=1), expected)
    before = fc.get_precision()
    fc.set_precision(word)
    try:
        assert_same_bits(fc.conv2d(x, w, padding=1), expected)
    finally:
        fc.set_precision(before)


def test_precision_changes_nothing_on_float64():
    x, w, b = CONV_CASES[0].arrays()
    for word in ("high", "medium"):
        assert_same_bits(fc.conv1d(x, w, b, precision=word), fc.conv1d(x, w, b))


# ---------------------------------------------------------------- values at the ends of float32's range


SPECIAL_LAYERS = [
    ConvCase(x=(2, 3, 13, 12), w=(4, 3, 3, 3), padding=1),
    ConvCase(x=(1, 40, 13, 12), w=(35, 40, 3, 3), padding=1),
    ConvCase(x=(1, 40, 13, 12), w=(35, 40, 1, 1)),
    ConvCase(x=(1, 40, 13, 12), w=(35, 40, 3, 3), data_format="channels_last"),
    ConvCase(x=(1, 33, 13, 12), w=(33, 1, 3, 3), groups=33),
    ConvCase(x=(1, 8, 71), w=(19, 8, 5), stride=2),
]


def assert_ieee(actual: np.ndarray, exact: np.ndarray) -> None:
    """Check a float32 result against an exact one with NaN, Inf and numbers of any size in it."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(rounded))
    infinite = np.isinf(rounded)
    np.testing.assert_array_equal(actual[infinite], rounded[infinite])
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(np.isfinite(actual), finite)
    np.testing.assert_allclose(
        actual[finite], exact[finite], rtol=2e-5, atol=np.abs(exact[finite]).max(initial=0) * 1e-6
    )


@pytest.mark.parametrize("case", SPECIAL_LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinities_and_nans_go_where_ieee_sends_them(case, value, isa):
    """They reach the outputs whose windows hold them, and no others."""
    x, w, _ = case.arrays(np.float32)
    conv, gradient = getattr(fc, f"conv{case.rank}d"), getattr(fc.grad, f"conv{case.rank}d")
    exact_conv = getattr(reference, f"conv{case.rank}d")
    exact_gradient = getattr(reference.grad, f"conv{case.rank}d")
    x[(0, *[n // 2 for n in x.shape[1:]])] = value
    y = exact_conv(*exact_inputs(x, w), **case.keywords)
    assert_ieee(conv(x, w, **case.keywords), y)
    dy = case.upstream(y, np.float32)
    dw = exact_gradient(*exact_inputs(dy, x, w), needs=(False, True, False), **case.keywords)[1]
    assert_ieee(gradient(dy, x, w, needs=(False, True, False), **case.keywords)[1], dw)

    x, w, _ = case.arrays(np.float32)
    dy[(0, *[n // 2 for n in dy.shape[1:]])] = value
    for needs, place in [((True, False, False), 0), ((False, True, False), 1), ((False, False, True), 2)]:
        if case.padding and place == 1:
            continue  # 0 * Inf at the border: NaN where padding is multiplied, nothing where it is skipped
        actual = gradient(dy, x, w, needs=needs, **case.keywords)[place]
        assert_ieee(actual, exact_gradient(*exact_inputs(dy, x, w), needs=needs, **case.keywords)[place])


def away_from_zero(array: np.ndarray) -> np.ndarray:
    """Return numbers from 0.5 to 1: neither products nor sums of them, times 1e-35, are ever denormal."""
    return (np.abs(array) + 1) / 2


@pytest.mark.parametrize("case", SPECIAL_LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize(
    ("x_scale", "w_scale"), [(1e-35, 1.0), (1.0, 1e-35), (1e36, 1e-2), (1e-2, 1e36), (1e30, 1e-32)]
)
def test_numbers_near_the_ends_of_the_range(case, x_scale, w_scale, isa):
    x, w, _ = case.arrays(np.float32)
    x, w = away_from_zero(x) * np.float32(x_scale), away_from_zero(w) * np.float32(w_scale)
    y = getattr(reference, f"conv{case.rank}d")(*exact_inputs(x, w), **case.keywords)
    actual = getattr(fc, f"conv{case.rank}d")(x, w, **case.keywords)
    assert error_of(actual, y) < 1e-6
    dy = away_from_zero(case.upstream(y, np.float32))
    exact = getattr(reference.grad, f"conv{case.rank}d")(*exact_inputs(dy, x, w), **case.keywords)
    gradients = getattr(fc.grad, f"conv{case.rank}d")(dy, x, w, **case.keywords)
    for ours, expected in zip(gradients, exact, strict=True):
        assert error_of(ours, expected) < 1e-6


def test_the_largest_numbers_survive_and_overflow_is_infinite(isa):
    x = np.full((1, 32, 4, 4), 0, np.float32)
    x[0, 3], x[0, 5] = 3e38, -3.4028235e38
    w = np.zeros((16, 32, 1, 1), np.float32)
    w[0, 3], w[1, 5], w[2, 3], w[3, 5], w[4, 3] = 1, 1, 2, 1.5, 0.25
    y = fc.conv2d(x, w)[0, :, 0, 0]
    np.testing.assert_array_equal(
        y[:5], np.array([3e38, -3.4028235e38, np.inf, -np.inf, 0.75e38], np.float32)
    )
    np.testing.assert_array_equal(y[5:], 0)


def test_denormals_are_at_worst_flushed(isa):
    x, w = np.full((1, 40, 64), 1e-40, np.float32), np.ones((20, 40, 3), np.float32)
    y = fc.conv1d(x, w)
    assert (y >= 0).all()
    assert (y <= 1.3e-38).all()
    assert_agrees(
        fc.conv1d(x.astype(np.float64), w.astype(np.float64)), np.full((1, 20, 62), 0.0), np.float64
    )


def test_the_callers_floating_point_state_is_kept():
    """Kernels may flush denormals; the caller's own arithmetic must go on without that."""
    x, w = np.ones((4, 32, 30, 30), np.float32), np.ones((32, 32, 3, 3), np.float32)
    tiny = np.full(64, 1e-38, np.float32)
    before = tiny * np.float32(0.01)
    assert (before > 0).all()
    for threads in (1, 2):
        with fc.threads(threads):
            y = fc.conv2d(x, w)
            fc.grad.conv2d(y, x, w)
            fc.max_pool2d(x, 2)
        assert_same_bits(tiny * np.float32(0.01), before)
