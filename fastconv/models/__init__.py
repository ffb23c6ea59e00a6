"""Networks of the literature, built from ``fastconv.nn``: one file each, and a table of them by name.

To add one, write its function (``rng`` first, the rest with defaults) in a file of its own and enter it in
``NETWORKS``.
"""

from __future__ import annotations

from collections.abc import Callable

from fastconv.models.lenet5 import lenet5
from fastconv.nn import Sequential

__all__ = ["NETWORKS", "lenet5"]

NETWORKS: dict[str, Callable[..., Sequential]] = {"lenet5": lenet5}
