"""Segmentation: counts and overlaps by plain loops, the loss by its formula and by differences."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import assert_gradient

from fastconv import optim
from fastconv.data import digit_scenes
from fastconv.models import unet
from fastconv.segmentation import Segmentation, confusion_matrix, mean_iou

RNG = np.random.default_rng(0)
TASK = Segmentation(classes=4)
SCORES = RNG.standard_normal((2, 4, 3, 5))
MASKS = RNG.integers(4, size=(2, 3, 5))


def test_the_confusion_matrix_counts():
    truth, taken = RNG.integers(5, size=(2, 3, 20)), RNG.integers(5, size=(2, 3, 20))
    expected = np.zeros((6, 6), int)
    for t, p in zip(truth.flat, taken.flat, strict=True):
        expected[t, p] += 1
    np.testing.assert_array_equal(confusion_matrix(taken, truth, 6), expected)
    np.testing.assert_array_equal(confusion_matrix(taken.astype(np.uint8), truth, 6), expected)
    assert confusion_matrix(np.empty(0, int), np.empty(0, int), 2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[5]], 1.0),
        ([[3, 0], [0, 1]], 1.0),
        ([[0, 3], [2, 0]], 0.0),
        ([[2, 1], [1, 4]], (2 / 4 + 4 / 6) / 2),
        ([[2, 1, 0], [1, 4, 0], [0, 0, 0]], (2 / 4 + 4 / 6) / 2),  # the last class occurs nowhere
        ([[2, 0, 1], [0, 4, 0], [0, 0, 0]], (2 / 3 + 1 + 0) / 3),  # the last one is in the prediction alone
    ],
)
def test_mean_iou_worked_by_hand(matrix, expected):
    assert mean_iou(matrix) == pytest.approx(expected, rel=1e-12)


def test_the_score_is_that_of_sets_of_pixels():
    taken = SCORES.argmax(axis=1)
    places = [
        [{tuple(place) for place in np.argwhere(labels == kind)} for labels in (MASKS, taken)]
        for kind in range(4)
    ]
    expected = np.mean([len(truth & found) / len(truth | found) for truth, found in places])
    assert TASK.score(SCORES, MASKS) == pytest.approx(expected, rel=1e-12)
    last = Segmentation(4, "channels_last")
    assert last.score(np.moveaxis(SCORES, 1, -1), MASKS) == pytest.approx(expected, rel=1e-12)
    assert TASK.score(np.eye(4)[MASKS].transpose(0, 3, 1, 2), MASKS) == 1


def test_a_mask_has_the_class_of_the_best_score():
    masks = TASK.masks(SCORES)
    assert masks.shape == (2, 3, 5)
    for image, row, column in np.ndindex(masks.shape):
        scores = SCORES[image, :, row, column]
        assert scores[masks[image, row, column]] == scores.max()
    last = Segmentation(4, "channels_last")
    np.testing.assert_array_equal(last.masks(np.moveaxis(SCORES, 1, -1)), masks)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_loss_and_gradient(data_format):
    task = Segmentation(4, data_format)
    scores = SCORES if data_format == "channels_first" else np.ascontiguousarray(np.moveaxis(SCORES, 1, -1))
    loss, gradient = task.loss(scores, MASKS)
    logs = SCORES - np.log(np.exp(SCORES).sum(axis=1, keepdims=True))
    expected = -np.mean([logs[n, MASKS[n, y, x], y, x] for n, y, x in np.ndindex(MASKS.shape)])
    assert loss == pytest.approx(expected, rel=1e-12)
    assert gradient.flags.c_contiguous
    assert_gradient(lambda s: np.array(task.loss(s, MASKS)[0]), scores, gradient, np.ones(()))
    narrow, narrow_gradient = task.loss(scores.astype(np.float32), MASKS)
    assert narrow == pytest.approx(loss, rel=1e-6) and narrow_gradient.dtype == np.float32
    np.testing.assert_allclose(narrow_gradient, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Segmentation(classes=0), ValueError, "Segmentation: classes must be at least 1, got 0"),
        (lambda: Segmentation(data_format="HWC"), ValueError, "data_format must be one of channels_first"),
        (
            lambda: TASK.loss(SCORES[:, :3], MASKS),
            ValueError,
            "four axes and 4 channels on axis 1, got shape",
        ),
        (
            lambda: TASK.loss(SCORES, MASKS[:1]),
            ValueError,
            r"target has shape \(1, 3, 5\), expected \(2, 3, 5",
        ),
        (
            lambda: TASK.score(SCORES, MASKS[0]),
            ValueError,
            r"target has shape \(3, 5\), expected \(2, 3, 5\)",
        ),
        (lambda: TASK.masks(SCORES[:, :3]), ValueError, "four axes and 4 channels on axis 1, got shape"),
        (lambda: TASK.loss(SCORES, MASKS + 1), ValueError, "target"),
        (lambda: TASK.loss(SCORES, MASKS / 1), TypeError, "target"),
        (lambda: confusion_matrix([0, 1], [0], 2), ValueError, r"shape \(2,\), but target \(1,\)"),
        (lambda: confusion_matrix([0.0], [0], 2), TypeError, "prediction must hold integers, got float64"),
        (lambda: confusion_matrix([0, 2], [0, 1], 2), ValueError, "classes from 0 to 1, got 0 to 2"),
        (lambda: confusion_matrix([0], [-1], 2), ValueError, "target must hold classes from 0 to 1, got -1"),
        (lambda: mean_iou([[1, 2]]), ValueError, r"matrix must be square, got shape \(1, 2\)"),
        (lambda: mean_iou([[0, 0], [0, 0]]), ValueError, "matrix must count something"),
    ],
)
def test_nonsense_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# The network


def twin(torch, width, depth, classes):
    """Make the U-Net in PyTorch, its modules in the order of fastconv's parameters."""
    layers = torch.nn

    def normalised(convolution):
        return [convolution, layers.BatchNorm2d(convolution.out_channels), layers.ReLU()]

    def conv(inputs, outputs):
        return normalised(layers.Conv2d(inputs, outputs, 3, padding=1, bias=False))

    class Level(layers.Module):
        def __init__(self, inputs, filters, below):
            super().__init__()
            self.down = layers.Sequential(*conv(inputs, filters))
            if not below:
                self.down.extend(conv(filters, filters))
            else:
                self.inner = Level(filters, 2 * filters, below - 1)
                up = layers.ConvTranspose2d(2 * filters, filters, 2, stride=2, bias=False)
                self.up = layers.Sequential(*normalised(up))
                self.joined = layers.Sequential(*conv(2 * filters, filters))
            self.below = below

        def forward(self, x):
            x = self.down(x)
            if self.below:
                deeper = self.up(self.inner(torch.nn.functional.max_pool2d(x, 2)))
                x = self.joined(torch.cat([x, deeper], 1))
            return x

    return layers.Sequential(Level(1, width, depth), layers.Conv2d(width, classes, 1)).double()


