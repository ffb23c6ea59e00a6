"""PyTorch's ``.pt`` and ``.pth``, read without PyTorch and without running what their pickles ask for.

``torch.save`` has two formats. Since 1.6 it writes a zip file: ``data.pkl``, a pickle in which each tensor is
a call with its storage, offset, sizes and strides; ``data/0``, ``data/1``, ..., the numbers of the storages;
``byteorder``. Before, it wrote five pickles one after the other (a magic number, the version, the machine,
the tensors, the keys of the storages) and behind them, for each key, a count and the numbers.
"""

from __future__ import annotations

import contextlib
import functools
import io
import operator
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from fastconv.weights import bfloat16, pickles

DTYPES = {
    "Bool": "b1",
    "Byte": "u1",
    "Char": "i1",
    "Short": "i2",
    "Int": "i4",
    "Long": "i8",
    "Half": "f2",
    "Float": "f4",
    "Double": "f8",
    "BFloat16": "bfloat16",
}
"""The numbers in a storage of a name like ``FloatStorage``."""

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Where checkpoints that hold more than the weights have them."""

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of the older format."""

_Fetch: TypeAlias = Callable[[str], bytes | memoryview]


def read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read a state dictionary, or that of a checkpoint which has one under a name of WRAPPERS.

    The arrays are read-only, and views of their storages as the tensors were.
    """
    pickled, fetch, byte_order = (_open_zip if zipfile.is_zipfile(file) else _open_pickles)(file)
    wrapped = (pickled[name] for name in WRAPPERS if isinstance(pickled, dict) and name in pickled)
    state = next(wrapped, pickled)
    if not isinstance(state, dict):
        raise ValueError(f"it holds no state dictionary, but a {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{name} in its state dictionary is no tensor, but a {type(value).__name__}")

    @functools.cache
    def numbers(storage: _Storage, dtype: str) -> NDArray[Any]:
        return _numbers(fetch(storage.key), dtype, byte_order)

    return {name: tensor.view(name, numbers) for name, tensor in state.items()}


@dataclass(frozen=True)
class _Storage:
    """A row of numbers; one without a dtype is read as that of the tensor."""

    key: str
    dtype: str | None


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; sizes, strides and offset count elements."""

    storage: _Storage
    offset: int
    sizes: Sequence[int]
    strides: Sequence[int]
    dtype: str

    def view(self, name: str, numbers: Callable[[_Storage, str], NDArray[Any]]) -> NDArray[Any]:
        row = numbers(self.storage, self.dtype)
        sizes, strides = (tuple(map(operator.index, of)) for of in (self.sizes, self.strides))
        offset = operator.index(self.offset)
        if len(sizes) != len(strides) or min((offset, *sizes, *strides)) < 0:
            raise ValueError(f"{name} has sizes, strides and an offset that no tensor can have")
        reach = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if 0 not in sizes and reach >= row.size:
            raise ValueError(f"{name} reaches to element {reach} of a storage of {row.size}")
        # The reach is checked above, in integers without a limit.
        in_bytes = [stride * row.itemsize for stride in strides]
        return as_strided(row[offset:], sizes, in_bytes, writeable=False)


def _numbers(content: bytes | memoryview, dtype: str, byte_order: str) -> NDArray[Any]:
    if dtype == "bfloat16":
        return bfloat16.from_bits(np.frombuffer(content, f"{byte_order}u2"))
    return np.frombuffer(content, f"{byte_order}{dtype}")


def _open_zip(file: BinaryIO) -> tuple[Any, _Fetch, str]:
    archive = zipfile.ZipFile(file)
    pickled = [name for name in archive.namelist() if name.endswith("data.pkl")]
    if len(pickled) != 1:
        raise ValueError(f"it is a zip file with {len(pickled)} files data.pkl, expected one")
    root = pickled[0].removesuffix("data.pkl")

    def fetch(name: str) -> bytes:
        if archive.getinfo(root + name).compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} in it is compressed, which torch.save never does")
        return archive.read(root + name)

    byte_order = "<"
    if f"{root}byteorder" in archive.namelist():
        byte_order = {b"little": "<", b"big": ">"}[fetch("byteorder")]
    value = pickles.load(io.BytesIO(fetch("data.pkl")), TORCH_NAMES, _storage)
    return value, lambda key: fetch(f"data/{key}"), byte_order


def _open_pickles(file: BinaryIO) -> tuple[Any, _Fetch, str]:
    file.seek(0)
    content = memoryview(file.read())
    stream = io.BytesIO(content)
    magic = None
    with contextlib.suppress(ValueError):
        magic = pickles.load(stream, {})
    if magic != MAGIC:
        raise ValueError("it is in neither of PyTorch's formats, or was cut off")
    item_sizes: dict[str, int] = {}

    def persistent(identifier: Any) -> _Storage:
        storage = _storage(identifier)
        item_sizes[storage.key] = np.dtype((storage.dtype or "u1").replace("bfloat16", "u2")).itemsize
        return storage

    _version, _machine = (pickles.load(stream, {}) for _ in range(2))
    value = pickles.load(stream, TORCH_NAMES, persistent)
    storages = {}
    for key in pickles.load(stream, {}):
        size = int.from_bytes(stream.read(8), "little") * item_sizes[key]
        start = stream.tell()
        storages[key] = content[start : start + size]
        stream.seek(start + size)
    return value, storages.__getitem__, "<"


def _storage(identifier: Any) -> _Storage:
    """Take what stands for a storage in a pickle: its class, key, device and size, perhaps a part of it."""
    kind, dtype, key, *_device_and_size = identifier
    view = identifier[5:]
    # A dtype that is no text might be a tuple too deep to be hashed.
    if kind != "storage" or not isinstance(key, str) or not isinstance(dtype, str | None) or any(view):
        raise ValueError("it refers to something that is no storage of numbers")
    return _Storage(key, dtype)


def _tensor(storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, offset, sizes, strides, storage.dtype)


def _typed_tensor(
    storage: Any, offset: Any, sizes: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    if not isinstance(dtype, str):
        raise TypeError("a tensor's dtype is none")
    return Tensor(storage, offset, sizes, strides, dtype)


def _torch_names() -> dict[str, Any]:
    names: dict[str, Any] = {
        **pickles.NUMPY_NAMES,
        "torch._utils _rebuild_tensor": _tensor,
        "torch._utils _rebuild_tensor_v2": _tensor,
        "torch._utils _rebuild_tensor_v3": _typed_tensor,
        "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
        "torch Size": tuple,
        "torch.storage UntypedStorage": None,
    }
    for kind, dtype in DTYPES.items():
        names[f"torch {kind}Storage"] = dtype
    for name in ("uint16", "uint32", "uint64"):
        names[f"torch {name}"] = np.dtype(name).str[1:]
    return names


TORCH_NAMES = _torch_names()
"""What stands for the names that the pickles of torch.save refer to."""
