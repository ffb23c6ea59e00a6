"""JAX on the CPU: every direction compiled by `jax.jit`, gradients through `jax.vjp`.

XLA takes its number of threads from ``PJRT_NPROC``, which ``python -m benchmarks`` sets before anything is
imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.peers.interface import Call, Unsupported
from benchmarks.problem import Array, Problem
from benchmarks.settings import Settings
from benchmarks.shapes import ConvShape, PoolShape

_SPATIAL = {1: "H", 2: "HW", 3: "DHW"}


class JaxPeer:
    """`lax.conv_general_dilated` and `lax.reduce_window`, channels first."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.version = str(jax.__version__)
        self.arithmetic = (settings.dtype, "highest")
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", settings.dtype == "float64")

    def calls(self, problem: Problem) -> dict[str, Call]:
        """Return the one call: compiled on its first use, waiting for the result."""
        operands: tuple[Any, ...] = (jnp.asarray(problem.x),)
        if isinstance(problem.shape, ConvShape):
            function = _transposed(problem.shape) if problem.shape.transposed else _conv(problem.shape)
            operands += (jnp.asarray(problem.w),)
        elif isinstance(problem.shape, PoolShape):
            function = _pool(problem.shape)
        else:
            raise Unsupported(problem.shape.name)
        if problem.direction != "forward":
            operands = (jnp.asarray(problem.dy), *operands)
            function = _gradient(function, 0 if problem.direction == "dx" else 1)
        compiled = jax.jit(function)
        return {"jit": lambda: compiled(*operands).block_until_ready()}

    def to_numpy(self, result: Any) -> Array:
        """Return the values."""
        return np.asarray(result)


def _gradient(function: Callable[..., Any], which: int) -> Callable[..., Any]:
    """Return ``(dy, *operands) -> `` the gradient of operand `which` alone."""

    def backward(dy: Any, *operands: Any) -> Any:
        def of_one(operand: Any) -> Any:
            return function(*operands[:which], operand, *operands[which + 1 :])

        _, pullback = jax.vjp(of_one, operands[which])
        return pullback(dy)[0]

    return backward


def _conv(shape: ConvShape) -> Callable[..., Any]:
    spatial = _SPATIAL[shape.rank]
    layout = (f"NC{spatial}", f"OI{spatial}", f"NC{spatial}")

    def function(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x,
            w,
            shape.stride,
            shape.padding,
            rhs_dilation=shape.dilation,
            dimension_numbers=layout,
            feature_group_count=shape.groups,
        )

    return function


def _transposed(shape: ConvShape) -> Callable[..., Any]:
    """A convolution of the input with zeros between its elements, by the mirrored filter."""
    if shape.groups != 1:
        raise Unsupported("transposed convolution with groups")
    spatial = _SPATIAL[shape.rank]
    layout = (f"NC{spatial}", f"IO{spatial}", f"NC{spatial}")
    reach = [dilation * (kernel - 1) for dilation, kernel in zip(shape.dilation, shape.kernel, strict=True)]
    padding = [
        (full - before, full - after + extra)
        for full, (before, after), extra in zip(reach, shape.padding, shape.output_padding, strict=True)
    ]
    axes = tuple(range(2, shape.rank + 2))

    def function(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x,
            jnp.flip(w, axes),
            (1,) * shape.rank,
            padding,
            lhs_dilation=shape.stride,
            rhs_dilation=shape.dilation,
            dimension_numbers=layout,
        )

    return function


def _pool(shape: PoolShape) -> Callable[..., Any]:
    if shape.kind == "global_avg":
        return lambda x: jnp.mean(x, axis=tuple(range(2, shape.rank + 2)))
    window, stride, padding = _window(shape)

    def windows(x: Any, initial: float, combine: Any) -> Any:
        return lax.reduce_window(x, np.array(initial, x.dtype), combine, window, stride, padding)

    if shape.kind.endswith("max"):
        return lambda x: windows(x, -math.inf, lax.max)
    if shape.kind.endswith("avg"):
        return lambda x: windows(x, 0.0, lax.add) / math.prod(window)
    return lambda x: windows(jnp.abs(x) ** shape.norm, 0.0, lax.add) ** (1.0 / shape.norm)


def _window(shape: PoolShape) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """Return window, stride and padding over all axes; the surplus of ``ceil_mode`` is padding after."""
    if shape.kind.startswith("adaptive"):
        if any(size % count for size, count in zip(shape.input[2:], shape.window, strict=True)):
            raise Unsupported("adaptive pooling whose windows differ in size")
        sizes = tuple(size // count for size, count in zip(shape.input[2:], shape.window, strict=True))
        return (1, 1, *sizes), (1, 1, *sizes), [(0, 0)] * (shape.rank + 2)
    if shape.ceil_mode and shape.kind == "avg":
        raise Unsupported("average pooling with ceil_mode")
    padding = [(0, 0), (0, 0)]
    for axis in range(shape.rank):
        before = shape.padding[axis]
        covered = (shape.output[axis + 2] - 1) * shape.stride[axis] + shape.window[axis]
        surplus = covered - shape.input[axis + 2] - before
        padding.append((before, max(surplus, before if not shape.ceil_mode else 0)))
    return (1, 1, *shape.window), (1, 1, *shape.stride), padding


def create(name: str, settings: Settings) -> JaxPeer:
    """Return the peer; see `benchmarks.peers.interface`."""
    return JaxPeer(name, settings)
