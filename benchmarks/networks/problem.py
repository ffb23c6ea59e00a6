"""One network in one direction, with its weights, images and labels: what each peer is handed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmarks.networks.entries import Network
from benchmarks.problem import Array
from fastconv import models, nn

LEARNING_RATE = 1e-4
"""Small, so that the hundreds of steps on one batch which a race makes change neither loss nor speed."""

MOMENTUM = 0.9


@dataclass(frozen=True)
class NetworkProblem:
    """A network, what is done with it, and float32 arrays; nobody may write into the model or the images."""

    network: Network
    direction: str
    model: nn.Sequential
    images: Array
    labels: Array

    @classmethod
    def draw(cls, network: Network) -> NetworkProblem:
        """Return the inference of `network`, with draws that depend on its name alone.

        Scales, shifts and running statistics of batch normalisation are drawn too: as a new layer has them,
        a peer that mixed them up would not be found out.
        """
        rng = np.random.default_rng(zlib.crc32(network.name.encode()))
        model = models.NETWORKS[network.name](rng, classes=network.classes, **network.keywords)
        for _, layer in model.named_layers():
            if isinstance(layer, nn.BatchNorm2d):
                for array, least in _normalisation(layer):
                    array[...] = rng.uniform(least, least + 1, array.shape)
        images = rng.standard_normal((network.batch, *network.image), dtype=np.float32)
        labels = rng.integers(network.classes, size=network.batch)
        return cls(network, "inference", model, images, labels)

    def towards(self, direction: str) -> NetworkProblem:
        """Return the problem of another direction on the same arrays."""
        return replace(self, direction=direction)

    @cached_property
    def watched(self) -> Sequence[int]:
        """Places, among the model's parameters, of the weights whose gradients are compared: the first, the
        last, and one in the middle.
        """
        weights = [place for place, p in enumerate(self.model.parameters()) if p.data.ndim > 1]
        return weights[0], weights[len(weights) // 2], weights[-1]

    @cached_property
    def flops(self) -> int:
        """Two per multiply-add of the layers with products; a training step has three of each."""
        passes = 3 if self.direction == "training" else 1
        return 2 * passes * self.network.batch * self.model.summary(self.network.image).multiply_adds

    @cached_property
    def traffic_bytes(self) -> int:
        """Bytes of images and parameters, each once."""
        return int(self.images.nbytes + sum(p.data.nbytes for p in self.model.parameters()))


def _normalisation(layer: nn.BatchNorm2d) -> list[tuple[Array, float]]:
    """Return the arrays of a batch normalisation, each with the least value it may take."""
    return [
        (layer.weight.data, 0.5),
        (layer.bias.data, -0.5),
        (layer.running_mean, -0.5),
        (layer.running_var, 0.5),
    ]
