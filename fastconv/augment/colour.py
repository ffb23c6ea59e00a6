"""Augmentations of light and colour: each blends an image with a duller form of itself.

With a factor f drawn for each image, ``x -> f * x + (1 - f) * dull``, where `dull` is black (brightness),
the image's mean grey (contrast) or its grey picture (colour); f above 1 exaggerates. Values may leave [0, 1];
they are not clipped, so that nothing is lost. These steps come before ``Normalise``.

The form is that of P. Haeberli, D. Voorhies, "Image processing by linear interpolation and extrapolation",
IRIS Universe 28 (1994).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv.augment.step import Images, Step
from fastconv.nn.arguments import read_number

# How bright red, green and blue look (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class _Blend(Step):
    amount: float

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not 0 <= read_number(name, "amount", self.amount) <= 1:
            raise ValueError(f"{name}: amount must be from 0 to 1, got {self.amount}")

    def _factor(self, images: Images, rng: np.random.Generator) -> Images:
        """Draw f of each image, shaped to be multiplied with them."""
        draws = rng.uniform(1 - self.amount, 1 + self.amount, (len(images), 1, 1, 1))
        return draws.astype(images.dtype)

    def _blended(self, images: Images, dull: Images, rng: np.random.Generator) -> Images:
        # The form dull + f * (x - dull) would not give x back to the bit where f is 1.
        factor = self._factor(images, rng)
        blended = images * factor
        blended += (1 - factor) * dull
        return blended


@dataclass(frozen=True)
class Brightness(_Blend):
    """Make each image darker or brighter: all values times a factor.

    Parameters
    ----------
    amount : float
        The factor is drawn between ``1 - amount`` and ``1 + amount``; from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> dimmed = augment.Brightness(0.2)(np.full((2, 3, 4, 4), 0.5), rng=0)
    >>> bool(((dimmed >= 0.4) & (dimmed <= 0.6)).all())
    True
    """

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        brighter: Images = images * self._factor(images, rng)
        return brighter


@dataclass(frozen=True)
class Contrast(_Blend):
    """Make each image flatter or starker: differences from its mean grey times a factor.

    Parameters
    ----------
    amount : float
        The factor is drawn between ``1 - amount`` and ``1 + amount``; from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> image = np.array([[[[0.25, 0.75]]]])
    >>> round(float(augment.Contrast(0.5)(image, rng=0).mean()), 6)
    0.5
    """

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        seen = _grey(images) if images.shape[1] == 3 else images
        return self._blended(images, seen.mean((1, 2, 3), keepdims=True), rng)


@dataclass(frozen=True)
class Colour(_Blend):
    """Make the colours of each image paler or stronger: differences from its grey picture times a factor.

    Parameters
    ----------
    amount : float
        The factor is drawn between ``1 - amount`` and ``1 + amount``; from 0 to 1.

    Raises
    ------
    ValueError
        An amount out of range; when called: images that have not three channels, red, green and blue.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> grey = np.full((1, 3, 2, 2), 0.5)
    >>> bool(np.allclose(augment.Colour(0.5)(grey, rng=0), grey))
    True
    """

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        if images.shape[1] != 3:
            raise ValueError(f"Colour: images must have 3 channels, got shape {images.shape}")
        return self._blended(images, _grey(images), rng)


def _grey(images: Images) -> Images:
    """Give the grey pictures (N, 1, H, W) of coloured ones."""
    red, green, blue = (images.dtype.type(weight) for weight in _LUMA)
    grey: Images = red * images[:, :1] + green * images[:, 1:2] + blue * images[:, 2:]
    return grey
