"""Convolution as NumPy does it best: im2col and one BLAS product, in the input's own dtype.

    y[n] = W · columns(x[n])        W: (K, C · taps)      columns: (C · taps, pixels)

Every column holds what one window covers, copied out of a strided view. The columns of a large layer are far
larger than its input, so they are made block by block in one reused buffer that fits a cache. Gradients:

    dW = sum over n of dy[n] · columns(x[n])ᵀ
    dx[n] = col2im(Wᵀ · dy[n])      every column added back to where it was copied from

or, written as a gather, dx is the convolution of the zero-stuffed dy with the mirrored filters. (Chellapilla,
Puri and Simard, "High performance convolutional neural networks for document processing", 2006.)

These are a yardstick, for speed and for float32 rounding error; `conv2d` and its kin are the definition.
Arrays are channels first with the batch axis, padding is zeros, and the rank is that of `w`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .convolution import check_channels
from .geometry import Array, Padding, PerAxis, Windows, conv_windows, pad, trailing, unpad

COLUMN_BYTES = 1 << 20  # a block of columns: what a core's second-level cache easily holds
COLUMN_PIXELS = 256  # but never so few pixels that the product becomes a thin one

Block = tuple[slice, slice]  # images, and positions along the output's first spatial axis


def column_blocks(images: int, windows: Windows, column_bytes: int) -> Iterator[Block]:
    """Yield blocks of images, or of one image's output rows, whose columns are made at a time."""
    rows, row_pixels = windows.output[0], math.prod(windows.output[1:])
    pixels = max(COLUMN_BYTES // column_bytes, COLUMN_PIXELS)
    row_step = min(rows, max(pixels // row_pixels, 1))
    image_step = max(pixels // (rows * row_pixels), 1)
    for image in range(0, images, image_step):
        for row in range(0, rows, row_step):
            yield slice(image, min(image + image_step, images)), slice(row, min(row + row_step, rows))


def window_view(padded: Array, windows: Windows, groups: int) -> Array:
    """Return the view (N, groups, C // groups, *kernel, *output) of what every window covers."""
    n, c, *_ = padded.shape
    per_image, per_channel, *along = padded.strides
    shape = (n, groups, c // groups, *windows.kernel, *windows.output)
    taps = [step * d for step, d in zip(along, windows.dilation, strict=True)]
    starts = [step * s for step, s in zip(along, windows.stride, strict=True)]
    strides = (per_image, c // groups * per_channel, per_channel, *taps, *starts)
    return as_strided(padded, shape, strides, writeable=False)


def columns_of(view: Array, block: Block, windows: Windows, buffer: Array) -> Array:
    """Return a block's columns, (images, groups, C // groups * taps, pixels), copied into `buffer`."""
    rank = len(windows.output)
    images, rows = block
    part = view[images][trailing([rows, *[slice(None)] * (rank - 1)])]
    columns = buffer[: part.size].reshape(part.shape)
    np.copyto(columns, part)
    return columns.reshape(
        *part.shape[:2], math.prod(part.shape[2 : 3 + rank]), math.prod(part.shape[3 + rank :])
    )


def column_buffer(
    blocks: list[Block], windows: Windows, rows_of_column: int, dtype: np.dtype[np.floating]
) -> Array:
    """Return memory for the largest block's columns."""
    images, rows = blocks[0]
    return np.empty(images.stop * rows.stop * math.prod(windows.output[1:]) * rows_of_column, dtype)


def is_pointwise(windows: Windows) -> bool:
    """Tell whether the columns are the input itself: kernels of one tap without stride and padding."""
    return set(windows.kernel + windows.stride) == {1} and not any(map(any, windows.pads))


def im2col_conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Return the convolution of x (N, C, *spatial) with w (K, C // groups, *kernel), plus b (K,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.reference import im2col_conv
    >>> im2col_conv(np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32))
    array([[[[4., 4.],
             [4., 4.]]]], dtype=float32)
    """
    check_channels(x.shape[1], w, b, groups)
    windows = conv_windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    n, k, taps_in = len(x), len(w), math.prod(w.shape[1:])
    pixels, row_pixels = math.prod(windows.output), math.prod(windows.output[1:])
    filters = w.reshape(groups, k // groups, taps_in)
    y = np.empty((n, groups, k // groups, pixels), x.dtype)
    if is_pointwise(windows):
        np.matmul(filters, x.reshape(n, groups, taps_in, pixels), out=y)
    elif n:
        view = window_view(pad(x, windows.pads), windows, groups)
        blocks = list(column_blocks(n, windows, groups * taps_in * x.itemsize))
        buffer = column_buffer(blocks, windows, groups * taps_in, x.dtype)
        for images, rows in blocks:
            columns = columns_of(view, (images, rows), windows, buffer)
            np.matmul(filters, columns, out=y[images, ..., rows.start * row_pixels : rows.stop * row_pixels])
    if b is not None:
        y += b.reshape(groups, k // groups, 1)
    return y.reshape(n, k, *windows.output)


def im2col_conv_grad(
    dy: Array,
    x: Array,
    w: Array,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
    input_form: str = "auto",
) -> tuple[Array | None, Array | None, Array | None]:
    """Return (dx, dw, db); `input_form` says how dx is made: by "col2im", or by "im2col" of dy.

    "auto" takes the faster: im2col of dy touches K · taps values per pixel, col2im reads and writes C · taps
    of them; with a stride most of the zero-stuffed dy is zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.reference import im2col_conv_grad
    >>> x, w = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    >>> dx, dw, db = im2col_conv_grad(np.ones((1, 1, 2, 2), np.float32), x, w)
    >>> dx[0, 0, 1], db
    (array([2., 4., 2.], dtype=float32), array([4.], dtype=float32))
    """
    check_channels(x.shape[1], w, None, groups)
    windows = conv_windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if dy.shape != (len(x), len(w), *windows.output):
        raise ValueError(f"dy has shape {dy.shape}, but the result has {(len(x), len(w), *windows.output)}")
    if input_form == "auto":
        im2col_is_faster = (
            set(windows.stride) == {1} and len(w) <= 2 * x.shape[1] and not is_pointwise(windows)
        )
        input_form = "im2col" if im2col_is_faster else "col2im"
    input_gradients = {"col2im": input_gradient_by_col2im, "im2col": input_gradient_by_im2col}
    if input_form not in input_gradients:
        raise ValueError(f"input_form must be one of {list(input_gradients)}, got {input_form!r}")
    return (
        input_gradients[input_form](dy, x.shape, w, windows, groups) if needs[0] else None,
        filter_gradient(dy, x, w.shape, windows, groups) if needs[1] else None,
        dy.sum(axis=(0, *range(2, dy.ndim))) if needs[2] else None,
    )


def filter_gradient(dy: Array, x: Array, w_shape: tuple[int, ...], windows: Windows, groups: int) -> Array:
    """Return dw: per block of columns one product over its pixels, and the sum of those."""
    n, k, taps_in = len(x), w_shape[0], math.prod(w_shape[1:])
    pixels, row_pixels = math.prod(windows.output), math.prod(windows.output[1:])
    dw = np.zeros((groups, k // groups, taps_in), x.dtype)
    upstream = dy.reshape(n, groups, k // groups, pixels)
    if is_pointwise(windows):
        columns = x.reshape(n, groups, taps_in, pixels)
        dw += np.matmul(upstream, columns.swapaxes(2, 3)).sum(axis=0)
    elif n:
        view = window_view(pad(x, windows.pads), windows, groups)
        blocks = list(column_blocks(n, windows, groups * taps_in * x.itemsize))
        buffer = column_buffer(blocks, windows, groups * taps_in, x.dtype)
        for images, rows in blocks:
            columns = columns_of(view, (images, rows), windows, buffer)
            part = upstream[images, ..., rows.start * row_pixels : rows.stop * row_pixels]
            dw += np.matmul(part, columns.swapaxes(2, 3)).sum(axis=0)
    return dw.reshape(w_shape)


def input_gradient_by_col2im(
    dy: Array, x_shape: tuple[int, ...], w: Array, windows: Windows, groups: int
) -> Array:
    """Return dx: the columns' gradients, added back tap by tap to where the columns were copied from."""
    n, k, taps_in = len(dy), len(w), math.prod(w.shape[1:])
    pixels, row_pixels = math.prod(windows.output), math.prod(windows.output[1:])
    filters = w.reshape(groups, k // groups, taps_in).swapaxes(1, 2)
    upstream = dy.reshape(n, groups, k // groups, pixels)
    if is_pointwise(windows):
        dx: Array = np.matmul(filters, upstream)
        return dx.reshape(x_shape)
    sizes = [s + before + after for s, (before, after) in zip(x_shape[2:], windows.pads, strict=True)]
    dpadded = np.zeros((n, groups, w.shape[1], *sizes), dy.dtype)
    for images, rows in column_blocks(n, windows, groups * taps_in * dy.itemsize):
        part = upstream[images, ..., rows.start * row_pixels : rows.stop * row_pixels]
        columns = np.matmul(filters, part).reshape(
            len(part), groups, w.shape[1], *windows.kernel, rows.stop - rows.start, *windows.output[1:]
        )
        shifted = dpadded[images, :, :, rows.start * windows.stride[0] :]
        for tap, under_tap in replace(windows, output=(rows.stop - rows.start, *windows.output[1:])).taps():
            shifted[under_tap] += columns[(slice(None), slice(None), slice(None), *tap)]
    return np.ascontiguousarray(unpad(dpadded, windows.pads)).reshape(x_shape)


def input_gradient_by_im2col(
    dy: Array, x_shape: tuple[int, ...], w: Array, windows: Windows, groups: int
) -> Array:
    """Return dx as the stride-1 convolution of the zero-stuffed dy with the mirrored filters."""
    n, k, (c, *kernel) = len(dy), len(w), w.shape[1:]
    axes = list(zip(x_shape[2:], kernel, windows.dilation, windows.pads, strict=True))
    stuffed = np.zeros((n, k, *(size + (t - 1) * d for size, t, d, _ in axes)), dy.dtype)
    # Element o of dy lies at o * stride + (kernel - 1) * dilation - before; what falls outside met only pads.
    target, source = [], []
    for (size, t, d, (before, _)), step, rows in zip(axes, windows.stride, windows.output, strict=True):
        first = (t - 1) * d - before
        skipped = max(-(first // step), 0)
        kept = max(min(rows, -(-(size + (t - 1) * d - first) // step)), skipped)
        target.append(slice(first + skipped * step, max(first + (kept - 1) * step + 1, 0), step))
        source.append(slice(skipped, kept))
    stuffed[trailing(target)] = dy[trailing(source)]
    mirrored = np.flip(w, axis=tuple(range(2, w.ndim))).reshape(groups, k // groups, c, *kernel)
    filters = np.ascontiguousarray(mirrored.swapaxes(1, 2)).reshape(groups * c, k // groups, *kernel)
    return im2col_conv(stuffed, filters, dilation=windows.dilation, groups=groups)
