"""Activations, softmax, dropout's product and the fully connected layer, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import float_array, rounded
from .geometry import Array

LEAKY_SLOPE = 0.01

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


def _normal_cdf(x: Array) -> Array:
    result: Array = 0.5 * (1 + _erf(x / math.sqrt(2)))
    return result


def _normal_density(x: Array) -> Array:
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, LEAKY_SLOPE * x),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "gelu": lambda x: x * _normal_cdf(x),
    "silu": lambda x: x * _sigmoid(x),
}

# The derivative, written in terms of the activation's result y ...
DERIVATIVE_FROM_RESULT: dict[str, Callable[[Array], Array]] = {
    "relu": lambda y: np.where(y > 0, 1.0, 0.0),
    "relu6": lambda y: np.where((y > 0) & (y < 6), 1.0, 0.0),
    "leaky_relu": lambda y: np.where(y > 0, 1.0, LEAKY_SLOPE),
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
}

# ... and where that is impossible, in terms of its argument x.
DERIVATIVE_FROM_ARGUMENT: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: _normal_cdf(x) + x * _normal_density(x),
    "silu": lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
}


def activate(x: Array, name: str | None) -> Array:
    """Return the activation `name` of float64 `x`; ``None`` is the identity."""
    if name is None:
        return x
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be None or one of {list(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name](x)


def activation(x: Array, name: str, out: Array | None = None) -> Array:
    """Return the activation `name` of `x`, elementwise.

    ``gelu`` is x Φ(x) with Φ the normal distribution function (Hendrycks and Gimpel, 2016), ``silu`` is
    x sigmoid(x), and ``leaky_relu`` has slope 0.01 below zero.
    """
    x = float_array("x", x)
    with np.errstate(all="ignore"):
        return rounded(activate(x.astype(np.float64), name), x.dtype, out)


def activation_grad(
    dy: Array, name: str, x: Array | None = None, y: Array | None = None, out: Array | None = None
) -> Array:
    """Return the gradient at the activation's argument.

    It is computed from the result `y`; ``gelu`` and ``silu`` need the argument `x` instead.
    """
    dy = float_array("dy", dy)
    if name in DERIVATIVE_FROM_RESULT:
        derivative, source, which = DERIVATIVE_FROM_RESULT[name], y, "y"
        if y is None and x is not None:
            source = activate(float_array("x", x, dy.dtype).astype(np.float64), name)
    elif name in DERIVATIVE_FROM_ARGUMENT:
        derivative, source, which = DERIVATIVE_FROM_ARGUMENT[name], x, "x"
    else:
        raise ValueError(f"activation must be one of {list(ACTIVATIONS)}, got {name!r}")
    if source is None:
        raise ValueError(f"the gradient of {name!r} needs {which}")
    with np.errstate(all="ignore"):
        slope = derivative(np.asarray(source, dtype=np.float64))
        return rounded(dy.astype(np.float64) * slope, dy.dtype, out)


def softmax(x: Array) -> Array:
    """Return exp(x) / sum(exp(x)) over the last axis."""
    x = float_array("x", x)
    return rounded(np.exp(log_softmax(x.astype(np.float64))), x.dtype)


def log_softmax(x: Array) -> Array:
    """Return the logarithm of the softmax of float64 `x` over its last axis, without overflow."""
    shifted = x - x.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def softmax_grad(dy: Array, y: Array) -> Array:
    """Return the gradient at the argument of a softmax whose result was `y`."""
    dy, y = float_array("dy", dy), float_array("y", y, dy.dtype)
    dy64, y64 = dy.astype(np.float64), y.astype(np.float64)
    return rounded(y64 * (dy64 - (dy64 * y64).sum(axis=-1, keepdims=True)), dy.dtype)


def scale_mask(x: Array, mask: Array, scale: float) -> Array:
    """Return x * mask * scale: what dropout does, and its gradient."""
    x = float_array("x", x)
    return rounded(x.astype(np.float64) * (np.asarray(mask) != 0) * scale, x.dtype)


def linear(
    x: Array,
    w: Array,
    b: Array | None = None,
    activation: str | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return activation(x wᵀ + b) for x (..., in), w (out, in) and b (out,)."""
    x = float_array("x", x)
    z = x.astype(np.float64) @ float_array("w", w, x.dtype).astype(np.float64).T
    if b is not None:
        z = z + float_array("b", b, x.dtype).astype(np.float64)
    with np.errstate(all="ignore"):
        return rounded(activate(z, activation), x.dtype, out)


def linear_grad(
    dy: Array, x: Array, w: Array, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[Array | None, Array | None, Array | None]:
    """Return (dx, dw, db) of `linear` without activation."""
    dy = float_array("dy", dy)
    x64 = float_array("x", x, dy.dtype).astype(np.float64)
    w64, dy64 = float_array("w", w, dy.dtype).astype(np.float64), dy.astype(np.float64)
    rows_in, rows_out = x64.reshape(-1, w64.shape[1]), dy64.reshape(-1, w64.shape[0])

    def given(wanted: Any, gradient: Callable[[], Array]) -> Array | None:
        return rounded(gradient(), dy.dtype) if wanted else None

    return (
        given(needs[0], lambda: dy64 @ w64),
        given(needs[1], lambda: rows_out.T @ rows_in),
        given(needs[2], lambda: rows_out.sum(axis=0)),
    )
