"""Gradients of convolution and transposed convolution."""

from collections.abc import Sequence

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Activation, Array, DataFormat, Gradient, Padding, PaddingMode, Precision, Sizes

_CONV = """
With `dz` the gradient before the activation (`dy` itself where there is none), `dx` is the transposed
convolution of `dz` with `w`, `dw` the correlation of `x` with `dz`, and `db` the sum of `dz` over
batch and space. The keywords are those of the forward call.

Parameters
----------
{conv_dy}
x : array of shape (N, C, {spatial})
    Input of the forward call, in the layout `data_format` and of the dtype of `dy`.
w : array of shape (K, C // groups, {kernel})
    Filters of the forward call.
{grad_b}
{grad_y}
{needs}
{stride}
{padding}
{dilation}
{groups}
{padding_mode}
{data_format}
{grad_activation}
{precision}
{algorithm}

Returns
-------
{conv_gradients}

Raises
------
{raises}

References
----------
V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
arXiv:1603.07285, 2016, chapter 4.
"""

_CONV_TRANSPOSE = """
With `dz` the gradient before the activation (`dy` itself where there is none), `dx` is the convolution
of `dz` with `w`, `dw` the correlation of `dz` with `x`, and `db` the sum of `dz` over batch and
space. The keywords are those of the forward call.

Parameters
----------
{conv_dy}
x : array of shape (N, C, {spatial})
    Input of the forward call, in the layout `data_format` and of the dtype of `dy`.
w : array of shape (C, K // groups, {kernel})
    Filters of the forward call.
{grad_b}
{grad_y}
{needs}
{stride}
{transpose_padding}
{output_padding}
{dilation}
{groups}
{data_format}
{grad_activation}
{precision}
{algorithm}

Returns
-------
{conv_gradients}

Raises
------
{raises}

References
----------
V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
arXiv:1603.07285, 2016, chapter 4.
"""


@documented(_CONV, 1)
def conv1d(
    dy: Array,
    x: Array,
    w: Array,
    *,
    b: Array | None = None,
    y: Array | None = None,
    needs: Sequence[bool] = (True, True, True),
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
) -> tuple[Gradient, Gradient, Gradient]:
    """Gradients of `conv1d` with respect to its input, filters and bias.

    >>> x = np.array([[[1, 2, 4, 8]]], np.float32)
    >>> w = np.array([[[-1, 1]]], np.float32)
    >>> dx, dw, db = fc.grad.conv1d(np.ones_like(fc.conv1d(x, w)), x, w)
    >>> dx
    array([[[-1.,  0.,  0.,  1.]]], dtype=float32)
    >>> dw
    array([[[ 7., 14.]]], dtype=float32)
    >>> db
    array([3.], dtype=float32)
    """
    return _core.conv_grad(
        1, dy, x, w, b, y, needs, stride, padding, dilation, groups, padding_mode, data_format,
        activation, precision, algorithm,
    )  # fmt: skip


@documented(_CONV, 2)
def conv2d(
    dy: Array,
    x: Array,
    w: Array,
    *,
    b: Array | None = None,
    y: Array | None = None,
    needs: Sequence[bool] = (True, True, True),
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
) -> tuple[Gradient, Gradient, Gradient]:
    """Gradients of `conv2d` with respect to its input, filters and bias.

    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> w = np.ones((1, 1, 3, 3), np.float32)
    >>> y = fc.conv2d(x, w, activation="relu")
    >>> dx, dw, db = fc.grad.conv2d(
    ...     np.ones_like(y), x, w, y=y, activation="relu", needs=(True, False, True)
    ... )
    >>> dx
    array([[[[1., 2., 2., 1.],
             [2., 4., 4., 2.],
             [2., 4., 4., 2.],
             [1., 2., 2., 1.]]]], dtype=float32)
    >>> dw is None
    True
    >>> db
    array([4.], dtype=float32)
    """
    return _core.conv_grad(
        2, dy, x, w, b, y, needs, stride, padding, dilation, groups, padding_mode, data_format,
        activation, precision, algorithm,
    )  # fmt: skip


