"""Convolution and correlation as signal and image processing define them, and the classic image filters.

With `a` and `v` zero outside their borders and `n`, `i` positions along all axes,

    convolve:   z[n] = sum_i a[i] v[n - i]            (v is flipped)
    correlate:  z[n] = sum_i a[i] v[i - n + K - 1]    (v, of shape K, is not)

Arguments are NumPy arrays, what `numpy.asarray` makes into one, or CPU arrays with `__dlpack__`. They hold
float32, float64, float16 or bfloat16, those of one call share one dtype, and it is the result's. Everything
runs on the cross-correlations of `fastconv.functional`, whose precision (`fastconv.precision`) is theirs too.
"""

from fastconv.signal.convolution import convolve, convolve2d, correlate, correlate2d
from fastconv.signal.filters import gaussian, laplace, prewitt, scharr, sobel

__all__ = [
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "gaussian",
    "laplace",
    "prewitt",
    "scharr",
    "sobel",
]
