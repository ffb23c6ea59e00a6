"""Arrays on their way in and out: dtype checks, memory layout, rounding, and one function per rank.

Inside, the reference computes on *planes*: float64 arrays of shape (N, C, *spatial), whatever the caller's
dtype and layout. Results are rounded to the caller's dtype once, at the very end.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from .geometry import Array

FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")

P = ParamSpec("P")
R = TypeVar("R")


def numpy_array(name: str, value: Any) -> Array:
    """Return `value`, a NumPy array or an object that speaks DLPack, as a NumPy array."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost; use {name}.filled(...)")
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "__dlpack__"):
        raise TypeError(f"{name} must be a NumPy array or support __dlpack__, got {type(value).__name__}")
    return np.from_dlpack(value)


def float_array(name: str, value: Any, dtype: np.dtype[Any] | None = None) -> Array:
    """Return `value` as a floating NumPy array, of `dtype` where one is given."""
    array = numpy_array(name, value)
    if array.dtype.name not in FLOAT_DTYPES:
        raise TypeError(f"{name} has dtype {array.dtype}; convert it first, e.g. {name}.astype(np.float32)")
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name} has dtype {array.dtype}, but the first array has {dtype}: use one dtype")
    return array


def rounded(result: Array, dtype: np.dtype[Any], out: Array | None = None) -> Array:
    """Return the float64 `result` as a C-contiguous array of `dtype`, or fill and return `out`."""
    if out is None:
        return np.ascontiguousarray(result.astype(dtype))
    if out.shape != result.shape:
        raise ValueError(f"out has shape {out.shape}, but the result has {result.shape}")
    if out.dtype != dtype:
        raise TypeError(f"out has dtype {out.dtype}, but the result has {dtype}")
    out[...] = result
    return out


@dataclass(frozen=True)
class Layout:
    """How a caller's array holds planes: with or without a batch axis, channels first or last."""

    rank: int
    batched: bool
    channels_last: bool

    @classmethod
    def of(cls, name: str, shape: Sequence[int], rank: int, data_format: str) -> Layout:
        """Return the layout of an array of `shape` with `rank` spatial axes."""
        if data_format not in ("channels_first", "channels_last"):
            raise ValueError(f'data_format must be "channels_first" or "channels_last", got {data_format!r}')
        if len(shape) not in (rank + 1, rank + 2):
            raise ValueError(f"{name} must have {rank + 1} or {rank + 2} axes, got shape {tuple(shape)}")
        return cls(rank, len(shape) == rank + 2, data_format == "channels_last")

    def planes(self, name: str, x: Array) -> Array:
        """Return `x` as (N, C, *spatial); floating arrays become float64."""
        if x.ndim != self.rank + 1 + self.batched:
            raise ValueError(f"{name} must have {self.rank + 1 + self.batched} axes, got shape {x.shape}")
        planes = x if self.batched else x[None]
        if self.channels_last:
            planes = np.moveaxis(planes, -1, 1)
        return planes if x.dtype.kind in "iu" else planes.astype(np.float64)

    def planes_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape that an array of `shape` has as planes."""
        n, *rest = shape if self.batched else (1, *shape)
        return (n, rest[-1], *rest[:-1]) if self.channels_last else (n, *rest)

    def restore(self, planes: Array) -> Array:
        """Return planes in the caller's layout: what `planes` did, undone."""
        x = np.moveaxis(planes, 1, -1) if self.channels_last else planes
        return x if self.batched else x[0]


def for_each_rank(
    operation: Callable[Concatenate[int, P], R],
) -> tuple[Callable[P, R], Callable[P, R], Callable[P, R]]:
    """Return the 1-D, 2-D and 3-D forms of `operation`, whose first argument is the rank.

    Like the compiled functions they raise no floating-point warnings: Inf and NaN are values like others.
    """

    def of_rank(rank: int) -> Callable[P, R]:
        @functools.wraps(operation)
        def function(*args: P.args, **keywords: P.kwargs) -> R:
            with np.errstate(all="ignore"):
                return operation(rank, *args, **keywords)

        signature = inspect.signature(operation)
        parameters = list(signature.parameters.values())[1:]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        function.__name__ = function.__qualname__ = f"{operation.__name__}{rank}d"
        return function

    return of_rank(1), of_rank(2), of_rank(3)
