"""A network as an ONNX graph, for the run times that read those: input ``images``, output ``scores``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
from onnx import helper, numpy_helper

from benchmarks.networks.problem import NetworkProblem
from benchmarks.networks.translation import Translator, both, padding_of
from benchmarks.problem import Array
from fastconv import nn

OPSET = 17
IR_VERSION = 8
"""Versions of the operators and of the file, from 2022: old enough for every run time."""

Part = Callable[[str], str]
"""Adds nodes that read the value of one name, and returns the name of their result."""


def serialised(problem: NetworkProblem) -> bytes:
    """Return the model for batches of the problem's own size."""
    translator = OnnxTranslator(problem.model.state_dict())
    last = translator.translate(problem.model)("images")
    translator.add("Identity", [last], output="scores")
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        translator.nodes,
        problem.network.name,
        [helper.make_tensor_value_info("images", kind, problem.images.shape)],
        [helper.make_tensor_value_info("scores", kind, (problem.network.batch, problem.network.classes))],
        translator.weights,
    )
    opset = [helper.make_operatorsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    result: bytes = model.SerializeToString()
    return result


class OnnxTranslator(Translator[Part]):
    """Parts add their nodes to one graph."""

    def __init__(self, state: dict[str, Array]) -> None:
        self._state = state
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its result."""
        output = output or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _part(self, operator: str, name: str = "", *arrays: str, **attributes: Any) -> Part:
        """Return the part of one node, which reads these arrays of the layer `name` too."""
        names = [f"{name}.{key}" for key in arrays if f"{name}.{key}" in self._state]
        self.weights += [numpy_helper.from_array(self._state[each], each) for each in names]
        return lambda x: self.add(operator, [x, *names], **attributes)

    def convolution(self, layer: nn.Conv2d, name: str) -> Part:
        return self._part(
            "Conv",
            name,
            "weight",
            "bias",
            kernel_shape=layer.kernel_size,
            strides=both(layer.stride),
            pads=padding_of(layer) * 2,
            dilations=both(layer.dilation),
            group=layer.groups,
        )

    def dense(self, layer: nn.Linear, name: str) -> Part:
        return self._part("Gemm", name, "weight", "bias", transB=1)

    def batch_norm(self, layer: nn.BatchNorm2d, name: str) -> Part:
        arrays = ("weight", "bias", "running_mean", "running_var")
        return self._part("BatchNormalization", name, *arrays, epsilon=layer.eps)

    def max_pool(self, layer: nn.MaxPool2d) -> Part:
        return self._pool("MaxPool", layer)

    def avg_pool(self, layer: nn.AvgPool2d) -> Part:
        return self._pool("AveragePool", layer, count_include_pad=1)

    def _pool(self, operator: str, layer: nn.MaxPool2d | nn.AvgPool2d, **attributes: int) -> Part:
        window = both(layer.kernel_size)
        stride = window if layer.stride is None else both(layer.stride)
        return self._part(
            operator, kernel_shape=window, strides=stride, pads=both(layer.padding) * 2, **attributes
        )

    def global_avg_pool(self) -> Part:
        return self.sequence([self._part("GlobalAveragePool"), self.flatten()])

    def flatten(self) -> Part:
        return self._part("Flatten")

    def activation(self, name: str) -> Part:
        return self._part({"relu": "Relu", "tanh": "Tanh"}[name])

    def sequence(self, parts: Sequence[Part]) -> Part:
        def part(x: str) -> str:
            for each in parts:
                x = each(x)
            return x

        return part

    def total(self, main: Part, shortcut: Part | None) -> Part:
        return lambda x: self.add("Add", [main(x), x if shortcut is None else shortcut(x)])
