"""NumPy at its best: convolutions as im2col and one BLAS product, pools as `fastconv.reference` has them.

A transposed convolution is the input gradient of a convolution, and the other way round, so it comes out of
the same two functions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.interface import Call, Unsupported
from benchmarks.problem import Array, Problem
from benchmarks.public_calls import public_call
from benchmarks.settings import Settings
from benchmarks.shapes import ConvShape
from fastconv import reference

_MIRRORED = {"forward": "dx", "dx": "forward", "dw": "dw"}
"""A direction of a transposed convolution, as the one of the convolution that computes it."""


class NumpyPeer:
    """`fastconv.reference.im2col_conv`, `im2col_conv_grad` and the reference's pools."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.version = np.__version__
        self.arithmetic = (settings.dtype, "highest")

    def calls(self, problem: Problem) -> dict[str, Call]:
        """Return the one call; NumPy's BLAS knows float32 and float64 only."""
        if problem.x.dtype not in (np.float32, np.float64):
            raise Unsupported(f"no BLAS for {problem.x.dtype}")
        if isinstance(problem.shape, ConvShape):
            return {"im2col": _conv_call(problem, problem.shape)}
        return {"reference": public_call(reference, problem)}

    def to_numpy(self, result: Any) -> Array:
        """Return the result: it is a NumPy array already."""
        array: Array = result
        return array


def _conv_call(problem: Problem, shape: ConvShape) -> Call:
    keywords = {
        "stride": shape.stride,
        "padding": shape.padding,
        "dilation": shape.dilation,
        "groups": shape.groups,
    }
    x, w, dy, direction = problem.x, problem.w, problem.dy, problem.direction
    if shape.transposed:
        x, dy, direction = dy, x, _MIRRORED[direction]
    if direction == "forward":
        return partial(reference.im2col_conv, x, w, **keywords)
    needs = (direction == "dx", direction == "dw", False)
    place = 0 if direction == "dx" else 1
    return lambda: reference.im2col_conv_grad(dy, x, w, needs=needs, **keywords)[place]


def create(name: str, settings: Settings) -> NumpyPeer:
    """Return the peer; see `benchmarks.peers.interface`."""
    return NumpyPeer(name, settings)
