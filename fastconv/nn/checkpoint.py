"""Arrays on their way into a state dictionary: taken from other libraries, brought to another dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_array(what: str, value: Any) -> NDArray[Any]:
    """Take what NumPy can make an array of; an error begins with `what`."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"{what} can't be read as a NumPy array: {error}") from error


def convert(what: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert between floating dtypes, or between integer ones; an error begins with `what`.

    Raises
    ------
    TypeError
        A dtype that is neither.
    ValueError
        A number too large for `dtype`.
    """
    if array.dtype == dtype:
        return array
    if _family(array.dtype) != _family(dtype):
        raise TypeError(f"{what} has dtype {array.dtype}, expected {dtype}")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    overflown = np.isfinite(array) & ~np.isfinite(converted)
    lost = converted != array if _family(dtype) == "integer" else overflown
    if lost.any():
        raise ValueError(f"{what} holds {array[lost][0]}, which does not fit into {dtype}")
    return converted


def _family(dtype: np.dtype[Any]) -> str:
    return {"i": "integer", "u": "integer", "f": "floating"}.get(
        dtype.kind, "floating" if dtype.name == "bfloat16" else dtype.name
    )
