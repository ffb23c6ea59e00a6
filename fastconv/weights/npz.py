"""NumPy's ``.npz``: a zip file of ``.npy`` arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


def read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read all arrays; none that would need pickle."""
    try:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise ValueError("it is a .npy file, one array without a name")
        with content as arrays:
            return dict(arrays)
    # zipfile has no implementation of some compressions that an archive may name.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(str(error)) from error


def write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write all arrays, uncompressed."""
    np.savez(file, allow_pickle=False, **arrays)
