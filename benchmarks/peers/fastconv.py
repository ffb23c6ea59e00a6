"""fastconv itself, called as a user calls it: host arrays in, new host arrays out, default layout."""

from __future__ import annotations

from typing import Any

import fastconv as fc
from benchmarks.peers.interface import Call
from benchmarks.problem import Array, Problem
from benchmarks.public_calls import public_call
from benchmarks.settings import Settings


class FastconvPeer:
    """Public functions of `fastconv` and `fastconv.grad`."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.version = str(fc.__version__)
        self.arithmetic = (settings.dtype, settings.precision)
        self.set_threads(settings.threads)
        fc.set_precision(settings.precision)

    def set_threads(self, count: int) -> None:
        """Set the number of threads for the calls that follow."""
        fc.set_num_threads(count)

    def calls(self, problem: Problem) -> dict[str, Call]:
        """Return the one call: the public function with its defaults."""
        return {"default": public_call(fc, problem)}

    def to_numpy(self, result: Any) -> Array:
        """Return the result: it is a NumPy array already."""
        array: Array = result
        return array


def create(name: str, settings: Settings) -> FastconvPeer:
    """Return the peer; see `benchmarks.peers.interface`."""
    if settings.device == "cuda":
        from benchmarks.peers.fastconv_cuda import FastconvCudaPeer

        return FastconvCudaPeer(name, settings)
    return FastconvPeer(name, settings)
