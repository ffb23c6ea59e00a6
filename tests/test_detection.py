"""Detection: overlaps, suppression and average precision by plain loops, the grid's loss by differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from finite_differences import assert_gradient

from fastconv import optim
from fastconv.data import digit_scenes
from fastconv.detection import (
    GridDetection,
    average_precision,
    intersection_over_union,
    mean_average_precision,
    non_maximum_suppression,
)
from fastconv.models import grid_detector


def random_boxes(rng, count, side=20):
    """Draw boxes with whole edges."""
    corners = np.sort(rng.integers(0, side, (count, 2, 2)), axis=1)
    corners[:, 1] += 1
    return corners.reshape(count, 4).astype(float)


def overlap(one, other):
    """Count pixels."""
    areas = np.zeros((2, 24, 24), bool)
    for area, (left, top, right, bottom) in zip(areas, (one, other), strict=True):
        area[int(top) : int(bottom), int(left) : int(right)] = True
    return (areas[0] & areas[1]).sum() / (areas[0] | areas[1]).sum()


# Boxes


def test_intersection_over_union_counts_pixels():
    rng = np.random.default_rng(0)
    boxes, others = random_boxes(rng, 30), random_boxes(rng, 20)
    expected = [[overlap(one, other) for other in others] for one in boxes]
    np.testing.assert_allclose(intersection_over_union(boxes, others), expected, rtol=1e-12)


def test_intersection_over_union_of_special_boxes():
    boxes = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [5, 5, 5, 9]], np.float32)
    result = intersection_over_union(boxes, boxes)
    np.testing.assert_array_equal(result, [[1, 0, 0], [0, 1, 0], [0, 0, 0]])  # touching, and without area
    assert result.dtype == np.float32
    assert intersection_over_union([], boxes).shape == (0, 3)
    assert intersection_over_union(boxes, []).shape == (3, 0)


def suppressed(boxes, scores, classes, iou):
    """Keep boxes one by one: the best left, which takes its rivals along."""
    left, kept = list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda index: (scores[index], -index))
        kept.append(best)
        left = [
            index
            for index in left
            if index != best
            and not (overlap(boxes[index], boxes[best]) > iou and classes[index] == classes[best])
        ]
    return kept


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 1.0])
def test_suppression_is_the_plain_loop(iou):
    rng = np.random.default_rng(1)
    for count in (1, 12, 40):
        boxes, scores = random_boxes(rng, count), rng.integers(8, size=count) / 8
        classes = rng.integers(3, size=count)
        kept = non_maximum_suppression(boxes, scores, classes, iou=iou)
        assert kept.tolist() == suppressed(boxes, scores, classes, iou)
        kept = non_maximum_suppression(boxes, scores, iou=iou)
        assert kept.tolist() == suppressed(boxes, scores, np.zeros(count), iou)


def test_suppression_of_nothing():
    assert non_maximum_suppression([], []).tolist() == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: intersection_over_union([1, 2, 3, 4], []), ValueError, r"boxes must have shape \(N, 4\)"),
        (lambda: intersection_over_union([], [[1, 2, 3]]), ValueError, r"others .* got \(1, 3\)"),
        (lambda: non_maximum_suppression([[0, 0, 1, 1]], []), ValueError, r"scores must have shape \(1,\)"),
        (
            lambda: non_maximum_suppression([[0, 0, 1, 1]], [1], [1, 2]),
            ValueError,
            r"classes must have shape \(1,\), one for each box, got \(2,\)",
        ),
        (lambda: non_maximum_suppression([], [], iou=1.5), ValueError, "iou must be from 0 to 1, got 1.5"),
        (lambda: non_maximum_suppression([], [], iou="0.5"), TypeError, "iou must be a number, got '0.5'"),
        (
            lambda: average_precision([1, 2], [True], 1),
            ValueError,
            r"scores and right must have one shape \(N,\), got \(2,\) and \(1,\)",
        ),
        (lambda: average_precision([], [], 0), ValueError, "truths must be at least 1, got 0"),
        (
            lambda: mean_average_precision([[]], [[[0, 0, 0, 1, 1]]] * 2),
            ValueError,
            "there are predictions for 1 images, but truths for 2",
        ),
        (
            lambda: mean_average_precision([[[0, 0, 0, 1, 1]]], [[[0, 0, 0, 1, 1]]]),
            ValueError,
            r"predictions must have shape \(N, 6\), got \(1, 5\)",
        ),
        (lambda: mean_average_precision([[]], [[[-1, 0, 0, 0, 0]]]), ValueError, "truths must hold at least"),
        (lambda: mean_average_precision([], []), ValueError, "truths must hold at least one box, got none"),
        (lambda: mean_average_precision([], [], iou=0), ValueError, "iou must be above 0, got 0"),
    ],
)
def test_nonsense_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Average precision


@pytest.mark.parametrize(
    ("right", "truths", "expected"),
    [
        ([True], 1, 1.0),
        ([False], 1, 0.0),
        ([], 3, 0.0),
        ([True, True], 4, 0.5),
        ([False, True], 1, 1 / 2),
        ([True, False, True, False, True], 3, (1 + 2 / 3 + 3 / 5) / 3),
        ([False, True, True], 2, 2 / 3),  # the precision of 1/2 is raised to 2/3
        ([True, False, False, True, True, True], 5, (1 + 3 * 4 / 6) / 5),
    ],
)
def test_average_precision_worked_by_hand(right, truths, expected):
    scores = np.linspace(0.9, 0.1, len(right))
    assert average_precision(scores, right, truths) == pytest.approx(expected, rel=1e-12)
    order = np.random.default_rng(0).permutation(len(right))
    mixed = average_precision(scores[order], np.array(right, bool)[order], truths)
    assert mixed == pytest.approx(expected, rel=1e-12)


def test_average_precision_is_its_definition():
    """For each of the truths, the best precision at which so many are found, or none."""
    rng = np.random.default_rng(2)
    for count in range(1, 30):
        right, truths = rng.random(count) < 0.5, count
        found = np.cumsum(right)
        expected = 0.0
        for wanted in range(1, truths + 1):
            expected += max((found[i] / (i + 1) for i in range(count) if found[i] >= wanted), default=0)
        scores = np.arange(count, 0, -1)
        assert average_precision(scores, right, truths) == pytest.approx(expected / truths, rel=1e-12)


def test_mean_average_precision_worked_by_hand():
    box, near, far = [0, 0, 10, 10], [0, 0, 10, 8], [30, 30, 40, 40]
    truths = [[[0, *box], [1, *far]], [[0, *box]], []]

    def value(*predictions, iou=0.5):
        return mean_average_precision([list(rows) for rows in predictions], truths, iou)

    assert value([], [], []) == 0
    assert value([[0, *box, 0.9], [1, *far, 0.1]], [[0, *near, 0.5]], []) == 1
    assert value([[0, *box, 0.9], [1, *far, 0.1]], [[0, *near, 0.5]], [], iou=0.8) == 1  # just reached
    assert value([[0, *box, 0.9], [1, *far, 0.1]], [[0, *near, 0.5]], [], iou=0.81) == (1 / 2 + 1) / 2
    # The second one on the same truth is wrong, and so is one of another class, image or place.
    assert value([[0, *box, 0.9], [0, *near, 0.8]], [[0, *box, 0.7]], []) == (1 / 2 + 1 / 2 * 2 / 3) / 2
    assert value([[1, *box, 0.9], [0, *far, 0.9]], [], [[0, *box, 0.9]]) == 0
    # The better score claims the truth, though the other covers it better.
    assert value([[1, *far, 0.5], [1, 30, 30, 40, 38, 0.6]], [], []) == 1 / 2
    # A class without truths has no average precision.
    assert value([[0, *box, 0.9], [1, *far, 0.1], [7, *far, 0.9]], [[0, *box, 0.9]], []) == 1


def plain_mean_average_precision(predictions, truths, iou):
    """Go through all detections of a class as the definition says, whichever image they are in."""
    values = []
    for kind in {row[0] for rows in truths for row in rows if row[0] >= 0}:
        detections = [(row[5], image, row) for image, rows in enumerate(predictions) for row in rows]
        detections = sorted((d for d in detections if d[2][0] == kind), key=lambda d: -d[0])
        total = sum(row[0] == kind for rows in truths for row in rows)
        claimed, right = set(), []
        for _, image, row in detections:
            overlaps = [overlap(row[1:5], truth[1:]) if truth[0] == kind else -1.0 for truth in truths[image]]
            best = int(np.argmax(overlaps)) if overlaps else 0
            hit = bool(overlaps) and overlaps[best] >= iou and (image, best) not in claimed
            claimed |= {(image, best)} if hit else set()
            right.append(hit)
        best_at = [0.0] * total
        for index in range(len(right)):
            for recall in range(sum(right[: index + 1])):
                best_at[recall] = max(best_at[recall], sum(right[: index + 1]) / (index + 1))
        values.append(sum(best_at) / total)
    return float(np.mean(values))


@pytest.mark.parametrize("iou", [0.1, 0.3, 0.5])
def test_mean_average_precision_is_the_plain_loop(iou):
    rng = np.random.default_rng(3)
    for _ in range(5):
        truths = np.full((6, 5, 5), -1.0)
        predictions = []
        for rows in truths:
            count = rng.integers(0, 6)
            rows[:count] = np.column_stack([rng.integers(3, size=count), random_boxes(rng, count)])
            moved = np.repeat(rows[:count], 3, axis=0)
            moved[:, 1:] += rng.integers(-2, 3, moved[:, 1:].shape)
            moved[:, 1:] = moved[:, 1:].clip(0, 20)
            moved[:, 3:] = np.maximum(moved[:, 3:], moved[:, 1:3] + 1)
            predictions.append(np.column_stack([moved, rng.random(len(moved))]))
        expected = plain_mean_average_precision(predictions, truths, iou)
        assert 0 < expected < 1
        assert mean_average_precision(predictions, truths, iou) == pytest.approx(expected, rel=1e-12)


# The grid

TASK = GridDetection(classes=3, stride=4, anchor=(5, 6), box_weight=2.5)
BOXES = np.array(
    [
        [[2, 0, 0, 5, 4], [0, 6, 3, 11, 11]],
        [[1, 1, 4, 10, 9], [-1, 0, 0, 0, 0]],
        [[-1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]],
    ]
)


def predictions(dtype=np.float64, classes=3, data_format="channels_first"):
    shape = (3, 5 + classes, 3, 4)
    drawn = np.random.default_rng(4).standard_normal(shape).astype(dtype)
    return drawn if data_format == "channels_first" else np.ascontiguousarray(np.moveaxis(drawn, 1, -1))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def plain_loss(prediction, boxes, task):
    """Follow the formula of the module cell by cell."""
    total = 0.0
    for cells, rows in zip(np.moveaxis(prediction, 1, -1), boxes, strict=True):
        holding = {}
        for kind, left, top, right, bottom in rows:
            if kind >= 0:
                x, y = (left + right) / 2 / task.stride, (top + bottom) / 2 / task.stride
                size = math.log((right - left) / task.anchor[0]), math.log((bottom - top) / task.anchor[1])
                holding[int(y), int(x)] = (x % 1, y % 1, *size), int(kind)
        for place in np.ndindex(cells.shape[:2]):
            object_score, *located = cells[place][:5]
            scores = cells[place][5:]
            total -= math.log(sigmoid(object_score if place in holding else -object_score))
            if place in holding:
                wanted, kind = holding[place]
                found = (sigmoid(located[0]), sigmoid(located[1]), *located[2:])
                total += task.box_weight * sum((f - w) ** 2 for f, w in zip(found, wanted, strict=True))
                total += math.log(sum(math.exp(score) for score in scores)) - scores[kind]
    return total / len(prediction)


def test_loss_is_the_formula():
    loss, gradient = TASK.loss(predictions(), BOXES)
    assert isinstance(loss, float) and gradient.flags.c_contiguous
    assert loss == pytest.approx(plain_loss(predictions(), BOXES, TASK), rel=1e-12)
    narrow, narrow_gradient = TASK.loss(predictions(np.float32), BOXES)
    assert narrow_gradient.dtype == np.float32 and narrow == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(narrow_gradient, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    "boxes", [BOXES, BOXES[::-1], np.full((3, 0, 5), -1)], ids=["some", "turned", "none"]
)
def test_gradient_of_the_loss(boxes, data_format):
    task = GridDetection(3, 4, (5, 6), 2.5, data_format)
    prediction = predictions(data_format=data_format)
    loss, gradient = task.loss(prediction, boxes)
    assert_gradient(lambda p: np.array(task.loss(p, boxes)[0]), prediction, gradient, np.ones(()))
    first = predictions() if data_format == "channels_first" else np.moveaxis(prediction, -1, 1)
    assert loss == pytest.approx(plain_loss(first, boxes, task), rel=1e-12)


def test_gradient_steps_lead_to_the_boxes():
    prediction = predictions()
    for _ in range(600):
        prediction -= 0.6 * TASK.loss(prediction, BOXES)[1]
    found = TASK.detect(prediction)
    for rows, truths in zip(found, BOXES, strict=True):
        truths = truths[truths[:, 0] >= 0]
        assert len(rows) == len(truths)
        for truth in truths:
            (mine,) = rows[rows[:, 0] == truth[0]]
            np.testing.assert_allclose(mine[1:5], truth[1:], atol=0.2)
            assert mine[5] > 0.9
    assert TASK.score(prediction, BOXES) == 1


def certain(boxes, task, shape):
    """Make the prediction that says `boxes` and nothing else."""
    targets = task.encode(boxes, shape)
    cells = np.zeros((*targets.shape[:3], 5 + task.classes))
    cells[..., 0] = np.where(targets[..., 0] == 1, 20, -20)
    inside = targets[..., 1:3].clip(1e-9, 1 - 1e-9)
    cells[..., 1:3] = np.log(inside / (1 - inside))
    cells[..., 3:5] = targets[..., 3:5]
    cells[..., 5:] = 40 * (targets[..., 5:] == np.arange(task.classes))
    return np.ascontiguousarray(np.moveaxis(cells, -1, 1))


def test_what_is_encoded_can_be_decoded():
    boxes = digit_scenes(20, overlap=0).boxes
    task = GridDetection()
    prediction = certain(boxes, task, (8, 8))
    for rows, truths in zip(task.decode(prediction), boxes, strict=True):
        cells = (truths[:, 1:3] + truths[:, 3:5]) // 16
        kept = [
            index
            for index in range(len(truths))
            if truths[index, 0] >= 0
            and not any(
                (cells[index] == cell).all() for cell in cells[index + 1 :][truths[index + 1 :, 0] >= 0]
            )
        ]
        order = sorted(kept, key=lambda index: (cells[index, 1], cells[index, 0]))
        np.testing.assert_allclose(rows[:, :5], truths[order], atol=1e-4)
        np.testing.assert_allclose(rows[:, 5], 1, atol=1e-6)
    assert task.score(prediction, boxes) > 0.98


def test_the_last_box_of_a_cell_counts():
    targets = TASK.encode([[[1, 0, 0, 2, 2], [2, 1, 1, 3, 3]]], (1, 1))
    np.testing.assert_allclose(targets[0, 0, 0], [1, 0.5, 0.5, math.log(2 / 5), math.log(2 / 6), 2])


def test_scores_are_probabilities():
    prediction = predictions()
    (rows,) = TASK.decode(prediction[:1], threshold=0)
    assert len(rows) == 12
    logits = prediction[0, :, 1, 2]
    expected = sigmoid(logits[0]) * np.exp(logits[5:]).max() / np.exp(logits[5:]).sum()
    assert rows[6, 5] == pytest.approx(expected, rel=1e-12) and rows[6, 0] == logits[5:].argmax()
    x, y = 4 * (2 + sigmoid(logits[1])), 4 * (1 + sigmoid(logits[2]))
    width, height = 5 * math.exp(logits[3]), 6 * math.exp(logits[4])
    box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    np.testing.assert_allclose(rows[6, 1:5], box.clip(0, [16, 12, 16, 12]), rtol=1e-12)
    (some,) = TASK.decode(prediction[:1], threshold=0.3)
    np.testing.assert_array_equal(some, rows[rows[:, 5] >= 0.3])


def test_boxes_end_with_the_image():
    prediction = np.full((1, 8, 3, 4), 3.0)
    (rows,) = TASK.decode(prediction, threshold=0)
    np.testing.assert_array_equal(rows[:, 1:5], [[0, 0, 16, 12]] * 12)


def test_detect_suppresses_within_a_class():
    prediction = np.full((1, 8, 3, 4), -9.0)
    prediction[0, :, 1, 1] = [9, 9, 0, 1, 1, 0, 9, 0]
    prediction[0, :, 1, 2] = [3, -9, 0, 1, 1, 0, 9, 0]
    prediction[0, :, 2, 2] = [2, -9, -9, 1, 1, 9, 0, 0]
    assert [len(TASK.decode(prediction)[0]), len(TASK.detect(prediction)[0])] == [3, 2]
    assert TASK.detect(prediction)[0][:, 0].tolist() == [1, 0]
    assert len(TASK.detect(prediction, iou=1.0)[0]) == 3


def test_large_numbers_do_not_overflow():
    prediction = 300 * predictions(np.float32)
    prediction[:, 3:5] /= 300
    loss, gradient = TASK.loss(prediction, BOXES)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert all(np.isfinite(rows).all() for rows in TASK.decode(prediction, threshold=0))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GridDetection(classes=0), ValueError, "GridDetection: classes must be at least 1, got 0"),
        (lambda: GridDetection(stride=2.5), TypeError, "stride must be an integer, got 2.5"),
        (lambda: GridDetection(anchor=(16, 0)), ValueError, r"anchor must be a width and a height, above 0"),
        (lambda: GridDetection(anchor=(16,)), ValueError, r"anchor must be a width and a height"),
        (lambda: GridDetection(box_weight=-1), ValueError, "box_weight must be at least 0, got -1"),
        (lambda: GridDetection(data_format="NCHW"), ValueError, "data_format must be one of channels_first"),
        (
            lambda: TASK.loss(predictions()[:, :7], BOXES),
            ValueError,
            "four axes and 8 channels on axis 1, got",
        ),
        (
            lambda: TASK.loss(predictions(), BOXES[:2]),
            ValueError,
            "boxes of 2 images, expected 3, as many as",
        ),
        (lambda: TASK.decode(predictions()[0]), ValueError, "prediction must have four axes"),
        (lambda: TASK.decode(predictions(), threshold=2), ValueError, "threshold must be from 0 to 1, got 2"),
        (lambda: TASK.encode(BOXES[..., :4], (3, 4)), ValueError, r"boxes must have shape \(N, M, 5\), got"),
        (lambda: TASK.encode([[[3, 0, 0, 1, 1]]], (3, 4)), ValueError, "class is not from 0 to 2: image 0"),
        (lambda: TASK.encode([[[0.5, 0, 0, 1, 1]]], (3, 4)), ValueError, "class is not from 0 to 2"),
        (lambda: TASK.encode([[[0, 3, 0, 3, 1]]], (3, 4)), ValueError, "boxes holds one without area"),
        (lambda: TASK.encode([[[0, 3, 0, np.nan, 1]]], (3, 4)), ValueError, "boxes holds one without area"),
        (lambda: TASK.encode([[[0, 3, 0, np.inf, 1]]], (3, 4)), ValueError, "its centre outside of the grid"),
        (
            lambda: TASK.encode([[[0, 14, 0, 19, 4]]], (3, 4)),
            ValueError,
            r"with its centre outside of the grid \(3, 4\): image 0, \[ 0 14  0 19  4\]",
        ),
    ],
)
def test_the_grid_refuses_nonsense(call, error, message):
    with pytest.raises(error, match=message):
        call()


# The network


def test_the_detector_is_fully_convolutional():
    model = grid_detector(0, classes=4, width=2)
    assert model.input_shape == (1, 64, 64)
    assert model(np.zeros((2, 1, 96, 40), np.float32)).shape == (2, 9, 12, 5)


def test_a_short_training_finds_digits():
    scenes = digit_scenes(16, size=48, digits_per_scene=(1, 2), clutter=0)
    model, task = grid_detector(0, width=8), GridDetection()
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(50):
        prediction = model(scenes.images)
        loss, gradient = task.loss(prediction, scenes.boxes)
        optimizer.zero_grad()
        model.backward(gradient, input_gradient=False)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < losses[0] / 12
    assert task.score(prediction, scenes.boxes) > 0.4
