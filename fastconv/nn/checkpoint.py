"""State dictionaries in files: ``.safetensors`` and ``.npz``.

Both formats hold named arrays and no code, so that reading a stranger's file runs nothing. The safetensors
format is described at https://huggingface.co/docs/safetensors; ``.npz`` is NumPy's zip file of ``.npy``
arrays.
"""

from __future__ import annotations

import os
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUFFIXES = (".safetensors", ".npz")


def write(path: str | os.PathLike[str], state: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays (C-contiguous) to a file, its suffix the format; it appears whole or not at all."""
    target = _checked(path)
    storable = {name: _storable(array) for name, array in state.items()}
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(unfinished, "xb") as file:
            if target.suffix == ".npz":
                np.savez(file, allow_pickle=False, **storable)
            else:
                file.write(_safetensors().save(storable))
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read the arrays of a ``.safetensors`` or ``.npz`` file.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Another suffix, or a file that is damaged.
    ModuleNotFoundError
        ``.safetensors`` without the safetensors package.
    """
    source = _checked(path)
    if source.suffix == ".npz":
        try:
            with open(source, "rb") as file:
                content = np.load(file, allow_pickle=False)
                if isinstance(content, np.ndarray):
                    raise ValueError("it is a .npy file, one array without a name")
                with content as arrays:
                    return dict(arrays)
        # zipfile has no implementation of some compressions that an archive may name.
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
            raise ValueError(f"{source} can't be read as .npz: {error}") from error
    load_file = _safetensors().load_file
    damaged = import_module("safetensors").SafetensorError
    try:
        loaded: dict[str, NDArray[Any]] = load_file(source)
    except damaged as error:
        raise ValueError(f"{source} can't be read as .safetensors: {error}") from error
    return loaded


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


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _checked(path: str | os.PathLike[str]) -> Path:
    checked = Path(path)
    if checked.suffix not in SUFFIXES:
        raise ValueError(
            f"{checked}: the suffix must be one of {', '.join(SUFFIXES)}, got {checked.suffix!r}"
        )
    return checked


def _safetensors() -> Any:
    try:
        return import_module("safetensors.numpy")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            ".safetensors files need the package safetensors, .npz files do not: "
            'pip install "fastconv[train]"',
            name="safetensors",
        ) from error
