"""Who may include whom in csrc/: the layers of the core, held by reading its #include lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[1] / "csrc"

# Folder or file -> the project's headers that it may include. The longest one that fits a file counts.
PROJECT_HEADERS = {
    "core": r"core/.*",
    "cpu": r"core/.*|cpu/(?!kernels/).*",
    "cpu/contracts": r"core/(activation|dtype|pool_operation|taps)\.h|cpu/contracts/.*",
    "cpu/kernels": (
        r"core/(activation|dtype|pool_operation)\.h|cpu/contracts/.*|cpu/kernel_table\.h|cpu/kernels/.*"
    ),
    "cuda": r"core/.*|cuda/.*",
    "python": r"(core|cpu|python)/(?!kernels/).*",
    "python/cuda_module.cpp": r"cuda/backend\.h|python/backend_factory\.h",
    # What computes on every device reaches the CPU through its back end.
    **{
        f"python/bind_{subject}.cpp": r"(core|python)/.*"
        for subject in ("convolution", "pool", "pool_gradient")
    },
}

# Kernels share no inline function with other objects, so hardly any header is open to them.
KERNEL_HEADERS = {"cmath", "cstdint", "cstddef", "type_traits", "immintrin.h", "arm_neon.h"}

# Header -> the only files that may include it.
RESTRICTED = {
    r"pybind11/.*|Python\.h": r"python/.*",
    r"thread|future|condition_variable|omp\.h": r"cpu/parallel\.cpp",
    r"pthread\.h": r"cpu/parallel\.cpp|cpu/worker_place\.h|core/fork_mutex\.cpp",
    r"immintrin\.h": r"cpu/parallel\.cpp|cpu/kernels/vec_(avx2|avx512)\.h",
    r"arm_neon\.h": r"cpu/kernels/vec_neon\.h",
    r"simde/.*": r"cpu/kernels/emulated_\w+\.h",
    r"cuda.*|cu[A-Z].*|nv.*": r"cuda/.*",
}


def faults_of(file: str, text: str) -> list[str]:
    """Return the includes that a file (its path below csrc) may not have."""
    layer = max((f for f in PROJECT_HEADERS if f"{file}/".startswith(f + "/")), key=len, default=None)
    if layer is None:
        return [f"{file} lies in no layer"]
    project = re.findall(r'(?m)^\s*#\s*include\s+"([^"]+)"', text)
    system = re.findall(r"(?m)^\s*#\s*include\s+<([^>]+)>", text)
    faults = [h for h in project if not re.fullmatch(PROJECT_HEADERS[layer], h)]
    if layer == "cpu/kernels":
        faults += [h for h in system if h not in KERNEL_HEADERS and not h.startswith("simde/")]
    for headers, files in RESTRICTED.items():
        if not re.fullmatch(files, file):
            faults += [h for h in system if re.fullmatch(headers, h) and h not in faults]
    return faults


def test_layers_hold():
    files = [p for p in CSRC.rglob("*") if p.suffix in {".h", ".cpp", ".cu", ".cuh"}]
    assert len(files) > 20
    faults = {str(p.relative_to(CSRC)): faults_of(str(p.relative_to(CSRC)), p.read_text()) for p in files}
    assert {file: found for file, found in faults.items() if found} == {}


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/conv_problem.h", '#include "cpu/parallel.h"'),
        ("core/conv_problem.h", "#include <pybind11/numpy.h>"),
        ("core/conv_problem.cpp", "#  include <immintrin.h>"),
        ("cpu/winograd.cpp", '#include "python/array.h"'),
        ("cpu/winograd.cpp", '#include "cuda/winograd.h"'),
        ("cpu/winograd.cpp", '#include "cpu/kernels/pack.h"'),
        ("cpu/winograd.cpp", "#include <thread>"),
        ("cpu/winograd.cpp", "#include <omp.h>"),
        ("cpu/kernels/pack.h", '#include "cpu/parallel.h"'),
        ("cpu/kernels/pack.h", "#include <algorithm>"),
        ("cpu/kernels/pack.h", "#include <immintrin.h>"),
        ("cpu/kernels/vec_avx512.h", "#include <simde/x86/avx512.h>"),
        ("cuda/winograd.cpp", '#include "cpu/dispatch.h"'),
        ("python/bind_losses.cpp", '#include "cpu/kernels/pack.h"'),
        ("python/bind_pool.cpp", '#include "cpu/pool.h"'),
        ("python/place.cpp", '#include "cuda/backend.h"'),
        ("python/cuda_module.cpp", '#include "cpu/backend.h"'),
        ("gpu/winograd.cpp", ""),
    ],
)
def test_faults_are_found(file, line):
    assert len(faults_of(file, line + "\n#include <cstdint>\n")) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("cpu/winograd.cpp", '#include "core/dtype.h"\n#include "cpu/parallel.h"\n#include <vector>'),
        (
            "cpu/kernels/pack.h",
            '#include "cpu/kernel_table.h"\n#include "cpu/kernels/vec_math.h"\n#include <cmath>',
        ),
        ("cpu/parallel.cpp", "#include <thread>"),
        ("cuda/winograd.cu", "#include <cuda_runtime.h>"),
        ("python/bind_losses.cpp", '#include "cpu/losses.h"\n#include <pybind11/pybind11.h>'),
        ("python/cuda_module.cpp", '#include "cuda/backend.h"'),
    ],
)
def test_what_is_allowed_passes(file, line):
    assert faults_of(file, line) == []
