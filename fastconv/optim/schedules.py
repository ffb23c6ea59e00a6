"""Learning rates over the course of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cosine_decay(step: int, total: int, peak: float, warmup: int = 0) -> float:
    """Learning rate that rises in a line to `peak` over `warmup` steps, then falls along half a cosine.

    Parameters
    ----------
    step, total : int
        The step to come, counted from 0, and how many there are.
    peak : float
        The highest learning rate.
    warmup : int
        Steps of the rise.

    Returns
    -------
    float
        Learning rate of that step.

    Raises
    ------
    ValueError
        A `warmup` that is not below `total`.

    Examples
    --------
    >>> from fastconv import optim
    >>> [round(optim.cosine_decay(step, 4, 0.1), 3) for step in range(4)]
    [0.1, 0.085, 0.05, 0.015]
    """
    _check_warmup("cosine_decay", warmup, total)
    if step < warmup:
        return _warming(step, peak, warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def step_decay(
    step: int,
    total: int,
    peak: float,
    warmup: int = 0,
    *,
    drops: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
) -> float:
    """Learning rate that rises in a line to `peak` over `warmup` steps, then drops at chosen points.

    Parameters
    ----------
    step, total : int
        The step to come, counted from 0, and how many there are.
    peak : float
        The highest learning rate.
    warmup : int
        Steps of the rise.
    drops : sequence of float
        Where it drops, as shares of `total`.
    factor : float
        What it is multiplied by at each drop.

    Returns
    -------
    float
        Learning rate of that step.

    Raises
    ------
    ValueError
        A `warmup` that is not below `total`.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    Examples
    --------
    >>> from fastconv import optim
    >>> [round(optim.step_decay(step, 4, 0.1), 4) for step in range(4)]
    [0.1, 0.1, 0.01, 0.001]
    """
    _check_warmup("step_decay", warmup, total)
    if step < warmup:
        return _warming(step, peak, warmup)
    return peak * factor ** sum(step >= share * total for share in drops)


def constant(step: int, total: int, peak: float, warmup: int = 0) -> float:
    """Learning rate that rises in a line to `peak` over `warmup` steps and stays there.

    Parameters
    ----------
    step, total : int
        The step to come, counted from 0, and how many there are.
    peak : float
        The highest learning rate.
    warmup : int
        Steps of the rise.

    Returns
    -------
    float
        Learning rate of that step.

    Raises
    ------
    ValueError
        A `warmup` that is not below `total`.

    Examples
    --------
    >>> from fastconv import optim
    >>> [round(optim.constant(step, 4, 0.1, warmup=1), 3) for step in range(4)]
    [0.05, 0.1, 0.1, 0.1]
    """
    _check_warmup("constant", warmup, total)
    return _warming(step, peak, warmup) if step < warmup else peak


def _warming(step: int, peak: float, warmup: int) -> float:
    return peak * (step + 1) / (warmup + 1)


def _check_warmup(name: str, warmup: int, total: int) -> None:
    if not 0 <= warmup < total:
        raise ValueError(f"{name}: warmup must be from 0 up to total={total}, got {warmup}")
