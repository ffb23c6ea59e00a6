"""Augmentations that move or cover pixels as they are: crops, flips, cut-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fastconv.augment.step import Images, Step
from fastconv.nn.arguments import read_int, read_number, read_sizes

BorderMode = Literal["zeros", "reflect"]


@dataclass(frozen=True)
class RandomCrop(Step):
    """Cut a window of `size` out of each image, every place equally likely.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result.

    Raises
    ------
    ValueError
        A size below 1; when called: images smaller than it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> augment.RandomCrop((24, 20))(np.ones((2, 3, 32, 32), np.float32), rng=0).shape
    (2, 3, 24, 20)
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        read_sizes("RandomCrop", "size", self.size, 2)

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        height, width = read_sizes("RandomCrop", "size", self.size, 2)
        if height > images.shape[2] or width > images.shape[3]:
            raise ValueError(
                f"RandomCrop: size {height} × {width} does not fit into images of "
                f"{images.shape[2]} × {images.shape[3]}"
            )
        places = (images.shape[2] - height + 1, images.shape[3] - width + 1)
        return _windows(images, height, width, rng.integers(0, places, (len(images), 2)))


@dataclass(frozen=True)
class PadCrop(Step):
    """Pad each image, then cut a window of its old size out of it: a random shift by whole pixels.

    Parameters
    ----------
    padding : int
        Pixels at each side, and so the largest shift.
    mode : str
        ``"reflect"`` (mirrored without the border pixel itself) or ``"zeros"``.

    Raises
    ------
    ValueError
        A negative padding or another mode; when called: images not larger than the padding to reflect.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> augment.PadCrop(4)(np.ones((2, 3, 32, 32), np.float32), rng=0).min()
    np.float32(1.0)
    """

    padding: int
    mode: BorderMode = "reflect"

    def __post_init__(self) -> None:
        read_int("PadCrop", "padding", self.padding, 0)
        check_mode("PadCrop", self.mode)

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        height, width = images.shape[2:]
        if self.mode == "reflect" and self.padding >= min(height, width):
            raise ValueError(
                f"PadCrop: padding {self.padding} does not reflect in images of {height} × {width}"
            )
        corners = rng.integers(0, 2 * self.padding + 1, (len(images), 2))
        return _windows(_padded(images, self.padding, self.mode), height, width, corners)


def _padded(images: Images, padding: int, mode: BorderMode) -> Images:
    """Put a border around each image."""
    count, channels, height, width = images.shape
    padded = np.zeros((count, channels, height + 2 * padding, width + 2 * padding), images.dtype)
    padded[:, :, padding : padding + height, padding : padding + width] = images
    if mode == "reflect" and padding:
        # Columns first, then whole rows: the corners come with these.
        for lines in (padded.swapaxes(2, 3), padded):
            lines[:, :, :padding] = lines[:, :, 2 * padding : padding : -1]
            lines[:, :, -padding:] = lines[:, :, -padding - 2 : -2 * padding - 2 : -1]
    return padded


def _windows(images: Images, height: int, width: int, corners: NDArray[np.int64]) -> Images:
    """Cut a window from each image, the upper left corner of each being at (row, column) of `corners`."""
    windows = sliding_window_view(images, (height, width), (2, 3))
    cut: Images = windows[np.arange(len(images)), :, corners[:, 0], corners[:, 1]]
    return cut


@dataclass(frozen=True)
class Flip(Step):
    """Mirror each image with probability `p`.

    Parameters
    ----------
    p : float
        From 0 to 1.
    axis : int
        -1 exchanges left and right, -2 top and bottom.

    Raises
    ------
    ValueError
        A probability or an axis out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> augment.Flip(1.0)(np.array([[[[1.0, 2.0, 3.0]]]]))
    array([[[[3., 2., 1.]]]])
    """

    p: float = 0.5
    axis: int = -1

    def __post_init__(self) -> None:
        if not 0 <= read_number("Flip", "p", self.p) <= 1:
            raise ValueError(f"Flip: p must be from 0 to 1, got {self.p}")
        if self.axis not in (-1, -2):
            raise ValueError(
                f"Flip: axis must be -1 (left and right) or -2 (top and bottom), got {self.axis}"
            )

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        flipped = images.copy()
        chosen = rng.random(len(images)) < self.p
        flipped[chosen] = np.flip(images[chosen], self.axis)
        return flipped


@dataclass(frozen=True)
class CutOut(Step):
    """Cover a square of each image; its centre may be any pixel, so that a part may fall outside.

    Parameters
    ----------
    size : int
        Side of the square in pixels.
    fill : float
        What it is covered with. Before ``Normalise``, the mean of the images is neutral; after it, 0 is.

    Raises
    ------
    ValueError
        A size below 1.

    References
    ----------
    T. DeVries, G. W. Taylor, "Improved regularization of convolutional neural networks with cutout",
    arXiv:1708.04552, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> int((augment.CutOut(1)(np.ones((5, 3, 8, 8), np.float32), rng=0) == 0).sum())
    15
    """

    size: int
    fill: float = 0.0

    def __post_init__(self) -> None:
        read_int("CutOut", "size", self.size)
        read_number("CutOut", "fill", self.fill)

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        covered = images.copy()
        top, left = (rng.integers(0, side, len(images)) - self.size // 2 for side in images.shape[2:])
        for image, y, x in zip(covered, top.tolist(), left.tolist(), strict=True):
            image[:, max(y, 0) : y + self.size, max(x, 0) : x + self.size] = self.fill
        return covered


def check_mode(where: str, mode: str) -> None:
    """Raise a ValueError unless `mode` says what lies outside an image."""
    if mode not in ("zeros", "reflect"):
        raise ValueError(f"{where}: mode must be one of zeros, reflect, got {mode!r}")
