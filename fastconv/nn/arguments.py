"""What layers and optimisers ask of their arguments, and what they say of those they do not take.

`where` is the class that the user called, `name` the argument as its signature has it.
"""

from __future__ import annotations

import math
import operator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core
from fastconv._typing import Array as AnyArray
from fastconv.nn.parameter import Array

if TYPE_CHECKING:
    from fastconv.nn.module import Pullback


def read_array(where: str, name: str, value: AnyArray) -> Array:
    """Take a floating array as a NumPy array: one as it is, another library's through DLPack, uncopied."""
    return _core.as_array(where, name, value)


def as_numpy(where: str, name: str, value: AnyArray) -> Array:
    """Do the same, but let NumPy arrays of every dtype pass."""
    return value if isinstance(value, np.ndarray) else read_array(where, name, value)


def checked(where: str, y: Array, pullback: Pullback) -> Pullback:
    """Give a pullback of `y` that takes a ``dy`` like it, of every library, and no other."""
    shape, dtype = y.shape, y.dtype

    def call(dy: Array) -> Array:
        dy = read_array(where, "dy", dy)
        if dy.shape != shape:
            raise ValueError(f"{where}: dy has shape {dy.shape}, expected {shape}, that of the result")
        if dy.dtype != dtype:
            raise TypeError(f"{where}: dy has dtype {dy.dtype}, expected {dtype}, that of the result")
        return pullback(dy)

    return call


def read_int(where: str, name: str, value: Any, least: int | None = 1) -> int:
    """Take what has ``__index__``, NumPy's integers too, but no bool."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{where}: {name} must be an integer, got {value!r}")
    if least is not None and number < least:
        raise ValueError(f"{where}: {name} must be at least {least}, got {number}")
    return number


def read_sizes(where: str, name: str, value: Any, rank: int) -> tuple[int, ...]:
    """Take one positive integer for all of `rank` axes, or one for each."""
    try:
        items = tuple(value)
    except TypeError:
        items = (value,) * rank
    sizes = tuple(read_int(where, name, item, None) for item in items)
    if len(sizes) != rank or min(sizes) < 1:
        raise ValueError(f"{where}: {name} must be a positive int or {rank} of them, got {value!r}")
    return sizes


def read_number(where: str, name: str, value: Any, finite: bool = True) -> float:
    """Take a number, NumPy's too, but no bool and no string."""
    number = None
    if not isinstance(value, bool | np.bool_ | str | bytes):
        with suppress(TypeError, ValueError, OverflowError):
            number = float(value)
    if number is None:
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    if finite and not math.isfinite(number):
        raise ValueError(f"{where}: {name} must be finite, got {value!r}")
    return number


def require_writable(where: str, array: Any) -> None:
    """Raise unless `array` can be changed in place: a NumPy array that is not read-only."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{where} is changed in place and must be a NumPy array, got {type(array).__name__}")
    if not array.flags.writeable:
        raise ValueError(f"{where} is changed in place, but is read-only")


def check_data_format(where: str, value: str) -> None:
    """Raise a ValueError unless `value` names one of the two layouts."""
    if value not in ("channels_first", "channels_last"):
        raise ValueError(f"{where}: data_format must be one of channels_first, channels_last, got {value!r}")
