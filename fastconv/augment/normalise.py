"""Mean and standard deviation of the channels, and the step that makes them 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.augment.step import Images, Step
from fastconv.nn.arguments import read_number

ByChannel = float | Sequence[float]


@dataclass(frozen=True)
class Normalise(Step):
    """Subtract the mean of each channel and divide by its standard deviation: ``(x - mean) / std``.

    Parameters
    ----------
    mean, std : float or sequence of float
        One number for all channels or one for each, in the units of the images.

    Raises
    ------
    TypeError, ValueError
        What is no finite number, a `std` not above 0; when called: as many numbers as there are channels is
        what it takes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import augment
    >>> images = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8), np.uint8)
    >>> normalise = augment.Normalise.of(images)
    >>> x = normalise((images / 255).astype(np.float32))
    >>> abs(float(x.mean())) < 1e-3, abs(float(x.std()) - 1) < 1e-3
    (True, True)
    """

    mean: ByChannel
    std: ByChannel

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            # Tuples of plain numbers, so that the step can be printed and compared.
            numbers = tuple(
                read_number("Normalise", name, number) for number in np.atleast_1d(getattr(self, name))
            )
            object.__setattr__(self, name, numbers)
            if name == "std" and min(numbers) <= 0:
                raise ValueError(f"Normalise: std must be above 0, got {self.std}")

    @classmethod
    def of(cls, images: NDArray[Any]) -> Normalise:
        """Make the step that brings `images`, as ``data.Loader`` gives them, to mean 0 and deviation 1.

        Parameters
        ----------
        images : ndarray of uint8, float32 or float64 (N, C, H, W)
            Those to train with; uint8 ones count as floats from 0 to 1.

        Returns
        -------
        Normalise
            With one mean and deviation for each channel, 1 for the deviation of a constant one.
        """
        mean, deviation = channel_moments(images)
        unit = 255.0 if images.dtype == np.uint8 else 1.0
        return cls((mean / unit).tolist(), (deviation / unit).tolist())

    def _changed(self, images: Images, rng: np.random.Generator) -> Images:
        mean, deviation = (
            np.asarray(numbers, images.dtype)[:, np.newaxis, np.newaxis] for numbers in (self.mean, self.std)
        )
        for name, numbers in (("mean", mean), ("std", deviation)):
            if len(numbers) not in (1, images.shape[1]):
                raise ValueError(
                    f"Normalise: {name} has {len(numbers)} numbers, but the images {images.shape[1]} channels"
                )
        normalised: Images = images - mean
        normalised /= deviation
        return normalised


def channel_moments(images: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute mean and standard deviation of each channel over all images and pixels.

    A constant channel has deviation 1 here: divided by it, it stays finite.
    """
    if images.ndim != 4 or not images.size:
        raise ValueError(
            f"images must have the axes (N, C, H, W), none of them empty, got shape {images.shape}"
        )
    if images.dtype == np.uint8:
        # Sums of integers are exact, and made without a float copy of everything.
        count = images.size // images.shape[1]
        total = np.einsum("nchw->c", images, dtype=np.int64)
        squares = np.einsum("nchw,nchw->c", images, images, dtype=np.int64)
        mean = total / count
        variance = np.array(
            [
                (count * int(square) - int(first) ** 2) / count**2
                for first, square in zip(total, squares, strict=True)
            ]
        )
    else:
        mean = images.mean((0, 2, 3), dtype=np.float64)
        variance = images.var((0, 2, 3), dtype=np.float64)
    deviation = np.sqrt(variance)
    return mean, np.where(deviation > 0, deviation, 1.0)
