"""What a trained network finds in images."""

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
from fastconv.training.loop import predict
from fastconv.training.recipes import TASKS


class Predictor:
    """A trained network, with its task and all that was done to its images.

    Parameters
    ----------
    origin : Origin
        What its training began with.
    model : Layer
        The network.

    Attributes
    ----------
    task : TellingTask
        Knows what is found in an image, puts it into words and draws it.
    classes : tuple of str
        Names of the classes.

    Examples
    --------
    >>> from pathlib import Path
    >>> from fastconv.data import digits
    >>> from fastconv.training import RECIPES, Predictor, Run
    >>> run = Run.begin("lenet5", RECIPES["lenet5"], Path("lenet5"))
    >>> predictor = Predictor.load(run.checkpoint)
    >>> (probabilities,) = predictor(digits().split(standardise=False).test_images[:1], [(28, 28)])
    >>> probabilities.shape
    (10,)
    >>> lines = predictor.task.tell(probabilities, predictor.classes)
    """

    def __init__(self, origin: Origin, model: nn.Layer) -> None:
        self.origin = origin
        self.model = model
        self.task = TASKS[origin.recipe.task](origin.recipe)
        self.classes = origin.classes

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Predictor:
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

        Raises
        ------
        ValueError
            A file that can't be read, or is no image; it is named.
        ModuleNotFoundError
            Without Pillow, of the extra ``train``.
        """
        channels, *size = self.origin.image
        return image_files(paths, size=(size[0], size[1]), colour=channels == 3)

    def __call__(self, images: NDArray[Any], sizes: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
        """Compute what the network, in evaluation mode, finds in images.

        Parameters
        ----------
        images : ndarray of uint8 or float32 (N, C, H, W)
            At least one; not standardised: 0 to 255, or 0 to 1.
        sizes : sequence of (int, int)
            Heights and widths of the images as they were before `read`, in whose pixels places are told.

        Returns
        -------
        list of ndarray
            For each image its probabilities (classes,), its boxes (D, 6), rows ``class, left, top, right,
            bottom, score``, or its mask (height, width), whichever the network was trained to find.
        """
        return self.task.find(predict(self.model, images, self.origin.inputs), sizes)
