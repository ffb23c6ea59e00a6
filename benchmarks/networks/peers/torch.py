"""PyTorch on the CPU: eager in the faster of its two memory formats, or compiled once.

The optimiser is PyTorch's fused one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.networks.peers.interface import NetworkPeer
from benchmarks.networks.problem import LEARNING_RATE, MOMENTUM, NetworkProblem
from benchmarks.networks.translation import Translator, both, padding_of
from benchmarks.peers.interface import Call, Unsupported
from benchmarks.problem import Array
from benchmarks.settings import Settings
from fastconv import nn

_FORMATS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}


class TorchNetworks(NetworkPeer):
    """`torch.nn` modules; ``torch-compile`` hands them to `torch.compile`."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self.version = str(torch.__version__)
        torch.set_num_threads(settings.threads)

    def inference(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return a call per memory format."""

        def make(module: torch.nn.Module, images: torch.Tensor) -> Call:
            module.eval()

            def infer() -> list[torch.Tensor]:
                with torch.inference_mode():
                    return [module(images)]

            return infer

        return self._ways(problem, make)

    def training(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return a call per memory format."""
        labels = torch.tensor(problem.labels)

        def make(module: torch.nn.Module, images: torch.Tensor) -> Call:
            module.train()
            parameters = list(module.parameters())
            optimizer = torch.optim.SGD(parameters, LEARNING_RATE, MOMENTUM, fused=True)

            def step() -> list[torch.Tensor]:
                loss = F.cross_entropy(module(images), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                return [loss, *(parameters[place].grad for place in problem.watched)]

            return step

        return self._ways(problem, make)

    def to_numpy(self, result: Sequence[Any]) -> list[Array]:
        """Return the values without their history."""
        return super().to_numpy([value.detach() for value in result])

    def _ways(
        self, problem: NetworkProblem, make: Callable[[torch.nn.Module, torch.Tensor], Call]
    ) -> dict[str, Call]:
        if self.name == "torch-compile":
            return {"compiled": _or_unsupported(make(torch.compile(_module(problem)), _images(problem)))}
        return {
            name: make(_module(problem).to(memory_format=layout), _images(problem, layout))
            for name, layout in _FORMATS.items()
        }


def _images(problem: NetworkProblem, layout: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    return torch.tensor(problem.images).contiguous(memory_format=layout)


def _module(problem: NetworkProblem) -> torch.nn.Module:
    return TorchTranslator(problem.model.state_dict()).translate(problem.model)


def _or_unsupported(call: Call) -> Call:
    """Return the call; where compiling fails (there may be no compiler) it is said, and no failure."""

    def run() -> Any:
        try:
            return call()
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise Unsupported(f"it did not compile: {type(error).__name__}: {reason}") from error

    return run


class Total(torch.nn.Module):
    """The sum of two paths."""

    def __init__(self, main: torch.nn.Module, shortcut: torch.nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``main(x) + shortcut(x)``."""
        return self.main(x) + self.shortcut(x)


class TorchTranslator(Translator[torch.nn.Module]):
    """Parts are modules, with the parameters in the order in which fastconv's network has them."""

    def __init__(self, state: dict[str, Array]) -> None:
        self._state = state

    def _loaded(self, module: torch.nn.Module, name: str) -> torch.nn.Module:
        names = module.state_dict().keys()
        module.load_state_dict({key: torch.tensor(self._state[f"{name}.{key}"]) for key in names})
        return module

    def convolution(self, layer: nn.Conv2d, name: str) -> torch.nn.Module:
        module = torch.nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            both(layer.stride),
            padding_of(layer),
            both(layer.dilation),
            layer.groups,
            bias=layer.bias is not None,
        )
        return self._loaded(module, name)

    def dense(self, layer: nn.Linear, name: str) -> torch.nn.Module:
        module = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        return self._loaded(module, name)

    def batch_norm(self, layer: nn.BatchNorm2d, name: str) -> torch.nn.Module:
        return self._loaded(torch.nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum), name)

    def max_pool(self, layer: nn.MaxPool2d) -> torch.nn.Module:
        return torch.nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)

    def avg_pool(self, layer: nn.AvgPool2d) -> torch.nn.Module:
        return torch.nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding)

    def global_avg_pool(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

    def flatten(self) -> torch.nn.Module:
        return torch.nn.Flatten()

    def activation(self, name: str) -> torch.nn.Module:
        return torch.nn.ReLU(inplace=True) if name == "relu" else torch.nn.Tanh()

    def sequence(self, parts: Sequence[torch.nn.Module]) -> torch.nn.Module:
        return torch.nn.Sequential(*parts)

    def total(self, main: torch.nn.Module, shortcut: torch.nn.Module | None) -> torch.nn.Module:
        return Total(main, shortcut or torch.nn.Identity())


def create(name: str, settings: Settings) -> TorchNetworks:
    """Return the peer; see `benchmarks.networks.peers`."""
    return TorchNetworks(name, settings)
