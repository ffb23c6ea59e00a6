"""Normalisations, losses and optimiser steps: what training needs besides convolutions and pools.

Everything is computed in float64 and rounded to the arrays' dtype. The steps update their arrays in place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .arrays import float_array, rounded
from .elementwise import log_softmax
from .geometry import Array


def _channel_axis(x: Array, data_format: str) -> int:
    return 1 if data_format == "channels_first" else x.ndim - 1


def _statistics_dtype(x: Array) -> np.dtype[Any]:
    return np.dtype(np.float64 if x.dtype == np.float64 else np.float32)


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
    training: bool,
    data_format: str,
) -> tuple[Array, Array, Array]:
    """Return (y, mean, inv_std) of batch normalisation, y = (x - mean) * inv_std * weight + bias.

    In training the statistics are the batch's, and the running ones move towards them by `momentum`, the
    variance in its unbiased form; else the running ones are used. (Ioffe and Szegedy, 2015.)
    """
    x = float_array("x", x)
    x64, axis = x.astype(np.float64), _channel_axis(x, data_format)
    others = tuple(a for a in range(x.ndim) if a != axis)
    per_channel = [-1 if a == axis else 1 for a in range(x.ndim)]
    if training:
        mean, var = x64.mean(axis=others), x64.var(axis=others)
        count = x.size // x.shape[axis]
        for running, batch in ((running_mean, mean), (running_var, var * count / max(count - 1, 1))):
            if running is not None:
                running[...] = (1 - momentum) * running.astype(np.float64) + momentum * batch
    elif running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are needed where training is false")
    else:
        mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)
    inv_std = 1 / np.sqrt(var + eps)
    y = (x64 - mean.reshape(per_channel)) * inv_std.reshape(per_channel)
    if weight is not None:
        y = y * weight.astype(np.float64).reshape(per_channel)
    if bias is not None:
        y = y + bias.astype(np.float64).reshape(per_channel)
    kept = _statistics_dtype(x)
    return rounded(y, x.dtype), mean.astype(kept), inv_std.astype(kept)


def batch_norm_grad(
    dy: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array, training: bool, data_format: str
) -> tuple[Array, Array, Array]:
    """Return (dx, dweight, dbias); in training the statistics, too, depend on x."""
    dy, x = float_array("dy", dy), float_array("x", x)
    dy64, axis = dy.astype(np.float64), _channel_axis(x, data_format)
    others = tuple(a for a in range(x.ndim) if a != axis)
    per_channel = [-1 if a == axis else 1 for a in range(x.ndim)]
    scale = inv_std.astype(np.float64).reshape(per_channel)
    normalised = (x.astype(np.float64) - mean.astype(np.float64).reshape(per_channel)) * scale
    dbias, dweight = dy64.sum(axis=others), (dy64 * normalised).sum(axis=others)
    inner = dy64
    if training:
        count = x.size // x.shape[axis]
        inner = dy64 - (dbias.reshape(per_channel) + normalised * dweight.reshape(per_channel)) / count
    if weight is not None:
        scale = scale * weight.astype(np.float64).reshape(per_channel)
    return rounded(inner * scale, dy.dtype), rounded(dweight, dy.dtype), rounded(dbias, dy.dtype)


def _neighbour_sums(planes: Array, size: int, before: int) -> Array:
    """Return, per channel, the sum over `size` channels that start `before` channels earlier."""
    channels = planes.shape[1]
    padded = np.pad(planes, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (planes.ndim - 2)])
    return sum((padded[:, i : i + channels] for i in range(size)), start=np.zeros(planes.shape))


def local_response_norm(
    x: Array, size: int, alpha: float, beta: float, k: float, data_format: str
) -> tuple[Array, Array]:
    """Return (y, scale): y = x / scale^beta, scale = k + alpha / size * sum of x² over `size` channels.

    The window of channel c starts at c - size // 2. (Krizhevsky, Sutskever and Hinton, 2012, section 3.3.)
    """
    x = float_array("x", x)
    axis = _channel_axis(x, data_format)
    planes = np.moveaxis(x.astype(np.float64), axis, 1)
    scale = k + alpha / size * _neighbour_sums(planes * planes, size, size // 2)
    y = planes * scale**-beta
    return rounded(np.moveaxis(y, 1, axis), x.dtype), rounded(np.moveaxis(scale, 1, axis), x.dtype)


def local_response_norm_grad(
    dy: Array, x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float, data_format: str
) -> Array:
    """Return dx of `local_response_norm`, from what it returned."""
    dy = float_array("dy", dy)
    axis = _channel_axis(dy, data_format)
    dy64, x64, y64, scale64 = (np.moveaxis(a.astype(np.float64), axis, 1) for a in (dy, x, y, scale))
    through_scale = _neighbour_sums(dy64 * y64 / scale64, size, size - 1 - size // 2)
    dx = dy64 * scale64**-beta - 2 * alpha * beta / size * x64 * through_scale
    return rounded(np.moveaxis(dx, 1, axis), dy.dtype)


def cross_entropy(logits: Array, labels: Array, label_smoothing: float) -> tuple[float, Array]:
    """Return (loss, dlogits) of the softmax cross-entropy, the mean over the N rows of (N, C) logits.

    The target of a row is 1 - label_smoothing at its label, plus label_smoothing / C everywhere. Labels
    (N, C) are weights of all classes, and are multiplied by 1 - label_smoothing themselves.
    """
    logits = float_array("logits", logits)
    rows, classes = logits.shape
    log_probability = log_softmax(logits.astype(np.float64))
    target = np.full(logits.shape, label_smoothing / classes)
    if np.ndim(labels) == 2:
        target += (1 - label_smoothing) * np.asarray(labels, np.float64)
    else:
        target[np.arange(rows), labels] += 1 - label_smoothing
    loss = -(target * log_probability).sum() / rows
    weight = target.sum(1, keepdims=True)
    return float(loss), rounded((weight * np.exp(log_probability) - target) / rows, logits.dtype)


def binary_cross_entropy_with_logits(logits: Array, targets: Array) -> tuple[float, Array]:
    """Return (loss, dlogits), the mean over all elements of log(1 + exp(z)) - target * z."""
    logits = float_array("logits", logits)
    z, target = logits.astype(np.float64), targets.astype(np.float64)
    loss = (np.logaddexp(0, z) - target * z).mean()
    return float(loss), rounded((np.exp(-np.logaddexp(0, -z)) - target) / z.size, logits.dtype)


def mse(prediction: Array, target: Array) -> tuple[float, Array]:
    """Return (loss, dprediction) of the mean squared error over all elements."""
    prediction = float_array("prediction", prediction)
    error = prediction.astype(np.float64) - float_array("target", target, prediction.dtype).astype(np.float64)
    return float((error * error).mean()), rounded(2 * error / error.size, prediction.dtype)


def sgd_step(
    param: Array,
    grad: Array,
    velocity: Array | None,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """Move `param` down its gradient, with momentum where there is a `velocity` (Sutskever et al., 2013)."""
    p = param.astype(np.float64)
    step = grad.astype(np.float64) + weight_decay * p
    if velocity is not None:
        moved = momentum * velocity.astype(np.float64) + step
        velocity[...] = moved
        step = step + momentum * moved if nesterov else moved
    param[...] = p - lr * step


def rmsprop_step(
    param: Array,
    grad: Array,
    square_avg: Array,
    velocity: Array | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """Move `param` down its gradient divided by the root of its running mean square (Hinton, 2012)."""
    p = param.astype(np.float64)
    g = grad.astype(np.float64) + weight_decay * p
    mean_square = alpha * square_avg.astype(np.float64) + (1 - alpha) * g * g
    square_avg[...] = mean_square
    step = g / (np.sqrt(mean_square) + eps)
    if velocity is not None:
        step = momentum * velocity.astype(np.float64) + step
        velocity[...] = step
    param[...] = p - lr * step


def adam_step(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """Do step number `step`, from 1, of Adam (Kingma and Ba, 2015), or AdamW (Loshchilov and Hutter, 2019).

    `decoupled` weight decay shrinks the parameter itself (AdamW); else it is added to the gradient.
    """
    p, g = param.astype(np.float64), grad.astype(np.float64)
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    first = beta1 * m.astype(np.float64) + (1 - beta1) * g
    second = beta2 * v.astype(np.float64) + (1 - beta2) * g * g
    m[...], v[...] = first, second
    root = np.sqrt(second) / math.sqrt(1 - beta2**step)
    param[...] = p - lr / (1 - beta1**step) * first / (root + eps)
