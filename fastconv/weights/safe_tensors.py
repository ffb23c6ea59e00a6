"""The safetensors format: a JSON header with names, dtypes, shapes and places, and the numbers behind it.

It is described at https://huggingface.co/docs/safetensors; the package of that name reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastconv.weights import bfloat16

DTYPES = {
    "BOOL": "bool",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "BF16": "<u2",
}
"""Names in the header; bfloat16's is that of its bits."""


def read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read all arrays."""
    package = _package("safetensors")
    try:
        tensors = package.deserialize(file.read())
    except package.SafetensorError as error:
        raise ValueError(str(error)) from error
    return {name: _array(name, **tensor) for name, tensor in tensors}


def write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write all arrays, C-contiguous ones."""
    file.write(_package("safetensors.numpy").save(dict(arrays)))


def _array(name: str, dtype: str, shape: list[int], data: bytearray) -> NDArray[Any]:
    if dtype not in DTYPES:
        raise ValueError(f"{name} has dtype {dtype}, which NumPy has not")
    array: NDArray[Any] = np.ndarray(shape, DTYPES[dtype], data)
    return bfloat16.from_bits(array) if dtype == "BF16" else array


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            ".safetensors files need the package safetensors, .npz files do not: "
            'pip install "fastconv[train]"',
            name="safetensors",
        ) from error
