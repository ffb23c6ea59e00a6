"""fastconv.signal against NumPy, SciPy and scikit-image, values worked out by hand, and algebra."""

import doctest
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from fastconv import signal
from fastconv.signal import convolution, filters

MODES = ("full", "same", "valid")
BOUNDARIES = (("fill", 0), ("fill", 2.5), ("fill", -1e3), ("wrap", 0), ("symm", 0))
TWO_BYTES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
DTYPES = (np.dtype(np.float32), np.dtype(np.float64), *TWO_BYTES)
EDGE_FILTERS = {  # the weights across the difference
    signal.sobel: (0.25, 0.5, 0.25),
    signal.scharr: (3 / 16, 10 / 16, 3 / 16),
    signal.prewitt: (1 / 3, 1 / 3, 1 / 3),
}


def random(shape: tuple[int, ...] | int, dtype: Any = np.float64, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng([seed, *np.atleast_1d(shape)]).standard_normal(shape).astype(dtype)


def assert_close(got: NDArray[Any], want: Any, magnitude: float, dtype: Any = None) -> None:
    """Compare within rounding, where `magnitude` bounds the sum of the absolute values that a result adds up.

    Sums are kept in float32 at least, and the two-byte types round them once.
    """
    want = np.asarray(want)
    dtype = np.dtype(dtype or want.dtype)
    assert isinstance(got, np.ndarray)
    assert (got.dtype, got.shape) == (dtype, want.shape)
    assert got.flags.c_contiguous
    want = want.astype(np.float64)
    bound = 8 * np.finfo(np.float64 if dtype == np.float64 else np.float32).eps * magnitude
    storage = 0.5 * float(ml_dtypes.finfo(dtype).eps) * np.abs(want) if dtype in TWO_BYTES else 0.0
    assert np.all(np.abs(got.astype(np.float64) - want) <= bound + storage)


def magnitude(a: NDArray[Any], v: NDArray[Any], fillvalue: float = 0) -> float:
    a, v = np.abs(a.astype(np.float64)), np.abs(v.astype(np.float64))
    return float(max(a.max(), abs(fillvalue)) * v.sum())


# ---- convolve and correlate -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", (1, 2, 3, 4, 7, 20, 64))
@pytest.mark.parametrize("n", (1, 2, 3, 8, 21, 500))
def test_1d_is_numpys(n: int, k: int, mode: Any) -> None:
    a, v = random(n, seed=1), random(k, seed=2)
    if mode != "same" or n >= k:  # NumPy's "same" has the shape of the larger input
        assert_close(signal.convolve(a, v, mode), np.convolve(a, v, mode), magnitude(a, v))
        assert_close(signal.correlate(a, v, mode), np.correlate(a, v, mode), magnitude(a, v))


SHAPES = (
    ((1,), (1,)),
    ((9,), (4,)),
    ((4,), (9,)),
    ((6,), (6,)),
    ((5, 7), (3, 3)),
    ((5, 7), (2, 4)),
    ((2, 4), (5, 7)),
    ((5, 3), (2, 9)),
    ((1, 6), (6, 1)),
    ((4, 5, 6), (2, 3, 4)),
    ((2, 3, 2), (4, 5, 6)),
    ((4, 1, 6), (2, 3, 2)),
    ((4, 5, 3, 6), (2, 3, 2, 3)),
    ((2, 3, 1, 3), (4, 5, 3, 6)),
    ((5, 4, 4, 4), (8, 1, 2, 1)),
    ((3, 6, 6, 6), (9, 1, 2, 1)),
    ((1, 2, 9, 3), (3, 2, 2, 2)),
    ((2, 3, 2, 3, 4), (2, 2, 1, 2, 3)),
)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "filter_shape"), SHAPES)
def test_any_rank_is_scipys(shape: Any, filter_shape: Any, mode: str, dtype: Any) -> None:
    a, v = random(shape, dtype, seed=1), random(filter_shape, dtype, seed=2)
    differences = np.subtract(shape, filter_shape)
    for ours, theirs in (
        (signal.convolve, scipy.signal.convolve),
        (signal.correlate, scipy.signal.correlate),
    ):
        if mode == "valid" and differences.min() < 0 < differences.max():
            with pytest.raises(ValueError, match="at least as large"):
                ours(a, v, mode)
        else:
            assert_close(ours(a, v, mode), theirs(a, v, mode, method="direct"), magnitude(a, v))


