"""Fixtures that every test may use: instruction sets, and hypothesis without surprises."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from fastconv import _core

hypothesis.settings.register_profile("fastconv", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("fastconv")


@pytest.fixture(scope="session", autouse=True)
def outside_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in a folder of its own: started in a checkout, a program would find a package without its core."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("work"))
    yield
    os.chdir(before)


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once with every instruction set that this machine has."""
    before = _core.isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)
