"""Convolution and transposed convolution as layers, in one, two and three dimensions.

    convolution   weight (out_channels, in_channels // groups, *kernel), bias (out_channels,)
    transposed    weight (in_channels, out_channels // groups, *kernel), bias (out_channels,)

for both data formats, as in PyTorch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional, grad
from fastconv._typing import Padding, Sizes
from fastconv.nn.activations import ActivatedLayer
from fastconv.nn.arguments import read_int, read_sizes
from fastconv.nn.init import initialiser
from fastconv.nn.module import Layer, Pullback, Rng
from fastconv.nn.parameter import Array, Parameter
from fastconv.nn.pooled_convolution import pooled


class _FilterLayer(ActivatedLayer, ABC):
    """What convolution and its transpose share: the filters, and the calls of function and gradient."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Array]]
    gradient: ClassVar[Callable[..., tuple[Any, Any, Any]]]

    in_channels: int
    out_channels: int
    groups: int
    kernel_size: tuple[int, ...]
    weight: Parameter
    bias: Parameter | None

    def _set_channels(self, in_channels: int, out_channels: int, kernel_size: Sizes, groups: int) -> None:
        kind = type(self).__name__
        self.in_channels = read_int(kind, "in_channels", in_channels)
        self.out_channels = read_int(kind, "out_channels", out_channels)
        self.groups = read_int(kind, "groups", groups)
        self.kernel_size = read_sizes(kind, "kernel_size", kernel_size, self.rank)
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"{kind}: {name} must be divisible by groups={self.groups}, got {getattr(self, name)}"
                )

    def _draw_filters(self, transposed: bool, bias: bool, init: str, rng: Rng, dtype: DTypeLike) -> None:
        inputs, outputs, taps = self.in_channels, self.out_channels, math.prod(self.kernel_size)
        fans = (inputs // self.groups * taps, outputs // self.groups * taps)
        leading = (inputs, outputs // self.groups) if transposed else (outputs, inputs // self.groups)
        weight = initialiser(init)((*leading, *self.kernel_size), rng, fans=fans, dtype=dtype)
        self.weight = Parameter(weight, "weight")
        self.bias = Parameter(np.zeros(outputs, dtype), "bias") if bias else None

    @abstractmethod
    def _keywords(self) -> dict[str, Any]:
        """Return the function's keywords."""

    def forward(self, x: Array) -> Array:
        bias = None if self.bias is None else self.bias.data
        return type(self).function(x, self.weight.data, bias, **self._keywords())

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        y = self.forward(x)
        kept = y if self.activation else None
        return y, self._skipping(y, lambda dy, needs_dx: self.pull_back(dy, x, kept, needs_dx))

    def pull_back(self, dy: Array, x: Array, y: Array | None, needs_dx: bool) -> Array:
        """Add the parameters' gradients at `x` and return that by `x`; an activation wants its result `y`."""
        dx: Array
        dx, dw, db = type(self).gradient(
            dy,
            x,
            self.weight.data,
            b=None if self.bias is None else self.bias.data,
            y=y,
            needs=(needs_dx, True, self.bias is not None),
            **self._keywords(),
        )
        self.weight.accumulate(dw)
        if self.bias is not None:
            self.bias.accumulate(db)
        return dx


class Convolution(_FilterLayer):
    """Convolution of any rank."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        data_format: str = "channels_first",
        activation: str | None = None,
        precision: str | None = None,
        init: str = "he",
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        """Make the layer and draw its filters.

        Parameters
        ----------
        in_channels, out_channels : int
            Channels of input and output; both divisible by `groups`.
        kernel_size : int or sequence of int
            Size of the filters along each spatial axis.
        stride, dilation : int or sequence of int
            Step of the window, and of the taps within it, in input elements.
        padding : int, sequence of int, sequence of (before, after), or str
            ``"valid"``, ``"same"``, ``"full"`` or, in 1-D, ``"causal"``; see ``fastconv.conv2d``.
        groups : int
            Number of independent convolutions that share the channels out among them.
        bias : bool
            Whether a bias is added to each output channel; it starts at zero.
        padding_mode : str
            ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        data_format : str
            ``"channels_first"`` (N, C, *spatial) or ``"channels_last"`` (N, *spatial, C).
        activation : str, optional
            ``"relu"``, ``"relu6"``, ``"leaky_relu"``, ``"sigmoid"``, ``"tanh"``, ``"gelu"`` or ``"silu"``,
            computed in the same pass.
        precision : str, optional
            ``"highest"``, ``"high"`` or ``"medium"``; ``None`` takes ``fastconv.get_precision()``.
        init : str
            How the filters are drawn: ``"he"``, ``"glorot"``, ``"zeros"``, or another name of
            ``fastconv.nn.init``.
        rng : numpy.random.Generator or int, optional
            Where the draw comes from; an int is a seed.
        dtype : dtype
            Of the parameters, and so of the inputs.

        Raises
        ------
        TypeError
            Channels, groups or a kernel that are not made of integers.
        ValueError
            Sizes below 1, channels that `groups` does not divide, a kernel of another rank, an unknown
            `init`.
        """
        self._set_channels(in_channels, out_channels, kernel_size, groups)
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.padding_mode = padding_mode
        self.data_format = data_format
        self.activation = activation
        self.precision = precision
        self._draw_filters(False, bias, init, rng, dtype)

    def _keywords(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.padding_mode,
            "data_format": self.data_format,
            "activation": self.activation,
            "precision": self.precision,
        }

    def followed_by(self, layer: Layer) -> Layer | None:
        return pooled(self, layer) or super().followed_by(layer)

    def multiply_adds(self, input_shape: Sequence[int], output_shape: Sequence[int]) -> int:
        return math.prod(output_shape) * math.prod(self.weight.data.shape[1:])


class Conv1d(Convolution):
    """Convolution (cross-correlation) over sequences: (N, C, L) to (N, K, L_out).

    Arguments, attributes and errors are those of all convolution layers, see ``help(Conv1d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.Conv1d(4, 8, 3, padding="causal", dilation=2, rng=0)
    >>> layer(np.zeros((2, 4, 100), np.float32)).shape
    (2, 8, 100)
    """

    rank = 1
    function = functional.conv1d
    gradient = grad.conv1d


class Conv2d(Convolution):
    """Convolution (cross-correlation) over images: (N, C, H, W) to (N, K, H_out, W_out).

    Arguments, attributes and errors are those of all convolution layers, see ``help(Conv2d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.Conv2d(3, 8, 3, stride=2, padding=1, activation="relu", rng=0)
    >>> y = layer(np.ones((2, 3, 32, 32), np.float32))
    >>> y.shape
    (2, 8, 16, 16)
    >>> layer.backward(np.ones_like(y)).shape
    (2, 3, 32, 32)
    >>> layer.weight.grad.shape
    (8, 3, 3, 3)
    """

    rank = 2
    function = functional.conv2d
    gradient = grad.conv2d


class Conv3d(Convolution):
    """Convolution (cross-correlation) over volumes: (N, C, D, H, W) to (N, K, D_out, H_out, W_out).

    Arguments, attributes and errors are those of all convolution layers, see ``help(Conv3d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Conv3d(1, 10, 3, rng=0)(np.zeros((1, 1, 8, 8, 8), np.float32)).shape
    (1, 10, 6, 6, 6)
    """

    rank = 3
    function = functional.conv3d
    gradient = grad.conv3d


class _ConvTranspose(_FilterLayer):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        *,
        data_format: str = "channels_first",
        activation: str | None = None,
        precision: str | None = None,
        init: str = "he",
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        """Make the layer and draw its filters; the order of the arguments is PyTorch's.

        Parameters
        ----------
        in_channels, out_channels, kernel_size, groups, bias, data_format, activation, precision, init, rng,
        dtype
            As in the convolution layers.
        stride, dilation : int or sequence of int
            Step between the places, in output elements, where neighbouring inputs, and neighbouring taps, are
            added.
        padding : int, sequence of int, sequence of (before, after), or str
            Elements cut off the output's ends; ``"valid"`` cuts none, ``"same"`` makes the output input ×
            stride.
        output_padding : int or sequence of int
            Elements added to the output's far end, to tell apart the sizes that a strided convolution maps to
            one.

        Raises
        ------
        TypeError
            Channels, groups or a kernel that are not made of integers.
        ValueError
            Sizes below 1, channels that `groups` does not divide, a kernel of another rank, an unknown
            `init`.
        """
        self._set_channels(in_channels, out_channels, kernel_size, groups)
        self.stride = stride
        self.padding = padding
        self.output_padding = output_padding
        self.dilation = dilation
        self.data_format = data_format
        self.activation = activation
        self.precision = precision
        self._draw_filters(True, bias, init, rng, dtype)

    def _keywords(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "data_format": self.data_format,
            "activation": self.activation,
            "precision": self.precision,
        }

    def multiply_adds(self, input_shape: Sequence[int], output_shape: Sequence[int]) -> int:
        return math.prod(input_shape) * math.prod(self.weight.data.shape[1:])


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over sequences: (N, C, L) to (N, K, L_out).

    Arguments, attributes and errors are those of all such layers, see ``help(ConvTranspose1d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ConvTranspose1d(4, 2, 4, stride=2, padding=1, rng=0)(np.zeros((1, 4, 10), np.float32)).shape
    (1, 2, 20)
    """

    rank = 1
    function = functional.conv_transpose1d
    gradient = grad.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over images: (N, C, H, W) to (N, K, H_out, W_out).

    Arguments, attributes and errors are those of all such layers, see ``help(ConvTranspose2d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ConvTranspose2d(16, 3, 2, stride=2, rng=0)(np.zeros((1, 16, 7, 9), np.float32)).shape
    (1, 3, 14, 18)
    """

    rank = 2
    function = functional.conv_transpose2d
    gradient = grad.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over volumes: (N, C, D, H, W) to (N, K, D_out, H_out, W_out).

    Arguments, attributes and errors are those of all such layers, see ``help(ConvTranspose3d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ConvTranspose3d(2, 1, 3, rng=0)(np.zeros((1, 2, 4, 4, 4), np.float32)).shape
    (1, 1, 6, 6, 6)
    """

    rank = 3
    function = functional.conv_transpose3d
    gradient = grad.conv_transpose3d
