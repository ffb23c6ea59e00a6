"""Files that are not the project's own: a test that wants one skips where it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def found(name: str) -> Path:
    """Find a file in ``$FASTCONV_DATA`` or beside the checkout, or skip the test."""
    for folder in (os.environ.get("FASTCONV_DATA"), BESIDE):
        if folder and (Path(folder) / name).is_file():
            return Path(folder) / name
    pytest.skip(f"{name} is in neither $FASTCONV_DATA nor {BESIDE}")
