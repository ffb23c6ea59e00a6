"""Semantic segmentation: the task of naming every pixel's class, and what masks are judged by.

With ``M[t, p]`` the number of pixels of class t that are taken for class p (the confusion matrix),

    IoU of class c = M[c, c] / (sum of row c + sum of column c - M[c, c])

and the mean IoU is its mean over the classes that occur, in the truth or the prediction.

J. Long, E. Shelhamer, T. Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv.nn.arguments import check_data_format, read_int
from fastconv.nn.losses import cross_entropy

__all__ = ["Segmentation", "confusion_matrix", "mean_iou"]


def confusion_matrix(prediction: ArrayLike, target: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Count how often each class is taken for each.

    Parameters
    ----------
    prediction, target : array_like of int
        Classes from 0 to `classes` - 1, of one shape.
    classes : int
        How many there are.

    Returns
    -------
    ndarray of int (classes, classes)
        Rows are the target's classes, columns the prediction's.

    Raises
    ------
    ValueError, TypeError
        Shapes that differ, classes out of range, numbers that are no integers.

    Examples
    --------
    >>> from fastconv.segmentation import confusion_matrix
    >>> confusion_matrix([[0, 1], [1, 1]], [[0, 1], [0, 1]], classes=2)
    array([[1, 1],
           [0, 2]])
    """
    where = "confusion_matrix"
    taken, truth = np.asarray(prediction), np.asarray(target)
    read_int(where, "classes", classes)
    if taken.shape != truth.shape:
        raise ValueError(f"{where}: prediction has shape {taken.shape}, but target {truth.shape}")
    for name, labels in (("prediction", taken), ("target", truth)):
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{where}: {name} must hold integers, got {labels.dtype}")
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(f"{where}: {name} must hold classes from 0 to {classes - 1}, "
                             f"got {labels.min()} to {labels.max()}")  # fmt: skip
    pairs = truth.astype(np.int64).ravel() * classes + taken.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mean_iou(matrix: ArrayLike) -> float:
    """Compute the mean over the classes of intersection over union.

    Parameters
    ----------
    matrix : array_like (classes, classes)
        As ``confusion_matrix`` gives it.

    Returns
    -------
    float
        From 0 to 1. Classes that occur neither in the target nor in the prediction do not count.

    Raises
    ------
    ValueError
        A matrix that is not square, or holds nothing.

    Examples
    --------
    >>> from fastconv.segmentation import mean_iou
    >>> mean_iou([[1, 1, 0], [0, 2, 0], [0, 0, 0]])  # 1/2 and 2/3
    0.5833333333333333
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"mean_iou: matrix must be square, got shape {counts.shape}")
    both = counts.diagonal()
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    if not either.any():
        raise ValueError("mean_iou: matrix must count something, got zeros alone")
    occurs = either > 0
    return float(np.mean(both[occurs] / either[occurs]))


@dataclass(frozen=True)
class Segmentation:
    """The task of naming every pixel's class.

    Parameters
    ----------
    classes : int
        How many there are, the background's among them.
    data_format : str
        Whether predictions are (N, classes, H, W), ``"channels_first"``, or (N, H, W, classes),
        ``"channels_last"``.

    Attributes
    ----------
    metric : str
        What `score` gives: ``"mean IoU"``.
    mean_score : bool
        Whether that is a mean over images: it is not.

    Raises
    ------
    ValueError, TypeError
        A number of classes below 1, an unknown `data_format`.

    Examples
    --------
    >>> from fastconv.data import digit_scenes
    >>> from fastconv.models import unet
    >>> from fastconv.segmentation import Segmentation
    >>> scenes = digit_scenes(2)
    >>> model, task = unet(rng=0, width=4), Segmentation()
    >>> prediction = model(scenes.images)
    >>> loss, gradient = task.loss(prediction, scenes.masks)
    >>> gradient.shape == prediction.shape == (2, 11, 64, 64)
    True
    >>> task.score(prediction, scenes.masks) < 0.1  # nothing learnt
    True
    """

    classes: int = 11
    data_format: str = "channels_first"
    metric: ClassVar[str] = "mean IoU"
    mean_score: ClassVar[bool] = False

    def __post_init__(self) -> None:
        read_int("Segmentation", "classes", self.classes)
        check_data_format("Segmentation", self.data_format)

    def loss(self, prediction: NDArray[Any], target: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Compute the mean cross-entropy of the pixels and its gradient.

        Parameters
        ----------
        prediction : ndarray (N, classes, H, W), or (N, H, W, classes) with channels last
            Scores before any softmax.
        target : ndarray of int (N, H, W)
            The right classes.

        Returns
        -------
        loss : float
            The mean over all pixels.
        gradient : ndarray
            Its gradient by `prediction`.

        Raises
        ------
        ValueError, TypeError
            Shapes that do not fit, classes out of range, targets that are no integers.
        """
        scores = self._scores(prediction)
        self._check_target(scores, target)
        gradient = np.empty_like(prediction)
        loss, by_pixel = cross_entropy(scores.reshape(-1, self.classes), target.reshape(-1))
        self._scores(gradient)[...] = by_pixel.reshape(scores.shape)
        return loss, gradient

    def masks(self, prediction: NDArray[Any]) -> NDArray[np.intp]:
        """Read the likeliest class of each pixel out of a prediction.

        Parameters
        ----------
        prediction : ndarray
            As in `loss`.

        Returns
        -------
        ndarray of int (N, H, W)
            Classes from 0 on; of equal scores the first.

        Raises
        ------
        ValueError
            A prediction of another shape.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv.segmentation import Segmentation
        >>> prediction = np.array([[[[3.0, 0.0]], [[1.0, 2.0]]]])  # an image of two pixels, two classes
        >>> Segmentation(classes=2).masks(prediction)
        array([[[0, 1]]])
        """
        return np.asarray(self._scores(prediction).argmax(axis=-1))

    def score(self, predictions: NDArray[Any], targets: NDArray[Any]) -> float:
        """Compute the mean intersection over union over a whole test set.

        Parameters
        ----------
        predictions : ndarray
            As `prediction` in `loss`.
        targets : ndarray of int (N, H, W)
            The right classes.

        Returns
        -------
        float
            From 0 to 1.

        Raises
        ------
        ValueError, TypeError
            As in `loss`.
        """
        self._check_target(self._scores(predictions), targets)
        return mean_iou(confusion_matrix(self.masks(predictions), targets, self.classes))

    def _scores(self, prediction: NDArray[Any]) -> NDArray[Any]:
        """Return a view of a prediction with the channels last."""
        axis = 1 if self.data_format == "channels_first" else -1
        if prediction.ndim != 4 or prediction.shape[axis] != self.classes:
            raise ValueError(f"Segmentation: prediction must have four axes and {self.classes} channels "
                             f"on axis {axis}, got shape {prediction.shape}")  # fmt: skip
        return np.moveaxis(prediction, axis, -1)

    def _check_target(self, scores: NDArray[Any], target: NDArray[Any]) -> None:
        if target.shape != scores.shape[:-1]:
            raise ValueError(f"Segmentation: target has shape {target.shape}, expected {scores.shape[:-1]}, "
                             "a class for each pixel")  # fmt: skip
