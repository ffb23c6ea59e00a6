"""The route through tiles of bfloat16, asked for by name: wherever it serves, and what it leaves to others.

It needs the instruction set `amx`; where the machine has none, `test_emulated_isas.py` runs this module.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from agreement import BFLOAT16, DTYPES, STORAGE_ERROR, Guarded, assert_agrees, assert_same_bits, exact_inputs
from cases import CONV_CASES, CONV_TRANSPOSE_CASES, FORMATS, ConvCase, generator
from test_conv import CASES_AND_DTYPES, exact_result
from test_conv_grad import exact_gradients, magnitude_of
from test_determinism import name_of
from test_precision import LAYERS, SPECIAL_LAYERS, assert_ieee, away_from_zero, error_of, layer_of

import fastconv as fc
from fastconv import _core, reference

if "amx" not in _core.available_isas():
    pytest.skip(
        "this machine has no AMX tiles: test_emulated_isas.py runs this module", allow_module_level=True
    )

pytestmark = pytest.mark.parametrize("isa", ["amx"], indirect=True)

TILES: dict[str, Any] = {"algorithm": "tile_gemm"}
IMAGES_ONLY = (True, False, False)

# Beyond the lists of all tests: what falls into blocks of 32 channels, 16 filters and 16 positions.
SHAPES: list[dict[str, Any]] = [
    {"x": (2, 32, 9, 17), "w": (16, 32, 3, 3), "padding": 1},
    {"x": (1, 33, 8, 8), "w": (17, 33, 3, 3), "padding": 1, "note": "a channel and a filter too many"},
    {"x": (3, 70, 7, 7), "w": (40, 70, 1, 1), "stride": 2},
    {"x": (1, 64, 31), "w": (33, 64, 5), "dilation": 3, "padding": 6},
    {"x": (1, 3, 30, 31), "w": (24, 3, 7, 7), "stride": 2, "padding": 3},
    {"x": (2, 80, 6, 5), "w": (64, 40, 3, 3), "padding": 1, "groups": 2, "activation": "relu"},
    {"x": (1, 34, 4, 5, 6), "w": (18, 34, 2, 3, 2), "padding": (1, 1, 0), "stride": (1, 2, 1)},
    {"x": (1, 96, 12, 12), "w": (600, 96, 1, 1), "note": "blocks of filters"},
    {"x": (1, 1100, 5, 5), "w": (20, 1100, 1, 1), "note": "chunks"},
    {"x": (1, 40, 90), "w": (8, 40, 41), "note": "several chains of one chunk"},
    {"x": (1, 2, 1300), "w": (4, 2, 301), "padding": 150, "note": "chunks of features"},
]
CASES = [ConvCase(**shape, data_format=data_format) for shape in SHAPES for data_format in FORMATS]


def overlaps(case: ConvCase) -> bool:
    """Whether the dilation is so small that the route serves the case, forward and backward."""
    plan = functools.partial(fc.explain, dtype="float32", **TILES)
    x, w, _ = case.arrays(np.float32)
    keywords = {name: value for name, value in case.keywords.items() if name != "activation"}
    try:
        plan(name_of(case), x.shape, w.shape, **keywords)
        plan("grad." + name_of(case), x.shape, w.shape, needs=IMAGES_ONLY, **keywords)
    except ValueError as error:
        assert "dilations of up to" in str(error)
        return False
    return True


def pick(cases: list[Any]) -> list[Any]:
    """Return the cases of a type that the route serves: all in float32, some in the 16-bit types."""
    return [(c, dtype) for c, dtype in cases if dtype != np.float64]


CHOSEN = pick([*((c, np.dtype(np.float32)) for c in CASES), *CASES_AND_DTYPES])


@pytest.mark.parametrize(("case", "dtype"), CHOSEN, ids=[f"{c.id}-{dtype}" for c, dtype in CHOSEN])
def test_results_and_input_gradients(case, dtype, isa):
    if not overlaps(case):
        pytest.skip("the dilation is larger than the result")
    x, w, b = case.arrays(dtype)
    function = functools.partial(getattr(fc, name_of(case)), x, w, b, **case.keywords, **TILES)
    y, dy, exact_x, *_ = exact_gradients(case, dtype)
    gradient = functools.partial(
        getattr(fc.grad, name_of(case)), dy, x, w, b=b, y=y, needs=IMAGES_ONLY, **case.keywords, **TILES
    )
    with fc.threads(1):
        result, dx = function(), gradient()[0]
    assert_agrees(result, exact_result(case, dtype), dtype)
    assert_agrees(dx, exact_x, dtype, magnitude=magnitude_of(exact_x, case, dtype))
    with fc.threads(3):
        assert_same_bits(function(), result)
        assert_same_bits(gradient()[0], dx)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_image_has_the_same_bits_in_every_batch(case, isa):
    w, b = case.arrays(np.float32)[1:]
    images = generator(case.id).uniform(-1, 1, (3, *case.image().shape[1:])).astype(np.float32)
    function = functools.partial(getattr(fc, name_of(case)), w=w, b=b, **case.keywords, **TILES)
    y = function(images)
    for i in range(3):
        assert_same_bits(function(images[i : i + 1]), y[i : i + 1])


def errors_of(case: ConvCase, word: str) -> dict[str, float]:
    """Return the route's errors for a layer of the networks."""
    layer = layer_of(case)
    dy, x, w = layer.inputs
    keywords = {**case.keywords, **TILES, "precision": word}
    y = getattr(fc, f"conv{case.rank}d")(x, w, **keywords)
    dx = getattr(fc.grad, f"conv{case.rank}d")(dy, x, w, needs=IMAGES_ONLY, **keywords)[0]
    return {"y": error_of(y, layer.exact["y"]), "dx": error_of(dx, layer.exact["dx"])}


