"""JAX on the CPU: scores and whole training steps compiled by `jax.jit`, channels first.

The arrays of a step (parameters, velocities, running statistics) are given to the compiled step to write
over. XLA takes its number of threads from ``PJRT_NPROC``, set before anything is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.networks.peers.interface import NetworkPeer
from benchmarks.networks.problem import LEARNING_RATE, MOMENTUM, NetworkProblem
from benchmarks.networks.translation import Translator, both, padding_of
from benchmarks.peers.interface import Call
from benchmarks.problem import Array
from benchmarks.settings import Settings
from fastconv import nn

Arrays = dict[str, Any]
"""By their dotted names."""


class State:
    """Arrays that a pass through the network reads, and in training the running statistics it makes."""

    def __init__(self, arrays: Arrays, training: bool) -> None:
        self.arrays, self.training, self.made = arrays, training, Arrays()


Part = Callable[[State, Any], Any]


class JaxNetworks(NetworkPeer):
    """Functions of arrays and images, and `jax.value_and_grad` of them."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self.version = str(jax.__version__)
        jax.config.update("jax_platforms", "cpu")

    def inference(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the one call: compiled on its first use, waiting for the result."""
        function = JaxTranslator().translate(problem.model)
        scores = jax.jit(lambda arrays, images: function(State(arrays, False), images))
        arrays, images = _arrays(problem.model.state_dict()), jnp.asarray(problem.images)
        return {"jit": lambda: [scores(arrays, images).block_until_ready()]}

    def training(self, problem: NetworkProblem) -> dict[str, Call]:
        """Return the one call; after the first step the velocities are the gradients."""
        names = [name for name, _ in problem.model.named_parameters()]
        arrays = _arrays(problem.model.state_dict())
        parameters = {name: arrays.pop(name) for name in names}
        velocities = jax.tree.map(jnp.zeros_like, parameters)
        images, labels = jnp.asarray(problem.images), jnp.asarray(problem.labels)
        step = jax.jit(_step(JaxTranslator().translate(problem.model)), donate_argnums=(0, 1, 2))

        def run() -> list[Any]:
            nonlocal parameters, velocities, arrays
            loss, parameters, velocities, arrays = step(parameters, velocities, arrays, images, labels)
            jax.block_until_ready(parameters)
            return [loss, *(velocities[names[place]] for place in problem.watched)]

        return {"jit": run}


def _arrays(state: dict[str, Array]) -> Arrays:
    return {name: jnp.asarray(array) for name, array in state.items() if array.dtype == np.float32}


def _step(function: Part) -> Callable[..., Any]:
    """Return the training step: new loss, parameters, velocities and running statistics."""

    def loss_of(parameters: Arrays, statistics: Arrays, images: Any, labels: Any) -> Any:
        state = State(parameters | statistics, True)
        logarithms = jax.nn.log_softmax(function(state, images))
        return -jnp.mean(jnp.take_along_axis(logarithms, labels[:, None], axis=1)), state.made

    def step(parameters: Arrays, velocities: Arrays, statistics: Arrays, images: Any, labels: Any) -> Any:
        differentiated = jax.value_and_grad(loss_of, has_aux=True)
        (loss, statistics), gradients = differentiated(parameters, statistics, images, labels)
        velocities = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocities, gradients)
        parameters = jax.tree.map(lambda p, v: p - LEARNING_RATE * v, parameters, velocities)
        return loss, parameters, velocities, statistics

    return step


class JaxTranslator(Translator[Part]):
    """Parts are functions of a `State` and an array."""

    def convolution(self, layer: nn.Conv2d, name: str) -> Part:
        stride, padding, dilation = both(layer.stride), padding_of(layer), both(layer.dilation)

        def part(state: State, x: Any) -> Any:
            y = lax.conv_general_dilated(
                x,
                state.arrays[f"{name}.weight"],
                stride,
                [(pad, pad) for pad in padding],
                rhs_dilation=dilation,
                dimension_numbers=("NCHW", "OIHW", "NCHW"),
                feature_group_count=layer.groups,
            )
            return y if layer.bias is None else y + state.arrays[f"{name}.bias"][:, None, None]

        return part

    def dense(self, layer: nn.Linear, name: str) -> Part:
        def part(state: State, x: Any) -> Any:
            y = x @ state.arrays[f"{name}.weight"].T
            return y if layer.bias is None else y + state.arrays[f"{name}.bias"]

        return part

    def batch_norm(self, layer: nn.BatchNorm2d, name: str) -> Part:
        def part(state: State, x: Any) -> Any:
            names = [f"{name}.{key}" for key in ("weight", "bias", "running_mean", "running_var")]
            weight, bias, mean, variance = (state.arrays[key] for key in names)
            if state.training:
                keep, count = 1 - layer.momentum, x.size / x.shape[1]
                batch_mean, batch_variance = jnp.mean(x, (0, 2, 3)), jnp.var(x, (0, 2, 3))
                unbiased = batch_variance * (count / (count - 1))
                state.made[names[2]] = keep * mean + layer.momentum * batch_mean
                state.made[names[3]] = keep * variance + layer.momentum * unbiased
                mean, variance = batch_mean, batch_variance
            scale = weight * lax.rsqrt(variance + layer.eps)
            return x * scale[:, None, None] + (bias - mean * scale)[:, None, None]

        return part

    def max_pool(self, layer: nn.MaxPool2d) -> Part:
        return _windows(layer, -math.inf, lax.max)

    def avg_pool(self, layer: nn.AvgPool2d) -> Part:
        total, count = _windows(layer, 0.0, lax.add), math.prod(both(layer.kernel_size))
        return lambda state, x: total(state, x) / count

    def global_avg_pool(self) -> Part:
        return lambda state, x: jnp.mean(x, (2, 3))

    def flatten(self) -> Part:
        return lambda state, x: x.reshape(x.shape[0], -1)

    def activation(self, name: str) -> Part:
        function = jax.nn.relu if name == "relu" else jnp.tanh
        return lambda state, x: function(x)

    def sequence(self, parts: Sequence[Part]) -> Part:
        def part(state: State, x: Any) -> Any:
            for each in parts:
                x = each(state, x)
            return x

        return part

    def total(self, main: Part, shortcut: Part | None) -> Part:
        if shortcut is None:
            return lambda state, x: main(state, x) + x
        return lambda state, x: main(state, x) + shortcut(state, x)


def _windows(layer: nn.MaxPool2d | nn.AvgPool2d, initial: float, combine: Any) -> Part:
    window = both(layer.kernel_size)
    stride = window if layer.stride is None else both(layer.stride)
    padding = [(0, 0), (0, 0), *((pad, pad) for pad in both(layer.padding))]

    def part(state: State, x: Any) -> Any:
        return lax.reduce_window(x, np.float32(initial), combine, (1, 1, *window), (1, 1, *stride), padding)

    return part


def create(name: str, settings: Settings) -> JaxNetworks:
    """Return the peer; see `benchmarks.networks.peers`."""
    return JaxNetworks(name, settings)
