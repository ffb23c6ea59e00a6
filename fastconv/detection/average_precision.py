"""Mean average precision: how well detections find what is there, over all thresholds of their scores.

Detections of one class, from all images, are gone through from the best score down. One is right where the
truth of its class and image that it overlaps most reaches the wanted intersection over union, and no better
detection has claimed that truth before. With every threshold come

    precision = right ones / detections so far        recall = right ones / truths

The average precision is the area under precision over recall, after each precision has been raised to the
highest one at any recall as great or greater ("all points", PASCAL VOC since 2010); its mean is taken over
the classes that occur in the truths.

M. Everingham, S. Eslami, L. Van Gool, C. Williams, J. Winn, A. Zisserman, "The PASCAL visual object classes
challenge: a retrospective", IJCV 111 (2015), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv.detection.boxes import intersection_over_union, read_boxes, read_share


def average_precision(scores: ArrayLike, right: ArrayLike, truths: int) -> float:
    """Compute the area under the curve of precision over recall, of one class.

    Parameters
    ----------
    scores : array_like (N,)
        Of all detections; of equals the first counts as the better.
    right : array_like of bool (N,)
        Whether each found a truth.
    truths : int
        How many there are to find, at least 1.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        `scores` and `right` of different shapes, no `truths`.

    Examples
    --------
    >>> from fastconv.detection import average_precision
    >>> average_precision([0.9, 0.8, 0.7], [True, False, True], truths=2)  # 1/2 × 1 + 1/2 × 2/3
    0.8333333333333333
    """
    scores, right = np.asarray(scores), np.asarray(right, np.bool_)
    if scores.ndim != 1 or scores.shape != right.shape:
        raise ValueError(f"average_precision: scores and right must have one shape (N,), "
                         f"got {scores.shape} and {right.shape}")  # fmt: skip
    if truths < 1:
        raise ValueError(f"average_precision: truths must be at least 1, got {truths}")
    so_far = np.cumsum(right[np.argsort(-scores, kind="stable")])
    precision = so_far / np.arange(1, len(so_far) + 1)
    raised = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(raised * np.diff(so_far, prepend=0)) / truths)


def mean_average_precision(
    predictions: Sequence[ArrayLike], truths: Sequence[ArrayLike] | NDArray[Any], iou: float = 0.5
) -> float:
    """Compute the mean of the classes' average precisions over a whole test set.

    Parameters
    ----------
    predictions : sequence of array_like (K, 6)
        For each image its detections, rows ``class, left, top, right, bottom, score``.
    truths : sequence of array_like (M, 5), or ndarray (N, M, 5)
        For each image what is there, rows ``class, left, top, right, bottom``; those of a class below 0 are
        not counted.
    iou : float
        Intersection over union from which on a truth counts as found, above 0 up to 1.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError, TypeError
        Not as many predictions as truths, rows of other lengths, no truths at all, an `iou` out of range.

    Examples
    --------
    >>> from fastconv.detection import mean_average_precision
    >>> truths = [[[3, 0, 0, 10, 10]], [[5, 0, 0, 10, 10]]]
    >>> predictions = [[[3, 0, 0, 10, 9, 0.8], [3, 40, 40, 50, 50, 0.9]], []]
    >>> mean_average_precision(predictions, truths)  # class 3: 1/2, class 5: 0
    0.25
    """
    where = "mean_average_precision"
    if len(predictions) != len(truths):
        raise ValueError(f"{where}: there are predictions for {len(predictions)} images, "
                         f"but truths for {len(truths)}")  # fmt: skip
    if read_share(where, "iou", iou) == 0:
        raise ValueError(f"{where}: iou must be above 0, got {iou}")
    found = [read_boxes(where, "predictions", rows, 6) for rows in predictions]
    there = [read_boxes(where, "truths", rows, 5) for rows in truths]
    kinds, counts = np.unique(
        np.concatenate([np.empty(0), *(rows[:, 0] for rows in there)]), return_counts=True
    )
    if not (kinds >= 0).any():
        raise ValueError(f"{where}: truths must hold at least one box, got none")
    scores = []
    for kind, count in zip(kinds[kinds >= 0], counts[kinds >= 0], strict=True):
        mine = [rows[rows[:, 0] == kind] for rows in found]
        right = [
            _right(detections, rows[rows[:, 0] == kind], iou)
            for detections, rows in zip(mine, there, strict=True)
        ]
        scores.append(average_precision(np.concatenate(mine)[:, 5], np.concatenate(right), int(count)))
    return float(np.mean(scores))


def _right(detections: NDArray[Any], truths: NDArray[Any], iou: float) -> NDArray[np.bool_]:
    """Tell which detections of one class in one image are right."""
    right = np.zeros(len(detections), np.bool_)
    if len(truths) == 0:
        return right
    overlaps = intersection_over_union(detections[:, 1:5], truths[:, 1:])
    claimed = set()
    for index in np.argsort(-detections[:, 5], kind="stable"):  # from the best score down
        nearest = int(overlaps[index].argmax())
        if overlaps[index, nearest] >= iou and nearest not in claimed:
            claimed.add(nearest)
            right[index] = True
    return right
