"""Winograd's route, asked for by name: wherever it serves, and what it must leave to others."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from agreement import BFLOAT16, DTYPES, STORAGE_ERROR, assert_same_bits, exact_inputs
from cases import FORMATS, ConvCase, ConvTransposeCase
from test_determinism import name_of
from test_precision import error_of

import fastconv as fc
from fastconv import reference

TILES = {
    2: "highest",
    4: "high",
}  # most outputs of a tile along each axis, and the precision that allows them
ERRORS = {2: 1e-6, 4: 1e-5}

SHAPES: list[dict[str, Any]] = [
    {"x": (2, 16, 13, 12), "w": (24, 16, 3, 3), "padding": 1},
    {"x": (1, 16, 3, 3), "w": (16, 16, 3, 3), "padding": 1, "note": "less than a tile"},
    {"x": (5, 33, 7, 7), "w": (35, 33, 3, 3), "padding": 1, "note": "tiles of several images"},
    {"x": (1, 17, 5, 301), "w": (17, 17, 3, 3), "padding": ((2, 0), (1, 3)), "note": "rows of many tiles"},
    {"x": (1, 17, 301, 5), "w": (17, 17, 3, 3), "note": "columns of many tiles"},
    {"x": (2, 40, 11, 10), "w": (34, 20, 3, 3), "padding": 2, "groups": 2, "activation": "relu"},
    {"x": (1, 150, 9, 10), "w": (140, 150, 3, 3), "padding": 1, "note": "several chunks and blocks"},
    {"x": (1, 16, 12, 13), "w": (16, 16, 3, 3), "padding": "same", "bias": False},
    {"x": (1, 16, 12, 13), "w": (16, 16, 3, 3), "padding": 1, "batched": False},
    {"x": (1, 8, 5, 9, 8), "w": (10, 8, 3, 3, 3), "padding": 1},
    {
        "x": (1, 8, 9, 6, 7),
        "w": (10, 8, 2, 3, 3),
        "padding": (2, 1, 0),
        "stride": (2, 1, 1),
        "dilation": (3, 1, 1),
    },
    {"x": (2, 9, 12, 11), "w": (10, 9, 5, 5), "padding": 2, "note": "pieces with taps that are none"},
    {"x": (3, 20, 17, 16), "w": (34, 10, 4, 7), "padding": ((0, 3), (5, 1)), "groups": 2},
    {"x": (1, 2, 41, 14), "w": (5, 2, 9, 9), "padding": "same", "activation": "relu"},
    {"x": (2, 3, 8, 12, 13), "w": (4, 3, 3, 5, 6), "padding": (1, 2, 3), "note": "pieces of outer taps"},
    {"x": (1, 2, 40, 39), "w": (3, 2, 31, 31), "padding": 15, "note": "121 pieces"},
]
STRIDED = [
    ConvCase(**shape, data_format=data_format)
    for shape in (
        {"x": (2, 3, 31, 39), "w": (20, 3, 11, 11), "stride": 4, "padding": 2},
        {"x": (2, 16, 15, 12), "w": (9, 16, 3, 4), "stride": (2, 1), "padding": 1, "note": "phases"},
        {"x": (1, 5, 20, 23), "w": (9, 5, 6, 5), "stride": (1, 7), "padding": 2, "note": "more than taps"},
    )
    for data_format in FORMATS
]
CASES = [ConvCase(**shape, data_format=data_format) for shape in SHAPES for data_format in FORMATS]
TRANSPOSED = [
    ConvTransposeCase(x=(2, 24, 10, 11), w=(24, 16, size, size), padding=1, data_format=data_format)
    for size in (3, 5)
    for data_format in FORMATS
]
MODES = [
    ConvCase(x=(1, 16, 9, 8), w=(16, 16, size, size), padding=2, padding_mode=mode, data_format=data_format)
    for size in (3, 5)
    for mode in ("reflect", "replicate", "circular")
    for data_format in FORMATS
]


def forced(case: ConvCase, tile: int) -> dict[str, Any]:
    return {**case.keywords, "algorithm": "winograd", "precision": TILES[tile]}


def explained(
    operation: str, case: ConvCase, x: np.ndarray, w: np.ndarray, keywords: dict[str, Any]
) -> fc.Explanation:
    keywords = {name: value for name, value in keywords.items() if name != "activation"}
    return fc.explain(operation, x.shape, w.shape, dtype=x.dtype, **keywords)


def exact_result(case: ConvCase, dtype: Any) -> np.ndarray:
    return getattr(reference, name_of(case))(*exact_inputs(*case.arrays(dtype)), **case.keywords)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("case", [*CASES, *STRIDED, *TRANSPOSED, *MODES], ids=lambda case: case.id)
def test_results(case, tile, isa):
    x, w, b = case.arrays(np.float32)
    function, keywords = getattr(fc, name_of(case)), forced(case, tile)
    plan = explained(name_of(case), case, x, w, keywords)
    assert plan.algorithm == "winograd"
    assert plan.blocking["tile_outputs"] <= tile
    with fc.threads(1):
        y = function(x, w, b, **keywords)
    assert error_of(y, exact_result(case, np.float32)) < ERRORS[tile]
    with fc.threads(2):
        assert_same_bits(function(x, w, b, **keywords), y)


@functools.cache
def exact_gradients(case: ConvCase) -> tuple[np.ndarray, ...]:
    x, w, b = case.arrays(np.float32)
    y = getattr(reference, name_of(case))(x, w, b, **case.keywords)
    dy = case.upstream(y, np.float32)
    exact = getattr(reference.grad, name_of(case))(
        *exact_inputs(dy, x, w), y=y.astype(np.float64), **case.keywords
    )
    return y, dy, *exact


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("case", [*CASES, *TRANSPOSED], ids=lambda case: case.id)
def test_gradients(case, tile, isa):
    x, w, _ = case.arrays(np.float32)
    y, dy, exact_x, exact_w, _ = exact_gradients(case)
    gradient = functools.partial(getattr(fc.grad, name_of(case)), dy, x, w, y=y, **forced(case, tile))
    with fc.threads(1):
        dx = gradient(needs=(True, False, False))[0]
    assert error_of(dx, exact_x) < ERRORS[tile]
    with fc.threads(2):
        assert_same_bits(gradient(needs=(True, False, False))[0], dx)
    try:
        with fc.threads(1):
            dw = gradient(needs=(False, True, False))[1]
    except ValueError as error:
        assert tile == 2
        assert "from 256 tiles of 2x2 to sum up over on" in str(error)
        return
    assert error_of(dw, exact_w) < ERRORS[tile]
    with fc.threads(2):
        assert_same_bits(gradient(needs=(False, True, False))[1], dw)


def test_gradients_of_weights_by_small_tiles_are_among_the_cases():
    assert sum(case.x[0] * int(np.prod(case.x[2:])) >= 4 * 256 for case in CASES) >= 4


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
@pytest.mark.parametrize("data_format", FORMATS)
def test_sixteen_bits(dtype, data_format, isa):
    case = ConvCase(x=(2, 16, 13, 12), w=(24, 16, 3, 3), padding=1, data_format=data_format)
    x, w, b = case.arrays(dtype)
    y = fc.conv2d(x, w, b, **forced(case, 4))
    assert y.dtype == dtype
    assert error_of(y, exact_result(case, dtype)) < STORAGE_ERROR[dtype.name]


@pytest.mark.parametrize("kind", ["normal", "rectified", "positive"])
@pytest.mark.parametrize(
    ("channels", "size"), [(16, 3), (24, 3), (64, 3), (320, 3), (9, 4), (6, 5), (24, 5), (2, 9)]
)
def test_highest_is_as_good_as_numpys_product(channels, size, kind, isa):
    """Where the sums are short, NumPy's errors are smallest and the maps' weigh most."""
    rng = np.random.default_rng(channels)

    def draw(*shape: int) -> np.ndarray:
        a = rng.standard_normal(shape, np.float32)
        return {"normal": a, "rectified": np.maximum(a, 0), "positive": np.abs(a)}[kind]

    x, w, dy = (
        draw(1, channels, 33, 32),
        rng.standard_normal((16, channels, size, size), np.float32),
        draw(1, 16, 33, 32),
    )
    keywords = {"padding": "same"}
    numpys = reference.im2col_conv_grad(dy, x, w, input_form="im2col", **keywords)
    exact = reference.im2col_conv_grad(*exact_inputs(dy, x, w), input_form="im2col", **keywords)
    actual = fc.grad.conv2d(dy, x, w, algorithm="winograd", **keywords)
    y = fc.conv2d(x, w, algorithm="winograd", **keywords)
    exact_y = reference.im2col_conv(*exact_inputs(x, w), **keywords)
    assert error_of(y, exact_y) <= 1.5 * error_of(reference.im2col_conv(x, w, **keywords), exact_y)
    for name, ours, theirs, true in zip(("dx", "dw"), actual, numpys, exact, strict=False):
        assert error_of(ours, true) <= 1.5 * error_of(theirs, true), name


# ---------------------------------------------------------------- values that the maps would spoil


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 1e25])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("precision", ["highest", "high"])
def test_an_image_beyond_the_maps_range_takes_another_route(value, data_format, precision, isa):
    case = ConvCase(x=(3, 16, 9, 10), w=(16, 16, 3, 3), padding=1, data_format=data_format)
    x, w, b = case.arrays(np.float32)
    call = functools.partial(fc.conv2d, precision=precision, **case.keywords)
    before = call(x, w, b, algorithm="winograd")
    x[1, 4, 5, 6] = value
    y = call(x, w, b, algorithm="winograd")
    assert_same_bits(y[::2], before[::2])
    assert_same_bits(y[1], call(x, w, b, algorithm="implicit_gemm")[1])
    assert_same_bits(y[1:2], call(x[1:2], w, b, algorithm="winograd"))


@pytest.mark.parametrize("scale", [1e-35, 1e30])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_arrays_beyond_the_maps_range_take_another_route(scale, which, isa):
    rng = np.random.default_rng(5)
    arrays = [
        rng.standard_normal(shape, np.float32) for shape in [(1, 16, 33, 33), (1, 16, 33, 33), (16, 16, 3, 3)]
    ]
    arrays[which] *= np.float32(scale)
    dy, x, w = arrays
    for function in (
        lambda route: fc.conv2d(x, w, padding=1, algorithm=route),
        lambda route: fc.grad.conv2d(dy, x, w, padding=1, algorithm=route, needs=(True, False, False))[0],
        lambda route: fc.grad.conv2d(dy, x, w, padding=1, algorithm=route, needs=(False, True, False))[1],
    ):
        with np.errstate(over="ignore"):
            expected, actual = function("implicit_gemm"), function("winograd")
        largest = np.abs(expected).max()
        if np.isfinite(largest):
            np.testing.assert_allclose(actual, expected, atol=1e-5 * largest)
        else:
            assert_same_bits(actual, expected)


def test_images_of_zeros_and_strided_views(isa):
    case = ConvCase(x=(2, 16, 9, 10), w=(16, 16, 3, 3), padding=1)
    x, w, b = case.arrays(np.float32)
    x[0] = 0
    expected = fc.conv2d(x, w, b, padding=1, algorithm="winograd")
    assert_same_bits(expected[0], np.broadcast_to(b[:, None, None], expected[0].shape).copy())
    wide = np.zeros((2, 16, 18, 20), np.float32)
    wide[:, :, ::2, ::-2] = x
    assert_same_bits(fc.conv2d(wide[:, :, ::2, ::-2], w, b, padding=1, algorithm="winograd"), expected)
    wide[0, 3, 4, -5] = np.nan  # seen through strides too
    view = wide[:, :, ::2, ::-2]
    assert_same_bits(
        fc.conv2d(view, w, b, padding=1, algorithm="winograd")[0],
        fc.conv2d(view, w, b, padding=1, algorithm="implicit_gemm")[0],
    )


# ---------------------------------------------------------------- choice and errors


@pytest.mark.usefixtures("without_tiles")
def test_it_is_chosen_where_it_costs_less():
    def route(*shapes: tuple[int, ...], operation: str = "conv2d", **keywords: Any) -> str:
        return fc.explain(operation, *shapes, padding=1, **keywords).algorithm

    assert route((1, 64, 56, 56), (64, 64, 3, 3)) == "winograd"
    assert route((64, 64, 56, 56), (64, 64, 3, 3)) == "winograd"
    assert route((8, 256, 14, 14), (256, 256, 3, 3), operation="grad.conv2d") == "winograd"
    assert (
        route((1, 256, 14, 14), (256, 256, 3, 3), operation="grad.conv2d")
        == "winograd (dx), implicit_gemm (dw)"
    )
    assert route((1, 8, 56, 56), (8, 8, 3, 3)) == "implicit_gemm"
    assert route((1, 64, 56, 56), (64, 64, 3, 3), dtype="float64") == "implicit_gemm"
    assert route((1, 64, 56, 56), (64, 64, 3, 3), stride=2) == "implicit_gemm"
    assert route((1, 64, 56, 56), (64, 1, 3, 3), groups=64) == "direct"
    assert route((1, 64, 48, 48), (32, 64, 9, 9)) == "winograd"
    assert route((1, 96, 27, 27), (256, 96, 5, 5)) == "winograd"
    assert route((1, 64, 28, 28), (64, 64, 4, 4)) == "implicit_gemm"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (ConvCase(x=(1, 16, 9, 9), w=(16, 16, 3, 3), dilation=2), "kernels of 3x3 and more without dilation"),
        (ConvCase(x=(1, 16, 9, 9), w=(16, 16, 5, 2)), "kernels of 3x3 and more without dilation"),
        (ConvCase(x=(1, 16, 9), w=(16, 16, 3)), "kernels of 3x3 and more without dilation"),
        (ConvCase(x=(1, 1, 40, 40), w=(1, 1, 34, 34)), "kernels that fall into up to 128 pieces of 3x3"),
        (ConvCase(x=(1, 15, 9, 9), w=(16, 15, 3, 3)), "from 144 terms to sum up over on"),
        (ConvCase(x=(1, 5, 9, 9), w=(16, 5, 5, 5)), "from 144 terms to sum up over on"),
    ],
    ids=lambda value: value.id if isinstance(value, ConvCase) else "",
)
def test_errors(case, message):
    x, w, b = case.arrays(np.float32)
    with pytest.raises(ValueError, match="algorithm='winograd' can't serve this call: .*" + message):
        getattr(fc, name_of(case))(x, w, b, algorithm="winograd", **case.keywords)


def test_errors_of_types_and_gradients():
    x, w, _ = CASES[0].arrays(DTYPES[1])
    with pytest.raises(ValueError, match="winograd serves float32, float16 and bfloat16 only"):
        fc.conv2d(x, w, algorithm="winograd")
    x, w = x.astype(np.float32), w.astype(np.float32)
    dy = fc.conv2d(x, w, padding=1, padding_mode="reflect")
    with pytest.raises(ValueError, match="input gradients with padding_mode='zeros' only"):
        fc.grad.conv2d(dy, x, w, padding=1, padding_mode="reflect", algorithm="winograd")
    small = x[:, :, :2, :]
    with pytest.raises(ValueError, match="input gradients of the kernel's size and more only"):
        fc.grad.conv2d(fc.conv2d(small, w, padding=1), small, w, padding=1, algorithm="winograd")
    with pytest.raises(ValueError, match="input gradients at stride 1 along the two inner axes only"):
        fc.grad.conv2d(fc.conv2d(x, w, stride=2), x, w, stride=2, algorithm="winograd")
    with pytest.raises(ValueError, match="from 256 tiles of 2x2 to sum up over on"):
        fc.grad.conv2d(fc.conv2d(x, w), x, w, algorithm="winograd")
