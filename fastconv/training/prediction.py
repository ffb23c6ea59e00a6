"""What a trained network says of images: probabilities of the classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import nn
from fastconv.data import image_files
from fastconv.training import checkpoint
from fastconv.training.checkpoint import Origin


class Classifier:
    """A trained network in evaluation mode, with all that was done to its images.

    Parameters
    ----------
    origin : Origin
        What its training began with.
    model : Layer
        The network.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes.

    Raises
    ------
    ValueError
        A network that was trained to something else than to tell classes.
    """

    def __init__(self, origin: Origin, model: nn.Layer) -> None:
        if origin.recipe.task not in ("classes", "yes_or_no"):
            raise ValueError(f"{origin.network} does not tell classes: its task is {origin.recipe.task}")
        self.origin = origin
        self.model = model.eval()
        self.classes = origin.classes
        self._odds = nn.Sigmoid() if origin.recipe.task == "yes_or_no" else nn.Softmax()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Classifier:
        """Take the network of a training's checkpoint.

        Raises
        ------
        FileNotFoundError, ValueError
            No such file, a file that is damaged or something else.
        """
        kept = checkpoint.load(path)
        model = kept.origin.build()
        kept.restore(model)
        return cls(kept.origin, model)

    def read(self, paths: Sequence[str | os.PathLike[str]]) -> NDArray[np.uint8]:
        """Read image files in the size and colours that the network was trained with.

        Parameters
        ----------
        paths : sequence of path
            The files.

        Returns
        -------
        ndarray of uint8 (N, C, H, W)
            The images.
        """
        channels, *size = self.origin.image
        return image_files(paths, size=(size[0], size[1]), colour=channels == 3)

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Compute the probabilities of the classes, one row for each image.

        Parameters
        ----------
        images : ndarray of uint8 or float32 (N, C, H, W)
            Not standardised: 0 to 255, or 0 to 1.

        Returns
        -------
        ndarray of float32 (N, classes)
            Each row sums to 1.
        """
        if images.dtype == np.uint8:
            images = images / np.float32(255)
        odds: NDArray[np.float32] = self._odds(self.model(self.origin.normalise(images)))
        return np.hstack([1 - odds, odds]) if odds.shape[1] == 1 else odds
