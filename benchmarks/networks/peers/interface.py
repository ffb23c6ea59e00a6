"""What every peer of a whole network offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.networks.problem import NetworkProblem
from benchmarks.peers.interface import Call, Unsupported
from benchmarks.problem import Array


class NetworkPeer(ABC):
    """A library that runs a network: translated, its weights in place, images and labels at hand.

    A call returns a list of whatever the library has for arrays: of inference the scores, of a training step
    the loss and the gradients of the watched weights.
    """

    version: str
    arithmetic: tuple[str, str] = ("float32", "highest")

    def __init__(self, name: str) -> None:
        self.name = name

    def calls(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the ways to run `problem`, by name; the fastest is raced."""
        return self.inference(problem) if problem.direction == "inference" else self.training(problem)

    @abstractmethod
    def inference(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the ways to compute the scores."""

    def training(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the ways to make a step: forward, cross-entropy, backward, SGD with momentum."""
        raise Unsupported("it only infers")

    def to_numpy(self, result: Sequence[Any]) -> list[Array]:
        """Return a call's results as arrays, the loss as one with a single element."""
        return [np.atleast_1d(np.asarray(value)) for value in result]
