"""Laws that hold for every convolution and pool, on problems that hypothesis makes up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv as fc
from fastconv import reference

ATOL = 1e-11


@dataclass(frozen=True)
class Problem:
    """A convolution of any rank, in float64, channels first."""

    x: np.ndarray
    w: np.ndarray
    keywords: dict[str, Any]

    @property
    def rank(self) -> int:
        return self.w.ndim - 2

    def conv(self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        return getattr(fc, f"conv{self.rank}d")(x, w, b, **self.keywords)

    def gradient(self, dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
        return getattr(fc.grad, f"conv{self.rank}d")(dy, x, w, **self.keywords)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


@st.composite
def problems(
    draw: st.DrawFn, modes: tuple[str, ...] = ("zeros", "reflect", "replicate", "circular")
) -> Problem:
    """Draw sizes first, then pads such that the mode allows them and the kernel fits."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 5))
    mode = draw(st.sampled_from(modes))
    sizes, kernel, stride, dilation, pads = [], [], [], [], []
    for _ in range(rank):
        size = draw(st.integers(1, 9))
        k, d = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        reach = d * (k - 1)
        limit = {"reflect": size - 1, "circular": size}.get(mode, reach + 2)
        before, after = (
            draw(st.integers(0, min(limit, reach + 2))),
            draw(st.integers(0, min(limit, reach + 2))),
        )
        while size + before + after < reach + 1:
            k -= 1
            reach = d * (k - 1)
        sizes.append(size)
        kernel.append(k)
        dilation.append(d)
        stride.append(draw(st.integers(1, 3)))
        pads.append((before, after))
    x = normal(draw(st.integers(1, 3)), channels, *sizes)
    w = normal(filters, channels // groups, *kernel, seed=1)
    keywords = {
        "stride": stride,
        "dilation": dilation,
        "padding": pads,
        "groups": groups,
        "padding_mode": mode,
    }
    return Problem(x, w, keywords)


@given(problems())
def test_result_and_gradients_are_the_references(problem: Problem):
    y = problem.conv(problem.x, problem.w)
    exact = getattr(reference, f"conv{problem.rank}d")(problem.x, problem.w, **problem.keywords)
    np.testing.assert_allclose(y, exact, atol=ATOL)
    dy = normal(*y.shape, seed=2)
    exact_gradients = getattr(reference.grad, f"conv{problem.rank}d")(
        dy, problem.x, problem.w, **problem.keywords
    )
    for actual, expected in zip(problem.gradient(dy, problem.x, problem.w), exact_gradients, strict=True):
        np.testing.assert_allclose(actual, expected, atol=ATOL)


@given(problems(), st.floats(-3, 3), st.floats(-3, 3))
def test_linear_in_the_input_and_in_the_filters(problem: Problem, p: float, q: float):
    x, w, other_x, other_w = (
        problem.x,
        problem.w,
        normal(*problem.x.shape, seed=3),
        normal(*problem.w.shape, seed=4),
    )
    np.testing.assert_allclose(
        problem.conv(p * x + q * other_x, w), p * problem.conv(x, w) + q * problem.conv(other_x, w), atol=ATOL
    )
    np.testing.assert_allclose(
        problem.conv(x, p * w + q * other_w), p * problem.conv(x, w) + q * problem.conv(x, other_w), atol=ATOL
    )


@given(problems())
def test_gradients_are_adjoints(problem: Problem):
    """<conv(u, w), dy> = <u, dx> and <conv(x, v), dy> = <v, dw>, for any u and v."""
    x, w = problem.x, problem.w
    dy = normal(*problem.conv(x, w).shape, seed=5)
    dx, dw, db = problem.gradient(dy, x, w)
    u, v, b = normal(*x.shape, seed=6), normal(*w.shape, seed=7), normal(len(w), seed=8)
    np.testing.assert_allclose(np.vdot(problem.conv(u, w), dy), np.vdot(u, dx), atol=1e-9)
    np.testing.assert_allclose(np.vdot(problem.conv(x, v), dy), np.vdot(v, dw), atol=1e-9)
    np.testing.assert_allclose(
        np.vdot(problem.conv(x, w, b) - problem.conv(x, w), dy), np.vdot(b, db), atol=1e-9
    )


@given(problems(modes=("zeros",)))
def test_transposed_convolution_is_the_input_gradient(problem: Problem):
    """And the input gradient of the transposed one is the convolution."""
    x, w = problem.x, problem.w
    y = problem.conv(x, w)
    dy = normal(*y.shape, seed=9)
    keywords = {name: value for name, value in problem.keywords.items() if name != "padding_mode"}
    windows = zip(
        x.shape[2:],
        y.shape[2:],
        w.shape[2:],
        *(keywords[n] for n in ("stride", "dilation", "padding")),
        strict=True,
    )
    missing = [n + sum(p) - (o - 1) * s - d * (k - 1) - 1 for n, o, k, s, d, p in windows]
    transposed = getattr(fc, f"conv_transpose{problem.rank}d")
    expected = problem.gradient(dy, x, w)[0]
    sizes = zip(missing, keywords["stride"], keywords["dilation"], strict=True)
    assert all(m < max(s, d) for m, s, d in sizes)
    dx = transposed(dy, w, output_padding=missing, **keywords)
    np.testing.assert_allclose(dx, expected, atol=ATOL)
    gradient = getattr(fc.grad, f"conv_transpose{problem.rank}d")
    back, dw, db = gradient(x, dy, w, output_padding=missing, **keywords)
    np.testing.assert_allclose(back, y, atol=ATOL)
    np.testing.assert_allclose(dw, problem.gradient(dy, x, w)[1], atol=ATOL)
    np.testing.assert_allclose(db, x.sum(axis=(0, *range(2, x.ndim))), atol=ATOL)


@given(problems())
def test_channels_last_is_a_transposition(problem: Problem):
    x, w = problem.x, problem.w
    last = {"data_format": "channels_last", **problem.keywords}
    y = problem.conv(x, w)
    y_last = getattr(fc, f"conv{problem.rank}d")(np.ascontiguousarray(np.moveaxis(x, 1, -1)), w, **last)
    np.testing.assert_allclose(np.moveaxis(y_last, -1, 1), y, atol=ATOL)
    dy = normal(*y.shape, seed=10)
    gradient = getattr(fc.grad, f"conv{problem.rank}d")
    dx, dw, db = gradient(np.moveaxis(dy, 1, -1), np.moveaxis(x, 1, -1), w, **last)
    expected = problem.gradient(dy, x, w)
    np.testing.assert_allclose(np.moveaxis(dx, -1, 1), expected[0], atol=ATOL)
    np.testing.assert_allclose(dw, expected[1], atol=ATOL)
    np.testing.assert_allclose(db, expected[2], atol=ATOL)


@given(problems())
def test_padding_is_numpys_pad(problem: Problem):
    mode = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    pads = problem.keywords["padding"]
    padded = np.pad(problem.x, [(0, 0), (0, 0), *pads], mode=mode[problem.keywords["padding_mode"]])
    keywords = {**problem.keywords, "padding": "valid", "padding_mode": "zeros"}
    expected = getattr(fc, f"conv{problem.rank}d")(padded, problem.w, **keywords)
    np.testing.assert_allclose(problem.conv(problem.x, problem.w), expected, atol=ATOL)


@given(problems())
def test_groups_are_separate_convolutions(problem: Problem):
    groups = problem.keywords["groups"]
    single = Problem(problem.x, problem.w, {**problem.keywords, "groups": 1})
    parts = zip(np.split(problem.x, groups, axis=1), np.split(problem.w, groups), strict=True)
    expected = np.concatenate([single.conv(x, w) for x, w in parts], axis=1)
    np.testing.assert_allclose(problem.conv(problem.x, problem.w), expected, atol=ATOL)


@given(problems())
def test_a_dilated_kernel_is_one_with_zeros_between(problem: Problem):
    dilation = problem.keywords["dilation"]
    kernel = [d * (k - 1) + 1 for k, d in zip(problem.w.shape[2:], dilation, strict=True)]
    spread = np.zeros((*problem.w.shape[:2], *kernel))
    spread[(..., *(slice(None, None, d) for d in dilation))] = problem.w
    plain = Problem(problem.x, spread, {**problem.keywords, "dilation": 1})
    np.testing.assert_allclose(problem.conv(problem.x, problem.w), plain.conv(problem.x, spread), atol=ATOL)


@given(problems())
def test_a_stride_picks_from_the_dense_result(problem: Problem):
    dense = Problem(problem.x, problem.w, {**problem.keywords, "stride": 1})
    steps = tuple(slice(None, None, s) for s in problem.keywords["stride"])
    expected = dense.conv(problem.x, problem.w)[(..., *steps)]
    np.testing.assert_allclose(problem.conv(problem.x, problem.w), expected, atol=ATOL)


@given(problems(modes=("circular",)), st.integers(-5, 5))
def test_circular_convolutions_commute_with_shifts(problem: Problem, shift: int):
    """With stride 1 and as many pads as the kernel reaches, which must not be more than the input has."""
    reach = [d * (k - 1) for k, d in zip(problem.w.shape[2:], problem.keywords["dilation"], strict=True)]
    sizes = [max(n, r) for n, r in zip(problem.x.shape[2:], reach, strict=True)]
    x, keywords = normal(*problem.x.shape[:2], *sizes), {**problem.keywords, "stride": 1}
    whole = Problem(x, problem.w, {**keywords, "padding": [(r, 0) for r in reach]})
    shifted = whole.conv(np.roll(x, shift, axis=2), problem.w)
    np.testing.assert_allclose(shifted, np.roll(whole.conv(x, problem.w), shift, axis=2), atol=ATOL)


@given(problems())
def test_a_filter_of_one_tap_picks_that_element(problem: Problem):
    """Filter k has a single 1: the result is the padded input, shifted by the tap."""
    x, groups = problem.x, problem.keywords["groups"]
    per_group = x.shape[1] // groups
    w = np.zeros((x.shape[1], per_group, *problem.w.shape[2:]))
    last_tap = tuple(k - 1 for k in w.shape[2:])
    w[(np.arange(len(w)), np.arange(len(w)) % per_group, *last_tap)] = 1
    mode = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    padded = np.pad(
        x, [(0, 0), (0, 0), *problem.keywords["padding"]], mode=mode[problem.keywords["padding_mode"]]
    )
    y = problem.conv(x, w)
    picks = tuple(
        slice(t * d, t * d + (o - 1) * s + 1, s)
        for t, d, o, s in zip(
            last_tap, problem.keywords["dilation"], y.shape[2:], problem.keywords["stride"], strict=True
        )
    )
    np.testing.assert_array_equal(y, padded[(..., *picks)])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_1x1_convolution_is_a_matrix_product(rank):
    x, w = normal(2, 5, *(4, 3, 6)[:rank]), normal(7, 5, *[1] * rank)
    y = getattr(fc, f"conv{rank}d")(x, w)
    np.testing.assert_allclose(y, np.moveaxis(np.tensordot(w.reshape(7, 5), x, (1, 1)), 0, 1), atol=ATOL)


def test_full_convolutions_compose():
    """Convolving with u and then with v is convolving with the (flipped) full convolution of u and v."""
    x, u, v = normal(1, 1, 9, 8), normal(1, 1, 3, 2), normal(1, 1, 2, 4)
    twice = fc.conv2d(fc.conv2d(x, u, padding="full"), v, padding="full")
    both = fc.conv2d(u, v[:, :, ::-1, ::-1], padding="full")
    np.testing.assert_allclose(fc.conv2d(x, both, padding="full"), twice, atol=ATOL)


# ---------------------------------------------------------------- pools


@st.composite
def pools(draw: st.DrawFn) -> tuple[np.ndarray, list[int], dict[str, Any]]:
    """Draw an input, a window and keywords."""
    rank = draw(st.integers(1, 3))
    sizes, kernel, stride, pads = [], [], [], []
    for _ in range(rank):
        k = draw(st.integers(1, 4))
        before, after = draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))
        sizes.append(draw(st.integers(max(1, k - before - after), 9)))
        kernel.append(k)
        stride.append(draw(st.integers(1, 4)))
        pads.append((before, after))
    x = np.round(normal(draw(st.integers(1, 2)), draw(st.integers(1, 9)), *sizes) * 3)
    return x, kernel, {"stride": stride, "padding": pads, "ceil_mode": draw(st.booleans())}


