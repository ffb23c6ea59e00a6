"""bfloat16, float32's upper half, in files of formats whose readers know NumPy's own dtypes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def from_bits(bits: NDArray[np.uint16]) -> NDArray[Any]:
    """Take 16-bit patterns as bfloat16: of ml_dtypes, uncopied, where that is installed, else as float32."""
    try:
        from ml_dtypes import bfloat16
    except ModuleNotFoundError:
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.view(bfloat16)


def widened(array: NDArray[Any]) -> NDArray[Any]:
    """Make bfloat16 float32, without loss, and leave other arrays as they are."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
