"""What a run on a CUDA device needs and one on the CPU does not: its clock, its roofs, its description.

All of it goes through PyTorch, whose tensors everyone is handed. The module itself is imported without it, to
tell what a machine lacks.
"""

from __future__ import annotations

import itertools
import math
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from benchmarks.problem import Problem
from benchmarks.settings import Settings
from benchmarks.timing import Clock

ROTATED_BYTES = 256 * 2**20
"""The arrays that calls take in turn: beyond every device's cache."""

MOST_SETS = 16
"""Of a small problem's arrays, so that making them does not take longer than the calls."""

_COPY_BYTES = 2**31
_MATRIX_SIDE = 8192


def missing() -> str:
    """Return what a run on a CUDA device lacks here, empty if nothing."""
    lacks = []
    if find_spec("fastconv._cuda") is None:
        lacks.append(
            "CUDA back end in this fastconv (pip install . builds it where it finds a CUDA 12+ toolkit)"
        )
    if find_spec("torch") is None:
        lacks.append("PyTorch, whose tensors lie on the device")
    else:
        import torch

        if not torch.cuda.is_available():
            lacks.append(f"CUDA device that PyTorch {torch.__version__} finds")
    return "--device cuda: there is no " + ", and no ".join(lacks) if lacks else ""


class EventClock:
    """The device's clock: events before and after the calls, on the stream that they run on."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda

    def settle(self) -> None:
        """Wait until the device is idle."""
        self._cuda.synchronize()

    def seconds(self, call: Callable[[], Any], repeats: int) -> float:
        """Return the seconds until the device is through with the last call."""
        begin, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3


def clock() -> Clock:
    """Return the clock of PyTorch's current device."""
    import torch

    return EventClock(torch.cuda)


def in_turn(problem: Problem, device: str, make: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    """Return a call that goes through several sets of a problem's arrays, so that none waits in the cache.

    Parameters
    ----------
    problem : Problem
        Tells how large a set is.
    device : str
        On ``"cpu"`` there is one set: layers follow each other there through the caches, too.
    make : callable
        Makes a set and returns the call on it.

    """
    if device == "cpu":
        return make()
    size = sum(array.nbytes for array in (problem.x, problem.w, problem.dy) if array is not None)
    sets = min(MOST_SETS, math.ceil(ROTATED_BYTES / size))
    calls = itertools.cycle([make() for _ in range(sets)])
    return lambda: next(calls)()


def rates(settings: Settings, seconds: float) -> tuple[float, float]:
    """Return the FLOPs per second of a matrix product, and the bytes that a copy reads and writes per second.

    The product's factors are what the peer's are in that precision.
    """
    import torch

    medium = settings.dtype == "float32" and settings.precision == "medium"
    dtype = torch.bfloat16 if medium else getattr(torch, settings.dtype)
    torch.backends.cuda.matmul.allow_tf32 = settings.precision == "high"
    a, b = (torch.randn(_MATRIX_SIDE, _MATRIX_SIDE, device=settings.device).to(dtype) for _ in range(2))
    product = rate(clock(), lambda: torch.matmul(a, b), 2 * _MATRIX_SIDE**3, seconds)
    source = torch.randn(_COPY_BYTES // 4, device=settings.device)
    target = torch.empty_like(source)
    return product, rate(clock(), lambda: target.copy_(source), 2 * _COPY_BYTES, seconds)


def rate(clock: Clock, call: Callable[[], Any], amount: float, seconds: float) -> float:
    """Return what a call that does `amount` does per second, from about `seconds` of calls."""
    clock.seconds(call, 1)
    repeats = max(1, math.ceil(seconds / clock.seconds(call, 1)))
    return repeats * amount / clock.seconds(call, repeats)


def describe() -> dict[str, str]:
    """Return the device's name, and the versions of what drives it."""
    import torch

    cudnn = torch.backends.cudnn.version()
    return {
        "name": torch.cuda.get_device_name(),
        "driver": _driver(),
        "CUDA": str(torch.version.cuda),
        "cuDNN": f"{cudnn // 10000}.{cudnn // 100 % 100}.{cudnn % 100}",
    }


def _driver() -> str:
    """Return the driver's version as its own tool tells it."""
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].strip() or "unknown"
