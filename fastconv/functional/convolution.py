"""Convolution and transposed convolution over one, two and three spatial axes.

Both are thin: the compiled core checks the arguments and does the work.
"""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Activation, Array, DataFormat, Padding, PaddingMode, Precision, Sizes

_CONV = """
With `k` an output channel, `c` the input channels of its block, `o` a position in the output and
`t` one in the filter (both along {axes}),

    y[k, o] = activation(b[k] + sum over c, t of w[k, c, t] x[c, o * stride + t * dilation - before])

where `x` goes on beyond its borders as `padding_mode` says. The filter is not flipped: this is the
cross-correlation that deep learning calls a convolution. `fastconv.signal` has the flipped one.

Parameters
----------
{x}
w : array of shape (K, C // groups, {kernel})
    Filters, of the dtype of `x`; their axes keep this order in every `data_format`.
{b}
{stride}
{padding}
{dilation}
{groups}
{padding_mode}
{data_format}
{activation}
{precision}
{algorithm}
{out}

Returns
-------
y : ndarray of shape (N, K, {output})
    C-contiguous, of the dtype of `x` and in the layout `data_format`. Each spatial axis is
    `(input + before + after - dilation * (kernel - 1) - 1) // stride + 1` long.

Raises
------
{raises}

References
----------
V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
arXiv:1603.07285, 2016.
"""

_CONV_TRANSPOSE = """
The linear map that the gradient of a convolution applies: every input element adds one copy of the
filter, multiplied by that element, to the output. With `k` an output channel, `c` the input channels
of its block, and `o`, `i`, `t` positions in output, input and filter (along {axes}),

    y[k, o] = activation(b[k] + sum over c, i, t of w[c, k, t] x[c, i])

where the sum takes the `i` and `t` with `i * stride + t * dilation - before == o`.

Parameters
----------
{x}
w : array of shape (C, K // groups, {kernel})
    Filters, of the dtype of `x`; their axes keep this order in every `data_format`. They are those of
    the convolution from `K` to `C` channels that is transposed.
{b}
{stride}
{transpose_padding}
{output_padding}
{dilation}
{groups}
{data_format}
{activation}
{precision}
{algorithm}
{out}

Returns
-------
y : ndarray of shape (N, K, {output})
    C-contiguous, of the dtype of `x` and in the layout `data_format`. Each spatial axis is
    `(input - 1) * stride - before - after + dilation * (kernel - 1) + 1 + output_padding` long.

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
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Convolve signals with filters (cross-correlation) along one spatial axis.

    >>> x = np.array([[[1, 2, 4, 8]]], np.float32)
    >>> w = np.array([[[-1, 1]]], np.float32)
    >>> fc.conv1d(x, w)
    array([[[1., 2., 4.]]], dtype=float32)
    >>> fc.conv1d(x, w, padding="causal")
    array([[[1., 1., 2., 4.]]], dtype=float32)
    """
    return _core.conv(
        1, x, w, b, stride, padding, dilation, groups, padding_mode, data_format, activation, precision,
        algorithm, out,
    )  # fmt: skip


@documented(_CONV, 2)
def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Convolve images with filters (cross-correlation) along two spatial axes.

    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> w = np.ones((1, 1, 3, 3), np.float32)
    >>> fc.conv2d(x, w)
    array([[[[45., 54.],
             [81., 90.]]]], dtype=float32)
    >>> fc.conv2d(x, w, stride=2, padding="same", activation="relu").shape
    (1, 1, 2, 2)
    """
    return _core.conv(
        2, x, w, b, stride, padding, dilation, groups, padding_mode, data_format, activation, precision,
        algorithm, out,
    )  # fmt: skip


@documented(_CONV, 3)
def conv3d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Convolve volumes with filters (cross-correlation) along three spatial axes.

    >>> x = np.ones((1, 4, 5, 5, 5), np.float32)
    >>> w = np.ones((8, 2, 3, 3, 3), np.float32)
    >>> y = fc.conv3d(x, w, groups=2, padding=((0, 0), (1, 1), (1, 1)))
    >>> y.shape
    (1, 8, 3, 5, 5)
    >>> y[0, 0, 1]
    array([[24., 36., 36., 36., 24.],
           [36., 54., 54., 54., 36.],
           [36., 54., 54., 54., 36.],
           [36., 54., 54., 54., 36.],
           [24., 36., 36., 36., 24.]], dtype=float32)
    """
    return _core.conv(
        3, x, w, b, stride, padding, dilation, groups, padding_mode, data_format, activation, precision,
        algorithm, out,
    )  # fmt: skip


@documented(_CONV_TRANSPOSE, 1)
def conv_transpose1d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Transposed convolution of signals along one spatial axis.

    >>> x = np.array([[[1, 10]]], np.float32)
    >>> w = np.array([[[1, 2, 3]]], np.float32)
    >>> fc.conv_transpose1d(x, w, stride=2)
    array([[[ 1.,  2., 13., 20., 30.]]], dtype=float32)
    >>> fc.conv_transpose1d(x, w, stride=2, padding="same").shape
    (1, 1, 4)
    """
    return _core.conv_transpose(
        1, x, w, b, stride, padding, output_padding, dilation, groups, data_format, activation, precision,
        algorithm, out,
    )  # fmt: skip


@documented(_CONV_TRANSPOSE, 2)
def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Transposed convolution of images along two spatial axes.

    >>> x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    >>> w = np.ones((1, 1, 2, 2), np.float32)
    >>> fc.conv_transpose2d(x, w, stride=2)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.],
             [3., 3., 4., 4.],
             [3., 3., 4., 4.]]]], dtype=float32)
    """
    return _core.conv_transpose(
        2, x, w, b, stride, padding, output_padding, dilation, groups, data_format, activation, precision,
        algorithm, out,
    )  # fmt: skip


@documented(_CONV_TRANSPOSE, 3)
def conv_transpose3d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_first",
    activation: Activation | None = None,
    precision: Precision | None = None,
    algorithm: str = "auto",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Transposed convolution of volumes along three spatial axes.

    >>> x = np.ones((1, 4, 2, 3, 3), np.float32)
    >>> w = np.ones((4, 2, 3, 3, 3), np.float32)
    >>> y = fc.conv_transpose3d(x, w, stride=2, padding=1, output_padding=1)
    >>> y.shape
    (1, 2, 4, 6, 6)
    >>> y[0, 0, 0, 0]
    array([4., 8., 4., 8., 4., 4.], dtype=float32)
    """
    return _core.conv_transpose(
        3, x, w, b, stride, padding, output_padding, dilation, groups, data_format, activation, precision,
        algorithm, out,
    )  # fmt: skip
