"""What every peer offers.

A peer's module has ``create(name, settings)``, which imports the library (ImportError where it is not
installed) and returns a `Peer`. Everything a user would have at hand before the call (the library's own
tensors, the indices of a maximum, compiled code) is made by `Peer.calls`, outside the timing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from benchmarks.problem import Array, Problem

Call = Callable[[], Any]


class Unsupported(Exception):
    """The peer has no such operation; its message says which."""


class Peer(Protocol):
    """A library that can run a problem."""

    name: str
    version: str
    arithmetic: tuple[str, str]
    """Dtype and precision word of its products, which decide how closely its results must agree."""

    def calls(self, problem: Problem) -> dict[str, Call]:
        """Return the ways a user may run `problem`, by name; the fastest is raced.

        Raises
        ------
        Unsupported
            If there is none.

        """

    def to_numpy(self, result: Any) -> Array:
        """Return a call's result as an array laid out ``(N, C, *spatial)``."""
