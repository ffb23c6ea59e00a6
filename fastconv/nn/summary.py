"""What a network is made of: a table of layers, output shapes, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.nn.arguments import read_int
from fastconv.nn.watching import watched

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
    try:
        sizes = tuple(input_shape)
    except TypeError:
        raise TypeError(f"summary: input_shape must be a sequence of integers, got {input_shape!r}") from None
    shape = tuple(read_int("summary", "input_shape", size, None) for size in sizes)
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

    def record(layer: Layer, name: str, x: Any, y: Any) -> None:
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

    with watched(model, record):
        model.forward(np.empty((0, *sample_shape), dtype))
    return rows
