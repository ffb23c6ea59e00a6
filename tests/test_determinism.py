"""The same call gives the same bits: in every run, on every number of threads, in every batch."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from agreement import DTYPES, assert_same_bits
from cases import (
    BLOCKED_CONV_CASES,
    CONV_CASES,
    CONV_TRANSPOSE_CASES,
    POOL_CASES,
    SPECIAL_CONV_CASES,
    ConvCase,
    ConvTransposeCase,
    PoolCase,
    generator,
)

import fastconv as fc

CHOSEN = [
    *CONV_CASES[::23],
    *SPECIAL_CONV_CASES[::6],
    *BLOCKED_CONV_CASES,
    *CONV_TRANSPOSE_CASES[::23],
    *CONV_TRANSPOSE_CASES[-2:],
    # Reductions over so many pixels that a weight gradient is worth splitting among threads.
    ConvCase(note="many pixels", x=(7, 3, 61, 67), w=(5, 3, 3, 3), padding=1),
    ConvCase(note="many pixels", x=(3, 16, 41, 43), w=(16, 1, 5, 5), groups=16),
    ConvCase(note="one image", x=(1, 16, 57, 59), w=(24, 16, 3, 3)),
]
CASES = list(dict.fromkeys(CHOSEN))  # each one once
BATCHED_CASES = [case for case in CASES if case.batched and case.x[0]]


def name_of(case: ConvCase) -> str:
    return f"conv_transpose{case.rank}d" if isinstance(case, ConvTransposeCase) else f"conv{case.rank}d"


def everything(case: ConvCase, dtype: np.dtype) -> list[np.ndarray]:
    """Return the result and the three gradients of a case."""
    x, w, b = case.arrays(dtype)
    y = getattr(fc, name_of(case))(x, w, b, **case.keywords)
    gradients = getattr(fc.grad, name_of(case))(case.upstream(y, dtype), x, w, b=b, y=y, **case.keywords)
    return [y, *gradients]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_threads_and_runs(case, dtype, isa):
    with fc.threads(1):
        expected = everything(case, dtype)
    for threads in (1, 2, 3):
        with fc.threads(threads):
            for actual, once in zip(everything(case, dtype), expected, strict=True):
                assert_same_bits(actual, once)


@pytest.mark.parametrize("case", BATCHED_CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_batch_positions(case, dtype, isa):
    """Image i of five has the bits that it has alone, with and without a batch axis."""
    w, b = case.arrays(dtype)[1:]
    images = generator(case.id).uniform(-1, 1, (5, *case.image().shape[1:])).astype(dtype)
    function = functools.partial(getattr(fc, name_of(case)), w=w, b=b, **case.keywords)
    gradient = functools.partial(
        getattr(fc.grad, name_of(case)), w=w, b=b, needs=(True, False, False), **case.keywords
    )
    y = function(images)
    dy = generator(case.id + "dy").uniform(-1, 1, y.shape).astype(dtype)
    dx = gradient(dy, images, y=y)[0]
    for i in (0, 2, 4):
        one = slice(i, i + 1)
        assert_same_bits(function(images[one]), y[one])
        assert_same_bits(function(images[i]), y[i])
        assert_same_bits(gradient(dy[one], images[one], y=y[one])[0], dx[one])


@pytest.mark.parametrize("features", [(3, 5), (400, 120), (96, 64), (2100, 33)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_rows_of_a_linear_layer(features, dtype, isa):
    """Each row has the bits that it has alone, and among any number of others, on any number of threads."""
    rng = np.random.default_rng(features[0])
    layer = fc.nn.Linear(*features, rng=1, dtype=dtype)
    x = rng.uniform(-1, 1, (300, features[0])).astype(dtype)
    with fc.threads(1):
        y, pullback = layer.vjp(x)
        dx = pullback(y)
    for rows in (slice(4, 5), slice(0, 7), slice(3, 13), slice(100, 140)):
        for threads in (1, 3):
            with fc.threads(threads):
                part, part_pullback = layer.vjp(x[rows])
                assert_same_bits(part, y[rows])
                assert_same_bits(part_pullback(part), dx[rows])
    assert_same_bits(layer.vjp(x[9])[0], y[9])


@pytest.mark.parametrize(
    "case", [c for c in POOL_CASES[::13] if c.batched and c.x[0]], ids=lambda case: case.id
)
def test_pools_in_threads_and_batches(case: PoolCase, isa):
    images = generator(case.id).uniform(-1, 1, (5, *case.image().shape[1:])).astype(np.float32)
    pools = [
        functools.partial(
            getattr(fc, f"{name}_pool{case.rank}d"), kernel_size=case.kernel_size, **case.keywords
        )
        for name in ("max", "avg")
    ]
    for pool in pools:
        with fc.threads(1):
            y = pool(images)
        for threads in (2, 3):
            with fc.threads(threads):
                assert_same_bits(pool(images), y)
        for i in range(5):
            assert_same_bits(pool(images[i]), y[i])


def test_gradients_of_pools_in_threads(isa):
    """Overlapping windows add several gradients into one element: always in the same order."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 40, 41), np.float32)
    y, indices = fc.max_pool2d(x, 5, stride=2, padding=2, return_indices=True)
    dy = rng.standard_normal(y.shape, np.float32)
    gradients = [
        lambda: fc.grad.max_pool2d(dy, indices, x.shape),
        lambda: fc.grad.avg_pool2d(dy, x.shape, 5, stride=2, padding=2),
        lambda: fc.grad.adaptive_avg_pool2d(dy, x.shape),
        lambda: fc.grad.channel_avg_pool(dy, (3, 7, *dy.shape[2:]), 3, stride=1),
    ]
    for gradient in gradients:
        with fc.threads(1):
            expected = gradient()
        for threads in (1, 2, 3):
            with fc.threads(threads):
                assert_same_bits(gradient(), expected)


def test_sixteen_callers_at_once():
    """Python threads that call at the same time share nothing but read-only inputs."""
    cases = [*BLOCKED_CONV_CASES[:4], *CONV_CASES[:4], *CONV_TRANSPOSE_CASES[-2:]]
    dtype = np.dtype(np.float32)
    expected = {case: everything(case, dtype) for case in cases}
    with ThreadPoolExecutor(16) as pool:
        for case, results in zip(cases * 5, pool.map(lambda c: everything(c, dtype), cases * 5), strict=True):
            for actual, once in zip(results, expected[case], strict=True):
                assert_same_bits(actual, once)
