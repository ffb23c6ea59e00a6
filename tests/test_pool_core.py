"""The compiled pools against windows written out one by one: every table, both layouts, any strides."""

import ctypes
import itertools
import mmap

import ml_dtypes
import numpy as np
import pytest

import fastconv as fc
from fastconv import _core

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13, np.float16: 2e-3, ml_dtypes.bfloat16: 2e-2}
FORMATS = ["channels_first", "channels_last"]
# spatial size, kernel, stride, padding, dilation, ceil_mode
CASES = [
    ((9,), 3, 2, 1, 1, False),
    ((4100,), 4, 4, 0, 1, False),
    ((70,), 40, 1, ((39, 7),), 1, False),
    ((23,), 3, 2, "causal", 3, False),
    ((6,), 2, 1, 2, 3, False),
    ((3,), 2, 2, 2, 3, False),
    ((16, 18), 2, 2, 0, 1, False),
    ((13, 13), 3, 2, 0, 1, True),
    ((14, 11), (3, 5), (1, 3), ((1, 2), (0, 4)), 1, True),
    ((12, 37), 3, (2, 1), "same", (1, 2), False),
    ((9, 8), (9, 8), None, 0, 1, False),
    ((7, 40), (2, 33), 5, "full", 1, False),
    ((5, 6, 7), 2, None, 0, 1, False),
    ((6, 5, 9), 3, 2, 1, 1, True),
    ((4, 5, 18), 2, 2, 0, 1, False),
    ((2, 3000), (2, 3), (1, 2), (0, 1), 1, False),
]
IDS = [f"{size}-k{k}-s{s}-p{p}-d{d}{'-ceil' if c else ''}" for size, k, s, p, d, c in CASES]


@pytest.fixture(params=_core.available_isas(), autouse=True)
def isa(request):
    before = _core.isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)


def per_axis(value, rank):
    return tuple(value) if isinstance(value, tuple) else (value,) * rank


