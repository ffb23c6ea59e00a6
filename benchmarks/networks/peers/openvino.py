"""OpenVINO's CPU device, tuned for latency; ``openvino-bf16`` lets it compute in bfloat16."""

from __future__ import annotations

import sys
from typing import Any

# Imported, OpenVINO forks a process that sends usage figures to its makers; without this package it does not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

from benchmarks.networks.onnx_graph import serialised  # noqa: E402
from benchmarks.networks.peers.interface import NetworkPeer  # noqa: E402
from benchmarks.networks.problem import NetworkProblem  # noqa: E402
from benchmarks.peers.interface import Call, Unsupported  # noqa: E402
from benchmarks.settings import Settings  # noqa: E402


class OpenVinoNetworks(NetworkPeer):
    """A compiled model's infer request; images and scores are NumPy arrays."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self.version = str(openvino.__version__)
        self._core = openvino.Core()
        half = name == "openvino-bf16"
        self.arithmetic = ("bfloat16" if half else "float32", "highest")
        self._options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": settings.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "ENABLE_CPU_PINNING": False,
        }

    def inference(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the one call."""
        if self.arithmetic[0] == "bfloat16" and "BF16" not in self._abilities():
            raise Unsupported("this CPU has no bfloat16 products")
        model = self._core.read_model(serialised(problem))
        request = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        return {"request": lambda: [request.infer([problem.images], share_inputs=True)[0]]}

    def _abilities(self) -> list[str]:
        abilities: list[str] = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return abilities


def create(name: str, settings: Settings) -> OpenVinoNetworks:
    """Return the peer; see `benchmarks.networks.peers`."""
    return OpenVinoNetworks(name, settings)
