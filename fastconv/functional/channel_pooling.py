"""Pooling over neighbouring channels, with any number of spatial axes."""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Array, DataFormat

_CHANNEL_MAX_POOL = """
The windows lie along the channel axis, at every spatial position: a maxout unit. NaN counts as larger
than any number.

Parameters
----------
{batch}
{pool_size}
{channel_stride}
{data_format}

Returns
-------
y : ndarray of shape (N, (C - pool_size) // stride + 1, *spatial)
    C-contiguous, of the dtype of `x` and in the layout `data_format`.

Raises
------
{raises}

References
----------
I. J. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville and Y. Bengio, "Maxout networks",
ICML 2013.
"""

_CHANNEL_AVG_POOL = """
The windows lie along the channel axis, at every spatial position.

Parameters
----------
{batch}
{pool_size}
{channel_stride}
{data_format}

Returns
-------
y : ndarray of shape (N, (C - pool_size) // stride + 1, *spatial)
    C-contiguous, of the dtype of `x` and in the layout `data_format`.

Raises
------
{raises}

References
----------
I. J. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville and Y. Bengio, "Maxout networks",
ICML 2013.
"""


@documented(_CHANNEL_MAX_POOL)
def channel_max_pool(
    x: Array, pool_size: int, *, stride: int | None = None, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Maximum over neighbouring channels.

    >>> x = np.array([[[1, 2], [4, 3], [5, 6], [8, 7]]], np.float32)
    >>> fc.channel_max_pool(x, 2)
    array([[[4., 3.],
            [8., 7.]]], dtype=float32)
    >>> fc.channel_max_pool(x, 2, stride=1).shape
    (1, 3, 2)
    """
    return _core.channel_max_pool(x, pool_size, stride, data_format)


@documented(_CHANNEL_AVG_POOL)
def channel_avg_pool(
    x: Array, pool_size: int, *, stride: int | None = None, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Mean over neighbouring channels.

    >>> x = np.array([[[1, 2], [4, 3], [5, 6], [8, 7]]], np.float32)
    >>> fc.channel_avg_pool(x, 2)
    array([[[2.5, 2.5],
            [6.5, 6.5]]], dtype=float32)
    """
    return _core.channel_avg_pool(x, pool_size, stride, data_format)
