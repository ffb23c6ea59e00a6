"""Fixtures that several files use: instruction sets, benchmarks alone, and hypothesis without surprises."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cmake_builds
import hypothesis
import pytest

import fastconv as fc
from fastconv import _core

hypothesis.settings.register_profile("fastconv", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("fastconv")


def pytest_configure(config: pytest.Config) -> None:
    """Give the session's processes one folder for what they compile."""
    if cmake_builds.FOLDER not in os.environ:
        folder = tempfile.mkdtemp(prefix="fastconv-builds-")
        os.environ[cmake_builds.FOLDER] = folder
        config.add_cleanup(lambda: os.environ.pop(cmake_builds.FOLDER))
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="session", autouse=True)
def outside_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in a folder of its own: started in a checkout, a program would find a package without its core."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("work"))
    yield
    os.chdir(before)


@pytest.fixture
def without_tiles() -> Iterator[None]:
    """Run with the best instruction set but for amx, whose tiles would change which routes serve or win."""
    before = _core.isa()
    _core.set_isa([name for name in _core.available_isas() if name != "amx"][-1])
    yield
    _core.set_isa(before)


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once with every instruction set that this machine has."""
    before = _core.isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of the benchmarks: copy little, and give back fastconv's settings, which peers set for the process."""
    from benchmarks import roof

    monkeypatch.setattr(roof, "COPY_BYTES", 2**20)
    with fc.threads(1), fc.precision("highest"):
        yield


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, alone: None) -> None:
    """Of the benchmarks: give back the variables that the command line sets."""
    from benchmarks.threads import VARIABLES

    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
