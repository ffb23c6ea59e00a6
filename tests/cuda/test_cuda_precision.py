"""What each word of `precision` promises, of the CUDA back end's convolutions."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import assert_same_bits, exact_inputs
from cases import ConvCase
from test_precision import LAYERS, SPECIAL_LAYERS, assert_ieee, away_from_zero, error_of, layer_of

import fastconv as fc
from fastconv import reference

SOME = ("LeNet-5", "AlexNet first", "ResNet stem", "WaveNet", "one pixel", "few pixels an image")
LAYERS = [case for case in LAYERS if case.note in SOME]


def errors_of(case, on_device, **keywords):
    layer = layer_of(case)
    dy, x, w = layer.inputs
    keywords = {**case.keywords, **keywords}
    y = on_device(getattr(fc, f"conv{case.rank}d"), x, w, **keywords)
    dx, dw, _ = on_device(getattr(fc.grad, f"conv{case.rank}d"), dy, x, w, **keywords)
    return {name: error_of(a, layer.exact[name]) for name, a in (("y", y), ("dx", dx), ("dw", dw))}


@pytest.mark.parametrize("algorithm", ["auto", "tensor_cores", "implicit_gemm"])
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_highest_is_as_good_as_numpys_product(case, algorithm, on_device):
    allowed = layer_of(case).numpy_error
    for name, error in errors_of(case, on_device, algorithm=algorithm).items():
        assert error <= 1.5 * allowed[name], f"{name}: {error:.3g}, NumPy's {allowed[name]:.3g}"


WINOGRAD_LAYERS = [
    ConvCase(note="winograd", x=(2, 16, 15, 14), w=(24, 16, 3, 3), padding=1),
    ConvCase(note="winograd", x=(1, 64, 13, 12), w=(64, 64, 3, 3)),
    ConvCase(note="winograd", x=(1, 150, 6, 7), w=(140, 150, 3, 3), padding=1),
]


@pytest.mark.parametrize("case", WINOGRAD_LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize("word", ["highest", "high"])
def test_winograd_keeps_the_promises(case, word, on_device):
    layer = layer_of(case)
    dy, x, w = layer.inputs
    keywords = {**case.keywords, "algorithm": "winograd", "precision": word}
    y = on_device(fc.conv2d, x, w, **keywords)
    dx = on_device(fc.grad.conv2d, dy, x, w, needs=(True, False, False), **keywords)[0]
    for name, actual in (("y", y), ("dx", dx)):
        error = error_of(actual, layer.exact[name])
        assert error <= (1e-5 if word == "high" else 1.5 * layer.numpy_error[name]), name


@pytest.mark.parametrize(
    ("shape", "keywords", "reason"),
    [
        ((8, 16, 5, 5), {}, "kernels of 3x3 at stride 1 without dilation"),
        ((8, 16, 3, 3), {"stride": 2}, "kernels of 3x3 at stride 1 without dilation"),
        ((8, 8, 3, 3), {"groups": 2}, "2-D convolutions of one group"),
        ((8, 16, 3, 3), {"precision": "medium"}, "precision 'highest' or 'high'"),
        ((8, 8, 3, 3), {}, "from 16 channels to sum up over on"),
    ],
)
def test_winograd_says_what_it_does_not_serve(shape, keywords, reason, on_device):
    channels = shape[1] * keywords.get("groups", 1)
    x, w = np.ones((1, channels, 9, 9), np.float32), np.ones(shape, np.float32)
    with pytest.raises(ValueError, match=f"algorithm is 'winograd', but .*{reason}"):
        on_device(fc.conv2d, x, w, algorithm="winograd", **keywords)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize(("word", "promise"), [("high", 1e-5), ("medium", 5e-3)])
def test_high_and_medium_keep_their_promises(case, word, promise, on_device):
    errors = errors_of(case, on_device, precision=word, algorithm="tensor_cores")
    for name, error in errors.items():
        assert error <= promise, name
    assert max(errors.values()) > promise / 100  # the word chose the products


@pytest.mark.parametrize("case", SPECIAL_LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_infinities_and_nans_go_where_ieee_sends_them(case, value, on_device):
    x, w, _ = case.arrays(np.float32)
    conv, gradient = getattr(fc, f"conv{case.rank}d"), getattr(fc.grad, f"conv{case.rank}d")
    exact_conv = getattr(reference, f"conv{case.rank}d")
    exact_gradient = getattr(reference.grad, f"conv{case.rank}d")
    dy = case.upstream(exact_conv(*exact_inputs(x, w), **case.keywords), np.float32)
    clean = x.copy()
    x[(0, *[n // 2 for n in x.shape[1:]])] = value
    assert_ieee(on_device(conv, x, w, **case.keywords), exact_conv(*exact_inputs(x, w), **case.keywords))
    needs = (False, True, False)
    assert_ieee(
        on_device(gradient, dy, x, w, needs=needs, **case.keywords)[1],
        exact_gradient(*exact_inputs(dy, x, w), needs=needs, **case.keywords)[1],
    )
    dy[(0, *[n // 2 for n in dy.shape[1:]])] = value
    needs = (True, False, False)
    assert_ieee(
        on_device(gradient, dy, clean, w, needs=needs, **case.keywords)[0],
        exact_gradient(*exact_inputs(dy, clean, w), needs=needs, **case.keywords)[0],
    )


@pytest.mark.parametrize("case", SPECIAL_LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize(("x_scale", "w_scale"), [(1e-35, 1.0), (1e-2, 1e36), (1e30, 1e-32)])
def test_numbers_near_the_ends_of_the_range(case, x_scale, w_scale, on_device):
    x, w, _ = case.arrays(np.float32)
    x, w = away_from_zero(x) * np.float32(x_scale), away_from_zero(w) * np.float32(w_scale)
    y = getattr(reference, f"conv{case.rank}d")(*exact_inputs(x, w), **case.keywords)
    assert error_of(on_device(getattr(fc, f"conv{case.rank}d"), x, w, **case.keywords), y) < 1e-6
    dy = away_from_zero(case.upstream(y, np.float32))
    exact = getattr(reference.grad, f"conv{case.rank}d")(*exact_inputs(dy, x, w), **case.keywords)
    gradients = on_device(getattr(fc.grad, f"conv{case.rank}d"), dy, x, w, **case.keywords)
    for ours, expected in zip(gradients, exact, strict=True):
        assert error_of(ours, expected) < 1e-6


@pytest.mark.parametrize("size", [(5, 4), (16, 15)])
def test_an_image_does_not_change_its_neighbours(size, on_device):
    """One of the batch holds what a split does not carry; the others' bits stay as they are without it."""
    case = ConvCase(x=(4, 24, *size), w=(16, 24, 3, 3), padding=1)
    x, w, _ = case.arrays(np.float32)
    before = on_device(fc.conv2d, x, w, **case.keywords)
    dx = on_device(fc.grad.conv2d, before, x, w, needs=(True, False, False), **case.keywords)[0]
    x[2, 0, 0, 0] = np.inf
    after = on_device(fc.conv2d, x, w, **case.keywords)
    others = [0, 1, 3]
    assert_same_bits(after[others], before[others])
    assert np.isinf(after[2]).any()
    upstream = before.copy()
    upstream[1, 3, 2, 2] = np.nan
    dx_after = on_device(fc.grad.conv2d, upstream, x, w, needs=(True, False, False), **case.keywords)[0]
    assert_same_bits(dx_after[[0, 2, 3]], dx[[0, 2, 3]])
    assert np.isnan(dx_after[1]).any()


def test_the_largest_numbers_survive_and_overflow_is_infinite(on_device):
    x = np.full((1, 32, 4, 4), 0, np.float32)
    x[0, 3], x[0, 5] = 3e38, -3.4028235e38
    w = np.zeros((16, 32, 1, 1), np.float32)
    w[0, 3], w[1, 5], w[2, 3], w[3, 5], w[4, 3] = 1, 1, 2, 1.5, 0.25
    y = on_device(fc.conv2d, x, w)[0, :, 0, 0]
    expected = np.array([3e38, -3.4028235e38, np.inf, -np.inf, 0.75e38], np.float32)
    np.testing.assert_array_equal(y[:5], expected)
    np.testing.assert_array_equal(y[5:], 0)
