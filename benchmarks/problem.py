"""One shape in one direction, with its arrays: what each peer is handed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.settings import Settings
from benchmarks.shapes import ConvShape, Shape

Array = np.ndarray[Any, Any]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype called `name`; ``"bfloat16"`` is that of ``ml_dtypes``."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True)
class Problem:
    """A shape, a direction, and the input, the weight (None for pooling) and the upstream gradient."""

    shape: Shape
    direction: str
    x: Array
    w: Array | None
    dy: Array

    @classmethod
    def draw(cls, shape: Shape, settings: Settings) -> Problem:
        """Return the forward problem of `shape`, with normal draws that depend on its name alone."""
        dtype = numpy_dtype(settings.dtype)

        def values(role: str, size: tuple[int, ...]) -> Array:
            generator = np.random.default_rng(zlib.crc32(f"{shape.name}/{role}".encode()))
            return generator.standard_normal(size, dtype=np.float32).astype(dtype, copy=False)

        w = values("w", shape.weight) if isinstance(shape, ConvShape) else None
        return cls(shape, "forward", values("x", shape.input), w, values("dy", shape.output))

    def towards(self, direction: str) -> Problem:
        """Return the problem of another direction on the same arrays."""
        return replace(self, direction=direction)

    def mapped(self, images: Callable[[Array], Any], weight: Callable[[Array], Any]) -> Problem:
        """Return the problem on other arrays, made of input and upstream gradient, and of the weight."""
        w = None if self.w is None else weight(self.w)
        return replace(self, x=images(self.x), w=w, dy=images(self.dy))

    def float64(self, images: list[int]) -> Problem:
        """Return the problem in float64 on some of the images only."""
        return Problem(
            shape=replace(self.shape, input=(len(images), *self.shape.input[1:])),
            direction=self.direction,
            x=self.x[images].astype(np.float64),
            w=None if self.w is None else self.w.astype(np.float64),
            dy=self.dy[images].astype(np.float64),
        )