def test_pytorch_gives_the_same():
    torch = pytest.importorskip("torch")
    mine, theirs = unet(0, classes=4, width=3, depth=2, dtype=np.float64), twin(torch, 3, 2, 4)
    state = theirs.state_dict()
    with torch.no_grad():
        for array, tensor in zip(mine.state_dict().values(), state.values(), strict=True):
            tensor.copy_(torch.from_numpy(array))
    x, masks = RNG.standard_normal((2, 1, 12, 8)), RNG.integers(4, size=(2, 12, 8))
    scores, expected = mine(x), theirs(torch.from_numpy(x))
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-8, atol=1e-10)
    loss, gradient = TASK.loss(scores, masks)
    expected_loss = torch.nn.functional.cross_entropy(expected, torch.from_numpy(masks))
    assert loss == pytest.approx(expected_loss.item(), rel=1e-10)
    expected_loss.backward()
    mine.backward(gradient)
    for parameter, tensor in zip(mine.parameters(), theirs.parameters(), strict=True):
        want = tensor.grad.numpy()
        np.testing.assert_allclose(parameter.grad, want, rtol=1e-7, atol=1e-8 * np.abs(want).max())


def test_every_pixel_has_its_scores():
    model = unet(0, classes=3, width=2)
    assert model.input_shape == (1, 64, 64)
    assert model(np.zeros((2, 1, 48, 16), np.float32)).shape == (2, 3, 48, 16)
    with pytest.raises(ValueError, match="Concat: branches must differ in channels only"):
        model(np.zeros((1, 1, 20, 20), np.float32))


def test_a_short_training_finds_digits():
    scenes = digit_scenes(8, size=32, digits_per_scene=(1, 1), clutter=0)
    model, task = unet(0, width=8), Segmentation()
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(50):
        prediction = model(scenes.images)
        loss, gradient = task.loss(prediction, scenes.masks)
        optimizer.zero_grad()
        model.backward(gradient, input_gradient=False)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < losses[0] / 12
    assert task.score(prediction, scenes.masks) > 0.4
