"""Gradient of the undoing of max pooling."""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Array, DataFormat, Shape

_MAX_UNPOOL = """
Each pooled value was put to one position of the result: its gradient is the element of `dy` there.

Parameters
----------
dy : array of shape (N, C, {spatial})
    Gradient of the loss with respect to the result, or (N, {spatial}, C) with
    `data_format="channels_last"`. `N` may be left out where the forward call left it out.
indices : int64 array of shape (N, C, {output})
    Those of the forward call.
{input_shape}
{data_format}

Returns
-------
{dx}

Raises
------
{raises}

References
----------
M. D. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014,
section 2.1.
"""


@documented(_MAX_UNPOOL, 1)
def max_unpool1d(
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `max_unpool1d`.

    >>> dy = np.array([[[10, 20, 30, 40]]], np.float32)
    >>> indices = np.array([[[0, 3]]])
    >>> fc.grad.max_unpool1d(dy, indices, (1, 1, 2))
    array([[[10., 40.]]], dtype=float32)
    """
    return _core.max_unpool_grad(1, dy, indices, input_shape, data_format)


@documented(_MAX_UNPOOL, 2)
def max_unpool2d(
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `max_unpool2d`.

    >>> dy = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> indices = np.array([[[[5, 7], [13, 15]]]])
    >>> fc.grad.max_unpool2d(dy, indices, (1, 1, 2, 2))
    array([[[[ 5.,  7.],
             [13., 15.]]]], dtype=float32)
    """
    return _core.max_unpool_grad(2, dy, indices, input_shape, data_format)


@documented(_MAX_UNPOOL, 3)
def max_unpool3d(
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `max_unpool3d`.

    >>> dy = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    >>> indices = np.array([[[[[6]]]]])
    >>> fc.grad.max_unpool3d(dy, indices, (1, 1, 1, 1, 1))
    array([[[[[6.]]]]], dtype=float32)
    """
    return _core.max_unpool_grad(3, dy, indices, input_shape, data_format)
