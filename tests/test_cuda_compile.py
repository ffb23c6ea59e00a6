"""The CUDA kernels compile for every architecture of the build, and what they work on stays in registers.

The commands are the build's own, so a new source or architecture is looked at as soon as CMake knows it. They
take two minutes of processor time for each architecture that machine code is made for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cmake_builds
import pytest

SPILLS_WANTED = {
    ("PoolReductionKernel<float, NumberedMaximum<float>, true>", "sm_80"),
    ("PoolGradientKernel<double, MeanGradient, false, int>", "sm_90a"),
}
"""Kernels of which ptxas keeps a few bytes elsewhere, for one more block on a multiprocessor."""

TOOLKIT = "13.0"
"""How many registers a kernel gets is the compiler's choice: spills are looked for in this one's code."""


@dataclass(frozen=True)
class Kernel:
    """What ptxas reports of a kernel, and of the functions that it calls, for one architecture."""

    name: str
    symbol: str
    architecture: str
    registers: int
    spilled: int
    """Bytes that are stored outside of registers and loaded again."""


@dataclass(frozen=True)
class Compiled:
    """One source: the kernels of its machine code, and the text of its PTX by architecture."""

    kernels: list[Kernel]
    ptx: dict[str, str]


def kernels_in(report: str) -> Iterator[Kernel]:
    """Read the kernels off the report of ``ptxas -v``."""
    for part in re.split(r"(?m)^ptxas info +: (?=Compiling entry function)", report)[1:]:
        entry = re.match(r"Compiling entry function '(\w+)' for '(\w+)'", part)
        registers = re.search(r"Used (\d+) registers", part)
        spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        assert entry is not None and registers is not None and spills, part
        spilled = sum(int(stores) + int(loads) for stores, loads in spills)
        yield Kernel(plain_name(entry[1]), entry[1], entry[2], int(registers[1]), spilled)


def plain_name(symbol: str) -> str:
    """Return ``enter<Kernel>``'s kernel, without namespaces."""
    signature = cmake_builds.run(["c++filt", symbol])
    found = re.fullmatch(r"void fastconv::cuda::enter<(.+?) ?>\(.*\)\n", signature)
    assert found is not None, signature
    return re.sub(r"fastconv::(cuda::)?", "", found[1])


def compile_device_code(source: Path, command: list[str], folder: Path) -> Compiled:
    """Compile one source for the device alone, as `command` does for host and device."""
    fatbin = folder / f"{source.stem}.fatbin"
    arguments = ["-fatbin" if part == "-c" else part for part in command]
    arguments[arguments.index("-o") + 1] = str(fatbin)
    report = cmake_builds.run([*arguments, "--no-compress", "-Xptxas=-v"])
    texts = re.findall(rb"\.target (sm_\w+)([^\0]*)", fatbin.read_bytes())
    return Compiled(list(kernels_in(report)), {name.decode(): text.decode() for name, text in texts})


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[Compiled]:
    folder = tmp_path_factory.mktemp("device_code")
    commands = cmake_builds.cuda_commands()
    cmake_builds.require("c++filt")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda each: compile_device_code(*each, folder), commands))


@pytest.fixture(scope="module")
def architectures() -> tuple[set[str], set[str]]:
    """Return those that the build makes machine code and PTX for."""
    (_, command), *_ = cmake_builds.cuda_commands()
    codes = re.findall(r"code=\[([^]]*)\]", " ".join(command))
    named = {name for code in codes for name in code.split(",")}
    virtual = {name for name in named if name.startswith("compute_")}
    return named - virtual, {name.replace("compute", "sm") for name in virtual}


def test_every_kernel_is_compiled_for_every_architecture(compiled, architectures):
    real, virtual = architectures
    assert real
    assert virtual, "nothing for devices to come"
    for source in compiled:
        for architecture in real:
            assert {k.symbol for k in source.kernels if k.architecture == architecture} == {
                k.symbol for k in source.kernels
            }
        assert {k.architecture for k in source.kernels} <= real
        assert set(source.ptx) == virtual
        for kernel in source.kernels:
            assert all(f".entry {kernel.symbol}(" in text for text in source.ptx.values()), kernel
    assert sum(len(source.kernels) for source in compiled) > 100


def test_kernels_stay_in_registers(compiled):
    (_, (compiler, *_)), *_ = cmake_builds.cuda_commands()
    release = re.search(r"release ([\d.]+)", cmake_builds.run([compiler, "--version"]))
    assert release is not None
    if release[1] != TOOLKIT:
        pytest.skip(f"registers were counted with CUDA {TOOLKIT}, this is {release[1]}")
    spilling = {
        (kernel.name, kernel.architecture): kernel
        for source in compiled
        for kernel in source.kernels
        if kernel.spilled
    }
    unwanted = [kernel for key, kernel in spilling.items() if key not in SPILLS_WANTED]
    assert not unwanted, "\n".join(map(str, unwanted))
    assert not SPILLS_WANTED - set(spilling), "these exceptions are no longer needed"
