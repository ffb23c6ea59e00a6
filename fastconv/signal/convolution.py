"""Convolution and correlation of arrays of any rank, and of images with a choice of borders.

A full convolution of N with K samples has N + K - 1 of them, and every mode keeps a window of it: from sample
0 up to N + K - 1 ("full"), from (K - 1) // 2 on N of them ("same"), from min(N, K) - 1 up to max(N, K)
("valid"). Sample `n` of it reads samples `n - K + 1` to `n` of the larger input, so a window is a crop and a
zero padding of that one, with the smaller one as the filter. A correlation is the convolution with the second
input reversed.
"""

from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from fastconv.functional import conv1d, conv2d, conv3d
from fastconv.signal.arguments import Array, as_two_arrays, check_choice, widened
from fastconv.signal.boundary import correlate_extended

_CONV: dict[int, Callable[..., Array]] = {1: conv1d, 2: conv2d, 3: conv3d}
_MODES = ("full", "same", "valid")
_BOUNDARIES = ("fill", "wrap", "symm")


def convolve(a: ArrayLike, v: ArrayLike, mode: str = "full") -> Array:
    """Convolve two arrays of any one rank.

    Parameters
    ----------
    a : array of shape (N1, N2, ...)
        First input.
    v : array of shape (K1, K2, ...)
        Second input, of the rank and dtype of `a`. Either may be the larger one.
    mode : {"full", "same", "valid"}
        Which part of the convolution to return: every overlap, ``N + K - 1`` samples along an axis; its
        centre, of the shape of `a`, which starts at sample ``(K - 1) // 2`` of the full one; or the
        ``|N - K| + 1`` samples where the smaller input lies wholly inside the larger one.

    Returns
    -------
    z : ndarray
        The convolution, of the dtype of the inputs.

    Raises
    ------
    TypeError
        If an input is not floating, or the dtypes differ.
    ValueError
        If an input is empty or without axes, the ranks differ, the mode is unknown, or in mode "valid"
        neither input is at least as large as the other along every axis.

    Notes
    -----
    "same" is that of `scipy.signal.convolve`; the one of `numpy.convolve` has the shape of the larger input.
    Arrays of more than three axes are summed over the leading axes from convolutions of rank 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.convolve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    array([0. , 1. , 2.5, 4. , 1.5])
    >>> signal.convolve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]), mode="same")
    array([1. , 2.5, 4. ])

    References
    ----------
    A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", 3rd ed., Pearson, 2010, section 2.3.
    """
    a, v = as_two_arrays("convolve", ("a", a), ("v", v))
    return _convolve_window(a, v, _windows("convolve", a.shape, v.shape, mode))


def correlate(a: ArrayLike, v: ArrayLike, mode: str = "full") -> Array:
    """Cross-correlate two arrays of any one rank: slide `v` over `a` and sum the products.

    It equals the convolution of `a` with `v` reversed along every axis, so that exchanging the inputs of a
    full or a valid correlation reverses the result.

    Parameters
    ----------
    a : array of shape (N1, N2, ...)
        First input.
    v : array of shape (K1, K2, ...)
        Second input, of the rank and dtype of `a`. Either may be the larger one.
    mode : {"full", "same", "valid"}
        As in `convolve`. Sample ``K - 1`` of a full correlation is the one at lag zero.

    Returns
    -------
    z : ndarray
        The correlation, of the dtype of the inputs.

    Raises
    ------
    TypeError, ValueError
        As `convolve`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.correlate(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    array([0.5, 2. , 3.5, 3. , 0. ])
    >>> signal.correlate(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0]), mode="valid")
    array([3., 5.])

    References
    ----------
    J. G. Proakis and D. G. Manolakis, "Digital Signal Processing", 4th ed., Pearson, 2007, section 2.6.
    """
    a, v = as_two_arrays("correlate", ("a", a), ("v", v))
    return _convolve_window(a, np.flip(v), _windows("correlate", a.shape, v.shape, mode))


def convolve2d(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", boundary: str = "fill", fillvalue: float = 0
) -> Array:
    """Convolve two images, extending the first beyond its borders.

    Parameters
    ----------
    in1 : array of shape (H, W)
        First input: the image.
    in2 : array of shape (R, S)
        Second input: the kernel, of the dtype of `in1`. It may be larger than `in1`.
    mode : {"full", "same", "valid"}
        As in `convolve`. "valid" looks at no sample outside, whatever `boundary` is.
    boundary : {"fill", "wrap", "symm"}
        What lies outside `in1`: `fillvalue`, `in1` again (circular), or `in1` mirrored about its edges, edge
        samples repeated. Both go on for ever, so that a kernel may reach any distance out.
    fillvalue : real number
        Value outside `in1` with ``boundary="fill"``.

    Returns
    -------
    z : ndarray
        The convolution, of the dtype of the inputs: of shape (H + R - 1, W + S - 1) in mode "full", (H, W) in
        mode "same", (|H - R| + 1, |W - S| + 1) in mode "valid".

    Raises
    ------
    TypeError
        If an input is not floating, the dtypes differ, or `fillvalue` is not a real number.
    ValueError
        If an input is empty or has not two axes, the mode or the boundary is unknown, `fillvalue` is larger
        than any float, or in mode "valid" neither input is at least as large as the other along both axes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> image = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> signal.convolve2d(image, np.array([[1.0, 10.0]]), mode="same", boundary="symm")
    array([[11., 12.],
           [33., 34.]])

    References
    ----------
    R. C. Gonzalez and R. E. Woods, "Digital Image Processing", 4th ed., Pearson, 2018, section 3.4.
    """
    return _convolve_images("convolve2d", in1, in2, mode, boundary, fillvalue, correlates=False)


