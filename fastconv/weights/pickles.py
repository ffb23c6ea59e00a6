"""Arrays out of pickles, without running what a pickle asks to run.

A pickle is a program for a stack machine, and one of its instructions calls any function by its name. The
machine here knows the instructions that make data; the call is given a table of names instead, in which each
stands for a function of this package that makes an array. Any other name is an error before anything is made.

The instructions are those of protocols 0 to 5 as Python's ``pickletools`` describes them.
"""

from __future__ import annotations

import io
import math
import os
import pickletools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


def read_pickle(file: str | os.PathLike[str] | BinaryIO) -> Any:
    """Read a pickle of NumPy arrays in dictionaries, lists and tuples; no code in it is run.

    Parameters
    ----------
    file : path or binary file
        Where the pickle is; of a file object, the one that starts where it stands.

    Returns
    -------
    dict, list, tuple, ndarray, number, str or None
        What was pickled. The arrays may be read-only: ``numpy.array(a)`` makes a copy that is not.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        A pickle that is damaged, or that holds anything else; the functions it asks for are not called.

    Examples
    --------
    >>> import io, pickle
    >>> import numpy as np
    >>> from fastconv import weights
    >>> pickled = pickle.dumps({"conv1": [np.ones((3, 3)), np.zeros(3)]})
    >>> [array.shape for array in weights.read_pickle(io.BytesIO(pickled))["conv1"]]
    [(3, 3), (3,)]
    >>> weights.read_pickle(io.BytesIO(pickle.dumps(print)))
    Traceback (most recent call last):
    ValueError: the file can't be read as a pickle of arrays: it asks for builtins.print, which makes no array
    """
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as opened:
            content, name = opened.read(), os.fspath(file)
    else:
        content, name = file.read(), getattr(file, "name", "the file")
    try:
        return load(io.BytesIO(content), NUMPY_NAMES)
    except ValueError as error:
        raise ValueError(f"{name} can't be read as a pickle of arrays: {error}") from error


def load(stream: io.BytesIO, names: Mapping[str, Any], persistent: Callable[[Any], Any] | None = None) -> Any:
    """Make the data of the pickle at the stream's position, and leave the stream behind it.

    Parameters
    ----------
    stream : BytesIO
        In memory, where a size beyond its end claims none.
    names : mapping of str
        What stands for the ``module name`` that a pickle may refer to: a value, or a function that its calls
        become.
    persistent : callable, optional
        Makes the object that a persistent identifier refers to.

    Raises
    ------
    ValueError
        Another name, an instruction that makes no data, or one that does not fit the stack.
    """
    try:
        return _Machine(names, persistent).run(stream)
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is damaged ({error})") from error


