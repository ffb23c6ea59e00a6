"""What the core asks of the libraries whose arrays lie on a CUDA device: their streams, and new arrays.

Memory is read through DLPack or the CUDA array interface, whosever it is. But results are made in the library
of a call's first array and computed on that library's current stream, and no protocol tells of these.
"""

import sys
from collections.abc import Sequence
from typing import Any, Protocol


class Library(Protocol):
    """One library. Devices are numbered as CUDA does; dtypes have NumPy's names ("bfloat16" too)."""

    def current_stream(self, device: int) -> int:
        """Give the handle (`cudaStream_t`) of the stream that this thread works on; 0 is the default one."""
        ...

    def empty(self, shape: Sequence[int], dtype: str, device: int) -> Any:
        """Make a C-contiguous array, for work on the current stream."""
        ...

    def device_of(self, array: Any) -> int:
        """Tell where an array lies that has no `__dlpack_device__`; others are not asked about."""
        ...


# Who hands over an array has imported its library, with all that is used here.


class _Torch:
    def current_stream(self, device: int) -> int:
        stream: int = sys.modules["torch"].cuda.current_stream(device).cuda_stream
        return stream

    def empty(self, shape: Sequence[int], dtype: str, device: int) -> Any:
        torch = sys.modules["torch"]
        return torch.empty(tuple(shape), dtype=getattr(torch, dtype), device=torch.device("cuda", device))

    def device_of(self, array: Any) -> int:
        device: int = array.device.index
        return device


class _CuPy:
    def current_stream(self, device: int) -> int:
        cuda = sys.modules["cupy"].cuda
        with cuda.Device(device):
            stream: int = cuda.get_current_stream().ptr
        return stream

    def empty(self, shape: Sequence[int], dtype: str, device: int) -> Any:
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(device):
            return cupy.empty(tuple(shape), dtype)

    def device_of(self, array: Any) -> int:
        device: int = array.device.id
        return device


class _Numba:
    def current_stream(self, device: int) -> int:
        cuda = sys.modules["numba.cuda"]
        with cuda.gpus[device]:
            return int(cuda.default_stream())

    def empty(self, shape: Sequence[int], dtype: str, device: int) -> Any:
        cuda = sys.modules["numba.cuda"]
        with cuda.gpus[device]:
            return cuda.device_array(tuple(shape), dtype)

    def device_of(self, array: Any) -> int:
        device: int = sys.modules["numba.cuda"].get_current_device().id
        return device


# By the first part of the name of the module that an array's class, or one it is made from, comes from.
LIBRARIES: dict[str, Library] = {"torch": _Torch(), "cupy": _CuPy(), "numba": _Numba()}


def library_of(array: Any, where: str) -> Library:
    """Find the library of an array on a CUDA device; `where` (function and argument) is for the error."""
    for base in type(array).__mro__:
        library = LIBRARIES.get(base.__module__.partition(".")[0])
        if library is not None:
            return library
    kind = type(array)
    raise TypeError(
        f"{where} is a {kind.__module__}.{kind.__qualname__} on a CUDA device, expected an array of "
        f"{', '.join(LIBRARIES)}, in whose memory a result can be made"
    )
