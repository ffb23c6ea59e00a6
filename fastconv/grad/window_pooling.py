"""Gradients of pooling over windows that slide over one, two or three spatial axes."""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Array, DataFormat, Padding, Shape, Sizes

_MAX_POOL = """
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
Y.-L. Boureau, J. Ponce and Y. LeCun, "A theoretical analysis of feature pooling in visual
recognition", ICML 2010.
"""

_AVG_POOL = """
Each element of `dy` is shared out equally over its window: divided by the window's divisor, and added
to each of its positions. The keywords are those of the forward call.

Parameters
----------
{dy}
{input_shape}
{kernel_size}
{pool_stride}
{pool_padding}
{dilation}
{ceil_mode}
{count_include_pad}
{divisor_override}
{data_format}

Returns
-------
{dx}

Raises
------
{raises}

References
----------
Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86(11), 1998, section II.
"""

_LP_POOL = """
Each element of `dy` adds `dy * sign(x) * (|x| / y) ** (p - 1)` to every position of its window, and
nothing where `y` is zero. The keywords are those of the forward call.

Parameters
----------
{dy}
x : array of shape (N, C, {spatial})
    Input of the forward call, in the layout `data_format` and of the dtype of `dy`.
y : array of the shape of `dy`
    Result of the forward call.
{p}
{kernel_size}
{pool_stride}
{pool_padding}
{ceil_mode}
{data_format}

Returns
-------
{dx}

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
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `max_pool1d`.

    >>> x = np.array([[[3, 1, 4, 1, 5, 9]]], np.float32)
    >>> y, indices = fc.max_pool1d(x, 3, stride=1, return_indices=True)
    >>> fc.grad.max_pool1d(np.ones_like(y), indices, x.shape)
    array([[[0., 0., 2., 0., 1., 1.]]], dtype=float32)
    """
    return _core.max_pool_grad(1, dy, indices, input_shape, data_format)


@documented(_MAX_POOL, 2)
def max_pool2d(
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `max_pool2d`.

    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> y, indices = fc.max_pool2d(x, 2, return_indices=True)
    >>> fc.grad.max_pool2d(np.ones_like(y), indices, x.shape)
    array([[[[0., 0., 0., 0.],
             [0., 1., 0., 1.],
             [0., 0., 0., 0.],
             [0., 1., 0., 1.]]]], dtype=float32)
    """
    return _core.max_pool_grad(2, dy, indices, input_shape, data_format)


@documented(_MAX_POOL, 3)
def max_pool3d(
    dy: Array, indices: Array, input_shape: Shape, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Gradient of `max_pool3d`.

    >>> x = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    >>> y, indices = fc.max_pool3d(x, (1, 2, 2), return_indices=True)
    >>> fc.grad.max_pool3d(np.ones_like(y), indices, x.shape)
    array([[[[[0., 0.],
              [0., 1.]],
    <BLANKLINE>
             [[0., 0.],
              [0., 1.]]]]], dtype=float32)
    """
    return _core.max_pool_grad(3, dy, indices, input_shape, data_format)


@documented(_AVG_POOL, 1)
def avg_pool1d(
    dy: Array,
    input_shape: Shape,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Gradient of `avg_pool1d`.

    >>> dy = np.array([[[2, 6]]], np.float32)
    >>> fc.grad.avg_pool1d(dy, (1, 1, 5), 2)
    array([[[1., 1., 3., 3., 0.]]], dtype=float32)
    """
    return _core.avg_pool_grad(
        1, dy, input_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad,
        divisor_override, data_format,
    )  # fmt: skip


@documented(_AVG_POOL, 2)
def avg_pool2d(
    dy: Array,
    input_shape: Shape,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Gradient of `avg_pool2d`.

    >>> dy = np.array([[[[4, 8]]]], np.float32)
    >>> fc.grad.avg_pool2d(dy, (1, 1, 2, 3), 2, stride=1)
    array([[[[1., 3., 2.],
             [1., 3., 2.]]]], dtype=float32)
    """
    return _core.avg_pool_grad(
        2, dy, input_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad,
        divisor_override, data_format,
    )  # fmt: skip


@documented(_AVG_POOL, 3)
def avg_pool3d(
    dy: Array,
    input_shape: Shape,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Gradient of `avg_pool3d`.

    >>> dy = np.array([[[[[8]]]]], np.float32)
    >>> fc.grad.avg_pool3d(dy, (1, 1, 2, 2, 2), 2)
    array([[[[[1., 1.],
              [1., 1.]],
    <BLANKLINE>
             [[1., 1.],
              [1., 1.]]]]], dtype=float32)
    """
    return _core.avg_pool_grad(
        3, dy, input_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad,
        divisor_override, data_format,
    )  # fmt: skip


@documented(_LP_POOL, 1)
def lp_pool1d(
    dy: Array,
    x: Array,
    y: Array,
    p: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Gradient of `lp_pool1d`.

    >>> x = np.array([[[3, -4, 6, 8]]], np.float32)
    >>> y = fc.lp_pool1d(x, 2, 2)
    >>> fc.grad.lp_pool1d(np.array([[[5, 10]]], np.float32), x, y, 2, 2)
    array([[[ 3., -4.,  6.,  8.]]], dtype=float32)
    """
    return _core.lp_pool_grad(1, dy, x, y, p, kernel_size, stride, padding, ceil_mode, data_format)


@documented(_LP_POOL, 2)
def lp_pool2d(
    dy: Array,
    x: Array,
    y: Array,
    p: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Gradient of `lp_pool2d`.

    >>> x = np.array([[[[1, 3, 0, 0], [1, 5, 0, -2]]]], np.float32)
    >>> y = fc.lp_pool2d(x, 2, 2)
    >>> fc.grad.lp_pool2d(y, x, y, 2, 2)
    array([[[[ 1.,  3.,  0.,  0.],
             [ 1.,  5.,  0., -2.]]]], dtype=float32)
    """
    return _core.lp_pool_grad(2, dy, x, y, p, kernel_size, stride, padding, ceil_mode, data_format)


@documented(_LP_POOL, 3)
def lp_pool3d(
    dy: Array,
    x: Array,
    y: Array,
    p: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    data_format: DataFormat = "channels_first",
) -> NDArray[Any]:
    """Gradient of `lp_pool3d`.

    >>> x = np.full((1, 1, 2, 2, 2), -3, np.float32)
    >>> y = fc.lp_pool3d(x, 1, 2)
    >>> fc.grad.lp_pool3d(np.ones_like(y), x, y, 1, 2)
    array([[[[[-1., -1.],
              [-1., -1.]],
    <BLANKLINE>
             [[-1., -1.],
              [-1., -1.]]]]], dtype=float32)
    """
    return _core.lp_pool_grad(3, dy, x, y, p, kernel_size, stride, padding, ceil_mode, data_format)
