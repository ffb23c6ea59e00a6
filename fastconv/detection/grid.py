"""Detection on a grid: what the channels of a single-shot detector mean, its loss and its score.

The network gives each cell of R × C, a square of `stride` pixels, 5 + K numbers (t, x, y, w, h, k_1 ... k_K):

    is the centre of an object in the cell?   sigmoid(t)
    where                                     (column + sigmoid(x), row + sigmoid(y)) * stride
    how wide and high                         anchor * (exp(w), exp(h))
    of which class                            softmax(k)

The loss of an image is the sum of

    binary cross-entropy(t)                                              over all cells
    cross-entropy(k)                                                     over cells that hold a centre
    box_weight * squared errors of sigmoid(x), sigmoid(y), w and h       over the same

J. Redmon, S. Divvala, R. Girshick, A. Farhadi, "You only look once", CVPR 2016, section 2, with sizes
relative to an anchor as in J. Redmon, A. Farhadi, "YOLO9000", CVPR 2017, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv.detection.average_precision import mean_average_precision
from fastconv.detection.boxes import non_maximum_suppression, read_share
from fastconv.nn.arguments import check_data_format, read_int, read_number
from fastconv.nn.losses import binary_cross_entropy_with_logits, cross_entropy, mse


@dataclass(frozen=True)
class GridDetection:
    """The task of finding objects with one prediction for each cell of a grid.

    Parameters
    ----------
    classes : int
        Kinds of object, K.
    stride : int
        Height and width of a cell in pixels.
    anchor : (float, float)
        Width and height in pixels that the network's sizes are relative to: those of a usual object.
    box_weight : float
        Weight of the boxes' squared error in the loss.
    data_format : str
        Whether predictions are (N, 5 + K, R, C), ``"channels_first"``, or (N, R, C, 5 + K),
        ``"channels_last"``.

    Attributes
    ----------
    metric : str
        What `score` gives: ``"mAP@0.5"``.
    mean_score : bool
        Whether that is a mean over images: it is not.

    Raises
    ------
    ValueError, TypeError
        Numbers out of range, an unknown `data_format`.

    Examples
    --------
    >>> from fastconv.data import digit_scenes
    >>> from fastconv.detection import GridDetection
    >>> from fastconv.models import grid_detector
    >>> scenes = digit_scenes(4)
    >>> model, task = grid_detector(rng=0), GridDetection()
    >>> prediction = model(scenes.images)
    >>> loss, gradient = task.loss(prediction, scenes.boxes)
    >>> gradient.shape == prediction.shape == (4, 15, 8, 8)
    True
    >>> task.score(prediction, scenes.boxes) < 0.1  # nothing learnt
    True
    """

    classes: int = 10
    stride: int = 8
    anchor: tuple[float, float] = (16.0, 20.0)
    box_weight: float = 5.0
    data_format: str = "channels_first"
    metric: ClassVar[str] = "mAP@0.5"
    mean_score: ClassVar[bool] = False

    def __post_init__(self) -> None:
        where = type(self).__name__
        read_int(where, "classes", self.classes)
        read_int(where, "stride", self.stride)
        sides = [read_number(where, "anchor", side) for side in self.anchor]
        if len(sides) != 2 or min(sides) <= 0:
            raise ValueError(f"{where}: anchor must be a width and a height, above 0, got {self.anchor}")
        if read_number(where, "box_weight", self.box_weight) < 0:
            raise ValueError(f"{where}: box_weight must be at least 0, got {self.box_weight}")
        check_data_format(where, self.data_format)

    def encode(self, boxes: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Say what each cell should predict.

        Parameters
        ----------
        boxes : array_like (N, M, 5)
            For each image rows ``class, left, top, right, bottom``; those of a class below 0 are left out.
        shape : (int, int)
            Rows R and columns C of the grid.

        Returns
        -------
        ndarray (N, R, C, 6)
            ``object, x, y, w, h, class``: the first is 1 in cells that hold a centre, where x and y tell its
            place from 0 to 1 within the cell, w and h the logarithms of the size over the anchor's; zeros
            elsewhere. Of several boxes with their centres in one cell, the last counts.

        Raises
        ------
        ValueError
            Boxes of another shape, without area, of unknown class, or with their centre outside of the grid.

        Examples
        --------
        >>> from fastconv.detection import GridDetection
        >>> GridDetection(anchor=(20, 10)).encode([[[3, 0, 4, 20, 14]]], shape=(2, 2))[0, 1, 1]
        array([1.   , 0.25 , 0.125, 0.   , 0.   , 3.   ])
        """
        boxes = np.asarray(boxes)
        if boxes.ndim != 3 or boxes.shape[2] != 5:
            raise ValueError(f"{type(self).__name__}: boxes must have shape (N, M, 5), got {boxes.shape}")
        image, row = np.nonzero(boxes[..., 0] >= 0)
        kind, corners = boxes[image, row, 0], boxes[image, row, 1:]
        sizes = corners[:, 2:] - corners[:, :2]
        places = (corners[:, :2] + sizes / 2) / self.stride
        for fault, right in (
            (f"whose class is not from 0 to {self.classes - 1}", (kind < self.classes) & (kind % 1 == 0)),
            ("without area", (sizes > 0).all(axis=1)),
            (
                f"with its centre outside of the grid {shape}",
                ((places >= 0) & (places < shape[::-1])).all(axis=1),
            ),
        ):
            if not right.all():
                first = right.argmin()
                raise ValueError(f"{type(self).__name__}: boxes holds one {fault}: "
                                 f"image {image[first]}, {boxes[image[first], row[first]]}")  # fmt: skip
        cells = np.floor(places).astype(np.intp)
        targets = np.zeros((len(boxes), *shape, 6))
        targets[image, cells[:, 1], cells[:, 0]] = np.column_stack(
            [np.ones(len(kind)), places - cells, np.log(sizes / self.anchor), kind]
        )
        return targets

    def loss(self, prediction: NDArray[Any], target: ArrayLike) -> tuple[float, NDArray[Any]]:
        """Compute the mean loss of the images and its gradient.

        Parameters
        ----------
        prediction : ndarray (N, 5 + K, R, C), or (N, R, C, 5 + K) with channels last
            What the network gives.
        target : array_like (N, M, 5)
            Boxes as in `encode`.

        Returns
        -------
        loss : float
            The mean over the images.
        gradient : ndarray
            Its gradient by `prediction`.

        Raises
        ------
        ValueError
            Shapes that do not fit, and boxes that `encode` refuses.
        """
        cells = self._cells(prediction)
        targets = self.encode(target, cells.shape[1:3]).astype(cells.dtype)
        if len(targets) != len(cells):
            raise ValueError(f"{type(self).__name__}: target holds the boxes of {len(targets)} images, "
                             f"expected {len(cells)}, as many as in prediction")  # fmt: skip
        gradient = np.zeros_like(prediction)
        by_cell = self._cells(gradient)  # a view
        rows, columns = cells.shape[1:3]
        loss, by_object = binary_cross_entropy_with_logits(cells[..., 0], targets[..., 0])
        loss *= rows * columns
        by_cell[..., 0] = rows * columns * by_object
        holding = targets[..., 0] == 1
        if holding.any():
            found, wanted = cells[holding], targets[holding]
            class_loss, by_class = cross_entropy(found[:, 5:], wanted[:, 5].astype(np.int64))
            boxes = _located(found)
            box_loss, by_box = mse(boxes, wanted[:, 1:5])
            by_box[:, :2] *= boxes[:, :2] * (1 - boxes[:, :2])  # the sigmoid's derivative
            box_weight = self.box_weight * 4  # mse() takes the mean of four
            per_image = len(found) / len(cells)
            loss += per_image * (class_loss + box_weight * box_loss)
            by_cell[holding, 1:5] = per_image * box_weight * by_box
            by_cell[holding, 5:] = per_image * by_class
        return loss, gradient

    def decode(self, prediction: NDArray[Any], *, threshold: float = 0.05) -> list[NDArray[Any]]:
        """Read the boxes out of a prediction, one for each cell that is sure enough.

        Parameters
        ----------
        prediction : ndarray
            As in `loss`.
        threshold : float
            Cells of a lower score are left out, from 0 to 1.

        Returns
        -------
        list of ndarray (D, 6)
            For each image rows ``class, left, top, right, bottom, score``: the likeliest class, what of the
            box is within the image, and the probability of an object times that of the class.

        Raises
        ------
        ValueError, TypeError
            A prediction of another shape, a `threshold` out of range.
        """
        cells = self._cells(prediction)
        read_share(type(self).__name__, "threshold", threshold)
        rows, columns = np.indices(cells.shape[1:3], cells.dtype)
        located = _located(cells)
        centres = (located[..., :2] + np.stack([columns, rows], axis=-1)) * self.stride
        halves = np.exp(located[..., 2:]) * np.asarray(self.anchor, cells.dtype) / 2
        likelihoods = np.exp(cells[..., 5:] - cells[..., 5:].max(axis=-1, keepdims=True))
        scores = _sigmoid(cells[..., 0]) / likelihoods.sum(axis=-1)  # the likeliest class's is 1
        kinds = cells[..., 5:].argmax(axis=-1)
        extent = np.array(cells.shape[2:0:-1]) * self.stride
        corners = [(centres - halves).clip(0, extent), (centres + halves).clip(0, extent)]
        detections = np.concatenate(
            [kinds[..., np.newaxis], *corners, scores[..., np.newaxis]], axis=-1, dtype=cells.dtype
        )
        return [rows[rows[:, 5] >= threshold] for rows in detections.reshape(len(cells), -1, 6)]

    def detect(
        self, prediction: NDArray[Any], *, threshold: float = 0.3, iou: float = 0.45
    ) -> list[NDArray[Any]]:
        """Decode a prediction and keep the best of the boxes of one class that cover one another.

        Parameters
        ----------
        prediction : ndarray
            As in `loss`.
        threshold : float
            As in `decode`.
        iou : float
            As in ``non_maximum_suppression``.

        Returns
        -------
        list of ndarray (D, 6)
            As `decode`, in each image the best score first.

        Raises
        ------
        ValueError, TypeError
            As `decode`; an `iou` out of range.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv.detection import GridDetection
        >>> prediction = np.full((1, 7, 4, 4), -9.0)
        >>> prediction[0, :, 1, 2] = [9, 0, 0, 0, 0, -9, 9]  # the middle of row 1, column 2; class 1
        >>> prediction[0, :, 1, 3] = [1, -9, 0, 0, 0, -9, 9]  # the same object, half a cell further
        >>> GridDetection(classes=2, anchor=(16, 16)).detect(prediction)[0].round(2)
        array([[ 1., 12.,  4., 28., 20.,  1.]])
        """
        kept = []
        for rows in self.decode(prediction, threshold=threshold):
            kept.append(rows[non_maximum_suppression(rows[:, 1:5], rows[:, 5], rows[:, 0], iou=iou)])
        return kept

    def score(self, predictions: NDArray[Any], targets: NDArray[Any]) -> float:
        """Compute the mean average precision, at an intersection over union of 0.5, over a whole test set.

        Parameters
        ----------
        predictions : ndarray
            As `prediction` in `loss`.
        targets : ndarray (N, M, 5)
            Boxes as in `encode`.

        Returns
        -------
        float
            From 0 to 1.

        Raises
        ------
        ValueError
            Shapes that do not fit, no boxes at all.
        """
        return mean_average_precision(self.detect(predictions, threshold=0.01), targets, iou=0.5)

    def _cells(self, prediction: NDArray[Any]) -> NDArray[Any]:
        """Return a view of a prediction with the channels last."""
        axis = 1 if self.data_format == "channels_first" else -1
        if prediction.ndim != 4 or prediction.shape[axis] != 5 + self.classes:
            raise ValueError(f"{type(self).__name__}: prediction must have four axes and {5 + self.classes} "
                             f"channels on axis {axis}, got shape {prediction.shape}")  # fmt: skip
        return np.moveaxis(prediction, axis, -1)


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return 0.5 * (1 + np.tanh(0.5 * x))  # a form that does not overflow


def _located(cells: NDArray[Any]) -> NDArray[Any]:
    """Return sigmoid(x), sigmoid(y), w, h of cells (..., 5 + K)."""
    return np.concatenate([_sigmoid(cells[..., 1:3]), cells[..., 3:5]], axis=-1)
