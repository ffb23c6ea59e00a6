"""The fully connected layer, and the change of shape that stands before it.

y = x w^T + b    x (..., in_features), w (out_features, in_features), b (out_features,)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from fastconv import _core
from fastconv.nn.activations import NEED_INPUT, ActivatedLayer, activation_pullback
from fastconv.nn.arguments import as_numpy, check_data_format, read_int
from fastconv.nn.init import initialiser
from fastconv.nn.module import Layer, Pullback, Rng
from fastconv.nn.parameter import Array, Parameter


class Linear(ActivatedLayer):
    """Fully connected layer: (..., in_features) to (..., out_features).

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis of input and output.
    bias : bool
        Whether a bias is added; it starts at zero.
    activation : str, optional
        ``"relu"``, ``"relu6"``, ``"leaky_relu"``, ``"sigmoid"``, ``"tanh"``, ``"gelu"`` or ``"silu"``, in the
        same pass.
    precision : str, optional
        ``"highest"``, ``"high"`` or ``"medium"``; ``None`` takes ``fastconv.get_precision()``.
    init : str
        How the weight is drawn: ``"he"``, ``"glorot"``, ``"zeros"``, or another name of ``fastconv.nn.init``.
    rng : numpy.random.Generator or int, optional
        Where the draw comes from; an int is a seed.
    dtype : dtype
        Of the parameters, and so of the inputs.

    Raises
    ------
    TypeError
        Sizes that are no integers; when called: an input that is no array of the layer's dtype.
    ValueError
        Sizes below 1 or an unknown `init`; when called: an input whose last axis is not of `in_features`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.Linear(4, 2, rng=0)
    >>> layer(np.ones((3, 4), np.float32)).shape
    (3, 2)
    >>> layer.backward(np.ones((3, 2), np.float32)).shape
    (3, 4)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        activation: str | None = None,
        precision: str | None = None,
        init: str = "he",
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_features = read_int("Linear", "in_features", in_features)
        self.out_features = read_int("Linear", "out_features", out_features)
        self.activation = activation
        self.precision = precision
        self.weight = Parameter(
            initialiser(init)((self.out_features, self.in_features), rng, dtype=dtype), "weight"
        )
        self.bias = Parameter(np.zeros(self.out_features, dtype), "bias") if bias else None

    def _product(self, x: Array, activation: str | None) -> Array:
        bias = None if self.bias is None else self.bias.data
        return _core.linear(x, self.weight.data, bias, activation, self.precision, None)

    def _read(self, x: Array) -> Array:
        x = super()._read(x)
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(f"Linear: x has shape {x.shape}, expected (..., {self.in_features})")
        if x.dtype != self.weight.data.dtype:
            raise TypeError(f"Linear: x has dtype {x.dtype}, but weight has {self.weight.data.dtype}")
        return x

    def forward(self, x: Array) -> Array:
        return self._product(self._read(x), self.activation)

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        before = None
        if self.activation in NEED_INPUT:
            before = self._product(x, None)
            y = _core.activation(before, self.activation)
        else:
            y = self._product(x, self.activation)
        back_through_activation = activation_pullback(self.activation, before, y)

        def pullback(dy: Array, needs_dx: bool = True) -> Array:
            dy = back_through_activation(dy)
            needs = (needs_dx, True, self.bias is not None)
            dx, dw, db = _core.linear_grad(dy, x, self.weight.data, needs, self.precision)
            self.weight.accumulate(dw)
            if self.bias is not None:
                self.bias.accumulate(db)
            return dx

        return y, self._skipping(y, pullback)

    def multiply_adds(self, input_shape: Sequence[int], output_shape: Sequence[int]) -> int:
        return math.prod(output_shape) * self.in_features


class Flatten(Layer):
    """Merge the axes `start_dim` to `end_dim` into one: by default (N, C, H, W) to (N, C * H * W).

    Parameters
    ----------
    start_dim, end_dim : int
        First and last axis to merge; negative ones count from the end.
    data_format : str
        ``"channels_first"``, or ``"channels_last"``: the channels of the input (N, H, W, C) are its last axis
        and are moved to axis 1 before. The result is that of the channels-first input, so that the weights of
        a linear layer behind this one serve both.

    Raises
    ------
    TypeError
        Axes that are no integers.
    ValueError
        An unknown `data_format`; when called: axes that the input does not have, or the first after the last.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Flatten()(np.zeros((2, 16, 5, 5), np.float32)).shape
    (2, 400)
    >>> pixels = np.array([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]])
    >>> nn.Flatten(data_format="channels_last")(pixels)
    array([[ 1.,  2.,  3., 10., 20., 30.]])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1, *, data_format: str = "channels_first") -> None:
        check_data_format("Flatten", data_format)
        self.start_dim = read_int("Flatten", "start_dim", start_dim, None)
        self.end_dim = read_int("Flatten", "end_dim", end_dim, None)
        self.data_format = data_format

    def _channels_first(self, x: Array) -> Array:
        return np.moveaxis(x, -1, 1) if self.data_format == "channels_last" and x.ndim > 2 else x

    def forward(self, x: Array) -> Array:
        x = self._channels_first(as_numpy("Flatten", "x", x))
        start, end = (axis + x.ndim if axis < 0 else axis for axis in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < x.ndim:
            axes = f"{self.start_dim} to {self.end_dim}"
            raise ValueError(f"Flatten: axes {axes} can't be merged in x of shape {x.shape}")
        return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = as_numpy("Flatten", "x", x)
        first = self._channels_first(x)
        y, shape, moved = self.forward(x), first.shape, first is not x

        def pullback(dy: Array) -> Array:
            dx = dy.reshape(shape)
            return np.ascontiguousarray(np.moveaxis(dx, 1, -1)) if moved else dx

        return y, self._checked(y, pullback)
