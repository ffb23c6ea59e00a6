"""Pooling with windows of a given size, as layers: maximum, mean, p-norm.

Arguments are PyTorch's, in PyTorch's order; `data_format` and what PyTorch does not have are keywords. A
`stride` of ``None`` is the window's own size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastconv import _core, functional, grad
from fastconv._typing import Padding, Sizes
from fastconv.nn.module import Layer, Pullback
from fastconv.nn.parameter import Array


class _Pool(Layer):
    """A pooling function and its gradient, for one rank."""

    function: ClassVar[Callable[..., Any]]
    gradient: ClassVar[Callable[..., Array]]


class MaxPool(_Pool):
    """Max pool of any rank."""

    rank: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        data_format: str = "channels_first",
    ) -> None:
        """Set the window.

        Parameters
        ----------
        kernel_size, stride, dilation : int or sequence of int
            Size of the window, its step (the window's size if ``None``), and the step of the elements within
            it.
        padding : int, sequence of int, sequence of (before, after), or str
            Elements beyond the ends; they never win.
        return_indices : bool
            Whether calls give ``(y, indices)``, for a ``MaxUnpool`` layer.
        ceil_mode : bool
            Whether a window that overhangs the far end is kept.
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        """
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        self.data_format = data_format

    def window(self) -> tuple[Sizes, Sizes | None, Padding, Sizes, bool]:
        """Return `kernel_size`, `stride`, `padding`, `dilation` and `ceil_mode`."""
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode

    def forward(self, x: Array) -> Any:
        return type(self).function(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
            data_format=self.data_format,
        )

    def vjp(self, x: Array) -> tuple[Any, Pullback]:
        x = self._read(x)
        if not self.return_indices:
            y, index = _core.max_pool_with_index(self.rank, x, *self.window(), self.data_format)
            return y, self._checked(y, index.gradient)
        y, indices = self.forward(x)
        shape = x.shape

        def pullback(dy: Array) -> Array:
            return type(self).gradient(dy, indices, shape, data_format=self.data_format)

        return (y, indices), self._checked(y, pullback)


class MaxPool1d(MaxPool):
    """Largest element of each window of a sequence, (N, C, L); see ``help(MaxPool1d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.MaxPool1d(2)(np.array([[[1.0, 3.0, 2.0, 0.0]]]))
    array([[[3., 2.]]])
    """

    rank = 1
    function = functional.max_pool1d
    gradient = grad.max_pool1d


class MaxPool2d(MaxPool):
    """Largest element of each window of an image, (N, C, H, W); see ``help(MaxPool2d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.MaxPool2d(3, stride=2, padding=1)(np.zeros((1, 8, 32, 32), np.float32)).shape
    (1, 8, 16, 16)
    """

    rank = 2
    function = functional.max_pool2d
    gradient = grad.max_pool2d


class MaxPool3d(MaxPool):
    """Largest element of each window of a volume, (N, C, D, H, W); see ``help(MaxPool3d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.MaxPool3d(2)(np.zeros((1, 2, 4, 6, 8), np.float32)).shape
    (1, 2, 2, 3, 4)
    """

    rank = 3
    function = functional.max_pool3d
    gradient = grad.max_pool3d


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        dilation: Sizes = 1,
        data_format: str = "channels_first",
    ) -> None:
        """Set the window.

        Parameters
        ----------
        kernel_size, stride, dilation : int or sequence of int
            Size of the window, its step (the window's size if ``None``), and the step of the elements within
            it.
        padding : int, sequence of int, sequence of (before, after), or str
            Zeros beyond the ends.
        ceil_mode : bool
            Whether a window that overhangs the far end is kept.
        count_include_pad : bool
            Whether padding counts in the divisor.
        divisor_override : int, optional
            The divisor to use instead of the count.
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        """
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override
        self.dilation = dilation
        self.data_format = data_format

    def _keywords(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
            "divisor_override": self.divisor_override,
            "data_format": self.data_format,
        }

    def forward(self, x: Array) -> Any:
        return type(self).function(x, self.kernel_size, **self._keywords())

    def vjp(self, x: Array) -> tuple[Any, Pullback]:
        x = self._read(x)
        y, shape = self.forward(x), x.shape

        def pullback(dy: Array) -> Array:
            return type(self).gradient(dy, shape, self.kernel_size, **self._keywords())

        return y, self._checked(y, pullback)


class AvgPool1d(_AvgPool):
    """Mean of each window of a sequence, (N, C, L); see ``help(AvgPool1d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AvgPool1d(2)(np.array([[[1.0, 3.0, 2.0, 0.0]]]))
    array([[[2., 1.]]])
    """

    function = functional.avg_pool1d
    gradient = grad.avg_pool1d


class AvgPool2d(_AvgPool):
    """Mean of each window of an image, (N, C, H, W); see ``help(AvgPool2d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AvgPool2d(2)(np.zeros((1, 6, 28, 28), np.float32)).shape
    (1, 6, 14, 14)
    """

    function = functional.avg_pool2d
    gradient = grad.avg_pool2d


class AvgPool3d(_AvgPool):
    """Mean of each window of a volume, (N, C, D, H, W); see ``help(AvgPool3d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AvgPool3d(2)(np.zeros((1, 2, 4, 6, 8), np.float32)).shape
    (1, 2, 2, 3, 4)
    """

    function = functional.avg_pool3d
    gradient = grad.avg_pool3d


class _LPPool(_Pool):
    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
        *,
        padding: Padding = 0,
        data_format: str = "channels_first",
    ) -> None:
        """Set the window and the norm.

        Parameters
        ----------
        norm_type : float
            The power p of ``(sum |x|^p)^(1/p)``.
        kernel_size, stride : int or sequence of int
            Size of the window and its step (the window's size if ``None``).
        ceil_mode : bool
            Whether a window that overhangs the far end is kept.
        padding : int, sequence of int, sequence of (before, after), or str
            Zeros beyond the ends.
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        """
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode
        self.padding = padding
        self.data_format = data_format

    def _keywords(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "data_format": self.data_format,
        }

    def forward(self, x: Array) -> Any:
        return type(self).function(x, self.norm_type, self.kernel_size, **self._keywords())

    def vjp(self, x: Array) -> tuple[Any, Pullback]:
        x = self._read(x)
        y = self.forward(x)

        def pullback(dy: Array) -> Array:
            return type(self).gradient(dy, x, y, self.norm_type, self.kernel_size, **self._keywords())

        return y, self._checked(y, pullback)


class LPPool1d(_LPPool):
    """p-norm of each window of a sequence, (N, C, L); see ``help(LPPool1d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LPPool1d(2, 2)(np.array([[[3.0, 4.0]]]))
    array([[[5.]]])
    """

    function = functional.lp_pool1d
    gradient = grad.lp_pool1d


class LPPool2d(_LPPool):
    """p-norm of each window of an image, (N, C, H, W); see ``help(LPPool2d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LPPool2d(2, 2)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    function = functional.lp_pool2d
    gradient = grad.lp_pool2d


class LPPool3d(_LPPool):
    """p-norm of each window of a volume, (N, C, D, H, W); see ``help(LPPool3d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LPPool3d(2, 2)(np.zeros((1, 3, 4, 4, 4), np.float32)).shape
    (1, 3, 2, 2, 2)
    """

    function = functional.lp_pool3d
    gradient = grad.lp_pool3d
