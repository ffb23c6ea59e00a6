"""Gradients of pooling over neighbouring channels."""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Array, DataFormat, Shape

_CHANNEL_MAX_POOL = """
Each element of `dy` is added to the channel of its window that holds the maximum, the first one among
equals.

Parameters
----------
{batch_dy}
{batch}
{pool_size}
{channel_stride}
{data_format}

Returns
-------
{dx}

Raises
------
{raises}

References
----------
I. J. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville and Y. Bengio, "Maxout networks",
ICML 2013.
"""

_CHANNEL_AVG_POOL = """
Each element of `dy` is shared out equally over the channels of its window.

Parameters
----------
{batch_dy}
{input_shape}
{pool_size}
{channel_stride}
{data_format}

Returns
-------
{dx}

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
    dy: Array,
    x: Array,
    pool_size: int,
    *,
    stride: int | None = None,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Gradient of `channel_max_pool`.

    >>> x = np.array([[[1, 2], [4, 3], [5, 6], [8, 6]]], np.float32)
    >>> fc.grad.channel_max_pool(np.ones((1, 2, 2), np.float32), x, 2)
    array([[[0., 0.],
            [1., 1.],
            [0., 1.],
            [1., 0.]]], dtype=float32)
    """
    return _core.channel_max_pool_grad(dy, x, pool_size, stride, data_format)


@documented(_CHANNEL_AVG_POOL)
def channel_avg_pool(
    dy: Array,
    input_shape: Shape,
    pool_size: int,
    *,
    stride: int | None = None,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Gradient of `channel_avg_pool`.

    >>> dy = np.array([[[2, 4], [6, 8]]], np.float32)
    >>> fc.grad.channel_avg_pool(dy, (1, 4, 2), 2)
    array([[[1., 2.],
            [1., 2.],
            [3., 4.],
            [3., 4.]]], dtype=float32)
    """
    return _core.channel_avg_pool_grad(dy, input_shape, pool_size, stride, data_format)