class Unbuilt:
    """An object between the instruction that creates it and the one that gives it its state."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self.build = build
        self.places: list[int] = []


class _Machine:
    """The stack, the stacks below the marks, and the memo of a pickle that is being read."""

    def __init__(self, names: Mapping[str, Any], persistent: Callable[[Any], Any] | None) -> None:
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        for instruction, argument, _ in pickletools.genops(stream):
            self._step(instruction.name, argument)
        return self.stack.pop()

    def _step(self, instruction: str, argument: Any) -> None:
        match instruction:
            case "BININT" | "BININT1" | "BININT2" | "INT" | "LONG" | "LONG1" | "LONG4" | "FLOAT" | "BINFLOAT":
                self.stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "UNICODE":
                self.stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                self.stack.append(argument)
            case "STRING" | "BINSTRING" | "SHORT_BINSTRING":
                self.stack.append(argument)
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(instruction == "NEWTRUE")
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self._above_mark()
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "LIST":
                items = self._above_mark()
                self.stack.append(items)
            case "DICT":
                items = self._above_mark()
                self.stack.append(_updated({}, items[::2], items[1::2]))
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = self._above_mark() if instruction == "TUPLE" else self._popped(int(instruction[-1]))
                self.stack.append(tuple(items))
            case "APPEND" | "APPENDS":
                items = self._popped(1) if instruction == "APPEND" else self._above_mark()
                _expected(list, self.stack[-1]).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._popped(2) if instruction == "SETITEM" else self._above_mark()
                _updated(self.stack[-1], items[::2], items[1::2])
            case "MEMOIZE":
                self._remember(len(self.memo))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._remember(argument)
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(self._named(argument))
            case "STACK_GLOBAL":
                self.stack.append(self._named(" ".join(self._popped(2))))
            case "BINPERSID" if self.persistent is not None:
                self.stack.append(self.persistent(self.stack.pop()))
            case "REDUCE":
                function, arguments = self._popped(2)
                # Of all that can lie on the stack, only the functions of the table are callable.
                self.stack.append(function(*_expected(tuple, arguments)))
            case "BUILD":
                self._build(self.stack.pop())
            case _:
                raise ValueError(f"its instruction {instruction} makes no array, dictionary or list")

    def _popped(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _above_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def _remember(self, index: int) -> None:
        value = self.memo[index] = self.stack[-1]
        if isinstance(value, Unbuilt):
            value.places.append(index)

    def _named(self, name: str) -> Any:
        if name not in self.names:
            raise ValueError(f"it asks for {name.replace(' ', '.')}, which makes no array")
        return self.names[name]

    def _build(self, state: Any) -> None:
        unbuilt = self.stack[-1]
        # The state of a dictionary is attributes that someone gave it, which are no arrays of its.
        if isinstance(unbuilt, dict):
            return
        built = self.stack[-1] = _expected(Unbuilt, unbuilt).build(state)
        self.memo.update(dict.fromkeys(unbuilt.places, built))


def _expected(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, got {type(value).__name__}")
    return value


def _updated(target: Any, keys: Sequence[Any], values: Sequence[Any]) -> Any:
    # A tuple's hash is computed by recursion without a limit: one deep enough would end the process.
    if not all(isinstance(key, str | bytes | int | float | None) for key in keys):
        raise ValueError("a key of a dictionary is neither text nor number")
    _expected(dict, target).update(zip(keys, values, strict=True))
    return target


def _dtype(code: str, *_: Any) -> Unbuilt:
    if not re.fullmatch(r"[biufc]\d{1,2}", code):
        raise ValueError(f"an array has the dtype {code[:20]!r}, which is no number's")
    return Unbuilt(lambda state: np.dtype(code).newbyteorder(state[1]))


def _blank_array(*_: Any) -> Unbuilt:
    def build(state: tuple[Any, ...]) -> NDArray[Any]:
        _version, shape, dtype, columns_first, data = state
        return _array(data, dtype, shape, "F" if columns_first else "C")

    return Unbuilt(build)


def _array(
    data: Any, dtype: Any, shape: Sequence[int], order: Any, axes: Sequence[int] | None = None
) -> NDArray[Any]:
    if isinstance(data, str):  # the bytes of Python 2
        data = data.encode("latin-1")
    size = math.prod(shape) * _expected(np.dtype, dtype).itemsize
    if size != len(data):
        raise ValueError(f"an array of {size} bytes has {len(data)}")
    array: NDArray[Any] = np.ndarray(shape, dtype, data, order="F" if order == "F" else "C")
    return array if axes is None else array.transpose(axes)


def _numpy_names() -> dict[str, Any]:
    names: dict[str, Any] = {
        "numpy ndarray": None,
        "numpy dtype": _dtype,
        # Protocols 0 to 2 have no instruction for bytes.
        "_codecs encode": lambda text, _: text.encode("latin-1"),
        "__builtin__ bytes": lambda: b"",
        "collections OrderedDict": lambda items=(): _updated({}, *zip(*items, strict=True)) if items else {},
    }
    # The module's name before and after NumPy 2.
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray _reconstruct"] = _blank_array
        names[f"{core}.multiarray scalar"] = lambda dtype, data: _array(data, dtype, (), "C")[()]
        names[f"{core}.numeric _frombuffer"] = _array
    return names


NUMPY_NAMES = _numpy_names()
"""What stands for the names that pickles of NumPy arrays refer to."""
