"""Is a network's result right? Compared with the same network in float64, before anything is timed.

Inference gives scores, a training step gives the loss and the gradients of three weights, all from before
the first step. Scores and loss are measured as single layers are, by ``max |got - want| / max |want|``.

Gradients need another measure. Where rounding moves the input of a ReLU (or the runner-up of a maximum)
across the border, a whole term of the gradient comes or goes. Forward results with a relative error ``e`` so
switch about a share ``e`` of the terms in each layer, and the gradient behind some layers is off by a few
times ``sqrt(e)``: the normwise error of a gradient is counted as the ``e`` that explains it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import agreement
from benchmarks.networks.problem import NetworkProblem
from benchmarks.problem import Array
from fastconv import nn, precision
from fastconv.nn.losses import cross_entropy

_TOLERANCE = {
    ("float32", "highest"): 2e-4,
    ("float32", "high"): 2e-3,
    ("float32", "medium"): 4e-2,
    ("bfloat16", "highest"): 4e-2,
}

_SWITCHED = 5.0
"""The normwise error of a gradient is about so many times the square root of the forward error."""


def tolerance(arithmetic: tuple[str, str], problem: NetworkProblem) -> float:
    """Return the largest error that still counts as agreement."""
    return _TOLERANCE[arithmetic]


@dataclass(frozen=True)
class Expected:
    """The right results of a problem: scores, or a loss and gradients."""

    forward: agreement.Expected
    gradients: Sequence[Array]

    def error_of(self, results: Sequence[Array]) -> float:
        """Return the largest error; infinite where shapes differ or a value is not finite."""
        forward, *gradients = results
        explained = [
            (normwise_error(got, want) / _SWITCHED) ** 2
            for got, want in zip(gradients, self.gradients, strict=True)
        ]
        return max(self.forward.error_of(forward), *explained, 0.0)


def normwise_error(got: Array, want: Array) -> float:
    """Return ``|got - want| / |want|`` in the Euclidean norm; infinite as in `Expected.error_of`."""
    if got.shape != want.shape:
        return np.inf
    error = float(np.linalg.norm(got.astype(np.float64) - want)) / float(np.linalg.norm(want))
    return error if np.isfinite(error) else np.inf


def expected(problem: NetworkProblem) -> Expected:
    """Return the right results of `problem`."""
    model = in_float64(problem.model)
    images = problem.images.astype(np.float64)
    with precision("highest"):
        if problem.direction == "inference":
            return Expected(agreement.Expected(model.eval()(images), None), [])
        loss, gradient = cross_entropy(model.train()(images), problem.labels)
        model.backward(gradient)
    parameters = list(model.parameters())
    gradients = [parameters[place].grad for place in problem.watched]
    return Expected(agreement.Expected(np.array([loss]), None), gradients)


def in_float64(model: nn.Sequential) -> nn.Sequential:
    """Return a copy of `model` whose parameters and running statistics are float64."""
    model = copy.deepcopy(model)
    for _, layer in model.named_layers():
        for _, parameter in layer.own_parameters():
            parameter.data = parameter.data.astype(np.float64)
        for name in layer.buffer_names:
            array = getattr(layer, name)
            if array.dtype == np.float32:
                setattr(layer, name, array.astype(np.float64))
    return model
