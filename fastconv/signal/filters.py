"""Edge filters, the Laplace operator and the Gaussian, on images of any rank.

Each is separable: a chain of passes that correlate one axis with a few weights, a `conv2d` call apiece. The
last axis of an image is seen in a plane (1, 1, outer, axis) under a kernel (1, k), any other one in planes
(outer, 1, axis, inner) under a kernel (k, 1): views whose rows lie contiguous in memory. Beyond its borders
an image goes on mirrored, edge samples repeated (`d c b a | a b c d | d c b a`); for one sample that is the
padding mode "replicate". float16 and bfloat16 images are kept in float32 from pass to pass.
"""

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.signal.arguments import Array, as_array, widened
from fastconv.signal.boundary import correlate_extended


def sobel(image: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """Find edges with the Sobel filter: a central difference, smoothed by (1, 2, 1) / 4 across.

    Parameters
    ----------
    image : array of any rank
        The image or volume. Beyond its borders the edge samples are repeated.
    axis : int, sequence of int or None
        Take the difference ``x[i + 1] - x[i - 1]`` along this axis (-1 is the last one) and smooth along all
        others. None, or several axes, gives the magnitude: the square root of the sum of the squares along
        those axes over the rank of the image. Where that leaves one axis, the difference keeps its sign.

    Returns
    -------
    edges : ndarray of the shape and dtype of `image`
        Exactly zero where the image is constant.

    Raises
    ------
    TypeError
        If the image is not floating, or an axis is not an integer.
    ValueError
        If the image is empty or without axes, or an axis is out of range or given twice.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> step = np.array([[0.0, 0.0, 4.0, 4.0]] * 3)
    >>> signal.sobel(step, axis=1)[1]
    array([0., 4., 4., 0.])
    >>> signal.sobel(step)[1].round(3)
    array([0.   , 2.828, 2.828, 0.   ])

    References
    ----------
    I. Sobel and G. Feldman, "A 3x3 isotropic gradient operator for image processing", Stanford Artificial
    Intelligence Project, 1968. Scaling and magnitude are those of `skimage.filters.sobel`.
    """
    return _edges("sobel", image, axis, np.array([1.0, 2.0, 1.0]) / 4)


def scharr(image: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """Find edges with the Scharr filter: a central difference, smoothed by (3, 10, 3) / 16 across.

    Its response depends less on an edge's direction than that of `sobel`. Parameters, result and errors are
    those of `sobel`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.scharr(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 16.0], [0.0, 0.0, 0.0]]), axis=1)[:, 1]
    array([ 3., 10.,  3.])

    References
    ----------
    H. Scharr, "Optimal operators in digital image processing", doctoral thesis, Heidelberg University, 2000.
    Scaling and magnitude are those of `skimage.filters.scharr`.
    """
    return _edges("scharr", image, axis, np.array([3.0, 10.0, 3.0]) / 16)


def prewitt(image: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """Find edges with the Prewitt filter: a central difference, smoothed by (1, 1, 1) / 3 across.

    Parameters, result and errors are those of `sobel`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.prewitt(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]), axis=1)[:, 1]
    array([1., 1., 1.])

    References
    ----------
    J. M. S. Prewitt, "Object enhancement and extraction", in Picture Processing and Psychopictorics, Academic
    Press, 1970. Scaling and magnitude are those of `skimage.filters.prewitt`.
    """
    return _edges("prewitt", image, axis, np.ones(3) / 3)


def laplace(image: ArrayLike) -> Array:
    """Apply the discrete Laplace operator: the sum of ``x[i - 1] - 2 x[i] + x[i + 1]`` along all axes.

    Parameters
    ----------
    image : array of any rank
        The image or volume. Beyond its borders the edge samples are repeated.

    Returns
    -------
    curvature : ndarray of the shape and dtype of `image`

    Raises
    ------
    TypeError
        If the image is not floating.
    ValueError
        If the image is empty or without axes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.laplace(np.array([0.0, 1.0, 4.0, 9.0]))
    array([ 1.,  2.,  2., -5.])

    References
    ----------
    R. C. Gonzalez and R. E. Woods, "Digital Image Processing", 4th ed., Pearson, 2018, section 3.6. Borders
    are those of `scipy.ndimage.laplace`.
    """
    x = as_array("laplace", "image", image)
    samples = widened(x)
    total = _pass_along(samples, 0, [1.0, -2.0, 1.0])
    for axis in range(1, x.ndim):
        total += _pass_along(samples, axis, [1.0, -2.0, 1.0])
    return total.astype(x.dtype, copy=False)


def gaussian(image: ArrayLike, sigma: float | Sequence[float]) -> Array:
    """Smooth with a Gaussian, cut off at four standard deviations and normalised to the sum one.

    Parameters
    ----------
    image : array of any rank
        The image or volume. Beyond its borders it goes on mirrored, edge samples repeated.
    sigma : float, or one float per axis
        Standard deviation in samples; an axis with 0 is not smoothed. The filter reaches
        ``int(4 * sigma + 0.5)`` samples to either side.

    Returns
    -------
    smoothed : ndarray of the shape and dtype of `image`

    Raises
    ------
    TypeError
        If the image is not floating, or `sigma` is no number.
    ValueError
        If the image is empty or without axes, or `sigma` is negative, not finite, or not one number per axis.
    MemoryError
        If memory for the filter's weights cannot be had.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.gaussian(np.array([0.0, 0.0, 8.0, 0.0, 0.0]), 0.5).round(2)
    array([0.  , 0.85, 6.29, 0.85, 0.  ])

    References
    ----------
    R. C. Gonzalez and R. E. Woods, "Digital Image Processing", 4th ed., Pearson, 2018, section 3.5. Cut-off
    and borders are those of `scipy.ndimage.gaussian_filter`.
    """
    x = as_array("gaussian", "image", image)
    samples = smoothed = widened(x)
    for axis, deviation in enumerate(_deviations(sigma, x.ndim)):
        radius = int(4.0 * deviation + 0.5)
        if radius > 0:
            try:
                weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
            except (MemoryError, ValueError) as error:
                text = f"gaussian: could not get the memory for 2 * {radius} + 1 weights of sigma {deviation}"
                raise MemoryError(text) from error
            smoothed = _pass_along(smoothed, axis, weights / weights.sum())
    return smoothed.astype(x.dtype, order="C", copy=smoothed is samples)


def _pass_along(x: Array, axis: int, weights: ArrayLike) -> Array:
    """Correlate one axis with an odd number of weights, the array mirrored beyond its borders."""
    w = np.asarray(weights, x.dtype)
    n, reach = x.shape[axis], (w.size // 2, w.size // 2)
    if axis == x.ndim - 1:
        y = correlate_extended(x.reshape(1, 1, -1, n), w.reshape(1, 1, 1, -1), ((0, 0), reach), "symm")
    else:
        inner = math.prod(x.shape[axis + 1 :])
        y = correlate_extended(x.reshape(-1, 1, n, inner), w.reshape(1, 1, -1, 1), (reach, (0, 0)), "symm")
    return y.reshape(x.shape)


def _edges(operation: str, image: ArrayLike, axis: int | Sequence[int] | None, smoothing: Array) -> Array:
    """Take differences along `axis` and smooth along the others; of several axes give the magnitude."""
    x = as_array(operation, "image", image)
    axes = _axes(operation, axis, x.ndim)
    samples = widened(x)
    if len(axes) == 1:
        return _edge(samples, axes[0], smoothing).astype(x.dtype, copy=False)
    total = np.square(_edge(samples, axes[0], smoothing))
    for edge in axes[1:]:
        response = _edge(samples, edge, smoothing)
        total += np.square(response, out=response)
    np.sqrt(total, out=total)
    total /= math.sqrt(x.ndim)
    return total.astype(x.dtype, copy=False)


def _edge(x: Array, axis: int, smoothing: Array) -> Array:
    """Take the difference along one axis, smoothed along all others."""
    # The difference comes first: of equal samples it is exactly zero, as sums of rounded products may not be.
    response = _pass_along(x, axis, [-1.0, 0.0, 1.0])
    for across in range(x.ndim):
        if across != axis:
            response = _pass_along(response, across, smoothing)
    return response


def _axes(operation: str, axis: int | Sequence[int] | None, rank: int) -> list[int]:
    """List the axes that `axis` means, counted from the first one."""
    if axis is None:
        return list(range(rank))
    try:
        entries: list[Any] = list(axis) if np.ndim(axis) else [axis]  # type: ignore[arg-type]
        if any(isinstance(i, bool | np.bool_) for i in entries):
            raise TypeError("a truth value is no axis")
        given = [index(i) for i in entries]
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{operation}: axis is {axis!r}, expected None, an int or a sequence of ints"
        ) from error
    axes = [i + rank if i < 0 else i for i in given]
    if not axes or len(set(axes)) < len(axes) or not all(0 <= i < rank for i in axes):
        raise ValueError(
            f"{operation}: axis is {axis!r}, expected different axes of an image that has {rank}, "
            f"from {-rank} to {rank - 1}"
        )
    return axes


def _deviations(sigma: float | Sequence[float], rank: int) -> Array:
    """Give the standard deviation along each axis."""
    expected = f"expected one finite number >= 0, or {rank}: one for each axis"
    try:
        sigmas = np.asarray(sigma)
        if sigmas.dtype.kind not in "iuf":
            raise TypeError("not all are real numbers")
    except (TypeError, ValueError) as error:
        raise TypeError(f"gaussian: sigma is {sigma!r}, {expected}") from error
    if sigmas.shape not in ((), (rank,)) or not np.all(np.isfinite(sigmas) & (sigmas >= 0)):
        raise ValueError(f"gaussian: sigma is {sigma!r}, {expected}")
    return np.broadcast_to(sigmas.astype(np.float64), rank)