@documented(_CONV, 3)
def conv3d(
    dy: Array,
    x: Array,
    w: Array,
    *,
    b: Array | None = None,
    y: Array | None = None,
    needs: Sequence[bool] = (True, True, True),
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
) -> tuple[Gradient, Gradient, Gradient]:
    """Gradients of `conv3d` with respect to its input, filters and bias.

    >>> x = np.ones((1, 4, 5, 5, 5), np.float32)
    >>> w = np.ones((8, 2, 3, 3, 3), np.float32)
    >>> dy = np.ones((1, 8, 5, 5, 5), np.float32)
    >>> dx, dw, db = fc.grad.conv3d(dy, x, w, groups=2, padding="same")
    >>> dx.shape, dw.shape
    ((1, 4, 5, 5, 5), (8, 2, 3, 3, 3))
    >>> dw[0, 0, 1]
    array([[ 80., 100.,  80.],
           [100., 125., 100.],
           [ 80., 100.,  80.]], dtype=float32)
    >>> db
    array([125., 125., 125., 125., 125., 125., 125., 125.], dtype=float32)
    """
    return _core.conv_grad(
        3, dy, x, w, b, y, needs, stride, padding, dilation, groups, padding_mode, data_format,
        activation, precision, algorithm,
    )  # fmt: skip


@documented(_CONV_TRANSPOSE, 1)
def conv_transpose1d(
    dy: Array,
    x: Array,
    w: Array,
    *,
    b: Array | None = None,
    y: Array | None = None,
    needs: Sequence[bool] = (True, True, True),
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
) -> tuple[Gradient, Gradient, Gradient]:
    """Gradients of `conv_transpose1d` with respect to its input, filters and bias.

    >>> x = np.array([[[1, 10]]], np.float32)
    >>> w = np.array([[[1, 2, 3]]], np.float32)
    >>> dy = np.array([[[1, 0, 0, 0, 1]]], np.float32)
    >>> dx, dw, db = fc.grad.conv_transpose1d(dy, x, w, stride=2)
    >>> dx
    array([[[1., 3.]]], dtype=float32)
    >>> dw
    array([[[ 1.,  0., 10.]]], dtype=float32)
    >>> db
    array([2.], dtype=float32)
    """
    return _core.conv_transpose_grad(
        1, dy, x, w, b, y, needs, stride, padding, output_padding, dilation, groups, data_format,
        activation, precision, algorithm,
    )  # fmt: skip


@documented(_CONV_TRANSPOSE, 2)
def conv_transpose2d(
    dy: Array,
    x: Array,
    w: Array,
    *,
    b: Array | None = None,
    y: Array | None = None,
    needs: Sequence[bool] = (True, True, True),
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
) -> tuple[Gradient, Gradient, Gradient]:
    """Gradients of `conv_transpose2d` with respect to its input, filters and bias.

    >>> x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    >>> w = np.ones((1, 1, 2, 2), np.float32)
    >>> dy = np.ones((1, 1, 4, 4), np.float32)
    >>> dx, dw, db = fc.grad.conv_transpose2d(dy, x, w, stride=2)
    >>> dx
    array([[[[4., 4.],
             [4., 4.]]]], dtype=float32)
    >>> dw
    array([[[[10., 10.],
             [10., 10.]]]], dtype=float32)
    >>> db
    array([16.], dtype=float32)
    """
    return _core.conv_transpose_grad(
        2, dy, x, w, b, y, needs, stride, padding, output_padding, dilation, groups, data_format,
        activation, precision, algorithm,
    )  # fmt: skip


@documented(_CONV_TRANSPOSE, 3)
def conv_transpose3d(
    dy: Array,
    x: Array,
    w: Array,
    *,
    b: Array | None = None,
    y: Array | None = None,
    needs: Sequence[bool] = (True, True, True),
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
) -> tuple[Gradient, Gradient, Gradient]:
    """Gradients of `conv_transpose3d` with respect to its input, filters and bias.

    >>> x = np.ones((1, 4, 2, 3, 3), np.float32)
    >>> w = np.ones((4, 2, 3, 3, 3), np.float32)
    >>> dy = np.ones((1, 2, 4, 6, 6), np.float32)
    >>> dx, dw, db = fc.grad.conv_transpose3d(dy, x, w, stride=2, padding=1, output_padding=1)
    >>> dx.shape, dw.shape
    ((1, 4, 2, 3, 3), (4, 2, 3, 3, 3))
    >>> dx[0, 0, 0]
    array([[16., 24., 24.],
           [24., 36., 36.],
           [24., 36., 36.]], dtype=float32)
    >>> db
    array([144., 144.], dtype=float32)
    """
    return _core.conv_transpose_grad(
        3, dy, x, w, b, y, needs, stride, padding, output_padding, dilation, groups, data_format,
        activation, precision, algorithm,
    )  # fmt: skip
