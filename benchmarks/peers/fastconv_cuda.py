"""fastconv on a CUDA device, called as a user of PyTorch calls it: tensors in, new tensors out.

It is raced in the faster of the two layouts, as PyTorch is in the faster of its memory formats. A tensor in
PyTorch's ``channels_last`` format is one of ``(N, *spatial, C)`` whose axes are permuted; so none is copied.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import fastconv as fc
from benchmarks.cuda import in_turn
from benchmarks.peers.fastconv import FastconvPeer
from benchmarks.peers.interface import Call
from benchmarks.peers.torch import to_numpy, to_tensor
from benchmarks.problem import Array, Problem
from benchmarks.public_calls import public_call
from benchmarks.settings import Settings


class FastconvCudaPeer(FastconvPeer):
    """Public functions of `fastconv` and `fastconv.grad` on tensors of a device."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self._dtype: torch.dtype = getattr(torch, settings.dtype)
        self._device = settings.device

    def calls(self, problem: Problem) -> dict[str, Call]:
        """Return a call per layout."""
        ways = {"channels_first": self._channels_first, "channels_last": self._channels_last}
        return {name: in_turn(problem, self._device, partial(way, problem)) for name, way in ways.items()}

    def to_numpy(self, result: Any) -> Array:
        """Return the values, through float32 where NumPy has no such dtype."""
        return to_numpy(result)

    def _tensor(self, array: Array) -> torch.Tensor:
        return to_tensor(array, self._dtype, self._device)

    def _channels_first(self, problem: Problem) -> Call:
        return public_call(fc, problem.mapped(self._tensor, self._tensor))

    def _channels_last(self, problem: Problem) -> Call:
        def images(array: Array) -> torch.Tensor:
            return self._tensor(array).movedim(1, -1).contiguous()

        call = public_call(fc, problem.mapped(images, self._tensor), data_format="channels_last")
        return call if problem.direction == "dw" else lambda: call().movedim(-1, 1)