def axis_windows(size, kernel, stride, padding, dilation, ceil_mode):
    """Positions of each window's taps, in and outside of the input, and the padding after it."""
    reach = (kernel - 1) * dilation
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
        padding = (total // 2, total - total // 2)
    elif isinstance(padding, str):
        padding = {"full": (reach, reach), "causal": (reach, 0)}[padding]
    before, after = padding if isinstance(padding, tuple) else (padding, padding)
    room = size + before + after - reach - 1
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    starts = [o * stride - before for o in range(count) if o * stride - before < size]
    return [range(s, s + reach + 1, dilation) for s in starts], after


def windows_of(case):
    size, kernel, stride, padding, dilation, ceil_mode = case
    rank = len(size)
    kernel = per_axis(kernel, rank)
    stride = kernel if stride is None else per_axis(stride, rank)
    axes = zip(size, kernel, stride, per_axis(padding, rank), per_axis(dilation, rank), strict=True)
    return [axis_windows(*axis, ceil_mode) for axis in axes]


def each_window(case):
    """Yield output position, flat positions under the window, and the number of taps in the padded input."""
    size = case[0]
    axes = windows_of(case)
    for at in itertools.product(*(range(len(windows)) for windows, _ in axes)):
        taps = [windows[o] for (windows, _), o in zip(axes, at, strict=True)]
        inside = [[t for t in ts if 0 <= t < n] for ts, n in zip(taps, size, strict=True)]
        counted = [sum(t < n + after for t in ts) for ts, n, (_, after) in zip(taps, size, axes, strict=True)]
        positions = [int(np.ravel_multi_index(p, size)) for p in itertools.product(*inside)]
        yield at, positions, int(np.prod(counted))


def output_size(case):
    return tuple(len(windows) for windows, _ in windows_of(case))


def arguments(case):
    _, kernel, stride, padding, dilation, ceil_mode = case
    return kernel, stride, padding, dilation, ceil_mode


def sample(shape, dtype, seed=0, special=False):
    rng = np.random.default_rng(seed)
    x = np.round(rng.standard_normal(shape) * 2) if special else rng.standard_normal(shape)
    if special:
        x[rng.random(shape) < 0.3] = -np.inf
        x[rng.random(shape) < 0.05] = np.nan
    return x.astype(dtype)


def laid_out(planes, data_format):
    """(N, C, *spatial) in the layout, with strides that are nobody's favourite."""
    x = np.moveaxis(planes, 1, -1) if data_format == "channels_last" else planes
    room = np.zeros(tuple(n + 3 for n in x.shape), x.dtype)
    view = room[tuple(slice(n + 1, 1, -1) for n in x.shape)]
    view[...] = x
    return view


def planes_of(x, data_format):
    return np.moveaxis(x, -1, 1) if data_format == "channels_last" else x


def assert_close(got, expected, dtype, factor=1):
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape
    tolerance = TOLERANCE[dtype] * factor
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_max_pool_and_gradient(case, data_format, dtype):
    size = case[0]
    x = sample((2, 19, *size), dtype, special=True)
    flat = x.reshape(2, 19, -1).astype(np.float64)
    expected = np.full((2, 19, *output_size(case)), -np.inf)
    where = np.full(expected.shape, -1)
    for at, positions, _ in each_window(case):
        if positions:
            under = flat[..., positions]
            winner = under.argmax(-1)  # the first NaN, else the first maximum
            expected[(..., *at)] = np.take_along_axis(under, winner[..., None], -1)[..., 0]
            where[(..., *at)] = np.array(positions)[winner]
    rank, given = len(size), laid_out(x, data_format)
    y, indices = _core.max_pool(rank, given, *arguments(case), True, data_format, None)
    assert y.dtype == x.dtype and indices.dtype == np.int64
    assert y.flags.c_contiguous and indices.flags.c_contiguous
    np.testing.assert_array_equal(planes_of(y, data_format).astype(np.float64), expected)
    np.testing.assert_array_equal(planes_of(indices, data_format), where)
    alone = _core.max_pool(rank, given, *arguments(case), False, data_format, None)
    np.testing.assert_array_equal(alone.astype(np.float64), y.astype(np.float64))

    dy = sample(expected.shape, dtype, seed=1)
    if (where < 0).any():
        with pytest.raises(ValueError, match="indices"):
            _core.max_pool_grad(rank, laid_out(dy, data_format), indices, given.shape, data_format)
        return
    dx = np.zeros(flat.shape)
    n, c = np.ogrid[:2, :19]
    np.add.at(dx, (n[..., None], c[..., None], where.reshape(2, 19, -1)), dy.reshape(2, 19, -1))
    got = _core.max_pool_grad(rank, laid_out(dy, data_format), indices, given.shape, data_format)
    assert_close(planes_of(got, data_format), dx.reshape(x.shape), dtype, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("count_include_pad, divisor", [(True, None), (False, None), (True, -3)])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_avg_pool_and_gradient(case, count_include_pad, divisor, data_format, dtype):
    size = case[0]
    x = sample((2, 3, *size), dtype)
    flat = x.reshape(2, 3, -1).astype(np.float64)
    expected = np.zeros((2, 3, *output_size(case)))
    dy = sample(expected.shape, dtype, seed=1)
    dx = np.zeros(flat.shape)
    for at, positions, counted in each_window(case):
        share = divisor or (counted if count_include_pad else len(positions)) or 1
        expected[(..., *at)] = flat[..., positions].sum(-1) / share
        dx[..., positions] += dy[(..., *at)].astype(np.float64)[..., None] / share
    extra = (count_include_pad, divisor, data_format)
    given = laid_out(x, data_format)
    y = _core.avg_pool(len(size), given, *arguments(case), *extra, None)
    assert_close(planes_of(y, data_format), expected, dtype)
    upstream = laid_out(dy, data_format)
    got = _core.avg_pool_grad(len(size), upstream, given.shape, *arguments(case), *extra)
    assert_close(planes_of(got, data_format), dx.reshape(x.shape), dtype, 8)


@pytest.mark.parametrize("p", [1, 2, 3, 2.5])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("case", [c for c in CASES if c[4] == 1], ids=lambda c: str(c[:4]))
def test_lp_pool_and_gradient(case, data_format, p):
    size = case[0]
    x = sample((2, 3, *size), np.float64)
    x[..., :2] = 0
    flat = x.reshape(2, 3, -1)
    expected = np.zeros((2, 3, *output_size(case)))
    dy = sample(expected.shape, np.float64, seed=1)
    dx = np.zeros(flat.shape)
    for at, positions, _ in each_window(case):
        under = flat[..., positions]
        norm = (np.abs(under) ** p).sum(-1) ** (1 / p)
        expected[(..., *at)] = norm
        safe = np.where(norm == 0, 1, norm)[..., None]
        dx[..., positions] += dy[(..., *at)][..., None] * np.sign(under) * (np.abs(under) / safe) ** (p - 1)
    kernel, stride, padding, _, ceil_mode = arguments(case)
    given = laid_out(x, data_format)
    y = _core.lp_pool(len(size), given, p, kernel, stride, padding, ceil_mode, data_format)
    assert_close(planes_of(y, data_format), expected, np.float64, 10)
    upstream = laid_out(dy, data_format)
    got = _core.lp_pool_grad(
        len(size), upstream, given, y, p, kernel, stride, padding, ceil_mode, data_format
    )
    assert_close(planes_of(got, data_format), dx.reshape(x.shape), np.float64, 1000)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    "size, output", [((13, 50), (6, 7)), ((14, 8), (7, None)), ((3, 5), (7, 1)), ((9,), 4)]
)
def test_adaptive_pools(size, output, data_format, dtype):
    rank = len(size)
    x = sample((2, 5, *size), dtype)
    given = laid_out(x, data_format)
    counts = [n if o is None else o for n, o in zip(size, per_axis(output, rank), strict=True)]
    largest, mean = np.zeros((2, 5, *counts)), np.zeros((2, 5, *counts))
    dy = sample(largest.shape, dtype, seed=1)
    dx = np.zeros(x.shape)
    for at in np.ndindex(*counts):
        cell = (
            ...,
            *(slice(i * n // o, -(-(i + 1) * n // o)) for i, n, o in zip(at, size, counts, strict=True)),
        )
        under = x[cell].astype(np.float64).reshape(2, 5, -1)
        largest[(..., *at)], mean[(..., *at)] = under.max(-1), under.mean(-1)
        dx[cell] += (dy[(..., *at)].astype(np.float64) / under.shape[-1]).reshape(2, 5, *[1] * rank)
    y, indices = _core.adaptive_max_pool(rank, given, output, True, data_format)
    np.testing.assert_array_equal(planes_of(y, data_format).astype(np.float64), largest)
    at_maximum = np.take_along_axis(
        x.reshape(2, 5, -1), planes_of(indices, data_format).reshape(2, 5, -1), -1
    )
    np.testing.assert_array_equal(at_maximum.astype(np.float64), largest.reshape(2, 5, -1))
    assert_close(
        planes_of(_core.adaptive_avg_pool(rank, given, output, data_format), data_format), mean, dtype
    )
    got = _core.adaptive_avg_pool_grad(rank, laid_out(dy, data_format), given.shape, data_format)
    assert_close(planes_of(got, data_format), dx, dtype, 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("size", [(7, 7), (300,), (2, 3, 2, 5)], ids=str)
def test_global_and_channel_pools(size, data_format, dtype):
    x = sample((3, 10, *size), dtype)
    wide, given = x.astype(np.float64), laid_out(x, data_format)
    space = tuple(range(2, x.ndim))
    assert_close(_core.global_max_pool(given, False, data_format), wide.max(space), dtype)
    mean = _core.global_avg_pool(given, True, data_format)
    assert_close(planes_of(mean, data_format), wide.mean(space, keepdims=True), dtype)
    dy = sample((3, 10), dtype, seed=1)
    first = (np.arange(np.prod(size)) == x.reshape(3, 10, -1).argmax(-1)[..., None]).reshape(x.shape)
    column = dy.astype(np.float64).reshape(3, 10, *[1] * len(size))
    got = _core.global_max_pool_grad(dy, given, False, data_format)
    assert_close(planes_of(got, data_format), np.where(first, column, 0), dtype)
    got = _core.global_avg_pool_grad(dy, given.shape, False, data_format)
    assert_close(planes_of(got, data_format), np.broadcast_to(column / np.prod(size), x.shape), dtype)

    windows = [slice(i, i + 4) for i in (0, 3, 6)]
    largest = np.stack([wide[:, w].max(1) for w in windows], 1)
    mean = np.stack([wide[:, w].mean(1) for w in windows], 1)
    assert_close(planes_of(_core.channel_max_pool(given, 4, 3, data_format), data_format), largest, dtype)
    assert_close(planes_of(_core.channel_avg_pool(given, 4, 3, data_format), data_format), mean, dtype)
    dy = sample(largest.shape, dtype, seed=2)
    dmax, davg = np.zeros(x.shape), np.zeros(x.shape)
    for i, w in enumerate(windows):
        term = dy[:, i : i + 1].astype(np.float64)
        winner = wide[:, w].argmax(1, keepdims=True)
        dmax[:, w] += np.where(np.arange(4).reshape(1, 4, *[1] * len(size)) == winner, term, 0)
        davg[:, w] += term / 4
    upstream = laid_out(dy, data_format)
    got = _core.channel_max_pool_grad(upstream, given, 4, 3, data_format)
    assert_close(planes_of(got, data_format), dmax, dtype, 4)
    got = _core.channel_avg_pool_grad(upstream, given.shape, 4, 3, data_format)
    assert_close(planes_of(got, data_format), davg, dtype, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", FORMATS)
def test_max_unpool_and_gradient(data_format, dtype):
    x = sample((2, 5, 8, 10), dtype)
    given = laid_out(x, data_format)
    y, indices = _core.max_pool(2, given, 2, 2, 0, 1, False, True, data_format, None)
    back = planes_of(_core.max_unpool(2, y, indices, 2, None, 0, None, data_format), data_format)
    flat_indices = planes_of(indices, data_format).reshape(2, 5, -1)
    expected = np.zeros((2, 5, 80), dtype)
    np.put_along_axis(expected, flat_indices, planes_of(y, data_format).reshape(2, 5, -1), -1)
    np.testing.assert_array_equal(back.astype(np.float64), expected.reshape(x.shape).astype(np.float64))
    larger = _core.max_unpool(2, y, indices, 2, None, 0, (9, 11), data_format)
    assert planes_of(larger, data_format).shape == (2, 5, 9, 11)
    dy = sample(x.shape, dtype, seed=1)
    got = _core.max_unpool_grad(2, laid_out(dy, data_format), indices, y.shape, data_format)
    taken = np.take_along_axis(dy.reshape(2, 5, -1), flat_indices, -1)
    np.testing.assert_array_equal(
        planes_of(got, data_format).reshape(2, 5, -1).astype(np.float64), taken.astype(np.float64)
    )


@pytest.fixture
def threads_restored():
    before = _core.get_num_threads()
    yield
    _core.set_num_threads(before)


@pytest.mark.usefixtures("threads_restored")
def test_threads_batches_and_places_change_no_bit():
    x = sample((5, 48, 30, 31), np.float32)
    dy = sample((5, 48, 15, 16), np.float32, seed=1)
    for data_format in FORMATS:
        given, upstream = laid_out(x, data_format), laid_out(dy, data_format)
        results = []
        for threads in (1, 2, 5):
            _core.set_num_threads(threads)
            y, indices = _core.max_pool(2, given, 3, 2, 1, 1, False, True, data_format, None)
            mean = _core.avg_pool(2, given, 3, 2, 1, 1, False, False, None, data_format, None)
            dmax = _core.max_pool_grad(2, upstream, indices, given.shape, data_format)
            davg = _core.avg_pool_grad(2, upstream, given.shape, 3, 2, 1, 1, False, False, None, data_format)
            rows = _core.max_pool(2, given, 3, 2, 1, 1, False, False, data_format, None)
            pairs = _core.max_pool(2, given, 2, 2, 0, 1, False, False, data_format, None)
            np.testing.assert_array_equal(rows, y)
            results.append((y, indices, mean, dmax, davg, rows, pairs))
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b)
        one = _core.avg_pool(2, given[3], 3, 2, 1, 1, False, False, None, data_format, None)
        np.testing.assert_array_equal(one, results[0][2][3])


# kernel, stride and padding along both axes
ROW_WINDOWS = [
    (2, 2, 0),
    (4, 4, 0),
    (3, 3, 0),
    (2, 2, 1),
    (3, 2, 0),
    (3, 2, 1),
    (3, 1, 1),
    (2, 1, 0),
    (5, 4, 2),
    (1, 2, 0),
    (5, 2, 2),
]
ROW_WIDTHS = [5, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130]


def padded_windows(x, window, fill):
    """(N, C, rows, columns, taps) of square windows, `fill` around the planes."""
    kernel, stride, padding = window
    wide = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)], constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(wide, (kernel, kernel), axis=(2, 3))
    views = views[:, :, ::stride, ::stride]
    return views.reshape(*views.shape[:4], -1)


@pytest.mark.usefixtures("threads_restored")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("window", ROW_WINDOWS, ids=str)
def test_rows_of_every_width(window, dtype):
    """Widths around whole vectors, NaN and -Inf, planes that follow each other, on one and two threads."""
    for width in ROW_WIDTHS:
        x = sample((2, 3, 9, width), dtype, seed=width, special=True)
        expected = padded_windows(x, window, -np.inf).max(axis=-1)
        z = sample((2, 3, 9, width), dtype, seed=width)
        taps = padded_windows(z.astype(np.float64), window, 0.0)
        for threads in (1, 2):
            _core.set_num_threads(threads)
            y = _core.max_pool(2, x, *window, 1, False, False, "channels_first", None)
            np.testing.assert_array_equal(y, expected)
            mean = _core.avg_pool(2, z, *window, 1, False, True, None, "channels_first", None)
            assert_close(mean, taps.mean(axis=-1), dtype)
            norm = _core.lp_pool(2, z, 2, *window, False, "channels_first")
            assert_close(norm, np.sqrt((taps**2).sum(axis=-1)), dtype, factor=4)


@pytest.mark.usefixtures("threads_restored")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("window", ROW_WINDOWS, ids=str)
def test_gradient_rows_of_every_width(window, dtype):
    """Each window's share of dy, added where its taps lie."""
    kernel, stride, padding = window
    for width in ROW_WIDTHS:
        shape = (2, 3, 9, width)
        rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in shape[2:])
        dy = sample((2, 3, rows, columns), dtype, seed=width)
        wide = np.zeros((2, 3, 9 + 2 * padding, width + 2 * padding))
        for a, b in itertools.product(range(kernel), repeat=2):
            wide[:, :, a : a + rows * stride : stride, b : b + columns * stride : stride][
                :, :, :rows, :columns
            ] += dy.astype(np.float64)
        expected = wide[:, :, padding : padding + 9, padding : padding + width] / kernel**2
        for threads in (1, 2):
            _core.set_num_threads(threads)
            dx = _core.avg_pool_grad(2, dy, shape, *window, 1, False, True, None, "channels_first")
            assert_close(dx, expected, dtype)


def test_planes_in_any_order_of_memory():
    x = sample((3, 4, 9, 14), np.float32, special=True)
    room = np.zeros((5, 7, 20, 14), np.float32)
    for view in (x[::-1, ::-1, ::-1][::-1, ::-1, ::-1], room[1:4, 6:2:-1, 19:1:-2], room[:3, :4, 3:12]):
        view[...] = x
        for window in ROW_WINDOWS:
            y = _core.max_pool(2, view, *window, 1, False, False, "channels_first", None)
            np.testing.assert_array_equal(y, padded_windows(x, window, -np.inf).max(axis=-1))


def test_means_by_powers_of_two_are_divisions():
    x = sample((2, 3, 8, 30), np.float32)
    for kernel, divisor in ((2, None), (4, None), (3, 2), (3, 2**40), (2, 6), (2, -4)):
        y = _core.avg_pool(2, x, kernel, kernel, 0, 1, False, True, 1, "channels_first", None)
        mean = _core.avg_pool(2, x, kernel, kernel, 0, 1, False, True, divisor, "channels_first", None)
        np.testing.assert_array_equal(mean, y / np.float32(divisor or kernel**2))


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="memory has no protection here")
def test_nothing_is_read_beyond_the_input():
    """The input ends where a page without access begins: one element too far is a crash."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
    for width, window in itertools.product((5, 7, 8, 13, 14, 17), ROW_WINDOWS):
        shape = (1, 2, 6, width)
        count = 12 * width
        x = np.frombuffer(memory, np.float32, count, page - 4 * count).reshape(shape)
        x[...] = sample(shape, np.float32, seed=width)
        y = _core.max_pool(2, x, *window, 1, False, False, "channels_first", None)
        np.testing.assert_array_equal(y, padded_windows(x, window, -np.inf).max(axis=-1))
        kernel, stride, padding = window
        dy_shape = (1, 2, *((n + 2 * padding - kernel) // stride + 1 for n in shape[2:]))
        count = int(np.prod(dy_shape))
        dy = np.frombuffer(memory, np.float32, count, page - 4 * count).reshape(dy_shape)
        dy[...] = 1
        dx = _core.avg_pool_grad(2, dy, shape, *window, 1, False, True, None, "channels_first")
        assert np.isfinite(dx).all()


def test_out_is_filled_whatever_it_is():
    x = sample((2, 3, 8, 8), np.float32)
    expected = _core.avg_pool(2, x, 2, None, 0, 1, False, True, None, "channels_first", None)
    for out in (
        np.empty((2, 3, 4, 4), np.float32),
        np.empty((2, 3, 4, 8), np.float32)[..., ::2],
        x[:, :, ::2, ::2],
    ):
        got = _core.avg_pool(2, x, 2, None, 0, 1, False, True, None, "channels_first", out)
        assert got is out
        np.testing.assert_array_equal(out, expected)


def test_empty_batch_gives_empty_results():
    x = np.zeros((0, 3, 8, 8), np.float32)
    y, indices = _core.max_pool(2, x, 2, None, 0, 1, False, True, "channels_first", None)
    assert y.shape == indices.shape == (0, 3, 4, 4)
    assert _core.max_pool_grad(2, y, indices, x.shape, "channels_first").shape == x.shape
    assert (
        _core.avg_pool_grad(2, y, x.shape, 2, None, 0, 1, False, True, None, "channels_first").shape
        == x.shape
    )
    assert _core.global_avg_pool(x, True, "channels_last").shape == (0, 1, 1, 8)


X = np.zeros((1, 2, 6, 6), np.float32)
LINE = np.zeros((1, 2, 6), np.float32)


@pytest.mark.parametrize(
    "error, text, call",
    [
        (
            ValueError,
            "less than",
            lambda: _core.max_pool(2, X, 3, 1, 3, 1, False, False, "channels_first", None),
        ),
        (
            ValueError,
            "negative",
            lambda: _core.max_pool(2, X, 3, 1, -1, 1, False, False, "channels_first", None),
        ),
        (
            ValueError,
            r"\(\(1, 2\),\)",
            lambda: _core.max_pool(1, LINE, 3, 1, (1, 2), 1, False, False, "channels_first", None),
        ),
        (
            ValueError,
            "causal",
            lambda: _core.max_pool(2, X, 3, 1, "causal", 1, False, False, "channels_first", None),
        ),
        (
            ValueError,
            "does not fit",
            lambda: _core.max_pool(2, X, 7, 1, 0, 1, False, False, "channels_first", None),
        ),
        (
            ValueError,
            "kernel_size",
            lambda: _core.max_pool(2, X, 0, 1, 0, 1, False, False, "channels_first", None),
        ),
        (
            TypeError,
            "ceil_mode",
            lambda: _core.max_pool(2, X, 2, 1, 0, 1, "no", False, "channels_first", None),
        ),
        (
            ValueError,
            "shape",
            lambda: _core.max_pool(3, LINE, 2, 1, 0, 1, False, False, "channels_first", None),
        ),
        (
            ValueError,
            "divisor_override",
            lambda: _core.avg_pool(2, X, 2, 1, 0, 1, False, True, 0, "channels_first", None),
        ),
        (ValueError, "p is", lambda: _core.lp_pool(2, X, np.inf, 2, 1, 0, False, "channels_first")),
        (ValueError, "output_size", lambda: _core.adaptive_avg_pool(2, X, 0, "channels_first")),
        (
            ValueError,
            "spatial",
            lambda: _core.global_avg_pool(np.zeros((2, 3), np.float32), False, "channels_first"),
        ),
        (ValueError, "channels", lambda: _core.channel_max_pool(X, 3, None, "channels_first")),
        (
            ValueError,
            "indices",
            lambda: _core.max_pool_grad(
                1, LINE[..., :2], np.full((1, 2, 2), 6), LINE.shape, "channels_first"
            ),
        ),
        (
            ValueError,
            "indices",
            lambda: _core.max_unpool(1, LINE, np.full((1, 2, 6), -1), 2, None, 0, None, "channels_first"),
        ),
        (
            ValueError,
            "indices",
            lambda: _core.max_unpool_grad(1, LINE, np.full((1, 2, 3), 2**62), (1, 2, 3), "channels_first"),
        ),
        (
            TypeError,
            "int64",
            lambda: _core.max_unpool(
                1, LINE, np.zeros((1, 2, 6), np.int32), 2, None, 0, None, "channels_first"
            ),
        ),
        (
            ValueError,
            "dy has shape",
            lambda: _core.avg_pool_grad(
                1, LINE, (1, 2, 6), 2, None, 0, 1, False, True, None, "channels_first"
            ),
        ),
        (
            ValueError,
            "too large",
            lambda: _core.max_pool(2, X, 2**40, 1, 0, 2**40, False, False, "channels_first", None),
        ),
    ],
)
def test_bad_arguments(error, text, call):
    with pytest.raises(error, match=text):
        call()


def test_windows_too_tall_for_lists_of_their_rows(isa):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1, 2, 1300, 4))
    windows = np.lib.stride_tricks.sliding_window_view(x, (900, 2), axis=(2, 3))
    y = fc.avg_pool2d(x, (900, 2), stride=1)
    np.testing.assert_array_equal(fc.max_pool2d(x, (900, 2), stride=1), windows.max((-1, -2)))
    np.testing.assert_allclose(y, windows.mean((-1, -2)), rtol=0, atol=1e-14)
    dy = rng.standard_normal(y.shape)
    sums = np.zeros_like(x)
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            sums[:, :, i : i + 900, j : j + 2] += dy[:, :, i : i + 1, j : j + 1] / 1800
    dx = fc.grad.avg_pool2d(dy, x.shape, (900, 2), stride=1)
    np.testing.assert_allclose(dx, sums, rtol=0, atol=1e-14)
