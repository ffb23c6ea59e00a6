"""Keras files read in a process of their own.

The HDF5 library trusts what a file says about itself: a damaged one can end the process that reads it, or
keep it busy for ever. Here that is another process, and what comes back is a pickle, which `pickles` reads
without running it.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from typing import Any, BinaryIO

from numpy.typing import NDArray

from fastconv.weights import pickles
from fastconv.weights.keras_files import KerasFile, KerasLayer, open_h5, open_zip

FORMATS = {".h5": open_h5, ".keras": open_zip}

PATIENCE = 60.0
"""Seconds after which reading is given up, ..."""

BYTES_PER_SECOND = 10e6
"""... and one more for so many bytes of the file."""


def open_file(file: BinaryIO, suffix: str) -> KerasFile:
    """Read a file of one of FORMATS."""
    if find_spec("h5py") is None:
        raise ModuleNotFoundError(
            '.h5 and .keras files need the package h5py: pip install "fastconv[train]"', name="h5py"
        )
    program = f"import sys; sys.path[:] = {sys.path}; from {__name__} import serve; serve({suffix!r})"
    patience = PATIENCE + os.fstat(file.fileno()).st_size / BYTES_PER_SECOND
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], stdin=file, capture_output=True, timeout=patience
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"reading it took more than {patience:.0f} seconds") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise ValueError(reason or f"the HDF5 library ended with signal {-done.returncode}")
    layers, in_order = pickles.load(io.BytesIO(done.stdout), pickles.NUMPY_NAMES)
    return KerasFile(tuple(KerasLayer(*layer) for layer in layers), in_order)


def serve(suffix: str) -> None:
    """Be the other process: read standard input, write the layers to standard output."""
    try:
        content = FORMATS[suffix](sys.stdin.buffer)
    except Exception as error:
        sys.exit(str(error) or type(error).__name__)
    layers = [(layer.name, layer.kind, dict(layer.arrays)) for layer in content.layers]
    pickle.dump((layers, content.in_order), sys.stdout.buffer, protocol=5)


def read_h5(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read all arrays of an HDF5 file, each as ``layer/array``."""
    return _flat(open_file(file, ".h5"))


def read_zip(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read all arrays of the zip file of Keras 3, each as ``layer/array``."""
    return _flat(open_file(file, ".keras"))


def _flat(content: KerasFile) -> dict[str, NDArray[Any]]:
    return {f"{layer.name}/{name}": array for layer in content.layers for name, array in layer.arrays.items()}
