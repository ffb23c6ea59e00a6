"""Learning rates over the course of a training."""

from __future__ import annotations

import math


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

    Examples
    --------
    >>> from fastconv import optim
    >>> [round(optim.cosine_decay(step, 4, 0.1), 3) for step in range(4)]
    [0.1, 0.085, 0.05, 0.015]
    """
    if not 0 <= warmup < total:
        raise ValueError(f"cosine_decay: warmup must be from 0 up to total={total}, got {warmup}")
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
