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

SUBJECTS = {"vectors", "kernels", "parallel_for", "buffer pool"}


def checks_of(output: str) -> dict[str, tuple[int, int]]:
    """Return subject -> (checks, failures) of the lines that each executable ends with."""
    found = re.findall(r"(?m)^\d+: (?:\w+ )*?([a-z_ ]+): (\d+) checks, (\d+) failed$", output)
    return {subject: (int(checks), int(failed)) for subject, checks, failed in found}


def assert_all_ran(output: str, subjects: set[str], isas: set[str]) -> None:
    assert re.search(r"100% tests passed", output)
    totals = checks_of(output)
    assert set(totals) == subjects
    assert all(checks > 0 and failed == 0 for checks, failed in totals.values()), totals
    for subject in ("vectors", "kernels"):  # each names the tables it went through
        (line,) = re.findall(rf"(?m)^\d+: (.*){subject}: \d+ checks", output)
        assert set(line.split()) == isas


def test_on_this_machine():
    output = cmake_builds.run_ctest(cmake_builds.native())
    assert_all_ran(output, SUBJECTS | {"fork"}, set(_core.available_isas()))


def test_on_aarch64():
    cmake_builds.require("qemu-aarch64")
    output = cmake_builds.run_ctest(cmake_builds.aarch64())
    assert_all_ran(output, SUBJECTS, {"scalar", "neon"})  # QEMU can't fork a process with threads
