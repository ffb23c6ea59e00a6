"""Filters that come again are kept packed or mapped: none may be taken for others, whatever comes."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from agreement import assert_same_bits

import fastconv as fc

RNG = np.random.default_rng(17)
X = RNG.standard_normal((2, 40, 6, 7), np.float32)
W = RNG.standard_normal((48, 40, 3, 3), np.float32)
Y = RNG.standard_normal((2, 48, 6, 7), np.float32)

# Calls of the same filters, or of the same bytes as other filters, whose forms differ.
FAMILY = [
    ({}, X, W),
    ({}, X[:1], W),
    ({"algorithm": "implicit_gemm"}, X, W),
    ({"algorithm": "implicit_gemm"}, X[:1, :, :3, :3], W),
    ({"algorithm": "winograd", "precision": "high"}, X, W),
    ({"precision": "medium"}, X, W),
    ({"stride": 2}, X, W),
    ({"dilation": 2}, X, W),
    ({"groups": 2}, np.concatenate([X, X], 1), W),
    ({}, np.concatenate([X, X], 1)[:, :60], W.reshape(32, 60, 3, 3)),
    ({}, np.concatenate([X, X, X], 1), W.reshape(48, 120, 3, 1)),
    ({}, np.concatenate([X, X, X], 1), W.reshape(48, 120, 1, 3)),
    ({"data_format": "channels_last"}, np.ascontiguousarray(X.transpose(0, 2, 3, 1)), W),
    ({"data_format": "channels_last"}, X.transpose(0, 2, 3, 1), W),
    ({}, X.astype(np.float16), W.astype(np.float16)),
    ({}, X.astype(np.float64), W.astype(np.float64)),
]


def results(keywords, x, w):
    y = fc.conv2d(x, w, padding=2, **keywords)
    dx, _, _ = fc.grad.conv2d(y, x, w, needs=(True, False, False), padding=2, **keywords)
    return y, dx


@pytest.fixture(autouse=True)
def nothing_kept():
    fc.clear_cache()
    yield
    fc.clear_cache()


def test_forms_are_not_mixed_up(isa):
    fresh = []
    for call in FAMILY:
        fc.clear_cache()
        fresh.append(results(*call))
    order = [*range(len(FAMILY))] * 4
    random.Random(0).shuffle(order)
    for i in order:
        with fc.threads(1 + i % 2):
            for again, first in zip(results(*FAMILY[i]), fresh[i], strict=True):
                assert_same_bits(again, first)
    assert fc.cache_info().filter_bytes_kept > W.nbytes


@pytest.mark.parametrize("algorithm", ["implicit_gemm", "winograd"])
def test_filters_changed_in_place_are_new_filters(isa, algorithm):
    w = W.copy()

    def call():
        return fc.conv2d(X, w, padding=1, algorithm=algorithm, precision="high")

    def change_one(at):
        w.flat[at] += 1

    changes = [lambda at=at: change_one(at) for at in (0, 1, 4321, w.size - 1, *RNG.integers(0, w.size, 20))]
    changes += [
        lambda: np.negative(w, out=w),
        lambda: np.copyto(w, w[::-1].copy()),
        lambda: np.copyto(w, w[:, ::-1].copy()),
        lambda: np.copyto(w[3:5], w[3:5][::-1].copy()),
        lambda: np.multiply(w[7], -1, out=w[7]),
        lambda: np.copyto(w[:, :, 1, 1], 0),
        lambda: np.copyto(w[:, :, 1, 1], -0.0),
        lambda: w[20, 20].fill(np.inf),
        lambda: w[20, 20].fill(np.nan),
        lambda: np.copyto(w, W),
    ]
    call(), call(), call()
    for change in changes:
        change()
        results = [call() for _ in range(3)]
        fc.clear_cache()
        expected = call()
        for y in results:
            assert_same_bits(y, expected)
        call(), call()


@pytest.mark.parametrize("algorithm", ["implicit_gemm", "winograd"])
def test_the_second_call_keeps(algorithm):
    kept = []
    for _ in range(4):
        fc.conv2d(X, W, padding=1, algorithm=algorithm, precision="high")
        kept.append(fc.cache_info().filter_bytes_kept)
    assert kept[0] == 0
    assert W.nbytes <= kept[1] <= 8 * W.nbytes
    assert kept[1:] == kept[1:2] * 3
    assert fc.cache_info().bytes_in_use >= kept[1]
    in_use = fc.cache_info().bytes_in_use
    fc.clear_cache()
    assert fc.cache_info().filter_bytes_kept == 0
    assert fc.cache_info().bytes_in_use <= in_use - kept[1]


def test_nothing_is_kept_of_filters_that_train():
    w = W.copy()
    for _ in range(5):
        w *= np.float32(0.99)
        fc.conv2d(X, w, padding=1)
    assert fc.cache_info().filter_bytes_kept == 0


def test_nothing_is_kept_where_it_would_gain_nothing():
    small = np.ones((4, 3, 3, 3), np.float32)
    large = np.ones((1, 40, 200, 200), np.float32)
    for _ in range(3):
        fc.conv2d(X[:, :3], small)
        fc.conv2d(large, W)
    assert fc.cache_info().filter_bytes_kept == 0


def test_calls_at_the_same_time():
    filters = [W * np.float32(i) for i in range(1, 4)]
    expected = [fc.conv2d(X, w, padding=1) for w in filters]
    wrong = []

    def work(seed):
        pick = random.Random(seed)
        for _ in range(60):
            i = pick.randrange(len(filters))
            if not np.array_equal(fc.conv2d(X, filters[i], padding=1), expected[i]):
                wrong.append(i)
            if pick.random() < 0.1:
                fc.clear_cache()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
