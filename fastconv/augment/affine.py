"""Rotation, shift, scale and shear of each image as one affine map, resampled once.

A pixel at p, counted from the centre of the image, goes to ``q = R S p + t``: first the stretch and shear S,
then the rotation R, then the shift t. The result is computed from its own pixels: each looks at
``p = (R S)^-1 (q - t)`` and takes the bilinear mean of the four pixels around that place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.augment.geometry import BorderMode, check_mode
from fastconv.augment.step import Images, Step, blocks
from fastconv.nn.arguments import read_number

Range = float | tuple[float, float]
Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Affine(Step):
    """Rotate, stretch, shear and shift each image about its centre by amounts of its own.

    Parameters
    ----------
    degrees : float or (float, float)
        Angle: from minus to plus this, or from the first to the second; counter-clockwise, as everywhere.
    shift : int or float
        Largest shift, along each axis for itself. An int counts pixels, and shifts are by whole pixels; a
        float is a share of the image's side, and shifts are by any length.
    scale : float or (float, float)
        Factor of the size: from the first to the second; a number s is short for ``(1 - s, 1 + s)``.
    shear : float or (float, float)
        Angle in degrees that columns lean to the side; as `degrees`.
    mode : str
        What lies outside an image: ``"zeros"``, or ``"reflect"``, its mirror image.

    Raises
    ------
    TypeError, ValueError
        Amounts that are no finite numbers, a pair out of order, scales not above 0, shears of 90 degrees and
        more, another mode.

    References
    ----------
    P. Y. Simard, D. Steinkraus, J. C. Platt, "Best practices for convolutional neural networks applied to
    visual document analysis", ICDAR 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> digits = np.ones((4, 1, 28, 28), np.float32)
    >>> augment.Affine(degrees=15, shift=2, scale=0.1, shear=10)(digits, rng=0).shape
    (4, 1, 28, 28)
    """

    degrees: Range = 0.0
    shift: float = 0
    scale: Range = 0.0
    shear: Range = 0.0
    mode: BorderMode = "zeros"

    def __post_init__(self) -> None:
        name = type(self).__name__
        _, (smallest, _), shears = self._ranges()
        if smallest <= 0:
            raise ValueError(f"{name}: scale must stay above 0, got {self.scale}")
        if max(map(abs, shears)) >= 90:
            raise ValueError(f"{name}: shear must stay below 90 degrees, got {self.shear}")
        if read_number(name, "shift", self.shift) < 0:
            raise ValueError(f"{name}: shift must be at least 0, got {self.shift}")
        check_mode(name, self.mode)

    def _ranges(self) -> list[tuple[float, float]]:
        """Give the lowest and highest draw of angle, scale and shear."""
        arguments = (("degrees", self.degrees, 0.0), ("scale", self.scale, 1.0), ("shear", self.shear, 0.0))
        return [_read_range(type(self).__name__, *argument) for argument in arguments]

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        count, (height, width) = len(images), images.shape[2:]
        degrees, factor, shear = (rng.uniform(low, high, count) for low, high in self._ranges())
        if isinstance(self.shift, int | np.integer):
            shift = rng.integers(-self.shift, self.shift, (count, 2), endpoint=True).astype(np.float64)
        else:
            shift = rng.uniform(-self.shift, self.shift, (count, 2)) * (height, width)
        inverse = _inverse(degrees, factor, shear)
        result = np.empty_like(images)
        for block in blocks(images):
            result[block] = _resampled(images[block], inverse[..., block], shift[block], self.mode)
        return result


@dataclass(frozen=True, init=False)
class Rotate(Affine):
    """Rotate each image about its centre: ``Affine`` with an angle alone.

    Parameters
    ----------
    degrees : float or (float, float)
        From minus to plus this, or from the first to the second; counter-clockwise.
    mode : str
        What lies outside an image: ``"zeros"`` or ``"reflect"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> augment.Rotate((90, 90))(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))
    array([[[[2., 4.],
             [1., 3.]]]])
    """

    def __init__(self, degrees: Range, *, mode: BorderMode = "zeros") -> None:
        super().__init__(degrees=degrees, mode=mode)


@dataclass(frozen=True, init=False)
class Shift(Affine):
    """Shift each image: ``Affine`` with a shift alone.

    Parameters
    ----------
    shift : int or float
        Largest shift along each axis: an int counts pixels, a float is a share of the image's side.
    mode : str
        What lies outside an image: ``"zeros"`` or ``"reflect"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> augment.Shift(1)(np.array([[[[1.0, 2.0, 3.0]]]]), rng=0).shape
    (1, 1, 1, 3)
    """

    def __init__(self, shift: float, *, mode: BorderMode = "zeros") -> None:
        super().__init__(shift=shift, mode=mode)


@dataclass(frozen=True, init=False)
class Scale(Affine):
    """Stretch each image about its centre; its size in pixels stays: ``Affine`` with a scale alone.

    Parameters
    ----------
    low, high : float
        The factor is drawn between them; above 1 enlarges.
    mode : str
        What lies outside an image: ``"zeros"`` or ``"reflect"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> augment.Scale(0.8, 1.2)(np.ones((2, 3, 8, 8), np.float32), rng=0).shape
    (2, 3, 8, 8)
    """

    def __init__(self, low: float, high: float, *, mode: BorderMode = "zeros") -> None:
        super().__init__(scale=(low, high), mode=mode)


def _read_range(where: str, name: str, value: Any, middle: float) -> tuple[float, float]:
    """Take the lowest and the highest draw, or how far draws go to both sides of `middle`."""
    if not isinstance(value, tuple | list):
        reach = abs(read_number(where, name, value))
        return middle - reach, middle + reach
    ends = [read_number(where, name, end) for end in value]
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError(f"{where}: {name} must be a number or a pair (low, high), got {value!r}")
    return ends[0], ends[1]


def _inverse(degrees: Draws, factor: Draws, shear: Draws) -> Draws:
    """Give the matrices (2, 2, N) that take a place in the result, (row, column), to one in the image."""
    # Rounded, so that the cosine of a quarter turn is 0 and such turns are exact.
    cosine, sine = np.round(np.cos(np.deg2rad(degrees)), 14), np.round(np.sin(np.deg2rad(degrees)), 14)
    lean = np.tan(np.deg2rad(shear))
    inverse: Draws = np.array([[cosine, sine], [lean * cosine - sine, lean * sine + cosine]]) / factor
    return inverse


def _resampled(images: Images, inverse: Draws, shift: Draws, mode: BorderMode) -> Images:
    """Compute each pixel of the result from the four around the place in the image that it comes from."""
    count, channels, height, width = images.shape
    # Places in the result, counted from the shifted centre.
    row = (np.arange(height) - (height - 1) / 2 - shift[:, :1])[:, :, np.newaxis]
    column = (np.arange(width) - (width - 1) / 2 - shift[:, 1:])[:, np.newaxis, :]
    matrix = inverse[..., np.newaxis, np.newaxis]
    places = []
    for axis, side in enumerate((height, width)):
        place = matrix[axis, 0] * row + matrix[axis, 1] * column
        place += (side - 1) / 2
        places.append(_mirrored(place, side) if mode == "reflect" else np.clip(place, -1, side, out=place))

    # One pixel of border before and two behind: no place is outside, and none needs a question.
    pixels = np.zeros((channels, count, height + 3, width + 3), images.dtype)
    pixels[:, :, 1:-2, 1:-2] = images.swapaxes(0, 1)
    corners = [np.floor(place) for place in places]
    down, right = (
        (place - corner).astype(images.dtype) for place, corner in zip(places, corners, strict=True)
    )
    line = width + 3
    first = (corners[0] * line + corners[1]).astype(np.intp)
    first += (np.arange(count) * (height + 3) * line + line + 1)[:, np.newaxis, np.newaxis]
    flat = pixels.reshape(channels, -1)
    upper, lower = (
        _between(flat.take(start, 1), flat.take(start + 1, 1), right) for start in (first, first + line)
    )
    return _between(upper, lower, down).swapaxes(0, 1)


def _between(one: Images, other: Images, share: Images) -> Images:
    """Give ``(1 - share) * one + share * other``; memory of the arguments is used up."""
    other *= share
    one *= 1 - share
    one += other
    return one


def _mirrored(place: Draws, side: int) -> Draws:
    """Fold places outside 0 to side - 1 back into it, as if mirrors stood on the outermost pixels."""
    if side == 1:
        return np.zeros_like(place)
    last = side - 1
    place -= 2 * last * np.floor(place / (2 * last))
    folded: Draws = last - np.abs(place - last)
    return folded
