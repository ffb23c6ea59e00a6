"""The libraries that are raced: one module each, behind the small interface of ``interface.py``."""

from __future__ import annotations

from importlib import import_module

from benchmarks.peers.interface import Call, Peer, Unsupported
from benchmarks.settings import Settings

__all__ = ["MODULES", "PYTORCH", "Call", "Peer", "Unsupported", "default_peers", "load"]

MODULES = {
    "fastconv": "benchmarks.peers.fastconv",
    "numpy": "benchmarks.peers.numpy",
    "torch": "benchmarks.peers.torch",
    "torch-bf16": "benchmarks.peers.torch",
    "jax": "benchmarks.peers.jax",
}

PYTORCH = ("torch", "torch-bf16")
"""The peers whose threads may change between calls, whose instruction set may be capped, and which run on a
CUDA device too."""


def default_peers(settings: Settings, *, quick: bool = False) -> tuple[str, ...]:
    """Return the peers of a run that names none; fastconv itself is not among them.

    A quick run leaves JAX out, which compiles every call. On a CUDA device there is PyTorch alone.
    """
    half = ("torch-bf16",) if settings.dtype == "float32" and settings.precision == "medium" else ()
    if settings.device == "cuda":
        return ("torch", *half)
    return ("numpy", "torch", *half, *(() if quick else ("jax",)))


def load(name: str, settings: Settings) -> Peer:
    """Import the library called `name` and set its threads; ImportError where it is not installed."""
    peer: Peer = import_module(MODULES[name]).create(name, settings)
    return peer
