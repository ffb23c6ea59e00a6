"""The same number of threads for everyone.

Most libraries read their thread count once, when they are imported, so `limit_threads` runs before NumPy
is: nothing here imports anything but the standard library.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLES = (
    "OMP_NUM_THREADS",  # fastconv, PyTorch
    "OPENBLAS_NUM_THREADS",  # NumPy from PyPI
    "MKL_NUM_THREADS",  # NumPy from conda, PyTorch's BLAS
    "VECLIB_MAXIMUM_THREADS",  # NumPy on macOS
    "PJRT_NPROC",  # JAX: the size of XLA's pool
)
"""What libraries read their thread count from."""


def available_cpus(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many CPUs this process may use: by its affinity, and by its control group's quota."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))


def limit_threads(count: int) -> None:
    """Tell every library that is imported from now on to use `count` threads."""
    for variable in VARIABLES:
        os.environ[variable] = str(count)
