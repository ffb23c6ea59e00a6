"""What a network is made of: a table of layers, output shapes, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastconv.nn.module import Layer


@dataclass(frozen=True)
class SummaryRow:
    """One use of one layer: its dotted name, class, output shape (no batch axis) and counts.

    ``parameters`` is 0 where they were counted in an earlier row already.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True, repr=False)
class Summary:
    """The rows of a network in the order of use, and the totals for one sample."""

    rows: tuple[SummaryRow, ...]
    parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        cells = [("layer", "output shape", "parameters", "multiply-adds")]
        for row in self.rows:
            shape = f"({', '.join(['N', *map(str, row.output_shape)])})"
            cells.append(
                (f"{row.name} {row.kind}".lstrip(), shape, f"{row.parameters:,}", f"{row.multiply_adds:,}")
            )
        cells.append(("total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        aligned = zip(widths, "<<>>", strict=True)
        form = "  ".join(f"{{:{side}{width}}}" for width, side in aligned)
        lines = [form.format(*row) for row in cells]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    __repr__ = __str__


def summarise(model: Layer, input_shape: Sequence[int]) -> Summary:
    """Send an empty batch through `model` and write down what each layer makes of it."""
    shape = tuple(input_shape)
    if not shape or any(size < 1 for size in shape):
        raise ValueError(f"summary: input_shape must be positive sizes, got {shape}")
    dtype = next((parameter.data.dtype for parameter in model.parameters()), np.dtype(np.float32))
    try:
        rows = _trace(model, shape, dtype)
    except ValueError as error:
        try:
            rows = _trace(model, shape[1:], dtype)
        except ValueError:
            raise error from None
    return Summary(
        rows=tuple(rows),
        parameters=sum(parameter.data.size for parameter in model.parameters()),
        multiply_adds=sum(row.multiply_adds for row in rows),
    )


def _trace(model: Layer, sample_shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[SummaryRow]:
    rows: list[SummaryRow] = []
    counted: set[int] = set()

    def watched(layer: Layer, name: str) -> Callable[..., Any]:
        forward = layer.forward

        def watching_forward(x: Any, *others: Any) -> Any:
            y = forward(x, *others)
            own = {id(parameter): parameter.data.size for _, parameter in layer.own_parameters()}
            if own or not any(True for _ in layer.children()):
                result = y[0] if isinstance(y, tuple) else y
                rows.append(
                    SummaryRow(
                        name=name,
                        kind=type(layer).__name__,
                        output_shape=tuple(result.shape[1:]),
                        parameters=sum(size for key, size in own.items() if key not in counted),
                        multiply_adds=layer.multiply_adds(x.shape[1:], result.shape[1:]),
                    )
                )
                counted.update(own)
            return y

        return watching_forward

    with _replaced_forward(model, watched):
        model.forward(np.empty((0, *sample_shape), dtype))
    return rows


@contextmanager
def _replaced_forward(
    model: Layer, replacement: Callable[[Layer, str], Callable[..., Any]]
) -> Iterator[None]:
    """Give every layer, for a while, another ``forward`` and evaluation mode."""
    layers: dict[int, tuple[str, Layer]] = {}
    for name, layer in model.named_layers():
        layers.setdefault(id(layer), (name, layer))
    before = [(layer, layer.training) for _, layer in layers.values()]
    try:
        for name, layer in layers.values():
            layer.training = False
            vars(layer)["forward"] = replacement(layer, name)
        yield
    finally:
        for layer, training in before:
            layer.training = training
            vars(layer).pop("forward", None)
