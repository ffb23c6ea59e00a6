"""First values of weights: draws whose spread keeps signals and gradients of one size across layers.

With *fan-in* the number of inputs that one output sums over and *fan-out* the number of outputs that one
input reaches:

    He       variance 2 / fan_in               for layers followed by ReLU and its kin
    Glorot   variance 2 / (fan_in + fan_out)   for tanh, sigmoid and linear layers

each drawn from a normal or a uniform distribution. Draws are made in float64 and then rounded, so that one
seed gives the same network in every dtype.

References
----------
K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015, section 2.2.
X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
2010, section 4.2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Fans = tuple[int, int]


def fans(shape: Sequence[int]) -> Fans:
    """Return fan-in and fan-out of a weight of shape (outputs, inputs, *kernel).

    Examples
    --------
    >>> from fastconv.nn import init
    >>> init.fans((32, 16, 3, 3))
    (144, 288)
    """
    if len(shape) < 2:
        raise ValueError(f"fans: a weight has at least two axes, got shape {tuple(shape)}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def he_normal(
    shape: Sequence[int],
    rng: np.random.Generator | int | None = None,
    *,
    fans: Fans | None = None,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Draw from a normal distribution of mean 0 and variance 2 / fan_in (He et al. 2015).

    Parameters
    ----------
    shape : sequence of int
        Shape of the weight, (outputs, inputs, *kernel).
    rng : numpy.random.Generator, int or None
        Where the draw comes from; an int is a seed.
    fans : (int, int), optional
        Fan-in and fan-out, where `shape` doesn't tell them (transposed weights).
    dtype : dtype
        Of the result.

    Returns
    -------
    ndarray
        The weight.

    Examples
    --------
    >>> from fastconv.nn import init
    >>> weight = init.he_normal((64, 32, 5, 5), rng=0)
    >>> f"{weight.std():.3f}, {(2 / (32 * 25)) ** 0.5:.3f}"
    '0.050, 0.050'
    """
    fan_in, _ = fans or _fans(shape)
    return _normal(shape, 2 / fan_in, rng, dtype)


def he_uniform(
    shape: Sequence[int],
    rng: np.random.Generator | int | None = None,
    *,
    fans: Fans | None = None,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Draw from a uniform distribution, variance 2 / fan_in; arguments as in `he_normal`."""
    fan_in, _ = fans or _fans(shape)
    return _uniform(shape, 2 / fan_in, rng, dtype)


def glorot_normal(
    shape: Sequence[int],
    rng: np.random.Generator | int | None = None,
    *,
    fans: Fans | None = None,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Draw from a normal distribution, variance 2 / (fan_in + fan_out); arguments as in `he_normal`."""
    return _normal(shape, 2 / sum(fans or _fans(shape)), rng, dtype)


def glorot_uniform(
    shape: Sequence[int],
    rng: np.random.Generator | int | None = None,
    *,
    fans: Fans | None = None,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Draw from a uniform distribution, variance 2 / (fan_in + fan_out); arguments as in `he_normal`."""
    return _uniform(shape, 2 / sum(fans or _fans(shape)), rng, dtype)


def zeros(
    shape: Sequence[int],
    rng: np.random.Generator | int | None = None,
    *,
    fans: Fans | None = None,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Return zeros; `rng` and `fans` are there so that all initialisers are called alike."""
    return np.zeros(shape, dtype)


he = he_normal
glorot = glorot_uniform

INITIALISERS: dict[str, Callable[..., NDArray[Any]]] = {
    function.__name__: function for function in (he_normal, he_uniform, glorot_normal, glorot_uniform, zeros)
} | {"he": he, "glorot": glorot}


def initialiser(name: str) -> Callable[..., NDArray[Any]]:
    """Return the initialiser of that name; a ValueError lists the names there are."""
    if name not in INITIALISERS:
        raise ValueError(f"init must be one of {', '.join(INITIALISERS)}, got {name!r}")
    return INITIALISERS[name]


_fans = fans


_PIECE = 2**16
"""Numbers drawn at a time: they stay in the cache, and no weight needs a copy in float64."""


def _normal(shape: Sequence[int], variance: float, rng: Any, dtype: DTypeLike) -> NDArray[Any]:
    generator, deviation = np.random.default_rng(rng), math.sqrt(variance)
    return _filled(shape, dtype, lambda count: generator.normal(0, deviation, count))


def _uniform(shape: Sequence[int], variance: float, rng: Any, dtype: DTypeLike) -> NDArray[Any]:
    generator, bound = np.random.default_rng(rng), math.sqrt(3 * variance)
    return _filled(shape, dtype, lambda count: generator.uniform(-bound, bound, count))


def _filled(
    shape: Sequence[int], dtype: DTypeLike, draw: Callable[[int], NDArray[np.float64]]
) -> NDArray[Any]:
    weight = np.empty(shape, dtype)
    numbers = weight.reshape(-1)
    for start in range(0, numbers.size, _PIECE):
        piece = numbers[start : start + _PIECE]
        piece[...] = draw(piece.size)
    return weight
