"""Pooling to a given size: adaptive windows, and whole spatial axes at once."""

from typing import Any

from numpy.typing import NDArray

from fastconv import _core
from fastconv._docstrings import documented
from fastconv._typing import Array, DataFormat, MaxPoolResult, OutputSize

_ADAPTIVE_MAX_POOL = """
Along each spatial axis, window `o` reaches from `floor(o * input / output)` to, and not including,
`ceil((o + 1) * input / output)`: together the windows cover the input, whatever its size.
NaN counts as larger than any number.

Parameters
----------
{x}
{output_size}
return_indices : bool, default False
    Also return where the maxima are; the first one wins among equals.
{data_format}

Returns
-------
y : ndarray of shape (N, C, {output})
    C-contiguous, of the dtype of `x` and in the layout `data_format`.
indices : int64 ndarray of the shape of `y`
    With `return_indices=True` only, as `(y, indices)`: the flat position of each maximum in the
    spatial axes of its channel, as the gradient takes it.

Raises
------
{raises}

References
----------
K. He, X. Zhang, S. Ren and J. Sun, "Spatial pyramid pooling in deep convolutional networks for
visual recognition", ECCV 2014.
"""

_ADAPTIVE_AVG_POOL = """
Along each spatial axis, window `o` reaches from `floor(o * input / output)` to, and not including,
`ceil((o + 1) * input / output)`: together the windows cover the input, whatever its size.

Parameters
----------
{x}
{output_size}
{data_format}

Returns
-------
y : ndarray of shape (N, C, {output})
    C-contiguous, of the dtype of `x` and in the layout `data_format`.

Raises
------
{raises}

References
----------
K. He, X. Zhang, S. Ren and J. Sun, "Spatial pyramid pooling in deep convolutional networks for
visual recognition", ECCV 2014.
"""

_GLOBAL_MAX_POOL = """
NaN counts as larger than any number.

Parameters
----------
{batch}
{keepdims}
{data_format}

Returns
-------
y : ndarray of shape (N, C)
    C-contiguous, of the dtype of `x`; with `keepdims=True` it keeps the spatial axes, in the layout
    `data_format`.

Raises
------
{raises}

References
----------
M. Lin, Q. Chen and S. Yan, "Network in network", ICLR 2014, section 3.2.
"""

_GLOBAL_AVG_POOL = """
Parameters
----------
{batch}
{keepdims}
{data_format}

Returns
-------
y : ndarray of shape (N, C)
    C-contiguous, of the dtype of `x`; with `keepdims=True` it keeps the spatial axes, in the layout
    `data_format`.

Raises
------
{raises}

References
----------
M. Lin, Q. Chen and S. Yan, "Network in network", ICLR 2014, section 3.2.
"""


@documented(_ADAPTIVE_MAX_POOL, 1)
def adaptive_max_pool1d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    data_format: DataFormat = "channels_first",
) -> MaxPoolResult:
    """Maximum of as many windows as asked for, over one spatial axis.

    >>> x = np.array([[[3, 1, 4, 1, 5]]], np.float32)
    >>> fc.adaptive_max_pool1d(x, 3)
    array([[[3., 4., 5.]]], dtype=float32)
    """
    return _core.adaptive_max_pool(1, x, output_size, return_indices, data_format)


@documented(_ADAPTIVE_MAX_POOL, 2)
def adaptive_max_pool2d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    data_format: DataFormat = "channels_first",
) -> MaxPoolResult:
    """Maximum of as many windows as asked for, over two spatial axes.

    >>> x = np.arange(30, dtype=np.float32).reshape(1, 1, 5, 6)
    >>> y, indices = fc.adaptive_max_pool2d(x, (2, 3), return_indices=True)
    >>> y
    array([[[[13., 15., 17.],
             [25., 27., 29.]]]], dtype=float32)
    >>> indices[0, 0, 0]
    array([13, 15, 17])
    """
    return _core.adaptive_max_pool(2, x, output_size, return_indices, data_format)


@documented(_ADAPTIVE_MAX_POOL, 3)
def adaptive_max_pool3d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    data_format: DataFormat = "channels_first",
) -> MaxPoolResult:
    """Maximum of as many windows as asked for, over three spatial axes.

    >>> x = np.arange(64, dtype=np.float32).reshape(1, 1, 4, 4, 4)
    >>> fc.adaptive_max_pool3d(x, (1, None, 2))
    array([[[[[49., 51.],
              [53., 55.],
              [57., 59.],
              [61., 63.]]]]], dtype=float32)
    """
    return _core.adaptive_max_pool(3, x, output_size, return_indices, data_format)


@documented(_ADAPTIVE_AVG_POOL, 1)
def adaptive_avg_pool1d(
    x: Array, output_size: OutputSize, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Mean of as many windows as asked for, over one spatial axis.

    >>> x = np.array([[[2, 4, 6, 8, 10]]], np.float32)
    >>> fc.adaptive_avg_pool1d(x, 3)
    array([[[3., 6., 9.]]], dtype=float32)
    """
    return _core.adaptive_avg_pool(1, x, output_size, data_format)


@documented(_ADAPTIVE_AVG_POOL, 2)
def adaptive_avg_pool2d(
    x: Array, output_size: OutputSize, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Mean of as many windows as asked for, over two spatial axes.

    >>> x = np.arange(30, dtype=np.float32).reshape(1, 1, 5, 6)
    >>> fc.adaptive_avg_pool2d(x, (1, 3))
    array([[[[12.5, 14.5, 16.5]]]], dtype=float32)
    >>> fc.adaptive_avg_pool2d(x, (2, None)).shape
    (1, 1, 2, 6)
    """
    return _core.adaptive_avg_pool(2, x, output_size, data_format)


@documented(_ADAPTIVE_AVG_POOL, 3)
def adaptive_avg_pool3d(
    x: Array, output_size: OutputSize, *, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Mean of as many windows as asked for, over three spatial axes.

    >>> x = np.arange(64, dtype=np.float32).reshape(1, 1, 4, 4, 4)
    >>> fc.adaptive_avg_pool3d(x, (1, 2, 2))
    array([[[[[26.5, 28.5],
              [34.5, 36.5]]]]], dtype=float32)
    """
    return _core.adaptive_avg_pool(3, x, output_size, data_format)


@documented(_GLOBAL_MAX_POOL)
def global_max_pool(
    x: Array, *, keepdims: bool = False, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Maximum of each channel over all of its spatial axes.

    >>> x = np.array([[[[1, 2], [3, 4]], [[8, 7], [6, 5]]]], np.float32)
    >>> fc.global_max_pool(x)
    array([[4., 8.]], dtype=float32)
    >>> fc.global_max_pool(x, keepdims=True).shape
    (1, 2, 1, 1)
    """
    return _core.global_max_pool(x, keepdims, data_format)


@documented(_GLOBAL_AVG_POOL)
def global_avg_pool(
    x: Array, *, keepdims: bool = False, data_format: DataFormat = "channels_first"
) -> NDArray[Any]:
    """Mean of each channel over all of its spatial axes.

    >>> x = np.array([[[[1, 2], [3, 4]], [[8, 7], [6, 5]]]], np.float32)
    >>> fc.global_avg_pool(x)
    array([[2.5, 6.5]], dtype=float32)
    >>> fc.global_avg_pool(x, keepdims=True, data_format="channels_last").shape
    (1, 1, 1, 2)
    """
    return _core.global_avg_pool(x, keepdims, data_format)