@given(pools())
def test_pools_are_the_references(problem):
    x, kernel, keywords = problem
    rank = len(kernel)
    y, indices = getattr(fc, f"max_pool{rank}d")(x, kernel, return_indices=True, **keywords)
    exact_y, exact_indices = getattr(reference, f"max_pool{rank}d")(
        x, kernel, return_indices=True, **keywords
    )
    np.testing.assert_array_equal(y, exact_y)
    np.testing.assert_array_equal(indices, exact_indices)
    for count_include_pad in (True, False):
        options = {**keywords, "count_include_pad": count_include_pad}
        mean = getattr(fc, f"avg_pool{rank}d")(x, kernel, **options)
        np.testing.assert_allclose(
            mean, getattr(reference, f"avg_pool{rank}d")(x, kernel, **options), atol=ATOL
        )


@given(pools())
def test_indices_point_at_the_maxima(problem):
    x, kernel, keywords = problem
    y, indices = getattr(fc, f"max_pool{len(kernel)}d")(x, kernel, return_indices=True, **keywords)
    planes = x.reshape(*x.shape[:2], -1)
    picked = np.take_along_axis(planes, indices.reshape(*x.shape[:2], -1), axis=-1)
    np.testing.assert_array_equal(picked.reshape(y.shape), y)


