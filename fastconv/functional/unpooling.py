"""The undoing of max pooling over one, two or three spatial axes."""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Array, DataFormat, Padding, Shape, Sizes

_MAX_UNPOOL = """
Puts every pooled value back to the position its maximum came from, and zero everywhere else: a
partial inverse of `max_pool{n}d`. `kernel_size`, `stride` and `padding` are those of the pooling.

Parameters
----------
x : array of shape (N, C, {output})
    Pooled values, or (N, {output}, C) with `data_format="channels_last"`, of dtype float32, float64,
    float16 or bfloat16. `N` may be left out, and is then left out of the result.
indices : int64 array of the shape of `x`
    What `max_pool{n}d` returned beside its result.
{kernel_size}
{pool_stride}
{pool_padding}
output_size : sequence of {ints}, optional
    Spatial sizes of the result, each less than a stride from the one below. `None` takes those.
{data_format}

Returns
-------
y : ndarray of shape (N, C, {spatial})
    C-contiguous, of the dtype of `x` and in the layout `data_format`. Unless `output_size` says
    otherwise, each spatial axis is `(pooled - 1) * stride - before - after + kernel` long.

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
    x: Array,
    indices: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    output_size: Shape | None = None,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Put the maxima of `max_pool1d` back in their places.

    >>> x = np.array([[[3, 1, 4, 1, 5, 9]]], np.float32)
    >>> y, indices = fc.max_pool1d(x, 2, return_indices=True)
    >>> fc.max_unpool1d(y, indices, 2)
    array([[[3., 0., 4., 0., 0., 9.]]], dtype=float32)
    """
    return _core.max_unpool(1, x, indices, kernel_size, stride, padding, output_size, data_format)


@documented(_MAX_UNPOOL, 2)
def max_unpool2d(
    x: Array,
    indices: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    output_size: Shape | None = None,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Put the maxima of `max_pool2d` back in their places.

    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> y, indices = fc.max_pool2d(x, 2, return_indices=True)
    >>> fc.max_unpool2d(y, indices, 2)
    array([[[[ 0.,  0.,  0.,  0.],
             [ 0.,  5.,  0.,  7.],
             [ 0.,  0.,  0.,  0.],
             [ 0., 13.,  0., 15.]]]], dtype=float32)
    """
    return _core.max_unpool(2, x, indices, kernel_size, stride, padding, output_size, data_format)


@documented(_MAX_UNPOOL, 3)
def max_unpool3d(
    x: Array,
    indices: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    output_size: Shape | None = None,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Put the maxima of `max_pool3d` back in their places.

    >>> x = np.arange(64, dtype=np.float32).reshape(1, 1, 4, 4, 4)
    >>> y, indices = fc.max_pool3d(x, 3, return_indices=True)
    >>> unpooled = fc.max_unpool3d(y, indices, 3, output_size=(4, 4, 4))
    >>> unpooled.shape
    (1, 1, 4, 4, 4)
    >>> unpooled[0, 0, 2, 2]
    array([ 0.,  0., 42.,  0.], dtype=float32)
    """
    return _core.max_unpool(3, x, indices, kernel_size, stride, padding, output_size, data_format)
