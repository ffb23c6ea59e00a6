"""The libraries that whole networks are raced through, one module each.

As with single layers, a module has ``create(name, settings)``; its peer's `calls` are made of a
`NetworkProblem`, and its `to_numpy` gives a list: the scores, or the loss and the watched gradients.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks.settings import Settings

if TYPE_CHECKING:
    from benchmarks.networks.peers.interface import NetworkPeer

MODULES = {
    "fastconv": "benchmarks.networks.peers.fastconv",
    "torch": "benchmarks.networks.peers.torch",
    "torch-compile": "benchmarks.networks.peers.torch",
    "jax": "benchmarks.networks.peers.jax",
    "onnxruntime": "benchmarks.networks.peers.onnxruntime",
    "openvino": "benchmarks.networks.peers.openvino",
    "openvino-bf16": "benchmarks.networks.peers.openvino",
}

_COMPILERS = ("torch-compile", "jax")
"""They need minutes before the first result."""


def default_peers(settings: Settings, *, quick: bool = False) -> tuple[str, ...]:
    """Return the peers of a run that names none; fastconv itself is not among them."""
    left_out = {"fastconv", *(_COMPILERS if quick else ())}
    if settings.precision != "medium":
        left_out.add("openvino-bf16")
    return tuple(name for name in MODULES if name not in left_out)


def load(name: str, settings: Settings) -> NetworkPeer:
    """Import the library called `name` and set its threads; ImportError where it is not installed."""
    peer: NetworkPeer = import_module(MODULES[name]).create(name, settings)
    return peer
