"""What a network is trained to do: a loss to go down, and a score for people to read.

A task has a ``metric``, the score's name; ``loss(prediction, target) -> (loss, gradient)`` for a batch; and
``score(predictions, targets)`` for a whole test set. ``mean_score`` says that the score is a mean over
images, so that the batches of a training tell it on the way.

The tasks here are ``TellingTask``s: they know, too, what a prediction says of an image. What they find in it
is an array of the task's own kind, which they put into words and draw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fastconv import nn, pictures
from fastconv.augment import MixedLabels
from fastconv.detection import GridDetection
from fastconv.models import auxiliary_cross_entropy
from fastconv.nn.losses import binary_cross_entropy_with_logits
from fastconv.pictures.figure import Target
from fastconv.segmentation import Segmentation

Array = NDArray[Any]

LIKELIEST = 3
"""Classes that are told of an image, unless more are asked for."""

TILE = 5.0
"""Width in inches of an image in a picture of its own."""


class Task(Protocol):
    """What a training wants to know beside the network."""

    metric: ClassVar[str]
    mean_score: ClassVar[bool]

    def loss(self, prediction: Any, target: Any) -> tuple[float, Any]:
        """Compute the loss of a batch and its gradient by the prediction."""

    def score(self, predictions: Array, targets: Array) -> float:
        """Compute the score of a test set, from 0 to 1."""


class TellingTask(Task, Protocol):
    """A task that knows what its predictions say of images."""

    def find(self, prediction: Array, sizes: Sequence[tuple[int, int]]) -> list[Array]:
        """Read what was found in each image out of a prediction.

        Parameters
        ----------
        prediction : ndarray (N, ...)
            What the network gives.
        sizes : sequence of (int, int)
            N heights and widths, in whose pixels places are told.

        Returns
        -------
        list of ndarray
            N of the task's own kind.

        Raises
        ------
        ValueError
            A prediction of another shape; another number of sizes.
        """

    def tell(self, found: Array, classes: Sequence[str], most: int | None = None) -> list[str]:
        """Put what was found in one image into words.

        Parameters
        ----------
        found : ndarray
            As `find` gives it.
        classes : sequence of str
            Names of the classes.
        most : int, optional
            How many things are told, the surest or largest; ``None`` leaves it to the task.

        Returns
        -------
        list of str
            At least one line.
        """

    def draw(self, image: Array, found: Array, classes: Sequence[str], path: Target) -> None:
        """Draw an image with what was found in it.

        Parameters
        ----------
        image : ndarray (1, H, W) or (3, H, W)
            Of the size that `find` was told.
        found : ndarray
            As `find` gives it.
        classes : sequence of str
            Names of the classes.
        path : path or binary file
            Where the PNG goes.

        Raises
        ------
        ModuleNotFoundError
            Without matplotlib.
        """

    def draw_mistakes(
        self, images: Array, truths: Array, prediction: Array, classes: Sequence[str], path: Target
    ) -> None:
        """Draw those images whose class is wrong, or, where there are places, what was found and the truth.

        Parameters
        ----------
        images : ndarray (N, C, H, W)
            Of the size that the network takes.
        truths : ndarray (N, ...)
            Targets as `loss` takes them.
        prediction : ndarray (N, ...)
            What the network gives.
        classes : sequence of str
            Names of the classes.
        path : path or binary file
            Where the PNG goes.

        Raises
        ------
        ModuleNotFoundError
            Without matplotlib.
        """


class _Labelling(ABC):
    """What the tasks have in common that find one class for each image: a probability for each class."""

    @abstractmethod
    def probabilities(self, prediction: Any) -> Array:
        """Compute the probabilities (N, classes); each row sums to 1."""

    def find(self, prediction: Any, sizes: Sequence[tuple[int, int]]) -> list[Array]:
        return list(self.probabilities(prediction))

    def tell(self, found: Array, classes: Sequence[str], most: int | None = None) -> list[str]:
        return [", ".join(_largest(found, classes, most or LIKELIEST))]

    def draw(self, image: Array, found: Array, classes: Sequence[str], path: Target) -> None:
        titles = ["\n".join(_largest(found, classes, LIKELIEST))]
        pictures.image_grid([image], path, titles=titles, tile=TILE)

    def draw_mistakes(
        self, images: Array, truths: Array, prediction: Array, classes: Sequence[str], path: Target
    ) -> None:
        told = self.probabilities(prediction).argmax(1)
        pictures.mistakes(images, truths, told, prediction, classes, path)


def _largest(shares: Array, classes: Sequence[str], most: int | None) -> list[str]:
    """Name the classes of the largest shares, the largest first, each with its share."""
    return [f"{classes[place]} {shares[place]:.1%}" for place in shares.argsort()[::-1][:most]]


class Classification(_Labelling):
    """One class of several for each image: cross-entropy of scores (N, C) with labels (N,), and accuracy.

    Labels may be ``MixedLabels``, of which the first count in the accuracy, and scores those of a network
    with auxiliary ones (``models.auxiliary_cross_entropy``), of which the main ones do.

    Parameters
    ----------
    label_smoothing : float
        As in ``nn.losses.cross_entropy``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.training import Classification
    >>> task = Classification()
    >>> scores = np.array([[0.0, 2.0], [1.0, 0.0]])
    >>> task.score(scores, np.array([1, 1]))
    0.5
    >>> found, _ = task.find(scores, [(28, 28)] * 2)
    >>> task.tell(found, ["cat", "dog"])
    ['dog 88.1%, cat 11.9%']
    """

    metric: ClassVar[str] = "accuracy"
    mean_score: ClassVar[bool] = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def loss(self, prediction: Any, target: Any) -> tuple[float, Any]:
        scores = _main(prediction)
        if isinstance(target, MixedLabels):
            target = target.soft(scores.shape[1]).astype(scores.dtype)
        return auxiliary_cross_entropy(prediction, target, label_smoothing=self.label_smoothing)

    def score(self, predictions: Any, targets: Any) -> float:
        labels = targets.first if isinstance(targets, MixedLabels) else targets
        return float((_main(predictions).argmax(1) == labels).mean())

    def probabilities(self, prediction: Any) -> Array:
        probabilities: Array = nn.Softmax()(_main(prediction))
        return probabilities


def _main(prediction: Any) -> Array:
    scores: Array = prediction[0] if isinstance(prediction, tuple) else prediction
    return scores


class YesOrNo(_Labelling):
    """One of two classes, by one logit (N, 1) for each image: binary cross-entropy, and accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.training import YesOrNo
    >>> YesOrNo().score(np.array([[-1.0], [2.0]]), np.array([0, 1]))
    1.0
    """

    metric: ClassVar[str] = "accuracy"
    mean_score: ClassVar[bool] = True

    def loss(self, prediction: Array, target: Array) -> tuple[float, Array]:
        return binary_cross_entropy_with_logits(
            prediction, target.astype(prediction.dtype).reshape(prediction.shape)
        )

    def score(self, predictions: Array, targets: Array) -> float:
        return float(((predictions > 0).reshape(targets.shape) == targets).mean())

    def probabilities(self, prediction: Array) -> Array:
        odds = nn.Sigmoid()(prediction)
        return np.hstack([1 - odds, odds])


class Boxes(GridDetection):
    """Boxes around objects, by a grid of cells: ``detection.GridDetection``, put into words and drawn.

    What is found in an image are rows ``class, left, top, right, bottom, score``, the best score first.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.training import Boxes
    >>> prediction = np.full((1, 7, 4, 4), -9.0)
    >>> prediction[0, :, 1, 2] = [9, 0, 0, 0, 0, -9, 9]  # the middle of row 1, column 2; class 1
    >>> task = Boxes(classes=2, anchor=(16, 16))
    >>> (found,) = task.find(prediction, [(32, 64)])  # the network saw 32 × 32
    >>> task.tell(found, ["cat", "dog"])
    ['dog 100.0%, left 24.0, top 4.0, right 56.0, bottom 20.0']
    """

    def find(self, prediction: Array, sizes: Sequence[tuple[int, int]]) -> list[Array]:
        rows, columns = self._cells(prediction).shape[1:3]
        found = self.detect(prediction)
        for boxes, (height, width) in zip(found, sizes, strict=True):
            boxes[:, 1:5] *= np.tile([width / columns, height / rows], 2) / self.stride
        return found

    def tell(self, found: Array, classes: Sequence[str], most: int | None = None) -> list[str]:
        lines = [
            f"{classes[int(kind)]} {score:.1%}, left {left:.1f}, top {top:.1f}, right {right:.1f}, "
            f"bottom {bottom:.1f}"
            for kind, left, top, right, bottom, score in found[:most]
        ]
        return lines or ["nothing found"]

    def draw(self, image: Array, found: Array, classes: Sequence[str], path: Target) -> None:
        pictures.boxes([image], [found], path, classes=classes, tile=TILE)

    def draw_mistakes(
        self, images: Array, truths: Array, prediction: Array, classes: Sequence[str], path: Target
    ) -> None:
        pictures.boxes(images, self.detect(prediction), path, truths=truths, classes=classes)


class Masks(Segmentation):
    """The class of every pixel: ``segmentation.Segmentation``, put into words and drawn.

    What is found in an image is its mask, int (H, W).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.training import Masks
    >>> prediction = np.zeros((1, 2, 4, 4))
    >>> prediction[0, 1, 0, :] = 1  # the top row
    >>> task = Masks(classes=2)
    >>> (found,) = task.find(prediction, [(40, 20)])
    >>> found.shape, task.tell(found, ["ground", "sky"])
    ((40, 20), ['ground 75.0%, sky 25.0%'])
    """

    def find(self, prediction: Array, sizes: Sequence[tuple[int, int]]) -> list[Array]:
        return [_resized(mask, size) for mask, size in zip(self.masks(prediction), sizes, strict=True)]

    def tell(self, found: Array, classes: Sequence[str], most: int | None = None) -> list[str]:
        shares = np.bincount(found.ravel(), minlength=self.classes) / found.size
        return [", ".join(_largest(shares, classes, most)[: np.count_nonzero(shares)])]

    def draw(self, image: Array, found: Array, classes: Sequence[str], path: Target) -> None:
        pictures.masks([image], [found], path, classes=classes, tile=TILE)

    def draw_mistakes(
        self, images: Array, truths: Array, prediction: Array, classes: Sequence[str], path: Target
    ) -> None:
        pictures.masks(images, self.masks(prediction), path, truths=truths, classes=classes)


def _resized(mask: Array, size: tuple[int, int]) -> Array:
    """Bring a mask to another height and width: each pixel has the class at its middle."""
    places = (
        ((2 * np.arange(new) + 1) * old) // (2 * new) for new, old in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(*places)]