@pytest.mark.parametrize("dtype", TWO_BYTES, ids=str)
@pytest.mark.parametrize(
    ("shape", "filter_shape"), (((300,), (40,)), ((9, 8), (3, 4)), ((3, 4, 5, 6), (2,) * 4))
)
def test_two_byte_types(shape: Any, filter_shape: Any, dtype: Any) -> None:
    a, v = random(shape, dtype, seed=1), random(filter_shape, dtype, seed=2)
    want = scipy.signal.convolve(a.astype(np.float64), v.astype(np.float64), method="direct")
    assert_close(signal.convolve(a, v), want, magnitude(a, v), dtype)


def test_values_by_hand() -> None:
    a, v = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 1.0])
    np.testing.assert_array_equal(signal.convolve(a, v), [10, 21, 32, 43, 4])
    np.testing.assert_array_equal(signal.convolve(a, v, "same"), [10, 21, 32, 43])
    np.testing.assert_array_equal(signal.convolve(v, a, "same"), [21, 32])
    np.testing.assert_array_equal(signal.convolve(v, a, "valid"), [21, 32, 43])
    np.testing.assert_array_equal(signal.correlate(a, v), [1, 12, 23, 34, 40])
    np.testing.assert_array_equal(signal.correlate(a, v, "same"), [1, 12, 23, 34])
    np.testing.assert_array_equal(signal.correlate(a, v, "valid"), [12, 23, 34])
    np.testing.assert_array_equal(signal.correlate(v, a, "valid"), [34, 23, 12])
    image, kernel = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 10.0], [100.0, 1000.0]])
    np.testing.assert_array_equal(
        signal.convolve(image, kernel), [[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]
    )
    np.testing.assert_array_equal(signal.correlate(image, kernel, "valid"), [[4321]])


def test_a_long_signal() -> None:
    a, v = random(200_000, np.float32, seed=1), random(501, np.float32, seed=2)
    want = scipy.signal.convolve(a.astype(np.float64), v.astype(np.float64), "same")
    assert_close(signal.convolve(a, v, "same"), want, magnitude(a, v), np.float32)


# ---- convolve2d and correlate2d ---------------------------------------------------------------------------


@pytest.mark.parametrize(("boundary", "fillvalue"), BOUNDARIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "kernel_shape"),
    (
        ((1, 1), (1, 1)),
        ((6, 5), (3, 3)),
        ((6, 5), (2, 4)),
        ((4, 4), (4, 4)),
        ((3, 2), (8, 11)),
        ((1, 3), (2, 9)),
        ((9, 1), (2, 5)),
        ((7, 30), (9, 2)),
        ((40, 51), (7, 4)),
        ((30, 30), (1, 9)),
        ((30, 30), (8, 1)),
    ),
)
def test_2d_is_scipys(shape: Any, kernel_shape: Any, mode: str, boundary: str, fillvalue: float) -> None:
    differences = np.subtract(shape, kernel_shape)
    if mode == "valid" and differences.min() < 0 < differences.max():
        with pytest.raises(ValueError, match="at least as large"):
            signal.convolve2d(random(shape), random(kernel_shape), mode, boundary)
        return
    for dtype in DTYPES[:2]:
        image, kernel = random(shape, dtype, seed=1), random(kernel_shape, dtype, seed=2)
        limit = magnitude(image, kernel, fillvalue)
        if mode == "valid":
            limit = max(limit, magnitude(kernel, image))
        arguments = (image, kernel, mode, boundary, fillvalue)
        assert_close(signal.convolve2d(*arguments), scipy.signal.convolve2d(*arguments), limit)
        assert_close(signal.correlate2d(*arguments), scipy.signal.correlate2d(*arguments), limit)


