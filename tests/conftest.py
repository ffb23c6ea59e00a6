"""Fixtures that every test may use: instruction sets, and hypothesis without surprises."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from fastconv import _core

hypothesis.settings.register_profile("fastconv", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("fastconv")


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once with every instruction set that this machine has."""
    before = _core.isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)
