"""Builds of the C++ part: each is made once in a session, for all the tests and processes that want it."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1]
AARCH64_ROOT = "/usr/aarch64-linux-gnu"


def run(command: list[str], **options: object) -> str:
    """Run a command and return what it printed; where it fails, so does the test, with its last lines."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} -> {done.returncode}\n{done.stdout[-6000:]}", pytrace=False)
    return done.stdout


def require(*programs: str) -> None:
    """Skip the test where one of the programs is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")


def compiler() -> str:
    """Return the C++ compiler that CMake would take."""
    named = os.environ.get("CXX")
    found = next((c for c in (named, "c++", "g++", "clang++") if c and shutil.which(c)), None)
    if found is None:
        pytest.skip("no C++ compiler here")
    return found


def require_header(header: str) -> None:
    """Skip the test where the compiler does not find a header."""
    preprocess = [compiler(), "-E", "-x", "c++", "-", "-o", os.devnull]
    done = subprocess.run(preprocess, input=f"#include <{header}>\n", text=True, stderr=subprocess.DEVNULL)
    if done.returncode != 0:
        pytest.skip(f"the header <{header}> is not installed here (Debian: libsimde-dev)")


FOLDER = "FASTCONV_TEST_BUILDS"
"""The variable that names the session's folder for builds."""


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def once(build: Callable[..., Path]) -> Callable[..., Path]:
    """Let one of the session's processes make a build, for which the others wait."""

    @functools.cache
    @functools.wraps(build)
    def made(*arguments: str) -> Path:
        name = "-".join([build.__name__.strip("_"), *arguments[:1]])
        with (_folder() / f"{name}.path").open("a+", encoding="utf-8") as result:
            fcntl.flock(result, fcntl.LOCK_EX)
            result.seek(0)
            path = result.read()
            if not path:
                path = str(build(*arguments))
                result.write(path)
        return Path(path)

    return made


def _configure(name: str, *options: str) -> Path:
    folder = _folder() / name
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run(["cmake", "-S", str(SOURCE), "-B", str(folder), *generator, "-DCMAKE_BUILD_TYPE=Release", *options])
    return folder


@once
def _build(name: str, *options: str) -> Path:
    folder = _configure(name, "-DFASTCONV_TESTS=ON", "-DFASTCONV_CUDA=OFF", *options)
    run(["cmake", "--build", str(folder), "--parallel", str(len(os.sched_getaffinity(0)))])
    return folder


def native() -> Path:
    """Build all but the Python modules for this machine's architecture, the CUDA kernels in emulation."""
    require("cmake")
    compiler()
    return _build("native", "-DFASTCONV_CUDA_EMULATED=ON")


def aarch64() -> Path:
    """Build the same for AArch64."""
    require("cmake", "aarch64-linux-gnu-g++")
    return _build(
        "aarch64",
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
        f"-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;{AARCH64_ROOT}",
    )


def emulated() -> Path:
    """Build everything, the Python module too, with AVX-512, its tiles and NEON in emulation."""
    require("cmake")
    require_header("simde/x86/avx512.h")
    require_header("simde/arm/neon.h")
    pybind11 = pytest.importorskip("pybind11", reason="pybind11 is not installed: the module can't be built")
    return _build(
        "emulated",
        "-DFASTCONV_EMULATED_ISAS=avx512;amx;neon",
        "-DSKBUILD=ON",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
    )


@once
def cuda_emulated() -> Path:
    """Build the module `_cuda_emulated`, the CUDA back end's own kernels run by an executor on this CPU."""
    pybind11 = pytest.importorskip("pybind11", reason="pybind11 is not installed: the module can't be built")
    build = native()
    python = [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    run(["cmake", "-S", str(SOURCE), "-B", str(build), "-DSKBUILD=ON", *python])
    run(["cmake", "--build", str(build), "--target", "_cuda_emulated"])
    return next(build.rglob(f"_cuda_emulated{sysconfig.get_config_var('EXT_SUFFIX')}"))


@once
def recording_backend() -> Path:
    """Build the module `_recording_cuda`, a back end that has the CPU compute and tells what it was asked."""
    pybind11 = pytest.importorskip("pybind11", reason="pybind11 is not installed: the module can't be built")
    sources = ["csrc/python/cuda_module.cpp", "tests/cpp/recording_backend.cpp"]
    includes = [SOURCE / "csrc", pybind11.get_include(), sysconfig.get_paths()["include"]]
    options = ["-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden"]
    module = _folder() / f"_recording_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
    definition = "-DFASTCONV_CUDA_MODULE=_recording_cuda"
    command = [compiler(), *options, definition, *(f"-I{folder}" for folder in includes), "-o", str(module)]
    run([*command, *(str(SOURCE / source) for source in sources)])
    return module


@functools.cache
def cuda_commands() -> list[tuple[Path, list[str]]]:
    """Return the CUDA sources, the tests' too, each with the command that the build compiles it by."""
    require("cmake")
    compiler()
    folder = _configure("cuda", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DFASTCONV_TESTS=ON")
    entries = json.loads((folder / "compile_commands.json").read_text(encoding="utf-8"))
    commands = [(Path(entry["file"]), shlex.split(entry["command"])) for entry in entries]
    found = [(source, command) for source, command in commands if source.suffix == ".cu"]
    if not found:
        pytest.skip("CMake finds no CUDA toolkit (nvcc) of version 12 or later here")
    return found


def run_ctest(build: Path) -> str:
    """Run all the C++ tests of a build and return what they printed."""
    return run(["ctest", "--verbose"], cwd=build)