@pytest.mark.parametrize("dtype", TWO_BYTES, ids=str)
@pytest.mark.parametrize(("boundary", "fillvalue"), BOUNDARIES)
def test_2d_of_two_byte_types(boundary: str, fillvalue: float, dtype: Any) -> None:
    image, kernel = random((12, 11), dtype, seed=1), random((5, 4), dtype, seed=2)
    wide = image.astype(np.float64), kernel.astype(np.float64), "same", boundary, float(dtype.type(fillvalue))
    got = signal.correlate2d(image, kernel, "same", boundary, fillvalue)
    assert_close(got, scipy.signal.correlate2d(*wide), magnitude(image, kernel, fillvalue), dtype)


def test_2d_values_by_hand() -> None:
    image, kernel = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 10.0, 100.0]])
    for boundary, fillvalue, want in (
        ("fill", 0, [[12, 123, 230]]),
        ("fill", 5, [[512, 123, 235]]),
        ("wrap", 0, [[312, 123, 231]]),
        ("symm", 0, [[112, 123, 233]]),
    ):
        np.testing.assert_array_equal(signal.convolve2d(image, kernel, "same", boundary, fillvalue), want)
        flipped = kernel[:, ::-1]
        np.testing.assert_array_equal(signal.correlate2d(image, flipped, "same", boundary, fillvalue), want)


def test_special_fill_values_stay_at_the_border() -> None:
    for fillvalue in (np.nan, np.inf):
        y = signal.convolve2d(np.ones((6, 7)), np.ones((3, 3)), "same", "fill", fillvalue)
        np.testing.assert_array_equal(y[1:-1, 1:-1], 9)
        y[1:-1, 1:-1] = fillvalue
        np.testing.assert_array_equal(y, fillvalue)


# ---- image filters ----------------------------------------------------------------------------------------

IMAGE_SHAPES = ((1,), (9,), (1, 1), (1, 7), (12, 13), (5, 6, 7), (3, 4, 2, 5))


def edges_by_definition(image: NDArray[Any], axis: int, across: tuple[float, ...]) -> NDArray[Any]:
    y = image
    for i in range(image.ndim):
        y = scipy.ndimage.correlate1d(y, (-1.0, 0.0, 1.0) if i == axis else across, axis=i)
    return y


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", IMAGE_SHAPES)
@pytest.mark.parametrize("edge_filter", EDGE_FILTERS)
def test_edge_filters_are_their_definition(edge_filter: Any, shape: Any, dtype: Any) -> None:
    image = random(shape, dtype)
    wide = image.astype(np.float64)
    each = [edges_by_definition(wide, axis, EDGE_FILTERS[edge_filter]) for axis in range(image.ndim)]
    limit = 2 * float(np.abs(wide).max())
    for axis, want in enumerate(each):
        assert_close(edge_filter(image, axis), want, limit, dtype)
        assert_close(edge_filter(image, axis=axis - image.ndim), want, limit, dtype)
        assert_close(edge_filter(image, axis=(axis,)), want, limit, dtype)
    if image.ndim > 1:
        rms = np.sqrt(np.mean(np.square(each), axis=0))
        assert_close(edge_filter(image), rms, limit, dtype)
        assert_close(edge_filter(image, axis=range(image.ndim)), rms, limit, dtype)
        two = np.sqrt((each[0] ** 2 + each[-1] ** 2) / image.ndim)
        assert_close(edge_filter(image, axis=(0, -1)), two, limit, dtype)
    else:
        assert_close(edge_filter(image), each[0], limit, dtype)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("shape", IMAGE_SHAPES)
@pytest.mark.parametrize("name", ("sobel", "scharr", "prewitt"))
def test_edge_filters_are_scikit_images(name: str, shape: Any, dtype: Any) -> None:
    theirs = getattr(pytest.importorskip("skimage.filters", reason="scikit-image is not installed"), name)
    ours, image = getattr(signal, name), random(shape, dtype)
    axes: list[Any] = [None, *range(len(shape)), *([(0, len(shape) - 1)] if len(shape) > 1 else [])]
    for axis in axes:
        assert_close(ours(image, axis), theirs(image, axis=axis), 2 * float(np.abs(image).max()))