@given(pools(), st.floats(0.1, 3), st.floats(-5, 5))
def test_maxima_follow_increasing_maps(problem, scale: float, offset: float):
    x, kernel, keywords = problem
    pool = getattr(fc, f"max_pool{len(kernel)}d")
    np.testing.assert_array_equal(
        pool(x * scale + offset, kernel, **keywords), pool(x, kernel, **keywords) * scale + offset
    )


@given(pools())
def test_an_average_is_a_depthwise_convolution(problem):
    x, kernel, keywords = problem
    keywords = {**keywords, "ceil_mode": False}
    rank, channels = len(kernel), x.shape[1]
    w = np.full((channels, 1, *kernel), 1 / np.prod(kernel))
    expected = getattr(fc, f"conv{rank}d")(
        x, w, groups=channels, stride=keywords["stride"], padding=keywords["padding"]
    )
    np.testing.assert_allclose(getattr(fc, f"avg_pool{rank}d")(x, kernel, **keywords), expected, atol=ATOL)


@given(pools())
def test_pool_gradients_keep_the_sum(problem):
    """Every max pool, and an average that counts no padding, hands each dy on exactly once."""
    x, kernel, keywords = problem
    rank = len(kernel)
    y, indices = getattr(fc, f"max_pool{rank}d")(x, kernel, return_indices=True, **keywords)
    dy = normal(*y.shape, seed=11)
    through_max = getattr(fc.grad, f"max_pool{rank}d")(dy, indices, x.shape)
    through_mean = getattr(fc.grad, f"avg_pool{rank}d")(
        dy, x.shape, kernel, count_include_pad=False, **keywords
    )
    for dx in (through_max, through_mean):
        np.testing.assert_allclose(
            dx.sum(axis=(2, *range(3, x.ndim))), dy.sum(axis=(2, *range(3, x.ndim))), atol=ATOL
        )


