"""Gradients of pooling to a given size: adaptive windows, and whole spatial axes at once."""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Array, DataFormat, Shape

_ADAPTIVE_MAX_POOL = """
Each element of `dy` is added to the input position its maximum came from.

Parameters
----------
{dy}
{pool_indices}
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
K. He, X. Zhang, S. Ren and J. Sun, "Spatial pyramid pooling in deep convolutional networks for
visual recognition", ECCV 2014.
"""

_ADAPTIVE_AVG_POOL = """
Each element of `dy` is shared out equally over its window, which `dy` and `input_shape` determine.

Parameters
----------
{dy}
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
K. He, X. Zhang, S. Ren and J. Sun, "Spatial pyramid pooling in deep convolutional networks for
visual recognition", ECCV 2014.
"""

_GLOBAL_MAX_POOL = """
Each element of `dy` goes to the maximum of its channel, the first one among equals.

Parameters
----------
{batch_dy}
{batch}
{keepdims}
{data_format}

Returns
-------
{dx}

Raises
------
{raises}

References
----------
M. Lin, Q. Chen and S. Yan, "Network in network", ICLR 2014, section 3.2.
"""

_GLOBAL_AVG_POOL = """
Each element of `dy` is shared out equally over its channel.

Parameters
----------
{batch_dy}
{input_shape}
{keepdims}
{data_format}

Returns
-------
{dx}

Raises
------
{raises}

References
----------
M. Lin, Q. Chen and S. Yan, "Network in network", ICLR 2014, section 3.2.
"""


@documented(_ADAPTIVE_MAX_POOL, 1)
def adaptive_max_pool1d(
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `adaptive_max_pool1d`.

    >>> x = np.array([[[3, 1, 4, 1, 5]]], np.float32)
    >>> y, indices = fc.adaptive_max_pool1d(x, 3, return_indices=True)
    >>> fc.grad.adaptive_max_pool1d(np.ones_like(y), indices, x.shape)
    array([[[1., 0., 1., 0., 1.]]], dtype=float32)
    """
    return _core.adaptive_max_pool_grad(1, dy, indices, input_shape, data_format)


@documented(_ADAPTIVE_MAX_POOL, 2)
def adaptive_max_pool2d(
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `adaptive_max_pool2d`.

    >>> x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> y, indices = fc.adaptive_max_pool2d(x, (1, 2), return_indices=True)
    >>> fc.grad.adaptive_max_pool2d(np.ones_like(y), indices, x.shape)
    array([[[[0., 0., 0.],
             [0., 0., 0.],
             [0., 1., 1.]]]], dtype=float32)
    """
    return _core.adaptive_max_pool_grad(2, dy, indices, input_shape, data_format)


@documented(_ADAPTIVE_MAX_POOL, 3)
def adaptive_max_pool3d(
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `adaptive_max_pool3d`.

    >>> x = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    >>> y, indices = fc.adaptive_max_pool3d(x, (1, 1, 2), return_indices=True)
    >>> fc.grad.adaptive_max_pool3d(np.ones_like(y), indices, x.shape)[0, 0, 1]
    array([[0., 0.],
           [1., 1.]], dtype=float32)
    """
    return _core.adaptive_max_pool_grad(3, dy, indices, input_shape, data_format)


@documented(_ADAPTIVE_AVG_POOL, 1)
def adaptive_avg_pool1d(
    dy: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `adaptive_avg_pool1d`.

    >>> dy = np.array([[[2, 3, 6]]], np.float32)
    >>> fc.grad.adaptive_avg_pool1d(dy, (1, 1, 5))
    array([[[1., 2., 1., 4., 3.]]], dtype=float32)
    """
    return _core.adaptive_avg_pool_grad(1, dy, input_shape, data_format)


@documented(_ADAPTIVE_AVG_POOL, 2)
def adaptive_avg_pool2d(
    dy: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `adaptive_avg_pool2d`.

    >>> dy = np.array([[[[4, 8]]]], np.float32)
    >>> fc.grad.adaptive_avg_pool2d(dy, (1, 1, 2, 4))
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]], dtype=float32)
    """
    return _core.adaptive_avg_pool_grad(2, dy, input_shape, data_format)


@documented(_ADAPTIVE_AVG_POOL, 3)
def adaptive_avg_pool3d(
    dy: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `adaptive_avg_pool3d`.

    >>> dy = np.array([[[[[8]]]]], np.float32)
    >>> fc.grad.adaptive_avg_pool3d(dy, (1, 1, 2, 2, 2))[0, 0, 0]
    array([[1., 1.],
           [1., 1.]], dtype=float32)
    """
    return _core.adaptive_avg_pool_grad(3, dy, input_shape, data_format)


@documented(_GLOBAL_MAX_POOL)
def global_max_pool(
    dy: Array, x: Array, *, keepdims: bool = False, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `global_max_pool`.

    >>> x = np.array([[[[1, 2], [4, 3]], [[5, 7], [7, 6]]]], np.float32)
    >>> fc.grad.global_max_pool(np.array([[10, 20]], np.float32), x)
    array([[[[ 0.,  0.],
             [10.,  0.]],
    <BLANKLINE>
            [[ 0., 20.],
             [ 0.,  0.]]]], dtype=float32)
    """
    return _core.global_max_pool_grad(dy, x, keepdims, data_format)


@documented(_GLOBAL_AVG_POOL)
def global_avg_pool(
    dy: Array, input_shape: Shape, *, keepdims: bool = False, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `global_avg_pool`.

    >>> dy = np.array([[4, 8]], np.float32)
    >>> fc.grad.global_avg_pool(dy, (1, 2, 2, 2))
    array([[[[1., 1.],
             [1., 1.]],
    <BLANKLINE>
            [[2., 2.],
             [2., 2.]]]], dtype=float32)
    """
    return _core.global_avg_pool_grad(dy, input_shape, keepdims, data_format)
