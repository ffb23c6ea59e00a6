"""Losses against their formulas in NumPy and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.nn import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((5, 4)) * 3
LABELS = np.array([0, 3, 1, 1, 2])
TARGETS = RNG.random((5, 4))


def log_softmax(x):
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def smooth_cross_entropy(x, labels, smoothing):
    weights = np.full(x.shape, smoothing / x.shape[1])
    weights[np.arange(len(x)), labels] += 1 - smoothing
    return -(weights * log_softmax(x)).sum(1).mean()


def binary_cross_entropy(x, targets):
    sigmoid = 1 / (1 + np.exp(-x))
    return -(targets * np.log(sigmoid) + (1 - targets) * np.log(1 - sigmoid)).mean()


CASES = {
    "cross entropy": (
        lambda x: losses.cross_entropy(x, LABELS),
        lambda x: smooth_cross_entropy(x, LABELS, 0),
    ),
    "smoothed": (
        lambda x: losses.cross_entropy(x, LABELS, label_smoothing=0.1),
        lambda x: smooth_cross_entropy(x, LABELS, 0.1),
    ),
    "binary": (
        lambda x: losses.binary_cross_entropy_with_logits(x, TARGETS.astype(x.dtype)),
        lambda x: binary_cross_entropy(x, TARGETS),
    ),
    "mse": (lambda x: losses.mse(x, TARGETS.astype(x.dtype)), lambda x: ((x - TARGETS) ** 2).mean()),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(name):
    loss, formula = CASES[name]
    value, gradient = loss(LOGITS)
    assert isinstance(value, float)
    assert value == pytest.approx(formula(LOGITS), rel=1e-12)
    step = 1e-6
    for index in np.ndindex(LOGITS.shape):
        moved = np.zeros_like(LOGITS)
        moved[index] = step
        expected = (formula(LOGITS + moved) - formula(LOGITS - moved)) / (2 * step)
        assert gradient[index] == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_single_precision(name):
    loss, formula = CASES[name]
    value, gradient = loss(LOGITS.astype(np.float32))
    assert value == pytest.approx(formula(LOGITS), rel=1e-5)
    assert gradient.dtype == np.float32 and gradient.shape == LOGITS.shape
    np.testing.assert_allclose(gradient, loss(LOGITS)[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_labels_of_every_integer_type(dtype):
    assert losses.cross_entropy(LOGITS, LABELS.astype(dtype))[0] == losses.cross_entropy(LOGITS, LABELS)[0]


def test_large_scores_do_not_overflow():
    extreme = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]])
    loss, gradient = losses.cross_entropy(extreme, np.array([0, 0]))
    assert loss == pytest.approx(1000)
    np.testing.assert_allclose(gradient, [[0, 0], [-0.5, 0.5]])
    loss, gradient = losses.binary_cross_entropy_with_logits(extreme, np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert loss == pytest.approx(500)
    np.testing.assert_allclose(gradient, [[0, 0], [-0.25, 0.25]])


def test_wrong_targets_are_refused():
    with pytest.raises((ValueError, TypeError)):
        losses.cross_entropy(LOGITS, LABELS[:3])
    with pytest.raises((ValueError, TypeError)):
        losses.cross_entropy(LOGITS, LABELS + 3)
    with pytest.raises(ValueError, match="target has shape"):
        losses.cross_entropy(LOGITS, TARGETS[:3].astype(LOGITS.dtype))
    with pytest.raises(TypeError, match="target has float16"):
        losses.cross_entropy(LOGITS, TARGETS.astype(np.float16))
    with pytest.raises(TypeError, match=r"integers \(N,\), or \(N, C\) of the prediction's dtype"):
        losses.cross_entropy(LOGITS, LABELS.astype(np.float64))
    with pytest.raises((ValueError, TypeError)):
        losses.mse(LOGITS, TARGETS[:2])