def correlate2d(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", boundary: str = "fill", fillvalue: float = 0
) -> Array:
    """Cross-correlate two images, extending the first beyond its borders.

    Parameters
    ----------
    in1, in2, mode, boundary, fillvalue
        As in `convolve2d`, but that `in2` is not flipped and that "same" centres a kernel of even size the
        other way: it has sample ``(K - 1) // 2`` of the kernel over the output's own position, as
        `scipy.signal.correlate2d` does. (`correlate` has sample ``K // 2`` there.)

    Returns
    -------
    z : ndarray
        The correlation, of the shape and dtype that `convolve2d` gives.

    Raises
    ------
    TypeError, ValueError
        As `convolve2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> image = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> signal.correlate2d(image, np.array([[1.0, 10.0]]), mode="same", boundary="wrap")
    array([[21., 12.],
           [43., 34.]])

    References
    ----------
    R. C. Gonzalez and R. E. Woods, "Digital Image Processing", 4th ed., Pearson, 2018, section 3.4.
    """
    return _convolve_images("correlate2d", in1, in2, mode, boundary, fillvalue, correlates=True)


def _windows(
    operation: str, shape: Sequence[int], filter_shape: Sequence[int], mode: str
) -> list[tuple[int, int]]:
    """Say for each axis which samples of the full convolution `mode` keeps, as (first, stop)."""
    check_choice(operation, "mode", mode, _MODES)
    sizes = list(zip(shape, filter_shape, strict=True))
    if mode == "full":
        return [(0, n + k - 1) for n, k in sizes]
    if mode == "same":
        return [((k - 1) // 2, (k - 1) // 2 + n) for n, k in sizes]
    if any(n < k for n, k in sizes) and any(n > k for n, k in sizes):
        raise ValueError(
            f"{operation}: mode 'valid' wants one input at least as large as the other along every axis; "
            f"got shapes {tuple(shape)} and {tuple(filter_shape)}"
        )
    return [(min(n, k) - 1, max(n, k)) for n, k in sizes]


def _convolve_window(a: Array, v: Array, windows: Sequence[tuple[int, int]]) -> Array:
    """Compute a window of the full convolution of two arrays, zero beyond their borders."""
    x, w = (a, v) if a.size >= v.size else (v, a)
    crops, pads = [], []
    for n, k, (first, stop) in zip(x.shape, w.shape, windows, strict=True):
        crops.append(slice(max(0, first - k + 1), min(n, stop)))
        pads.append((max(0, k - 1 - first), max(0, stop - n)))
    return _correlate_padded(x[tuple(crops)], np.flip(w), pads)


def _correlate_padded(x: Array, w: Array, pads: Sequence[tuple[int, int]]) -> Array:
    """Correlate two arrays of one rank, the first padded with zeros."""
    if x.ndim <= 3:
        y = _CONV[x.ndim](x[np.newaxis, np.newaxis], w[np.newaxis, np.newaxis], padding=tuple(pads))
        return y.reshape(y.shape[2:])
    return _correlate_volumes(widened(x), widened(w), pads).astype(x.dtype, copy=False)


def _correlate_volumes(x: Array, w: Array, pads: Sequence[tuple[int, int]]) -> Array:
    """Correlate arrays of more than three axes: sum a rank-3 correlation for each tap of the leading axes."""
    leading = x.ndim - 3
    y = np.zeros([n + sum(pad) - k + 1 for n, k, pad in zip(x.shape, w.shape, pads, strict=True)], x.dtype)
    for tap in np.ndindex(*w.shape[:leading]):
        reads, writes = [], []
        for t, n, size, (before, _) in zip(tap, x.shape, y.shape, pads, strict=False):
            first = max(0, before - t)
            stop = max(first, min(size, n + before - t))
            reads.append(slice(first + t - before, stop + t - before))
            writes.append(slice(first, stop))
        volumes, sums = x[tuple(reads)], y[tuple(writes)]
        if sums.size:
            batch = volumes.reshape(-1, 1, *x.shape[leading:])
            terms = conv3d(batch, w[tap][np.newaxis, np.newaxis], padding=tuple(pads[leading:]))
            sums += terms.reshape(sums.shape)
    return y


def _convolve_images(
    operation: str,
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str,
    boundary: str,
    fillvalue: float,
    *,
    correlates: bool,
) -> Array:
    """Convolve or correlate two images, the first extended as `boundary` says."""
    image, kernel = as_two_arrays(operation, ("in1", in1), ("in2", in2), rank=2)
    check_choice(operation, "boundary", boundary, _BOUNDARIES)
    if not isinstance(fillvalue, Real):
        raise TypeError(f"{operation}: fillvalue is {fillvalue!r}, expected a real number")
    try:
        outside = float(fillvalue)
    except OverflowError as error:
        raise ValueError(f"{operation}: fillvalue is larger than any float") from error
    windows = _windows(operation, image.shape, kernel.shape, mode)
    if correlates:
        kernel = np.flip(kernel)
        if mode == "same":
            windows = [(k // 2, k // 2 + n) for n, k in zip(image.shape, kernel.shape, strict=True)]
    if mode == "valid" or (boundary == "fill" and outside == 0):
        return _convolve_window(image, kernel, windows)
    rows, columns = (
        (k - 1 - first, stop - n)
        for n, k, (first, stop) in zip(image.shape, kernel.shape, windows, strict=True)
    )
    planes, weights = image[np.newaxis, np.newaxis], np.flip(kernel)[np.newaxis, np.newaxis]
    return correlate_extended(planes, weights, (rows, columns), boundary, outside)[0, 0]
