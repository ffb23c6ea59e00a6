"""The size of a result is ``floor((n + 2p - f) / s) + 1``, where f is ``d (f - 1) + 1`` for taps d apart."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import fastconv as fc
from fastconv import nn

GRID = list(product(range(1, 11), range(1, 5), range(4), range(1, 4), range(1, 4)))
"""Input size n, filter f, padding p, stride s, dilation d."""


def size(n, f, p, s, d=1):
    """Count the windows: places from -p on, s apart, whose last element is not beyond the padding."""
    return sum(1 for start in range(-p, n + p, s) if start + d * (f - 1) < n + p)


def test_the_count_is_the_formula():
    for n, f, p, s, d in GRID:
        assert size(n, f, p, s, d) == max((n + 2 * p - (d * (f - 1) + 1)) // s + 1, 0)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions(rank):
    """The last axis is one of the grid's, those before it another."""
    convolve = getattr(fc, f"conv{rank}d")
    for index, (n, f, p, s, d) in enumerate(GRID):
        m, g, q, t, e = GRID[-1 - index]
        before = rank - 1
        x = np.ones((1, 1, *[m] * before, n), np.float32)
        w = np.ones((2, 1, *[g] * before, f), np.float32)
        keywords = {
            "padding": (*[q] * before, p) if before else p,
            "stride": (*[t] * before, s),
            "dilation": (*[e] * before, d),
        }
        expected = (*[size(m, g, q, t, e)] * before, size(n, f, p, s, d))
        if min(expected):
            assert convolve(x, w, **keywords).shape == (1, 2, *expected)
        else:
            with pytest.raises(ValueError, match=f"conv{rank}d: "):
                convolve(x, w, **keywords)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_pools(name, data_format):
    pool = getattr(fc, name)
    for n, f, p, s, d in GRID:
        sizes = (size(n, f, p, s, d), size(n + 3, f, p, s, d))
        if p > d * (f - 1) or not min(sizes):
            continue  # padding as wide as the window, or no window at all
        shape = (1, 2, n, n + 3) if data_format == "channels_first" else (1, n, n + 3, 2)
        y = pool(np.ones(shape, np.float32), f, padding=p, stride=s, dilation=d, data_format=data_format)
        assert y.shape == ((1, 2, *sizes) if data_format == "channels_first" else (1, *sizes, 2))


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_layer_of_ten_filters_has_280_parameters(data_format):
    for n, f, p, s, d in GRID:
        layer = nn.Conv2d(3, 10, f, s, p, d, data_format=data_format, init="zeros")
        rows = size(n, f, p, s, d)
        if not rows:
            continue
        first = data_format == "channels_first"
        summary = layer.summary((3, n, n) if first else (n, n, 3))
        assert summary.parameters == 10 * (3 * f * f + 1)
        assert summary.rows[0].output_shape == ((10, rows, rows) if first else (rows, rows, 10))
    summary = nn.Conv2d(3, 10, 3, data_format=data_format).summary((3, 8, 8) if first else (8, 8, 3))
    assert summary.parameters == 280
    assert str(summary).splitlines()[-1].split()[:2] == ["total", "280"]
