"""The AVX-512, AMX and NEON kernels on any machine: compiled through SIMDe's portable intrinsics, and tiles
through an emulation of our own.

The build holds the whole module. Every test that takes the `isa` fixture runs on it once more, with the
emulated tables, beside the C++ tests. Building and running take some five minutes on two cores, so they wait
to be asked for::

    FASTCONV_TEST_EMULATED=1 python -m pytest tests/test_emulated_isas.py
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import cmake_builds
import pytest

pytestmark = pytest.mark.skipif(
    "FASTCONV_TEST_EMULATED" not in os.environ, reason="takes minutes: set FASTCONV_TEST_EMULATED=1 to run it"
)

EMULATED = ("avx512", "amx", "neon")
# The rest of the table amx is avx512's own.
TESTS_OF_TILES = ("test_tile_gemm", "test_precision", "test_determinism")
CHOICE = f"avx512 or neon or (amx and ({' or '.join(TESTS_OF_TILES)}))"
TESTS = Path(__file__).parent

# An editable install would put itself before sys.path: let the path come first again.
LAUNCH = """
import importlib.machinery, sys
sys.meta_path.insert(0, importlib.machinery.PathFinder)
sys.path.insert(0, sys.argv[1])
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def package() -> Path:
    """Return a folder with the package whose module holds the emulated tables."""
    build = cmake_builds.emulated()
    folder = build / "package"
    shutil.copytree(
        cmake_builds.SOURCE / "fastconv", folder / "fastconv", ignore=shutil.ignore_patterns("*.so")
    )
    (module,) = build.glob("_core*.so")
    shutil.copy(module, folder / "fastconv")
    return folder


def test_cpp():
    output = cmake_builds.run_ctest(cmake_builds.emulated())
    for subject in ("vectors", "kernels"):
        (tables,) = re.findall(rf"(?m)^\d+: {subject}: \d+ checks, 0 failed(.*)$", output)
        assert set(EMULATED) < set(tables.split())
    assert re.search(r"(?m)^\d+: tiles: \d{3,} checks, 0 failed amx$", output)


def test_python(package: Path):
    takes_isa = re.compile(r"def test_\w+\([^)]*\bisa\b")
    files = [str(p) for p in sorted(TESTS.glob("test_*.py")) if takes_isa.search(p.read_text())]
    assert files
    options = ["-q", "-p", "no:cacheprovider", "-k", CHOICE]
    output = cmake_builds.run([sys.executable, "-c", LAUNCH, str(package), *options, *files])
    assert re.search(r"\d+ passed", output)
