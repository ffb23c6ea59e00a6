"""Routes that `auto` would not take, and which one it takes, where filters read one channel each."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import assert_agrees, exact_inputs
from cases import CONV_CASES, CONV_TRANSPOSE_CASES, FORMATS, ConvCase
from test_conv import name_of

import fastconv as fc
from fastconv import reference

MULTIPLIERS = [
    ConvCase(x=(2, c, 9, 12), w=(c * m, 1, 3, 5), groups=c, padding=1, stride=s, data_format=f)
    for c, m, s in [(1, 1, 1), (1, 5, 1), (1, 40, 2), (3, 6, 1), (5, 9, 2), (17, 2, 1), (40, 1, 2)]
    for f in FORMATS
]
CASES = [c for c in (*CONV_CASES, *CONV_TRANSPOSE_CASES) if c.w[1] == 1 and c.x[0] > 0] + MULTIPLIERS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("route", ["direct", "implicit_gemm"])
def test_either_route_agrees_with_the_reference(case, route, isa):
    x, w, b = case.arrays(np.dtype(np.float32))
    keywords, name = case.keywords, name_of(case)
    y = getattr(reference, name)(x, w, b, **keywords)
    dy = case.upstream(y, np.float32)
    exact_dy, exact_x, exact_w, exact_b, exact_y = exact_inputs(dy, x, w, b, y)
    exact = [
        getattr(reference, name)(exact_x, exact_w, exact_b, **keywords),
        *getattr(reference.grad, name)(exact_dy, exact_x, exact_w, b=exact_b, y=exact_y, **keywords),
    ]
    actual = [
        getattr(fc, name)(x, w, b, algorithm=route, **keywords),
        *getattr(fc.grad, name)(dy, x, w, b=b, y=y, algorithm=route, **keywords),
    ]
    for ours, expected in zip(actual, exact, strict=True):
        assert_agrees(ours, expected, np.float32)


def test_many_filters_of_a_channel_are_a_matrix_product():
    def routes(*shapes: tuple[int, ...], groups: int) -> tuple[str, str]:
        forward = fc.explain("conv2d", *shapes, groups=groups).algorithm
        return forward, fc.explain("grad.conv2d", *shapes, groups=groups).algorithm

    assert routes((1, 64, 28, 28), (64, 1, 3, 3), groups=64) == ("direct", "direct")
    assert routes((1, 1, 28, 28), (6, 1, 5, 5), groups=1) == ("implicit_gemm", "direct")
    assert routes((1, 1, 28, 28), (64, 1, 7, 7), groups=1) == (
        "implicit_gemm",
        "direct (dx), implicit_gemm (dw)",
    )
    reasons = fc.explain("conv2d", (1, 1, 28, 28), (64, 1, 7, 7)).reasons
    assert "direct would cost more" in reasons
