"""What every layer of a network takes and gives during a call, seen from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv.nn.module import Layer


@contextmanager
def watched(model: Layer, record: Callable[[Layer, str, Any, Any], None]) -> Iterator[None]:
    """Put every layer, for a while, in evaluation mode, and call `record` after each of its passes.

    A layer's ``forward`` may call its ``vjp``, or the other way round: the inner of the two isn't recorded.
    """
    layers: dict[int, tuple[str, Layer, bool]] = {}
    for name, layer in model.named_layers():
        layers.setdefault(id(layer), (name, layer, layer.training))
    busy: set[int] = set()

    def watching(layer: Layer, name: str, method: str) -> Callable[..., Any]:
        original = getattr(layer, method)

        def call(x: Any, *others: Any) -> Any:
            if id(layer) in busy:
                return original(x, *others)
            busy.add(id(layer))
            try:
                result = original(x, *others)
            finally:
                busy.discard(id(layer))
            record(layer, name, x, result if method == "forward" else result[0])
            return result

        return call

    try:
        for name, layer, _ in layers.values():
            layer.training = False
            vars(layer).update({method: watching(layer, name, method) for method in ("forward", "vjp")})
        yield
    finally:
        for _, layer, training in layers.values():
            layer.training = training
            for method in ("forward", "vjp"):
                vars(layer).pop(method, None)
