"""Pooling of windows that slide over one, two or three spatial axes."""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Array, DataFormat, MaxPoolResult, Padding, Sizes

_MAX_POOL = """
NaN counts as larger than any number, and padding never wins.

Parameters
----------
{x}
{kernel_size}
{pool_stride}
{pool_padding}
{dilation}
{ceil_mode}
return_indices : bool, default False
    Also return where the maxima are; the first one wins among equals.
{data_format}
{out}

Returns
-------
y : ndarray of shape (N, C, {output})
    C-contiguous, of the dtype of `x` and in the layout `data_format`. Each spatial axis is
    `(input + before + after - dilation * (kernel - 1) - 1) // stride + 1` long.
indices : int64 ndarray of the shape of `y`
    With `return_indices=True` only, as `(y, indices)`: the flat position of each maximum in the
    spatial axes of its channel, as `max_unpool{n}d` and the gradient take it.

Raises
------
{raises}

References
----------
V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
arXiv:1603.07285, 2016, chapter 3.
"""

_AVG_POOL = """
The sum of a window is divided by the number of its elements. Those in the padding count too, with the
value zero, unless `count_include_pad=False`; what `ceil_mode` lets a window reach beyond the padding
never counts.

Parameters
----------
{x}
{kernel_size}
{pool_stride}
{pool_padding}
{dilation}
{ceil_mode}
{count_include_pad}
{divisor_override}
{data_format}
{out}

Returns
-------
y : ndarray of shape (N, C, {output})
    C-contiguous, of the dtype of `x` and in the layout `data_format`. Each spatial axis is
    `(input + before + after - dilation * (kernel - 1) - 1) // stride + 1` long.

Raises
------
{raises}

References
----------
Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86(11), 1998, section II.
"""

_LP_POOL = """
That is `(sum of |x|**p) ** (1 / p)`: between the sum (`p=1`) and, as `p` grows, the
maximum of the magnitudes. Padding adds nothing to the sum.

Parameters
----------
{x}
{p}
{kernel_size}
{pool_stride}
{pool_padding}
{ceil_mode}
{data_format}

Returns
-------
y : ndarray of shape (N, C, {output})
    C-contiguous, of the dtype of `x` and in the layout `data_format`. Each spatial axis is
    `(input + before + after - kernel) // stride + 1` long.

Raises
------
{raises}

References
----------
P. Sermanet, S. Chintala and Y. LeCun, "Convolutional neural networks applied to house numbers
digit classification", ICPR 2012.
"""


@documented(_MAX_POOL, 1)
def max_pool1d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    data_format: DataFormat = "channels_first",
    out: NDArray[Any] | None = None,
) -> MaxPoolResult:
    """Maximum of windows over one spatial axis.

    >>> x = np.array([[[3, 1, 4, 1, 5, 9]]], np.float32)
    >>> fc.max_pool1d(x, 2)
    array([[[3., 4., 9.]]], dtype=float32)
    >>> y, indices = fc.max_pool1d(x, 3, stride=2, return_indices=True)
    >>> indices
    array([[[2, 4]]])
    """
    return _core.max_pool(
        1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, data_format, out
    )


@documented(_MAX_POOL, 2)
def max_pool2d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    data_format: DataFormat = "channels_first",
    out: NDArray[Any] | None = None,
) -> MaxPoolResult:
    """Maximum of windows over two spatial axes.

    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> y, indices = fc.max_pool2d(x, 2, return_indices=True)
    >>> y
    array([[[[ 5.,  7.],
             [13., 15.]]]], dtype=float32)
    >>> indices
    array([[[[ 5,  7],
             [13, 15]]]])
    >>> fc.max_pool2d(x, 3, stride=2, padding="same").shape
    (1, 1, 2, 2)
    """
    return _core.max_pool(
        2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, data_format, out
    )


@documented(_MAX_POOL, 3)
def max_pool3d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    data_format: DataFormat = "channels_first",
    out: NDArray[Any] | None = None,
) -> MaxPoolResult:
    """Maximum of windows over three spatial axes.

    >>> x = np.arange(64, dtype=np.float32).reshape(1, 1, 4, 4, 4)
    >>> fc.max_pool3d(x, (4, 2, 2))
    array([[[[[53., 55.],
              [61., 63.]]]]], dtype=float32)
    """
    return _core.max_pool(
        3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, data_format, out
    )


@documented(_AVG_POOL, 1)
def avg_pool1d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: DataFormat = "channels_first",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Mean of windows over one spatial axis.

    >>> x = np.array([[[2, 4, 6, 8]]], np.float32)
    >>> fc.avg_pool1d(x, 2)
    array([[[3., 7.]]], dtype=float32)
    >>> fc.avg_pool1d(x, 2, stride=3, padding=1)
    array([[[1., 7.]]], dtype=float32)
    >>> fc.avg_pool1d(x, 2, stride=3, padding=1, count_include_pad=False)
    array([[[2., 7.]]], dtype=float32)
    """
    return _core.avg_pool(
        1, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override,
        data_format, out,
    )  # fmt: skip


@documented(_AVG_POOL, 2)
def avg_pool2d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: DataFormat = "channels_first",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Mean of windows over two spatial axes.

    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> fc.avg_pool2d(x, 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]], dtype=float32)
    """
    return _core.avg_pool(
        2, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override,
        data_format, out,
    )  # fmt: skip


@documented(_AVG_POOL, 3)
def avg_pool3d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: DataFormat = "channels_first",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Mean of windows over three spatial axes.

    >>> x = np.arange(64, dtype=np.float32).reshape(1, 1, 4, 4, 4)
    >>> fc.avg_pool3d(x, (4, 2, 2))
    array([[[[[26.5, 28.5],
              [34.5, 36.5]]]]], dtype=float32)
    """
    return _core.avg_pool(
        3, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override,
        data_format, out,
    )  # fmt: skip


@documented(_LP_POOL, 1)
def lp_pool1d(
    x: Array,
    p: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """p-norm of windows over one spatial axis.

    >>> x = np.array([[[3, -4, 6, 8]]], np.float32)
    >>> fc.lp_pool1d(x, 2, 2)
    array([[[ 5., 10.]]], dtype=float32)
    """
    return _core.lp_pool(1, x, p, kernel_size, stride, padding, ceil_mode, data_format)


@documented(_LP_POOL, 2)
def lp_pool2d(
    x: Array,
    p: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """p-norm of windows over two spatial axes.

    >>> x = np.array([[[[1, 3, 0, 0], [1, 5, 0, -2]]]], np.float32)
    >>> fc.lp_pool2d(x, 2, 2)
    array([[[[6., 2.]]]], dtype=float32)
    """
    return _core.lp_pool(2, x, p, kernel_size, stride, padding, ceil_mode, data_format)


@documented(_LP_POOL, 3)
def lp_pool3d(
    x: Array,
    p: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """p-norm of windows over three spatial axes.

    >>> x = np.ones((1, 1, 2, 4, 4), np.float32)
    >>> fc.lp_pool3d(x, 1, 2)
    array([[[[[8., 8.],
              [8., 8.]]]]], dtype=float32)
    """
    return _core.lp_pool(3, x, p, kernel_size, stride, padding, ceil_mode, data_format)
