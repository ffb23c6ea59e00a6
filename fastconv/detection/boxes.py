"""Boxes: how much two have in common, and which of many are the same object found again.

A box is ``left, top, right, bottom`` in pixels from the image's corner, so that its width is
``right - left``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv.nn.arguments import read_number


def intersection_over_union(boxes: ArrayLike, others: ArrayLike) -> NDArray[Any]:
    """Compare each box with each of the others: the area both cover over the area either covers.

    Parameters
    ----------
    boxes : array_like (N, 4)
        Rows ``left, top, right, bottom``.
    others : array_like (M, 4)
        The same.

    Returns
    -------
    ndarray (N, M)
        From 0, apart, to 1, the same; 0 too for two boxes without area.

    Raises
    ------
    ValueError
        Shapes other than these.

    References
    ----------
    P. Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11 (1912).

    Examples
    --------
    >>> from fastconv.detection import intersection_over_union
    >>> intersection_over_union([[0, 0, 4, 2]], [[2, 0, 6, 2], [0, 0, 4, 2], [9, 9, 9, 9]])
    array([[0.33333333, 1.        , 0.        ]])
    """
    a, b = (read_boxes("intersection_over_union", *pair) for pair in (("boxes", boxes), ("others", others)))
    corners = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    both = (corners[1] - corners[0]).clip(0).prod(axis=-1)
    areas = [(side[:, 2:] - side[:, :2]).prod(axis=1) for side in (a, b)]
    either = areas[0][:, None] + areas[1] - both
    return np.asarray(both / np.where(either > 0, either, 1))


def non_maximum_suppression(
    boxes: ArrayLike, scores: ArrayLike, classes: ArrayLike | None = None, *, iou: float = 0.5
) -> NDArray[np.intp]:
    """Keep the best of the boxes that cover one another: the highest score, then the next, and so on.

    Parameters
    ----------
    boxes : array_like (N, 4)
        Rows ``left, top, right, bottom``.
    scores : array_like (N,)
        The more, the better; of equals the first wins.
    classes : array_like (N,), optional
        Boxes of different classes do not suppress one another; without it, all do.
    iou : float
        A box goes where its intersection over union with a better one that was kept is above this.

    Returns
    -------
    ndarray of int (K,)
        Indices of those to keep, best first.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, an `iou` outside of 0 to 1.

    References
    ----------
    A. Neubeck, L. Van Gool, "Efficient non-maximum suppression", ICPR 2006.

    Examples
    --------
    >>> from fastconv.detection import non_maximum_suppression
    >>> boxes = [[0, 0, 9, 10], [0, 0, 10, 10], [20, 20, 30, 30]]
    >>> non_maximum_suppression(boxes, [0.6, 0.9, 0.3])
    array([1, 2])
    >>> non_maximum_suppression(boxes, [0.6, 0.9, 0.3], classes=[7, 1, 7])
    array([1, 0, 2])
    """
    where = "non_maximum_suppression"
    boxes, scores = read_boxes(where, "boxes", boxes), np.asarray(scores)
    classes = np.zeros(len(boxes)) if classes is None else np.asarray(classes)
    for name, values in (("scores", scores), ("classes", classes)):
        if values.shape != (len(boxes),):
            raise ValueError(f"{where}: {name} must have shape ({len(boxes)},), one for each box, "
                             f"got {values.shape}")  # fmt: skip
    read_share(where, "iou", iou)
    rivals = (intersection_over_union(boxes, boxes) > iou) & (classes[:, None] == classes)
    kept = []
    standing = np.ones(len(boxes), np.bool_)
    for index in np.argsort(-scores, kind="stable"):
        if standing[index]:
            kept.append(index)
            standing &= ~rivals[index]
    return np.array(kept, np.intp)


def read_boxes(where: str, name: str, value: ArrayLike, columns: int = 4) -> NDArray[Any]:
    """Take boxes as a floating array (N, `columns`); an empty list has none."""
    boxes = np.asarray(value)
    if boxes.size == 0 and boxes.ndim < 2:
        boxes = np.zeros((0, columns))
    if boxes.ndim != 2 or boxes.shape[1] != columns:
        raise ValueError(f"{where}: {name} must have shape (N, {columns}), got {boxes.shape}")
    return boxes if boxes.dtype.kind == "f" else boxes.astype(np.float64)


def read_share(where: str, name: str, value: Any) -> float:
    """Take a number from 0 to 1."""
    number = read_number(where, name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{where}: {name} must be from 0 to 1, got {value}")
    return number
