"""How close a result must be to the exact one, and how to look into the memory around it."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BFLOAT16]

# The error of a sum, relative to the largest result: what rounding in the arithmetic of each dtype leaves.
SUM_ERROR = {"float64": 1e-14, "float32": 4e-6, "float16": 4e-6, "bfloat16": 4e-6}
# Half a unit in the last place: storing a float32 sum in a 16-bit format.
STORAGE_ERROR = {"float64": 0.0, "float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def assert_agrees(
    actual: np.ndarray, exact: np.ndarray, dtype: Any, *, magnitude: float | None = None
) -> None:
    """Check that `actual` has `dtype`, is C-contiguous and equals the float64 `exact` up to rounding.

    `magnitude` is the size of the sums that were rounded, where that is not the largest result.
    """
    name = np.dtype(dtype).name
    assert isinstance(actual, np.ndarray)
    assert actual.dtype == dtype
    assert actual.flags.c_contiguous
    assert actual.shape == exact.shape
    if not exact.size:
        return
    magnitude = np.abs(exact).max() if magnitude is None else magnitude
    allowed = SUM_ERROR[name] * max(1.0, magnitude) + 1.001 * STORAGE_ERROR[name] * np.abs(exact)
    error = np.abs(actual.astype(np.float64) - exact)
    worst = np.unravel_index(np.argmax(error - allowed), error.shape)
    assert (error <= allowed).all(), f"at {worst}: got {actual[worst]}, expected {exact[worst]}"


def assert_same_bits(first: np.ndarray, second: np.ndarray) -> None:
    """Check that two arrays hold the same bits, NaNs and signs of zero too."""
    assert first.dtype == second.dtype
    assert first.shape == second.shape
    assert first.tobytes() == second.tobytes()


def exact_inputs(*arrays: np.ndarray | None) -> list[Any]:
    """Return the arrays' values in float64."""
    return [None if a is None else a.astype(np.float64) for a in arrays]


class Guarded:
    """A C-contiguous array of NaNs inside a larger one whose other elements must stay as they are."""

    GUARD = 64  # elements on each side
    MARK = -77.0

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        size = int(np.prod(shape))
        self.memory = np.full(size + 2 * self.GUARD, self.MARK, dtype)
        self.array = self.memory[self.GUARD : self.GUARD + size].reshape(shape)
        self.array[...] = np.nan

    def assert_intact(self) -> None:
        """Check that nothing was written beside the array, and nothing left unwritten in it."""
        assert (self.memory[: self.GUARD] == self.MARK).all()
        assert (self.memory[len(self.memory) - self.GUARD :] == self.MARK).all()
        assert not np.isnan(self.array).any()
