"""Named arrays in files: the formats by their suffixes, and what holds for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastconv._whole_file import whole_file
from fastconv.weights import apart, bfloat16, npz, pytorch, safe_tensors

READERS: dict[str, Callable[[BinaryIO], dict[str, NDArray[Any]]]] = {
    ".safetensors": safe_tensors.read,
    ".npz": npz.read,
    ".pt": pytorch.read,
    ".pth": pytorch.read,
    ".h5": apart.read_h5,
    ".keras": apart.read_zip,
}
WRITERS: dict[str, Callable[[BinaryIO, Mapping[str, NDArray[Any]]], None]] = {
    ".safetensors": safe_tensors.write,
    ".npz": npz.write,
}


def read(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read the arrays of a file, its suffix the format; no code in it is run.

    Parameters
    ----------
    path : path
        ``.safetensors``; ``.npz``; PyTorch's ``.pt`` and ``.pth``: a state dictionary, or a checkpoint that
        has one under ``state_dict``, ``model_state_dict`` or ``model``; Keras's ``.h5`` and ``.keras``.

    Returns
    -------
    dict of str to ndarray
        The arrays by the names that they have in the file; those of a Keras file are in Keras's layout, see
        ``read_keras``. They may be read-only: ``numpy.array(a)`` makes a copy that is not. bfloat16 is that
        of ml_dtypes where it is installed, else and out of Keras files widened to float32.

    Raises
    ------
    OSError
        No such file, or one that can't be opened.
    ValueError
        Another suffix, or a file that is damaged or of another format.
    ModuleNotFoundError
        ``.safetensors`` without the package safetensors, ``.h5`` or ``.keras`` without h5py.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fastconv import weights
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     weights.write(f"{folder}/one.npz", {"fc.bias": np.ones(2)})
    ...     weights.read(f"{folder}/one.npz")
    {'fc.bias': array([1., 1.])}
    """
    source = checked(path, READERS)
    with open(source, "rb") as file, readable(source):
        return READERS[source.suffix](file)


def write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a file, its suffix the format; it appears whole or not at all.

    Parameters
    ----------
    path : path
        ``.safetensors``, which PyTorch reads too, or ``.npz``.
    arrays : mapping of str to ndarray
        What to write. bfloat16 is widened to float32.

    Raises
    ------
    OSError
        A file that can't be written; what was there before still is.
    ValueError
        Another suffix.
    ModuleNotFoundError
        ``.safetensors`` without the package safetensors.
    """
    target = checked(path, WRITERS)
    storable = {name: bfloat16.widened(np.asarray(array, order="C")) for name, array in arrays.items()}
    with whole_file(target) as file:
        WRITERS[target.suffix](file, storable)


@contextmanager
def readable(source: Path) -> Iterator[None]:
    """Turn what a reader stumbles over into a ValueError that names the file."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # damage shows in as many ways as there are steps in reading
        raise ValueError(f"{source} can't be read as {source.suffix}: {error}") from error


def checked(path: str | os.PathLike[str], formats: Mapping[str, object]) -> Path:
    """Take a path whose suffix is one of `formats`."""
    target = Path(path)
    if target.suffix not in formats:
        raise ValueError(f"{target}: the suffix must be one of {', '.join(formats)}, got {target.suffix!r}")
    return target