SERVED = [case for case in LAYERS if case.note != "WaveNet"]


@pytest.mark.parametrize("case", SERVED, ids=lambda case: case.id)
def test_highest_is_as_good_as_numpys_product(case, isa):
    allowed = layer_of(case).numpy_error
    for name, error in errors_of(case, "highest").items():
        assert error <= 1.5 * allowed[name], f"{name}: {error:.3g}, NumPy's {allowed[name]:.3g}"


@pytest.mark.parametrize("case", SERVED, ids=lambda case: case.id)
@pytest.mark.parametrize(("word", "promise"), [("high", 1e-5), ("medium", 5e-3)])
def test_high_and_medium_keep_their_promises(case, word, promise, isa):
    for name, error in errors_of(case, word).items():
        assert error <= promise, name


@pytest.mark.parametrize("case", SPECIAL_LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinities_and_nans_go_where_ieee_sends_them(case, value, isa):
    """And the other images of the batch do not notice."""
    x, w, _ = case.arrays(np.float32)
    x = np.concatenate([x, x])
    x[(0, *[n // 2 for n in x.shape[1:]])] = value
    conv, exact = getattr(fc, f"conv{case.rank}d"), getattr(reference, f"conv{case.rank}d")
    y = conv(x, w, **case.keywords, **TILES)
    assert_ieee(y, exact(*exact_inputs(x, w), **case.keywords))
    assert_same_bits(y[-1:], conv(x[-1:], w, **case.keywords, **TILES))

    x, w, _ = case.arrays(np.float32)
    w[tuple(n // 2 for n in w.shape)] = value
    if (
        not case.padding
    ):  # 0 * Inf at the border: NaN where padding is multiplied, nothing where it is skipped
        assert_ieee(conv(x, w, **case.keywords, **TILES), exact(*exact_inputs(x, w), **case.keywords))


@pytest.mark.parametrize("case", SPECIAL_LAYERS, ids=lambda case: case.id)
@pytest.mark.parametrize(
    ("x_scale", "w_scale"),
    [(1e-35, 1.0), (1.0, 1e-35), (1e36, 1e-2), (1e-2, 1e36), (1e30, 1e-32), (1e-11, 1e-11)],
)
def test_numbers_near_the_ends_of_the_range(case, x_scale, w_scale, isa):
    x, w, _ = case.arrays(np.float32)
    x, w = away_from_zero(x) * np.float32(x_scale), away_from_zero(w) * np.float32(w_scale)
    exact = getattr(reference, f"conv{case.rank}d")(*exact_inputs(x, w), **case.keywords)
    assert error_of(getattr(fc, f"conv{case.rank}d")(x, w, **case.keywords, **TILES), exact) < 1e-6


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nothing_is_written_beside_the_result(data_format, dtype, isa):
    if dtype == np.float64:
        with pytest.raises(ValueError, match="tile_gemm serves float32, float16 and bfloat16 only"):
            fc.conv2d(np.ones((1, 32, 5, 5)), np.ones((16, 32, 3, 3)), **TILES)
        return
    case = ConvCase(x=(2, 40, 9, 7), w=(35, 40, 3, 3), padding=1, data_format=data_format)
    x, w, b = case.arrays(dtype)
    exact = reference.conv2d(*exact_inputs(x, w, b), **case.keywords)
    out = Guarded(exact.shape, dtype)
    fc.conv2d(x, w, b, out=out.array, **case.keywords, **TILES)
    out.assert_intact()
    assert_agrees(out.array, exact, dtype)


def test_an_image_of_zeros_is_zero(isa):
    x, w = np.zeros((1, 32, 6, 6), np.float32), np.ones((16, 32, 3, 3), np.float32)
    assert_same_bits(fc.conv2d(x, w, **TILES), np.zeros((1, 16, 4, 4), np.float32))


def test_views_with_strides(isa):
    case = ConvCase(x=(2, 64, 18, 14), w=(32, 32, 3, 3), padding=1)
    x, w, _ = case.arrays(np.float32)
    for view in (x[:, ::2], x[:, 31::-1, ::-1], x[:, 32:, :, ::2]):
        y = fc.conv2d(view, w, padding=1, **TILES)
        assert_agrees(y, reference.conv2d(*exact_inputs(view, w), padding=1), np.float32)


def test_the_weights_gradient_is_refused(isa):
    x, w = np.ones((1, 32, 6, 6), np.float32), np.ones((16, 32, 3, 3), np.float32)
    with pytest.raises(ValueError, match="not gradients of weights"):
        fc.grad.conv2d(np.ones((1, 16, 4, 4), np.float32), x, w, **TILES)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_large_layers_choose_it(precision, kernel, isa):
    plan = fc.explain("conv2d", (1, 256, 28, 28), (256, 256, kernel, kernel), precision=precision)
    assert plan.algorithm == "tile_gemm"
    assert plan.blocking["parts"] == {"highest": 3, "high": 2, "medium": 1}[precision]


def test_storage_types_choose_their_parts(isa):
    for dtype, parts in ((np.float16, 2), (BFLOAT16, 1)):
        plan = fc.explain("conv2d", (1, 256, 28, 28), (256, 256, 3, 3), dtype=dtype)
        assert (plan.algorithm, plan.blocking["parts"]) == ("tile_gemm", parts)
        assert STORAGE_ERROR[np.dtype(dtype).name] > 0


def test_few_channels_a_group_leave_it(isa):
    plan = fc.explain("conv2d", (1, 128, 28, 28), (128, 4, 3, 3), groups=32)
    assert plan.algorithm != "tile_gemm"
    assert any("tile_gemm" in reason for reason in plan.reasons)


def test_the_callers_thread_may_go_on(isa):
    """Tiles are configured for the time of a product alone: products in several threads do not meet."""
    x, w = np.ones((2, 64, 20, 20), np.float32), np.ones((64, 64, 3, 3), np.float32)
    for threads in (1, 2):
        with fc.threads(threads):
            np.testing.assert_array_equal(fc.conv2d(x, w, **TILES), 64 * 9)


def test_the_lists_hold_what_they_should(isa):
    assert any(c in CONV_TRANSPOSE_CASES for c, _ in CHOSEN)
    assert any(c in CONV_CASES for c, _ in CHOSEN)
    assert {dtype for _, dtype in CHOSEN} == {np.dtype(np.float32), np.dtype(np.float16), BFLOAT16}
