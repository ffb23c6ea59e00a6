"""What the tests here run on: the kernels' own source, emulated on this CPU, and a GPU where one is."""

from __future__ import annotations

import importlib.util
from typing import Any

import cmake_builds
import numpy as np
from agreement import BFLOAT16
from test_arrays import Producer


class EmulatedArray:
    """An array of the emulated device: only its library and DLPack reach its memory."""

    __module__ = "emulated_library"

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **keywords: Any) -> Any:
        keywords.pop("stream")
        if self.memory.dtype == BFLOAT16:
            self.producer = Producer(self.memory, version=1)  # has what the capsule points at
            return self.producer.__dlpack__()
        return self.memory.__dlpack__(**keywords)


class EmulatedDevice:
    """The back end compiled for the host, whose memory is "the device's"."""

    def __init__(self) -> None:
        path = cmake_builds.cuda_emulated()
        spec = importlib.util.spec_from_file_location("_cuda_emulated", path)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def current_stream(self, device: int) -> int:
        return 0

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> EmulatedArray:
        kind = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
        filler = np.iinfo(kind).min if kind.kind == "i" else np.nan  # what is not written is seen
        return EmulatedArray(np.full(shape, filler, kind))

    def device_of(self, array: EmulatedArray) -> int:
        return 0

    def put(self, array: Any) -> Any:
        """Return the array on the device; what is no array as it is."""
        return EmulatedArray(array) if isinstance(array, np.ndarray) else array

    def get(self, result: Any) -> Any:
        """Return the result of a call on the host."""
        if isinstance(result, tuple):
            return tuple(self.get(each) for each in result)
        return result.memory if isinstance(result, EmulatedArray) else result


def why_no_gpu() -> str | None:
    """Tell what is missing for the tests to run on a GPU; ``None`` where nothing is."""
    if importlib.util.find_spec("fastconv._cuda") is None:
        return "this installation has no CUDA back end"
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed, whose arrays the tests put on the device"
    import torch

    return None if torch.cuda.is_available() else "PyTorch finds no CUDA device"


class Gpu:
    """PyTorch's first CUDA device."""

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def put(self, array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        if any(stride < 0 for stride in array.strides):  # which a tensor can't have
            array = array.copy()
        if array.dtype == BFLOAT16:
            return self.torch.from_numpy(array.view(np.int16)).cuda().view(self.torch.bfloat16)
        return self.torch.from_numpy(array).cuda()

    def get(self, result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(self.get(each) for each in result)
        if not isinstance(result, self.torch.Tensor):
            return result
        if result.dtype == self.torch.bfloat16:
            return result.view(self.torch.int16).cpu().numpy().view(BFLOAT16)
        return result.cpu().numpy()