def test_edge_values_by_hand() -> None:
    image = np.zeros((3, 4))
    image[1, 1] = 48.0
    for edge_filter, (corner, side) in (
        (signal.sobel, (12, 24)),
        (signal.scharr, (9, 30)),
        (signal.prewitt, (16, 16)),
    ):
        down = [[corner, side, corner, 0], [0, 0, 0, 0], [-corner, -side, -corner, 0]]
        right = [[corner, 0, -corner, 0], [side, 0, -side, 0], [corner, 0, -corner, 0]]
        np.testing.assert_allclose(edge_filter(image, axis=0), down, atol=1e-13)
        np.testing.assert_allclose(edge_filter(image, axis=1), right, atol=1e-13)
        rms = np.sqrt((np.square(down) + np.square(right)) / 2)
        np.testing.assert_allclose(edge_filter(image), rms, atol=1e-13)
    np.testing.assert_array_equal(signal.laplace(image)[1], [48, -192, 48, 0])
    np.testing.assert_array_equal(signal.laplace(np.array([1.0, 2.0, 4.0])), [1, 1, -2])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_flat_images_have_no_edges_at_all(dtype: Any) -> None:
    image = np.full((33, 40), 0.1, dtype)
    for edge_filter in (*EDGE_FILTERS, signal.laplace):
        np.testing.assert_array_equal(edge_filter(image), np.zeros_like(image))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", IMAGE_SHAPES)
