"""The C++ tests under tests/cpp: on this machine's instruction sets, and on AArch64 under QEMU.

The second by hand, from the root of the repository::

    cmake -S . -B build-aarch64 -DFASTCONV_TESTS=ON -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \\
        -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \\
        "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu"
    cmake --build build-aarch64 --parallel
    ctest --test-dir build-aarch64
"""

from __future__ import annotations

import re

import cmake_builds

from fastconv import _core

SUBJECTS = {
    "vectors",
    "kernels",
    "tiles",
    "pixel planes",
    "parallel_for",
    "buffer pool",
    "forms of filters",
    "Winograd",
}
CUDA_SUBJECTS = {"CUDA convolutions", "CUDA pools", "CUDA primitives", "executor of CUDA kernels"}


def assert_all_ran(output: str, subjects: set[str], isas: set[str]) -> None:
    """Every executable did its checks, and those on kernels went through all tables."""
    assert "100% tests passed" in output
    lines = re.findall(r"(?m)^\d+: ([A-Za-z_ ]+): (\d+) checks, (\d+) failed(.*)$", output)
    assert {subject for subject, *_ in lines} == subjects
    for subject, checks, failed, tables in lines:
        assert int(checks) > 0
        assert int(failed) == 0
        if subject in ("vectors", "kernels"):
            assert set(tables.split()) == isas


def test_on_this_machine():
    output = cmake_builds.run_ctest(cmake_builds.native())
    assert_all_ran(output, SUBJECTS | CUDA_SUBJECTS | {"fork"}, set(_core.available_isas()))


def test_on_aarch64():
    cmake_builds.require("qemu-aarch64")
    output = cmake_builds.run_ctest(cmake_builds.aarch64())
    assert_all_ran(output, SUBJECTS, {"scalar", "neon"})  # QEMU can't fork a process with threads
