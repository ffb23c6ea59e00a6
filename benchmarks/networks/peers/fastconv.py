"""fastconv itself: ``fastconv.nn`` and ``fastconv.optim`` as a user calls them, NumPy arrays in and out."""

from __future__ import annotations

import copy

import fastconv as fc
from benchmarks.networks.peers.interface import NetworkPeer
from benchmarks.networks.problem import LEARNING_RATE, MOMENTUM, NetworkProblem
from benchmarks.peers.interface import Call
from benchmarks.problem import Array
from benchmarks.settings import Settings
from fastconv.nn.losses import cross_entropy
from fastconv.optim import SGD


class FastconvNetworks(NetworkPeer):
    """Layers called in evaluation mode, and the training loop of the README."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self.version = str(fc.__version__)
        self.arithmetic = (settings.dtype, settings.precision)
        fc.set_num_threads(settings.threads)
        fc.set_precision(settings.precision)

    def inference(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the one call."""
        model = problem.model.eval()
        return {"default": lambda: [model(problem.images)]}

    def training(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the one call."""
        model = copy.deepcopy(problem.model).train()
        parameters = list(model.parameters())
        optimizer = SGD(parameters, LEARNING_RATE, MOMENTUM)

        def step() -> list[float | Array]:
            loss, gradient = cross_entropy(model(problem.images), problem.labels)
            optimizer.zero_grad()
            model.backward(gradient, input_gradient=False)
            optimizer.step()
            return [loss, *(parameters[place].grad for place in problem.watched)]

        return {"default": step}


def create(name: str, settings: Settings) -> FastconvNetworks:
    """Return the peer; see `benchmarks.networks.peers`."""
    return FastconvNetworks(name, settings)