def test_laplace_is_scipys(shape: Any, dtype: Any) -> None:
    image = random(shape, dtype)
    want = scipy.ndimage.laplace(image.astype(np.float64))
    assert_close(signal.laplace(image), want, 4 * len(shape) * float(np.abs(image).max()), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sigma", (0, 0.1, 0.65, 1, 2.3, 15.0))
@pytest.mark.parametrize("shape", (*IMAGE_SHAPES, (200,), (64, 70)))
def test_gaussian_is_scipys(shape: Any, sigma: float, dtype: Any) -> None:
    image = random(shape, dtype)
    want = scipy.ndimage.gaussian_filter(image.astype(np.float64), sigma)
    got = signal.gaussian(image, sigma)
    assert_close(got, want, float(np.abs(image).max()), dtype)
    assert not np.shares_memory(got, image)


def test_gaussian_with_a_sigma_for_each_axis() -> None:
    image = random((20, 31, 3))
    want = scipy.ndimage.gaussian_filter(image, (1.5, 4.0, 0.0))
    assert_close(signal.gaussian(image, (1.5, 4.0, 0.0)), want, float(np.abs(image).max()))
    assert_close(signal.gaussian(image, np.array([0, 0, 0])), image, 0)


# ---- arguments --------------------------------------------------------------------------------------------


def test_any_memory_layout() -> None:
    whole = random((30, 42))
    whole.flags.writeable = False
    before = whole.copy()
    kernel = random((6, 5))
    for image in (whole.T, whole[::-1, ::-2], whole[3:20:3, 1:], np.asfortranarray(whole)):
        for strided in (kernel[::-1], kernel[::2, 1::2], kernel.T):
            want = scipy.signal.convolve2d(image, strided)
            assert_close(signal.convolve(image, strided), want, magnitude(image, strided))
            want = scipy.signal.correlate2d(image, strided, "same", "symm")
            assert_close(signal.correlate2d(image, strided, "same", "symm"), want, magnitude(image, strided))
        assert_close(signal.gaussian(image, 2), scipy.ndimage.gaussian_filter(image, 2), np.abs(image).max())
        assert_close(signal.gaussian(image, 0), image, 0)
    np.testing.assert_array_equal(whole, before)


def test_lists_and_dlpack() -> None:
    np.testing.assert_array_equal(signal.convolve([1.0, 2.0], [1.0, -1.0]), [1, 1, -2])
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    got = signal.convolve(torch.tensor([1.0, 2.0]), torch.tensor([1.0, -1.0]))
    assert_close(got, [1, 1, -2], 3, np.float32)
    with pytest.raises(TypeError, match="a can't be read as a NumPy array"):
        signal.convolve(torch.ones(2, requires_grad=True), torch.ones(2))


ONE, TWO, SQUARE = np.ones(3), np.ones((2, 3)), np.ones((2, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    (
        (lambda: signal.convolve(np.arange(3), ONE), TypeError, r"a has dtype int64.*astype\(np\.float32\)"),
        (
            lambda: signal.correlate(ONE, [True]),
            TypeError,
            r"correlate: v has dtype bool.*float16 or bfloat16",
        ),
        (lambda: signal.convolve(ONE, ONE * 1j), TypeError, "v has dtype complex128"),
        (lambda: signal.convolve(ONE, ONE * 1j), TypeError, "complex numbers are not supported"),
        (
            lambda: signal.convolve([[1.0, 2.0], [3.0]], ONE),
            TypeError,
            "convolve: a can't be read.*inhomogen",
        ),
        (lambda: signal.convolve(ONE, np.ma.array(ONE)), TypeError, r"convolve: v is a masked.*v\.filled\("),
        (lambda: signal.convolve(ONE, ONE.astype("f4")), TypeError, "a has dtype float64, but v has float32"),
        (lambda: signal.convolve(ONE, 2.0), ValueError, "v is a scalar"),
        (lambda: signal.convolve(ONE, ONE[:0]), ValueError, r"v is empty, of shape \(0,\)"),
        (lambda: signal.correlate(TWO[:, :0], TWO), ValueError, r"a is empty, of shape \(2, 0\)"),
        (
            lambda: signal.convolve(ONE, TWO),
            ValueError,
            r"a has shape \(3,\) and v \(2, 3\), expected equally",
        ),
        (lambda: signal.convolve(ONE, ONE, "most"), ValueError, "mode is 'most', expected one of 'full', 's"),
        (lambda: signal.correlate(TWO, TWO.T, "valid"), ValueError, r"at least.*\(2, 3\) and \(3, 2\)"),
        (lambda: signal.convolve2d(ONE, ONE), ValueError, r"in1 has shape \(3,\).*expected 2 axes"),
        (lambda: signal.correlate2d(TWO, TWO, "some"), ValueError, "correlate2d: mode is 'some'"),
        (
            lambda: signal.convolve2d(TWO, TWO, boundary="pad"),
            ValueError,
            "boundary is 'pad'.*'wrap', 'symm'",
        ),
        (lambda: signal.convolve2d(TWO, TWO, fillvalue=1j), TypeError, "fillvalue is 1j, expected a real"),
        (lambda: signal.sobel(TWO.astype(np.uint8)), TypeError, "sobel: image has dtype uint8"),
        (lambda: signal.laplace(np.float32(1)), ValueError, "laplace: image is a scalar"),
        (lambda: signal.prewitt(TWO, axis=2), ValueError, "axis is 2, expected.*from -2 to 1"),
        (lambda: signal.scharr(TWO, axis=-3), ValueError, "axis is -3"),
        (lambda: signal.sobel(TWO, axis=(1, -1)), ValueError, r"axis is \(1, -1\), expected different axes"),
        (lambda: signal.sobel(TWO, axis=()), ValueError, r"axis is \(\)"),
        (
            lambda: signal.convolve2d(TWO, TWO, fillvalue=10**400),
            ValueError,
            "convolve2d: fillvalue is larger",
        ),
        (lambda: signal.sobel(TWO, axis=0.5), TypeError, "sobel: axis is 0.5, expected None, an int or"),
        (lambda: signal.sobel(TWO, axis=np.array(1.0)), TypeError, r"sobel: axis is array\(1\.\)"),
        (lambda: signal.sobel(TWO, axis=True), TypeError, "sobel: axis is True"),
        (lambda: signal.sobel(TWO, axis=((0, 1), 1)), TypeError, r"sobel: axis is \(\(0, 1\), 1\)"),
        (lambda: signal.sobel(np.ma.array(TWO)), TypeError, "sobel: image is a masked array"),
        (lambda: signal.gaussian(TWO, "1"), TypeError, "gaussian: sigma is '1', expected one finite"),
        (lambda: signal.gaussian(TWO, True), TypeError, "gaussian: sigma is True"),
        (lambda: signal.gaussian(TWO, ((1, 2), 3)), TypeError, r"gaussian: sigma is \(\(1, 2\), 3\)"),
        (lambda: signal.gaussian(TWO, (1, np.nan)), ValueError, r"gaussian: sigma is \(1, nan\)"),
        (lambda: signal.gaussian(TWO, 1e300), MemoryError, "gaussian: could not get.*1e"),
        (lambda: signal.gaussian(TWO, -1), ValueError, "sigma is -1"),
        (lambda: signal.gaussian(TWO, np.nan), ValueError, "sigma is nan"),
        (
            lambda: signal.gaussian(TWO, (1, 2, 3)),
            ValueError,
            r"sigma is \(1, 2, 3\).*or 2: one for each axis",
        ),
    ),
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_axes_of_any_kind_of_integer() -> None:
    image = random((4, 5))
    for axis in (1, np.int64(1), np.array(1), np.array([1]), [np.array(1)], -1):
        np.testing.assert_array_equal(signal.sobel(image, axis=axis), signal.sobel(image, axis=1))


@pytest.mark.parametrize("module", (convolution, filters))
def test_examples(module: Any) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


# ---- algebra: integer values, so that float64 sums are exact ----------------------------------------------

RANKS = st.integers(1, 4)


def operands(data: st.DataObject, count: int) -> list[NDArray[Any]]:
    rank = data.draw(RANKS)
    shapes = array_shapes(min_dims=rank, max_dims=rank, max_side=12 if rank == 1 else 6 - rank)
    return [
        data.draw(arrays(np.float64, shapes, elements=st.integers(-9, 9).map(float))) for _ in range(count)
    ]


def assert_equal(got: NDArray[Any], want: NDArray[Any]) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-8)


@settings(deadline=None)
@given(st.data())
def test_convolution_is_commutative(data: st.DataObject) -> None:
    a, v = operands(data, 2)
    assert_equal(signal.convolve(a, v), signal.convolve(v, a))


@settings(deadline=None)
@given(st.data())
def test_convolution_is_associative(data: st.DataObject) -> None:
    a, b, c = operands(data, 3)
    left = signal.convolve(signal.convolve(a, b), c)
    assert_equal(left, signal.convolve(a, signal.convolve(b, c)))


@settings(deadline=None)
@given(st.data())
def test_convolution_is_distributive(data: st.DataObject) -> None:
    a, b = operands(data, 2)
    c = data.draw(arrays(np.float64, b.shape, elements=st.integers(-9, 9).map(float)))
    assert_equal(signal.convolve(a, b + 3 * c), signal.convolve(a, b) + 3 * signal.convolve(a, c))


@settings(deadline=None)
@given(st.data())
def test_a_unit_impulse_shifts(data: st.DataObject) -> None:
    (a,) = operands(data, 1)
    shift = [data.draw(st.integers(0, 3)) for _ in range(a.ndim)]
    impulse = np.zeros([s + 1 for s in shift])
    impulse[tuple(shift)] = 1.0
    shifted = signal.convolve(a, impulse)
    assert_equal(shifted, np.pad(a, [(s, 0) for s in shift]))
    assert_equal(signal.convolve(a, np.ones([1] * a.ndim)), a)


@settings(deadline=None)
@given(st.data(), st.sampled_from(MODES))
def test_correlation_is_convolution_with_the_reverse(data: st.DataObject, mode: str) -> None:
    a, v = operands(data, 2)
    if mode != "valid" or not np.min(np.subtract(a.shape, v.shape)) < 0 < np.max(
        np.subtract(a.shape, v.shape)
    ):
        assert_equal(signal.correlate(a, v, mode), signal.convolve(a, np.flip(v), mode))
    assert_equal(signal.correlate(v, a), np.flip(signal.correlate(a, v)))


@settings(deadline=None)
@given(st.data())
def test_total_of_a_convolution_is_the_product_of_totals(data: st.DataObject) -> None:
    a, v = operands(data, 2)
    assert_equal(signal.convolve(a, v).sum(), a.sum() * v.sum())
