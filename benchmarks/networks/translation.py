"""A network of ``fastconv.nn`` in another library: the walk through its layers, which all peers share.

A subclass makes *parts*: whatever the library takes for a layer, a module, a function, a node of a graph. The
values that parts are applied to never appear here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from benchmarks.peers.interface import Unsupported
from fastconv import nn
from fastconv.models.resnet import ResidualBlock

Part = TypeVar("Part")


def both(value: Any) -> tuple[int, int]:
    """Return a size as one number per axis."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def padding_of(layer: nn.Conv2d) -> tuple[int, int]:
    """Return the zeros on both sides of each axis."""
    if layer.padding == "same":
        halos = [d * (k - 1) for d, k in zip(both(layer.dilation), both(layer.kernel_size), strict=True)]
        if any(halo % 2 for halo in halos):
            raise Unsupported("padding='same' with more on one side than on the other")
        return halos[0] // 2, halos[1] // 2
    return both(0 if layer.padding == "valid" else layer.padding)


class Translator(ABC, Generic[Part]):
    """Makes parts of layers. `name` is the dotted name of a layer in the network, as in its state."""

    @abstractmethod
    def convolution(self, layer: nn.Conv2d, name: str) -> Part: ...
    @abstractmethod
    def dense(self, layer: nn.Linear, name: str) -> Part: ...
    @abstractmethod
    def batch_norm(self, layer: nn.BatchNorm2d, name: str) -> Part: ...
    @abstractmethod
    def max_pool(self, layer: nn.MaxPool2d) -> Part: ...
    @abstractmethod
    def avg_pool(self, layer: nn.AvgPool2d) -> Part: ...
    @abstractmethod
    def global_avg_pool(self) -> Part:
        """Of (N, C, H, W), to (N, C)."""

    @abstractmethod
    def flatten(self) -> Part: ...
    @abstractmethod
    def activation(self, name: str) -> Part:
        """``"relu"`` or ``"tanh"``."""

    @abstractmethod
    def sequence(self, parts: Sequence[Part]) -> Part: ...
    @abstractmethod
    def total(self, main: Part, shortcut: Part | None) -> Part:
        """Of two paths; no `shortcut` is the input itself."""

    def translate(self, layer: nn.Layer, name: str = "") -> Part:
        """Return the part that does what `layer` does."""
        if isinstance(layer, nn.Sequential):
            children = [(key, child) for key, child in layer.children() if not _is_identity(child)]
            return self.sequence([self.translate(child, _joined(name, key)) for key, child in children])
        part = self._sum(layer, name) if isinstance(layer, nn.Residual) else self._single(layer, name)
        activation = getattr(layer, "activation", None)
        return part if activation is None else self.sequence([part, self.activation(activation)])

    def _sum(self, layer: nn.Residual, name: str) -> Part:
        # A block's state names the layers of its main path as if they were its own.
        keys = ("", "downsample") if isinstance(layer, ResidualBlock) else ("main", "shortcut")
        main, shortcut = (_joined(name, key) for key in keys)
        short = None if layer.shortcut is None else self.translate(layer.shortcut, shortcut)
        return self.total(self.translate(layer.main, main), short)

    def _single(self, layer: nn.Layer, name: str) -> Part:
        match layer:
            case nn.Conv2d():
                return self.convolution(layer, name)
            case nn.Linear():
                return self.dense(layer, name)
            case nn.BatchNorm2d():
                return self.batch_norm(layer, name)
            case nn.MaxPool2d():
                return self.max_pool(layer)
            case nn.AvgPool2d():
                return self.avg_pool(layer)
            case nn.GlobalAvgPool():
                return self.global_avg_pool()
            case nn.Flatten():
                return self.flatten()
            case nn.ReLU() | nn.Tanh():
                return self.activation(layer.name)
        raise Unsupported(f"no translation of {layer!r}")


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name and key else name + key


def _is_identity(layer: nn.Layer) -> bool:
    return isinstance(layer, nn.Dropout) and layer.p == 0
