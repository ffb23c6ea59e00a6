"""Elementwise activations, and softmax.

    relu(x) = max(x, 0)                   relu6(x) = min(max(x, 0), 6)
    leaky_relu(x) = x or slope * x        sigmoid(x) = 1 / (1 + exp(-x))
    gelu(x) = x * Phi(x)                  silu(x) = x * sigmoid(x)

Most derivatives follow from y alone, so that x need not be kept; those of gelu and silu need x.

GELU: D. Hendrycks, K. Gimpel, "Gaussian error linear units", arXiv:1606.08415. SiLU: S. Elfwing, E. Uchibe,
K. Doya, "Sigmoid-weighted linear units", Neural Networks 107 (2018).
"""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np

from fastconv import _core
from fastconv.nn.arguments import read_int, read_number
from fastconv.nn.module import Layer, Pullback
from fastconv.nn.parameter import Array

NEED_INPUT = frozenset({"gelu", "silu"})


def activation_pullback(name: str | None, x: Array | None, y: Array) -> Pullback:
    """Return ``dy -> dx`` of the activation `name` at ``y = f(x)``; only gelu and silu want `x`."""
    if name is None:
        return lambda dy: dy
    kept = {"x": x} if name in NEED_INPUT else {"y": y}
    return lambda dy: _core.activation_grad(dy, name, **kept)


def is_untouched(layer: Layer) -> bool:
    """Whether a layer computes what its class here says: nobody has derived or wrapped its methods."""
    return all(
        getattr(type(layer), method).__module__.startswith("fastconv.") and method not in vars(layer)
        for method in ("forward", "vjp")
    )


class _Activation(Layer):
    name: ClassVar[str]

    @property
    def joins(self) -> bool:
        """Whether a layer that ends in this activation does the same, and keeps no more for its gradient."""
        return is_untouched(self) and self.name not in NEED_INPUT

    def forward(self, x: Array) -> Array:
        return _core.activation(self._read(x), self.name)

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        y = _core.activation(x, self.name)
        return y, self._checked(y, activation_pullback(self.name, x, y))


class ActivatedLayer(Layer):
    """A layer that can apply an activation to its result in the same pass; ``None`` is none."""

    activation: str | None = None

    def followed_by(self, layer: Layer) -> Layer | None:
        """Return one layer that does what this one and then `layer` do, or ``None`` where there is none.

        It shares this one's parameters and serves for a single call.
        """
        if self.activation is not None or not isinstance(layer, _Activation):
            return None
        if not layer.joins or not is_untouched(self):
            return None
        both = copy.copy(self)
        both.activation = layer.name
        return both


class ReLU(_Activation):
    """Rectified linear unit, max(x, 0), for arrays of any shape; NaN stays NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ReLU()(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """

    name = "relu"


class ReLU6(_Activation):
    """Rectified linear unit cut at six, min(max(x, 0), 6), for arrays of any shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ReLU6()(np.array([-1.0, 2.0, 9.0]))
    array([0., 2., 6.])
    """

    name = "relu6"


class LeakyReLU(_Activation):
    """Rectified linear unit with a slope below zero: x where x > 0, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float
        The slope. The default, 0.01, runs in a compiled kernel, others in NumPy.

    Raises
    ------
    TypeError, ValueError
        A slope that is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LeakyReLU(0.2)(np.array([-1.0, 2.0]))
    array([-0.2,  2. ])
    """

    name = "leaky_relu"
    compiled_slope = 0.01

    def __init__(self, negative_slope: float = 0.01) -> None:
        read_number("LeakyReLU", "negative_slope", negative_slope)
        self.negative_slope = negative_slope

    @property
    def joins(self) -> bool:
        return super().joins and self.negative_slope == self.compiled_slope

    def forward(self, x: Array) -> Array:
        return self.vjp(x)[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        if self.negative_slope == self.compiled_slope:
            return super().vjp(x)
        x = self._read(x)
        slopes = np.full(x.shape, self.negative_slope, x.dtype)
        slopes[x > 0] = 1

        def scaled(values: Array) -> Array:
            return np.multiply(values, slopes, out=np.empty_like(slopes))

        y = scaled(x)
        return y, self._checked(y, scaled)


class Sigmoid(_Activation):
    """Logistic function, 1 / (1 + exp(-x)), for arrays of any shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Sigmoid()(np.array([0.0]))
    array([0.5])
    """

    name = "sigmoid"


class Tanh(_Activation):
    """Hyperbolic tangent, for arrays of any shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Tanh()(np.array([0.0, 100.0]))
    array([0., 1.])
    """

    name = "tanh"


class GELU(_Activation):
    """Gaussian error linear unit, x times the normal distribution function of x (the exact form).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.GELU()(np.array([1.0])).round(4)
    array([0.8413])
    """

    name = "gelu"


class SiLU(_Activation):
    """Sigmoid-weighted linear unit, x * sigmoid(x), also known as swish.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.SiLU()(np.array([1.0])).round(4)
    array([0.7311])
    """

    name = "silu"


class Softmax(Layer):
    """Exponentials scaled to sum 1 along one axis.

    ``losses.cross_entropy`` has it built in: it takes what would come before this layer.

    Parameters
    ----------
    axis : int
        The axis that holds the classes.

    Raises
    ------
    TypeError
        An `axis` that is no integer.
    ValueError
        When called: an axis that the input does not have.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Softmax()(np.array([[0.0, np.log(3.0)]])).round(2)
    array([[0.25, 0.75]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = read_int("Softmax", "axis", axis, None)

    def forward(self, x: Array) -> Array:
        return self.vjp(x)[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"Softmax: x of shape {x.shape} has no axis {self.axis}")
        rows = _core.softmax(self._to_last(x))

        def pullback(dy: Array) -> Array:
            return self._from_last(_core.softmax_grad(self._to_last(dy), rows))

        y = self._from_last(rows)
        return y, self._checked(y, pullback)

    def _to_last(self, x: Array) -> Array:
        return np.moveaxis(x, self.axis, -1)

    def _from_last(self, y: Array) -> Array:
        return np.ascontiguousarray(np.moveaxis(y, -1, self.axis))
