"""Whether the tests of this folder ran on a GPU."""

import pytest
from devices import why_no_gpu


def test_there_is_a_gpu():
    """Skips, with what is missing, where the others run in emulation alone."""
    why = why_no_gpu()
    if why:
        pytest.skip(f"not run on a GPU: {why}")
