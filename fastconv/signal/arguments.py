"""Which arrays `fastconv.signal` takes, and what it says of those it does not."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv import _core

Array: TypeAlias = NDArray[Any]


def as_array(operation: str, name: str, value: ArrayLike) -> Array:
    """Take an argument as an array that can be convolved: not empty, of at least one axis, floating."""
    try:
        foreign = hasattr(value, "__dlpack__") or hasattr(value, "__cuda_array_interface__")
        given: Any = value if foreign else np.asarray(value)
    except (TypeError, ValueError) as error:  # lists of lists of several lengths
        raise TypeError(f"{operation}: {name} can't be read as a NumPy array: {error}") from error
    array = _core.as_array(operation, name, given)
    if array.ndim == 0:
        raise ValueError(f"{operation}: {name} is a scalar, expected an array with at least one axis")
    if array.size == 0:
        raise ValueError(f"{operation}: {name} is empty, of shape {array.shape}")
    return array


def as_two_arrays(
    operation: str, first: tuple[str, ArrayLike], second: tuple[str, ArrayLike], rank: int | None = None
) -> tuple[Array, Array]:
    """Take two named arguments as arrays of one dtype and one rank: of `rank`, where it is given."""
    a, v = as_array(operation, *first), as_array(operation, *second)
    (a_name, _), (v_name, _) = first, second
    if a.dtype != v.dtype:
        raise TypeError(
            f"{operation}: {a_name} has dtype {a.dtype}, but {v_name} has {v.dtype}; "
            f"{v_name}.astype({a_name}.dtype) would fit"
        )
    if a.ndim != v.ndim or rank not in (None, a.ndim):
        raise ValueError(
            f"{operation}: {a_name} has shape {a.shape} and {v_name} {v.shape}, "
            f"expected {'equally many' if rank is None else rank} axes in both"
        )
    return a, v


def check_choice(operation: str, name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a ValueError unless a word is among those known."""
    if value not in choices:
        raise ValueError(f"{operation}: {name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def widened(x: Array) -> Array:
    """Give an array in the dtype that its sums over several calls are kept in."""
    return x.astype(np.float32) if x.itemsize == 2 else x
