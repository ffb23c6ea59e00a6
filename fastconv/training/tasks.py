"""What a network is trained to do: a loss to go down, and a score for people to read.

A task has a ``metric``, the score's name; ``loss(prediction, target) -> (loss, gradient)`` for a batch; and
``score(predictions, targets)`` for a whole test set. ``mean_score`` says that the score is a mean over
images, so that the batches of a training tell it on the way.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from fastconv.augment import MixedLabels
from fastconv.models import auxiliary_cross_entropy
from fastconv.nn.losses import binary_cross_entropy_with_logits

Array = NDArray[Any]


class Task(Protocol):
    """What a training wants to know beside the network."""

    metric: ClassVar[str]
    mean_score: ClassVar[bool]

    def loss(self, prediction: Any, target: Any) -> tuple[float, Any]:
        """Compute the loss of a batch and its gradient by the prediction."""

    def score(self, predictions: Array, targets: Array) -> float:
        """Compute the score of a test set, from 0 to 1."""


class Classification:
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


def _main(prediction: Any) -> Array:
    scores: Array = prediction[0] if isinstance(prediction, tuple) else prediction
    return scores


class YesOrNo:
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
