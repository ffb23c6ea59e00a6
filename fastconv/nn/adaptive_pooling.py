"""Pooling layers without a window size of their own: adaptive ones, whole planes, and channels.

adaptive   the input is cut into output_size windows along each axis, as equal as can be
global     one value for each channel of each sample
channel    windows slide over the channels, at each position on its own
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastconv import functional, grad
from fastconv._typing import OutputSize
from fastconv.nn.module import Layer, Pullback
from fastconv.nn.parameter import Array


class _AdaptiveAvgPool(Layer):
    function: ClassVar[Callable[..., Array]]
    gradient: ClassVar[Callable[..., Array]]

    def __init__(self, output_size: OutputSize, *, data_format: str = "channels_first") -> None:
        """Set the size of the result.

        Parameters
        ----------
        output_size : int, None, or a sequence of them
            Spatial sizes of the result; ``None`` keeps that axis.
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        """
        self.output_size = output_size
        self.data_format = data_format

    def forward(self, x: Array) -> Array:
        return type(self).function(x, self.output_size, data_format=self.data_format)

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        y, shape = self.forward(x), x.shape

        def pullback(dy: Array) -> Array:
            return type(self).gradient(dy, shape, data_format=self.data_format)

        return y, self._checked(y, pullback)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means over `output_size` windows of a sequence, (N, C, L); see ``help(AdaptiveAvgPool1d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AdaptiveAvgPool1d(2)(np.array([[[1.0, 3.0, 2.0, 0.0]]]))
    array([[[2., 1.]]])
    """

    function = functional.adaptive_avg_pool1d
    gradient = grad.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means over `output_size` windows of an image, (N, C, H, W); see ``help(AdaptiveAvgPool2d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AdaptiveAvgPool2d((6, 6))(np.zeros((1, 4, 13, 17), np.float32)).shape
    (1, 4, 6, 6)
    """

    function = functional.adaptive_avg_pool2d
    gradient = grad.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means over `output_size` windows of a volume, (N, C, D, H, W): ``help(AdaptiveAvgPool3d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AdaptiveAvgPool3d((None, 2, 2))(np.zeros((1, 4, 5, 7, 9), np.float32)).shape
    (1, 4, 5, 2, 2)
    """

    function = functional.adaptive_avg_pool3d
    gradient = grad.adaptive_avg_pool3d


class _AdaptiveMaxPool(Layer):
    function: ClassVar[Callable[..., Any]]
    gradient: ClassVar[Callable[..., Array]]

    def __init__(
        self, output_size: OutputSize, return_indices: bool = False, *, data_format: str = "channels_first"
    ) -> None:
        """Set the size of the result.

        Parameters
        ----------
        output_size : int, None, or a sequence of them
            Spatial sizes of the result; ``None`` keeps that axis.
        return_indices : bool
            Whether calls give ``(y, indices)``.
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        """
        self.output_size = output_size
        self.return_indices = return_indices
        self.data_format = data_format

    def _pool(self, x: Array, return_indices: bool) -> Any:
        return type(self).function(
            x, self.output_size, return_indices=return_indices, data_format=self.data_format
        )

    def forward(self, x: Array) -> Any:
        return self._pool(x, self.return_indices)

    def vjp(self, x: Array) -> tuple[Any, Pullback]:
        x = self._read(x)
        y, indices = self._pool(x, True)
        shape = x.shape

        def pullback(dy: Array) -> Array:
            return type(self).gradient(dy, indices, shape, data_format=self.data_format)

        return ((y, indices) if self.return_indices else y), self._checked(y, pullback)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maxima over `output_size` windows of a sequence, (N, C, L); see ``help(AdaptiveMaxPool1d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AdaptiveMaxPool1d(2)(np.array([[[1.0, 3.0, 2.0, 0.0]]]))
    array([[[3., 2.]]])
    """

    function = functional.adaptive_max_pool1d
    gradient = grad.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maxima over `output_size` windows of an image, (N, C, H, W); see ``help(AdaptiveMaxPool2d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AdaptiveMaxPool2d(7)(np.zeros((1, 4, 13, 17), np.float32)).shape
    (1, 4, 7, 7)
    """

    function = functional.adaptive_max_pool2d
    gradient = grad.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maxima over `output_size` windows of a volume, (N, C, D, H, W): ``help(AdaptiveMaxPool3d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AdaptiveMaxPool3d(2)(np.zeros((1, 4, 5, 7, 9), np.float32)).shape
    (1, 4, 2, 2, 2)
    """

    function = functional.adaptive_max_pool3d
    gradient = grad.adaptive_max_pool3d


class _GlobalPool(Layer):
    def __init__(self, keepdims: bool = False, *, data_format: str = "channels_first") -> None:
        """Set the form of the result.

        Parameters
        ----------
        keepdims : bool
            Whether the spatial axes stay, with size 1.
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        """
        self.keepdims = keepdims
        self.data_format = data_format


class GlobalAvgPool(_GlobalPool):
    """Mean of each channel of each sample, for inputs of any rank with a batch axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.GlobalAvgPool()(np.ones((2, 3, 5, 7), np.float32)).shape
    (2, 3)
    """

    def forward(self, x: Array) -> Array:
        return functional.global_avg_pool(x, keepdims=self.keepdims, data_format=self.data_format)

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        y, shape = self.forward(x), x.shape

        def pullback(dy: Array) -> Array:
            return grad.global_avg_pool(dy, shape, keepdims=self.keepdims, data_format=self.data_format)

        return y, self._checked(y, pullback)


class GlobalMaxPool(_GlobalPool):
    """Largest element of each channel of each sample, for inputs of any rank with a batch axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.GlobalMaxPool(keepdims=True)(np.ones((2, 3, 5, 7), np.float32)).shape
    (2, 3, 1, 1)
    """

    def forward(self, x: Array) -> Array:
        return functional.global_max_pool(x, keepdims=self.keepdims, data_format=self.data_format)

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        y = self.forward(x)

        def pullback(dy: Array) -> Array:
            return grad.global_max_pool(dy, x, keepdims=self.keepdims, data_format=self.data_format)

        return y, self._checked(y, pullback)


class _ChannelPool(Layer):
    def __init__(
        self, pool_size: int, stride: int | None = None, *, data_format: str = "channels_first"
    ) -> None:
        """Set the window.

        Parameters
        ----------
        pool_size, stride : int
            Channels in a window, and the window's step (its size if ``None``).
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        """
        self.pool_size = pool_size
        self.stride = stride
        self.data_format = data_format


class ChannelMaxPool(_ChannelPool):
    """Largest of `pool_size` neighbouring channels, at each position; see ``help(ChannelMaxPool.__init__)``.

    The maxout unit of I. Goodfellow et al., "Maxout networks", ICML 2013, is a convolution followed by this.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ChannelMaxPool(2)(np.ones((1, 6, 5, 5), np.float32)).shape
    (1, 3, 5, 5)
    """

    def forward(self, x: Array) -> Array:
        return functional.channel_max_pool(
            x, self.pool_size, stride=self.stride, data_format=self.data_format
        )

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        y = self.forward(x)

        def pullback(dy: Array) -> Array:
            return grad.channel_max_pool(
                dy, x, self.pool_size, stride=self.stride, data_format=self.data_format
            )

        return y, self._checked(y, pullback)


class ChannelAvgPool(_ChannelPool):
    """Mean of `pool_size` neighbouring channels, at each position; see ``help(ChannelAvgPool.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ChannelAvgPool(3)(np.ones((1, 6, 5, 5), np.float32)).shape
    (1, 2, 5, 5)
    """

    def forward(self, x: Array) -> Array:
        return functional.channel_avg_pool(
            x, self.pool_size, stride=self.stride, data_format=self.data_format
        )

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        y, shape = self.forward(x), x.shape

        def pullback(dy: Array) -> Array:
            return grad.channel_avg_pool(
                dy, shape, self.pool_size, stride=self.stride, data_format=self.data_format
            )

        return y, self._checked(y, pullback)