@given(pools())
def test_the_norm_lies_between_maximum_and_sum(problem):
    x, kernel, keywords = problem
    rank = len(kernel)
    sums = getattr(fc, f"lp_pool{rank}d")(x, 1, kernel, **keywords)
    norms = getattr(fc, f"lp_pool{rank}d")(x, 3, kernel, **keywords)
    maxima = getattr(fc, f"max_pool{rank}d")(np.abs(x), kernel, **keywords)
    assert (maxima <= norms + ATOL).all()
    assert (norms <= sums + ATOL).all()


@given(st.integers(1, 12), st.integers(1, 12))
def test_adaptive_pools_are_plain_where_sizes_divide(count: int, window: int):
    x = normal(2, 3, count * window)
    np.testing.assert_array_equal(fc.adaptive_max_pool1d(x, count), fc.max_pool1d(x, window))
    np.testing.assert_allclose(fc.adaptive_avg_pool1d(x, count), fc.avg_pool1d(x, window), atol=ATOL)
    np.testing.assert_allclose(fc.adaptive_avg_pool1d(x, 1)[..., 0], fc.global_avg_pool(x), atol=ATOL)
    np.testing.assert_array_equal(fc.adaptive_max_pool1d(x, 1)[..., 0], fc.global_max_pool(x))


@given(pools())
def test_unpooling_undoes_pooling_at_the_maxima(problem):
    x, kernel, _ = problem
    rank = len(kernel)
    keywords = {"ceil_mode": True}
    y, indices = getattr(fc, f"max_pool{rank}d")(x, kernel, return_indices=True, **keywords)
    restored = getattr(fc, f"max_unpool{rank}d")(y, indices, kernel, output_size=x.shape[2:])
    np.testing.assert_array_equal(restored[restored != 0], x[restored != 0])
    gathered = getattr(fc.grad, f"max_unpool{rank}d")(restored, indices, y.shape)
    np.testing.assert_array_equal(gathered, y)
