"""A problem as a call of fastconv's public API.

The library is handed in: `fastconv` itself, or `fastconv.reference`, which has the same functions and the
same ``grad`` beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.problem import Problem
from benchmarks.shapes import ConvShape, PoolShape

_NEEDS = {"dx": (True, False, False), "dw": (False, True, False)}


def public_call(library: Any, problem: Problem, **more: Any) -> Callable[[], Any]:
    """Return a function of no arguments that runs `problem`; what a gradient needs is made here.

    Further keywords, such as ``algorithm`` or ``data_format``, are handed on; the arrays are laid out as they
    say.
    """
    if isinstance(problem.shape, PoolShape):
        return _pool_call(library, problem, problem.shape, more)
    assert isinstance(problem.shape, ConvShape)
    return _conv_call(library, problem, problem.shape, more)


def explanation(library: Any, shape: ConvShape, direction: str, **more: Any) -> Any:
    """Return the library's ``explain`` of one direction; ValueError where the call can't be served."""
    keywords = _conv_keywords(shape) | more
    if direction == "forward":
        return library.explain(_operation(shape), shape.input, shape.weight, **keywords)
    name = f"grad.{_operation(shape)}"
    return library.explain(name, shape.input, shape.weight, needs=_NEEDS[direction], **keywords)


def _operation(shape: ConvShape) -> str:
    return f"{shape.operation}{shape.rank}d"


def _conv_keywords(shape: ConvShape) -> dict[str, Any]:
    keywords: dict[str, Any] = {
        "stride": shape.stride,
        "padding": shape.padding,
        "dilation": shape.dilation,
        "groups": shape.groups,
    }
    if shape.transposed:
        keywords["output_padding"] = shape.output_padding
    return keywords


def _conv_call(library: Any, problem: Problem, shape: ConvShape, more: dict[str, Any]) -> Callable[[], Any]:
    operation, keywords = _operation(shape), _conv_keywords(shape) | more
    x, w, dy = problem.x, problem.w, problem.dy
    if problem.direction == "forward":
        return partial(getattr(library, operation), x, w, **keywords)
    gradient = getattr(library.grad, operation)
    needs = _NEEDS[problem.direction]
    place = needs.index(True)
    return lambda: gradient(dy, x, w, needs=needs, **keywords)[place]


def _pool_call(library: Any, problem: Problem, shape: PoolShape, more: dict[str, Any]) -> Callable[[], Any]:
    x, dy, forward = problem.x, problem.dy, problem.direction == "forward"
    input_shape = tuple(x.shape)
    if shape.kind == "global_avg":
        if forward:
            return partial(library.global_avg_pool, x, **more)
        return partial(library.grad.global_avg_pool, dy, input_shape, **more)

    operation = f"{shape.kind}_pool{shape.rank}d"
    function, gradient = getattr(library, operation), getattr(library.grad, operation)
    arguments: tuple[Any, ...] = (shape.norm, shape.window) if shape.kind == "lp" else (shape.window,)
    keywords = dict(more)
    if not shape.kind.startswith("adaptive"):
        keywords |= {"stride": shape.stride, "padding": shape.padding, "ceil_mode": shape.ceil_mode}
    if forward:
        return partial(function, x, *arguments, **keywords)
    if shape.kind in ("max", "adaptive_max"):
        _, indices = function(x, *arguments, return_indices=True, **keywords)
        return partial(gradient, dy, indices, input_shape, **more)
    if shape.kind == "lp":
        return partial(gradient, dy, x, function(x, *arguments, **keywords), *arguments, **keywords)
    if shape.kind == "adaptive_avg":
        return partial(gradient, dy, input_shape, **more)
    return partial(gradient, dy, input_shape, *arguments, **keywords)
