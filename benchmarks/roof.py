"""What the machine could do: the measured FMA rate and copy bandwidth, and the time they leave a layer at
the least.

    roof time = max(FLOPs / FMA rate of all threads, bytes / copy bandwidth)

(Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", 2009.) Bytes count every array once. An algorithm with fewer products than the sum has terms
(Winograd) may pass this roof.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.problem import numpy_dtype
from benchmarks.settings import Settings
from benchmarks.shapes import Shape

COPY_BYTES = 256 * 2**20
"""Size of the measured copy: far beyond every cache."""


@dataclass(frozen=True)
class Roof:
    """Rates of the whole machine, all threads of the run together."""

    flops_per_second: float
    bytes_per_second: float

    def seconds(self, shape: Shape, itemsize: int) -> float:
        """Return the time below which no direct algorithm on this machine runs one direction of `shape`."""
        traffic = shape.elements_moved * itemsize
        return max(shape.flops / self.flops_per_second, traffic / self.bytes_per_second)


def measure(settings: Settings, seconds: float) -> Roof:
    """Measure both rates, for about `seconds` each; half-width types are summed in float32.

    On a CUDA device the first rate is that of PyTorch's matrix product.
    """
    if settings.device == "cuda":
        from benchmarks import cuda

        return Roof(*cuda.rates(settings, seconds))
    from fastconv import _core

    itemsize = numpy_dtype(settings.dtype).itemsize
    arithmetic = settings.dtype if itemsize >= 4 else "float32"
    one_core = _core.measure_fma_rate(arithmetic, seconds)
    return Roof(one_core * settings.threads, _core.measure_copy_rate(COPY_BYTES, seconds))
