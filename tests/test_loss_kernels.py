"""Losses and their gradients in the compiled core, against formulas of higher precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
from agreement import DTYPES, STORAGE_ERROR, assert_same_bits

from fastconv import _core


def wide(x):
    return x.astype(np.longdouble)


def unit(dtype):
    return float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps)


def assert_gradient(actual, exact, dtype, bound):
    assert actual.dtype == dtype
    assert actual.shape == exact.shape
    subnormal = 6e-8 if dtype == np.float16 else 0.0
    allowed = bound + 1.001 * STORAGE_ERROR[dtype.name] * np.abs(exact) + subnormal
    assert (np.abs(wide(actual) - exact) <= allowed).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy(smoothing, dtype, isa):
    rng = np.random.default_rng(1)
    for rows, classes in [*((5, c) for c in range(1, 36)), (3, 1000), (700, 10), (2, 5003)]:
        logits = (3 * rng.standard_normal((rows, classes)) + 20).astype(dtype)
        labels = rng.integers(0, classes, rows)
        loss, gradient = _core.cross_entropy(logits, labels, smoothing)
        shifted = wide(logits) - wide(logits).max(1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        target = np.full((rows, classes), np.longdouble(smoothing) / classes)
        target[np.arange(rows), labels] += 1 - np.longdouble(smoothing)
        assert isinstance(loss, float)
        exact = float(-(target * log_p).sum() / rows)
        assert loss == pytest.approx(exact, rel=8 * unit(dtype), abs=8 * unit(dtype))
        bound = 16 * unit(dtype) * (np.exp(log_p) * 3 + target) / rows
        # half-precision gradients at the label hold a difference that was rounded once
        assert_gradient(gradient, (np.exp(log_p) - target) / rows, dtype, bound)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_weights_of_all_classes(smoothing, dtype, isa):
    rng = np.random.default_rng(2)
    for rows, classes in [*((5, c) for c in range(1, 36)), (3, 1000), (700, 10)]:
        logits = (3 * rng.standard_normal((rows, classes)) + 20).astype(dtype)
        target = rng.uniform(0, 2 / classes, (rows, classes)).astype(dtype)
        loss, gradient = _core.cross_entropy(logits, target, smoothing)
        shifted = wide(logits) - wide(logits).max(1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        smoothed = (1 - np.longdouble(smoothing)) * wide(target) + np.longdouble(smoothing) / classes
        assert loss == pytest.approx(float(-(smoothed * log_p).sum() / rows), rel=16 * unit(dtype))
        exact = smoothed.sum(1, keepdims=True) * np.exp(log_p) - smoothed
        assert_gradient(
            gradient, exact / rows, dtype, 16 * unit(dtype) * (np.exp(log_p) * 3 + smoothed) / rows
        )


def test_a_weight_of_one_is_a_label(isa):
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((7, 5)).astype(np.float32), rng.integers(0, 5, 7)
    loss, gradient = _core.cross_entropy(logits, np.eye(5, dtype=np.float32)[labels], 0.1)
    expected_loss, expected = _core.cross_entropy(logits, labels, 0.1)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


def test_cross_entropy_of_extremes(isa):
    logits = np.array([[1e30, 0, -1e30], [-np.inf, 0, 0]], np.float32)
    loss, gradient = _core.cross_entropy(logits, np.array([0, 1]), 0.0)
    assert loss == pytest.approx(math.log(2) / 2)
    np.testing.assert_array_equal(gradient, [[0, 0, 0], [0, -0.25, 0.25]])
    assert _core.cross_entropy(logits[1:], np.array([0]), 0.0)[0] == math.inf
    assert math.isnan(_core.cross_entropy(logits * np.nan, np.array([0, 1]), 0.0)[0])
    loss, gradient = _core.cross_entropy(np.empty((0, 3)), np.empty(0, int), 0.0)
    assert math.isnan(loss)
    assert gradient.shape == (0, 3)


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int32, ">i8", np.uint64])
def test_labels_of_any_integer_type(kind):
    logits = np.random.default_rng(2).standard_normal((6, 4))
    labels = np.array([3, 0, 1, 2, 0, 3])
    expected = _core.cross_entropy(logits, labels, 0.0)
    strided = np.repeat(labels, 2).astype(kind)[::2]
    assert _core.cross_entropy(logits, strided, 0.0)[0] == expected[0]
    assert _core.cross_entropy(np.asfortranarray(logits), strided, 0.0)[0] == expected[0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_binary_cross_entropy(dtype, isa):
    rng = np.random.default_rng(3)
    for size in (*range(1, 71), 1023, 1025, 40000):
        z = (6 * rng.standard_normal(size)).astype(dtype)
        t = rng.integers(0, 2, size).astype(dtype) if size % 2 else rng.random(size).astype(dtype)
        loss, gradient = _core.binary_cross_entropy_with_logits(z, t)
        zl, tl = wide(z), wide(t)
        exact = np.maximum(zl, 0) - zl * tl + np.log1p(np.exp(-np.abs(zl)))
        assert loss == pytest.approx(float(exact.mean()), rel=8 * unit(dtype))
        p = 1 / (1 + np.exp(-zl))
        assert_gradient(gradient, (p - tl) / size, dtype, 6 * unit(dtype) * (p + tl) / size)


def test_binary_cross_entropy_far_out(isa):
    """A confident right answer costs exp(-|z|), which must not drown in 1."""
    for dtype, z in ((np.float32, 60.0), (np.float64, 300.0)):
        logits, targets = np.array([z, -z], dtype), np.array([1, 0], dtype)
        loss, gradient = _core.binary_cross_entropy_with_logits(logits, targets)
        assert loss == pytest.approx(math.exp(-z), rel=1e-6)
        assert gradient[1] == pytest.approx(math.exp(-z) / 2, rel=1e-6)
        loss, gradient = _core.binary_cross_entropy_with_logits(logits, targets[::-1])
        assert loss == z
        np.testing.assert_array_equal(gradient, [0.5, -0.5])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mse(dtype, isa):
    rng = np.random.default_rng(4)
    for shape in (*((n,) for n in range(1, 71)), (3, 5, 7), (200, 201)):
        p, t = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        loss, gradient = _core.mse(p, t)
        difference = wide(p) - wide(t)
        assert loss == pytest.approx(float((difference**2).mean()), rel=16 * unit(dtype))
        exact = 2 * difference / p.size
        assert_gradient(gradient, exact, dtype, 4 * unit(dtype) * np.abs(exact))
        assert_same_bits(_core.mse(np.asfortranarray(p), t)[1], gradient)


def test_threads_do_not_change_a_bit(isa):
    rng = np.random.default_rng(5)
    p = rng.standard_normal((300, 333)).astype(np.float32)
    t = rng.random(p.shape, dtype=np.float32)
    labels = rng.integers(0, 333, 300)
    before = _core.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            results.append(
                [
                    _core.mse(p, t),
                    _core.binary_cross_entropy_with_logits(p, t),
                    _core.cross_entropy(p, labels, 0.1),
                ]
            )
    finally:
        _core.set_num_threads(before)
    for other in results[1:]:
        for (loss, gradient), (other_loss, other_gradient) in zip(results[0], other, strict=True):
            assert loss == other_loss
            assert_same_bits(gradient, other_gradient)


def test_agrees_with_torch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    rng = np.random.default_rng(6)
    p = rng.standard_normal((9, 7)).astype(np.float32)
    t = rng.random(p.shape, dtype=np.float32)
    labels = rng.integers(0, 7, 9)
    for ours, loss, target in (
        (
            _core.cross_entropy(p, labels, 0.2),
            lambda a, b: f.cross_entropy(a, b, label_smoothing=0.2),
            labels,
        ),
        (_core.binary_cross_entropy_with_logits(p, t), f.binary_cross_entropy_with_logits, t),
        (_core.mse(p, t), f.mse_loss, t),
    ):
        x = torch.from_numpy(p).requires_grad_()
        theirs = loss(x, torch.from_numpy(target))
        theirs.backward()
        assert ours[0] == pytest.approx(theirs.item(), rel=1e-5)
        np.testing.assert_allclose(ours[1], x.grad.numpy(), rtol=1e-4, atol=1e-7)


def test_errors():
    logits = np.zeros((3, 4), np.float32)
    for bad, text in (
        ([0, 1, 4], r"cross_entropy: target\[2\] is 4, expected 0 to 3"),
        ([0, -1, 0], r"cross_entropy: target\[1\] is -1"),
    ):
        with pytest.raises(ValueError, match=text):
            _core.cross_entropy(logits, np.array(bad), 0.0)
    with pytest.raises(ValueError, match=r"cross_entropy: target\[0\] is 4"):
        _core.cross_entropy(logits, np.full(3, 4, np.uint64), 0.0)
    with pytest.raises(ValueError, match=r"cross_entropy: target\[0\] is -1"):
        _core.cross_entropy(logits, np.full(3, 2**64 - 1, np.uint64), 0.0)
    with pytest.raises(TypeError, match=r"cross_entropy: target must be integers \(N,\).* got dtype float64"):
        _core.cross_entropy(logits, np.zeros(3), 0.0)
    with pytest.raises(ValueError, match=r"cross_entropy: target has shape \(3, 3\)"):
        _core.cross_entropy(logits, np.zeros((3, 3), np.float32), 0.0)
    with pytest.raises(ValueError, match=r"cross_entropy: target has shape \(2,\), expected \(3,\)"):
        _core.cross_entropy(logits, np.zeros(2, int), 0.0)
    with pytest.raises(ValueError, match=r"cross_entropy: prediction has shape \(4,\), expected \(N, C\)"):
        _core.cross_entropy(logits[0], np.zeros(4, int), 0.0)
    for smoothing in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="label_smoothing"):
            _core.cross_entropy(logits, np.zeros(3, int), smoothing)
    with pytest.raises(TypeError, match="label_smoothing must be a number"):
        _core.cross_entropy(logits, np.zeros(3, int), None)
    for loss in (_core.mse, _core.binary_cross_entropy_with_logits):
        with pytest.raises(ValueError, match=r"target has shape \(3,\), but prediction has"):
            loss(logits, logits[:, 0])
        with pytest.raises(TypeError, match="float64"):
            loss(logits, logits.astype(np.float64))
