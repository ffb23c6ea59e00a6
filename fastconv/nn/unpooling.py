"""Unpooling: values go back to the places where a max pool found them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fastconv import functional, grad
from fastconv._typing import Padding, Sizes
from fastconv.nn.module import Layer, Pullback
from fastconv.nn.parameter import Array


class _MaxUnpool(Layer):
    function: ClassVar[Callable[..., Array]]
    gradient: ClassVar[Callable[..., Array]]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        *,
        data_format: str = "channels_first",
    ) -> None:
        """Set the window of the max pool to undo.

        The layer takes two inputs, ``layer(x, indices)`` and ``layer.vjp(x, indices)``, and a third,
        ``output_size``, that names the spatial sizes of the result where the window does not tell them.
        Its gradient is that of x.

        Parameters
        ----------
        kernel_size, stride, padding
            Those of the max pool.
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        """
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.data_format = data_format

    def forward(  # type: ignore[override]  # a layer of two inputs
        self, x: Array, indices: Array, output_size: Sequence[int] | None = None
    ) -> Any:
        """Compute the unpooled array: zeros but for `x` at `indices`."""
        return type(self).function(
            x,
            indices,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            output_size=output_size,
            data_format=self.data_format,
        )

    def vjp(  # type: ignore[override]  # a layer of two inputs
        self, x: Array, indices: Array, output_size: Sequence[int] | None = None
    ) -> tuple[Any, Pullback]:
        """Compute the unpooled array and the pullback ``dy -> dx``."""
        x = self._read(x)
        y, shape = self.forward(x, indices, output_size), x.shape

        def pullback(dy: Array) -> Array:
            return type(self).gradient(dy, indices, shape, data_format=self.data_format)

        return y, self._checked(y, pullback)


class MaxUnpool1d(_MaxUnpool):
    """Put values back where ``MaxPool1d`` found them; see ``help(MaxUnpool1d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> y, indices = nn.MaxPool1d(2, return_indices=True)(np.array([[[1.0, 3.0, 2.0, 0.0]]]))
    >>> nn.MaxUnpool1d(2)(y, indices)
    array([[[0., 3., 2., 0.]]])
    """

    function = functional.max_unpool1d
    gradient = grad.max_unpool1d


class MaxUnpool2d(_MaxUnpool):
    """Put values back where ``MaxPool2d`` found them; see ``help(MaxUnpool2d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> y, indices = nn.MaxPool2d(2, return_indices=True)(np.zeros((1, 3, 8, 8), np.float32))
    >>> nn.MaxUnpool2d(2)(y, indices).shape
    (1, 3, 8, 8)
    """

    function = functional.max_unpool2d
    gradient = grad.max_unpool2d


class MaxUnpool3d(_MaxUnpool):
    """Put values back where ``MaxPool3d`` found them; see ``help(MaxUnpool3d.__init__)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> y, indices = nn.MaxPool3d(2, return_indices=True)(np.zeros((1, 3, 4, 4, 4), np.float32))
    >>> nn.MaxUnpool3d(2)(y, indices).shape
    (1, 3, 4, 4, 4)
    """

    function = functional.max_unpool3d
    gradient = grad.max_unpool3d
