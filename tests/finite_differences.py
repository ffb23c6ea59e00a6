"""Gradients against central differences of the function itself, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def assert_gradient(
    function: Callable[[np.ndarray], np.ndarray],
    at: np.ndarray,
    gradient: np.ndarray,
    upstream: np.ndarray,
    *,
    step: float = 1e-6,
    directions: int = 3,
) -> None:
    """Check that `gradient` is that of sum(upstream * function(.)) at the float64 array `at`.

    Along a few random directions: a wrong element anywhere shows in each of them.
    """
    assert gradient.shape == at.shape
    rng = np.random.default_rng(at.size)
    for _ in range(directions if at.size else 0):
        direction = rng.standard_normal(at.shape)
        change = function(at + step * direction) - function(at - step * direction)
        numerical = np.sum(upstream * change) / (2 * step)
        analytical = np.sum(gradient * direction)
        scale = max(1.0, np.linalg.norm(gradient) * np.linalg.norm(direction) / np.sqrt(at.size))
        assert abs(numerical - analytical) <= 1e-6 * scale, (numerical, analytical)
