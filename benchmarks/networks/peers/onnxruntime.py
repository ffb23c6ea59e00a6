"""ONNX Runtime's CPU provider, all graph optimisations on."""

from __future__ import annotations

import onnxruntime

from benchmarks.networks.onnx_graph import serialised
from benchmarks.networks.peers.interface import NetworkPeer
from benchmarks.networks.problem import NetworkProblem
from benchmarks.peers.interface import Call
from benchmarks.settings import Settings


class OnnxRuntimeNetworks(NetworkPeer):
    """An `InferenceSession`; images and scores are NumPy arrays."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self.version = str(onnxruntime.__version__)
        self._threads = settings.threads

    def inference(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the one call."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(
            serialised(problem), options, providers=["CPUExecutionProvider"]
        )
        return {"session": lambda: session.run(None, {"images": problem.images})}


def create(name: str, settings: Settings) -> OnnxRuntimeNetworks:
    """Return the peer; see `benchmarks.networks.peers`."""
    return OnnxRuntimeNetworks(name, settings)
