"""The CUDA back end's convolutions, plain and transposed, and their gradients, against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import DTYPES, assert_agrees, assert_same_bits
from cases import (
    ACTIVATIONS,
    CONV_CASES,
    CONV_TRANSPOSE_CASES,
    SPECIAL_CONV_CASES,
    ConvCase,
    ConvTransposeCase,
)
from test_conv import exact_result, name_of
from test_conv_grad import exact_gradients, magnitude_of

import fastconv as fc

CASES = [*CONV_CASES, *CONV_TRANSPOSE_CASES]
SOME = [*CASES[::6], *SPECIAL_CONV_CASES[::3], *(c for c in CASES if c.note == "blocks")]
CASES_AND_DTYPES = [(case, DTYPES[0]) for case in CASES]
CASES_AND_DTYPES += [(case, dtype) for dtype in DTYPES[1:] for case in dict.fromkeys(SOME)]

# Channels enough for the tensor cores' widest tiles.
LAST = "channels_last"
WIDE = [
    ConvCase(x=(2, 64, 9, 8), w=(72, 64, 3, 3), padding=1),
    ConvCase(x=(2, 128, 7, 6), w=(64, 128, 3, 2), stride=2, padding=2, data_format=LAST),
    ConvCase(x=(1, 64, 11, 9), w=(40, 64, 3, 3), stride=(1, 3), dilation=(3, 2), padding="same"),
    ConvCase(x=(2, 128, 6, 7), w=(128, 64, 3, 3), groups=2, padding=1, data_format=LAST),
    ConvCase(x=(2, 144, 6, 7), w=(128, 72, 3, 3), groups=2, padding=1),
    ConvCase(x=(1, 72, 9, 8), w=(64, 72, 3, 3), padding=1, data_format=LAST),
    ConvCase(x=(3, 64, 5, 5), w=(130, 64, 1, 1), activation="relu"),
    ConvCase(x=(2, 64, 9, 9), w=(64, 64, 1, 1), stride=2, data_format=LAST),
    ConvCase(x=(1, 64, 40), w=(64, 64, 5), stride=3, dilation=4, padding="causal"),
    ConvCase(x=(3, 56, 37), w=(64, 56, 4), padding=3, padding_mode="circular", data_format=LAST),
    ConvCase(x=(1, 64, 4, 5, 6), w=(64, 64, 2, 3, 3), stride=(1, 2, 1), padding=1),
    ConvCase(x=(2, 64, 3, 4, 5), w=(48, 64, 3, 2, 3), padding=1, dilation=(1, 2, 1), data_format=LAST),
    ConvCase(x=(2, 64, 6, 7), w=(64, 64, 3, 3), padding=2, padding_mode="reflect"),
    ConvCase(x=(1, 64, 6, 7), w=(64, 64, 3, 3), padding=1, stride=2, padding_mode="replicate"),
    ConvCase(note="stride beyond a map", x=(1, 64, 19, 20), w=(64, 64, 2, 2), stride=9),
    ConvCase(note="window beyond a map", x=(1, 64, 3, 300), w=(64, 64, 1, 3), dilation=(1, 140)),
    ConvTransposeCase(x=(2, 64, 5, 4), w=(64, 72, 3, 3), stride=2, padding=1, output_padding=1),
    ConvTransposeCase(x=(1, 128, 4, 5), w=(128, 64, 4, 3), groups=2, data_format=LAST, stride=(1, 2)),
    ConvTransposeCase(x=(2, 64, 13), w=(64, 64, 4), stride=3, dilation=2),
]


def check_agreement(case, dtype, on_device, **keywords):
    keywords |= case.keywords
    x, w, b = case.arrays(dtype)
    assert_agrees(
        on_device(getattr(fc, name_of(case)), x, w, b, **keywords), exact_result(case, dtype), dtype
    )
    y, dy, *exact = exact_gradients(case, dtype)
    gradients = on_device(getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, **keywords)
    for actual, expected in zip(gradients, exact, strict=True):
        assert_agrees(actual, expected, dtype, magnitude=magnitude_of(expected, case, dtype))


@pytest.mark.parametrize(
    ("case", "dtype"), CASES_AND_DTYPES, ids=[f"{c.id}-{dtype}" for c, dtype in CASES_AND_DTYPES]
)
def test_agrees_with_the_reference(case, dtype, on_device):
    check_agreement(case, dtype, on_device)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", WIDE, ids=lambda case: case.id)
def test_many_channels(case, dtype, on_device):
    check_agreement(case, dtype, on_device)


# Of results, relative to the largest: what products of parts leave out.
@pytest.mark.parametrize(("precision", "error"), [("high", 2e-5), ("medium", 1e-2)])
@pytest.mark.parametrize("case", WIDE[::4], ids=lambda case: case.id)
def test_lower_precisions(case, precision, error, on_device):
    x, w, b = case.arrays(np.float32)
    y, dy, *exact = exact_gradients(case, np.dtype(np.float32))
    with fc.precision(precision):
        result = on_device(getattr(fc, name_of(case)), x, w, b, **case.keywords)
        gradients = on_device(getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, **case.keywords)
    results = [exact_result(case, np.dtype(np.float32)), *exact]
    for actual, expected in zip([result, *gradients], results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=error * np.abs(expected).max())


@pytest.mark.parametrize("channels", [64, 56])
@pytest.mark.parametrize("data_format", ["channels_first", LAST])
def test_an_infinity_stays_where_it_belongs(data_format, channels, on_device):
    """Zeros that stand for padding and for what is beyond an image, a group or the channels meet none."""
    case = ConvCase(
        x=(2, 2 * channels, 5, 6), w=(80, channels, 3, 3), groups=2, padding=1, data_format=data_format
    )
    dtype = np.dtype(np.float16)
    x, w, _ = case.arrays(dtype)
    _, dy, *_ = exact_gradients(case, dtype)

    first = data_format == "channels_first"
    planes = x if first else np.moveaxis(x, -1, 1)

    def call():
        y = on_device(fc.conv2d, x, w, **case.keywords)
        _, dw, *_ = on_device(fc.grad.conv2d, dy, x, w, **case.keywords)
        return y if first else np.moveaxis(y, -1, 1), dw

    expected = call()
    planes[1, channels + 6, 4, 5] = np.inf  # the last pixel, in the second group
    reached = [np.zeros(each.shape, bool) for each in expected]
    reached[0][1, 40:, 3:, 4:] = True
    reached[1][40:, 6, 1:, 1:] = True
    for actual, without, infinite in zip(call(), expected, reached, strict=True):
        np.testing.assert_array_equal(np.isfinite(actual), ~infinite)
        assert_same_bits(actual[~infinite], without[~infinite])


@pytest.mark.parametrize("case", CASES[::6], ids=lambda case: case.id)
def test_every_call_gives_the_same_bits(case, on_device):
    """The executor changes the order in which threads take their turns from launch to launch."""
    x, w, b = case.arrays(np.float32)
    y, dy, *_ = exact_gradients(case, np.dtype(np.float32))

    def call():
        gradients = on_device(getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, **case.keywords)
        return on_device(getattr(fc, name_of(case)), x, w, b, **case.keywords), *gradients

    for first, second in zip(call(), call(), strict=True):
        assert_same_bits(first, second)


@pytest.mark.parametrize("algorithm", ["implicit_gemm", "direct"])
@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: case.id)
def test_every_route(case, algorithm, on_device):
    dtype = np.dtype(np.float32)
    keywords = {**case.keywords, "algorithm": algorithm}
    x, w, b = case.arrays(dtype)
    y = on_device(getattr(fc, name_of(case)), x, w, b, **keywords)
    assert_agrees(y, exact_result(case, dtype), dtype)
    y, dy, *exact = exact_gradients(case, dtype)
    gradients = on_device(getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, **keywords)
    for actual, expected in zip(gradients, exact, strict=True):
        assert_agrees(actual, expected, dtype, magnitude=magnitude_of(expected, case, dtype))


def test_an_unknown_route_is_an_error(on_device):
    x, w = np.ones((1, 1, 5), np.float32), np.ones((1, 1, 3), np.float32)
    with pytest.raises(ValueError, match="algorithm is 'fft', but the CUDA back end has 'auto'"):
        on_device(fc.conv1d, x, w, algorithm="fft")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_activations(activation, dtype, on_device):
    case = ConvCase(x=(2, 5, 9, 8), w=(6, 5, 3, 3), activation=activation, padding=1)
    x, w, b = case.arrays(dtype)
    assert_agrees(on_device(fc.conv2d, x, w, b, **case.keywords), exact_result(case, dtype), dtype)
    y, dy, *exact = exact_gradients(case, dtype)
    given = {"b": b} if activation in ("gelu", "silu") else {"y": y}
    for actual, expected in zip(
        on_device(fc.grad.conv2d, dy, x, w, **given, **case.keywords), exact, strict=True
    ):
        assert_agrees(actual, expected, dtype, magnitude=magnitude_of(expected, case, dtype))


@pytest.mark.parametrize("filters", [9, 72])
def test_an_image_is_the_same_in_every_batch(filters, on_device):
    """The reduction falls into the same parts."""
    case = ConvCase(x=(3, 600, 6, 5), w=(filters, 600, 3, 3), padding=1)
    x, w, b = case.arrays(np.float32)
    together = on_device(fc.conv2d, x, w, b, **case.keywords)
    alone = [on_device(fc.conv2d, x[i : i + 1], w, b, **case.keywords) for i in range(len(x))]
    assert_same_bits(together, np.concatenate(alone))


@pytest.mark.parametrize("slices", [np.s_[:, :, ::2, ::-1], np.s_[::-1, :, 1:, 2:], np.s_[:, ::2, ::-1, :]])
def test_strided_arrays(slices, on_device):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 12, 10)).astype(np.float32)[slices]
    w = rng.standard_normal((5, x.shape[1], 3, 3)).astype(np.float32)[::-1]
    np.testing.assert_allclose(on_device(fc.conv2d, x, w), fc.conv2d(x, w), rtol=1e-5, atol=1e-5)
