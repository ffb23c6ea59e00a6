"""What the kernels' objects export: exactly one symbol each.

The linker keeps one copy of an inline function that several objects define. Were that the copy compiled for
a wider instruction set, an older processor would die in code that has nothing to do with kernels. So no
object of kernels/*.cpp may define anything that another could share, or run anything before it is chosen.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import cmake_builds
import pytest

# What a compiler may call of its own accord, and the mathematical functions of the C library.
MEMORY = {"memcpy", "memset", "memmove", "memcmp", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
MATHEMATICS = {"pow", "powf", "rint", "rintf", "sqrt", "sqrtf"}
ALLOWED = MEMORY | MATHEMATICS
GETTERS = {"amx": "tile_kernels()"}  # where it is not kernel_table()


def faults_of(object_file: Path, isa: str, nm: str = "nm", readelf: str = "readelf") -> list[str]:
    """Return what is wrong with an object of one instruction set."""
    listing = cmake_builds.run([nm, "--demangle", str(object_file)])
    # "<address> <letter> <name>", without the address where a symbol is undefined
    symbols = [line.split(maxsplit=1 if line.startswith(" ") else 2)[-2:] for line in listing.splitlines()]
    getter = f"fastconv::cpu::{isa}::{GETTERS.get(isa, 'kernel_table()')}"
    faults = [f"undefined: {name}" for letter, name in symbols if letter == "U" and name not in ALLOWED]
    faults += [f"weak or unique: {name}" for letter, name in symbols if letter in "WwVvu"]
    faults += [f"exported: {name}" for letter, name in symbols if letter in "TDBRCGS" and name != getter]
    if ["T", getter] not in symbols:
        faults.append(f"missing: {getter}")
    sections = cmake_builds.run([readelf, "--sections", "--wide", str(object_file)])
    faults += [f"section: {name}" for name in (".init_array", ".ctors", ".fini_array") if name in sections]
    return faults


def kernel_objects(build: Path) -> dict[str, Path]:
    """Return isa -> the object that CMake made for it."""
    prefix = "fastconv_kernels_"
    folders = build.glob(f"CMakeFiles/{prefix}*.dir")
    return {f.stem.removeprefix(prefix): next(f.rglob("*.cpp.o")) for f in folders}


def test_every_native_object_exports_its_table_alone():
    cmake_builds.require("nm", "readelf")
    objects = kernel_objects(cmake_builds.native())
    assert "scalar" in objects
    assert {isa: faults_of(path, isa) for isa, path in objects.items()} == {isa: [] for isa in objects}


def test_every_aarch64_object_exports_its_table_alone():
    nm, readelf = "aarch64-linux-gnu-nm", "aarch64-linux-gnu-readelf"
    cmake_builds.require(nm, readelf)
    objects = kernel_objects(cmake_builds.aarch64())
    assert set(objects) == {"scalar", "neon"}
    assert faults_of(objects["scalar"], "scalar", nm, readelf) == []
    assert faults_of(objects["neon"], "neon", nm, readelf) == []


GETTER = "namespace fastconv::cpu::any { int kernel_table() { return %s; } }"
SOURCES_AND_FAULTS = {
    "only the table": (GETTER % "1", []),
    "another function": (
        "int other() { return 1; }",
        ["exported: other()", "missing: fastconv::cpu::any::kernel_table()"],
    ),
    "an inline function": (
        "inline int shared(int x) { return x; } static auto* volatile use = &shared;" + GETTER % "use(1)",
        ["weak or unique: shared(int)"],
    ),
    "an exported variable": ("int counter = 1;" + GETTER % "counter", ["exported: counter"]),
    "a foreign call": ("int elsewhere();" + GETTER % "elsewhere()", ["undefined: elsewhere()"]),
    "a library function": (
        'extern "C" double sqrt(double); static volatile double x = 2;' + GETTER % "int(sqrt(x))",
        [],
    ),
    "a constructor": (
        "static volatile int x = 2; static int y = x;" + GETTER % "y",
        ["section: .init_array"],
    ),
}


@pytest.mark.parametrize(("source", "faults"), SOURCES_AND_FAULTS.values(), ids=SOURCES_AND_FAULTS)
def test_faults_are_found(source: str, faults: list[str], tmp_path: Path):
    cmake_builds.require("nm", "readelf")
    (tmp_path / "any.cpp").write_text(source)
    compile_any = [cmake_builds.compiler(), "-std=c++17", "-fPIC", "-c", "any.cpp", "-o", "any.o"]
    subprocess.run(compile_any, cwd=tmp_path, check=True)
    assert faults_of(tmp_path / "any.o", "any") == faults
