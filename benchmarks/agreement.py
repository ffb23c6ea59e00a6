"""Is the result right? Every peer's is compared with the float64 reference before it is timed.

The measure is the largest error over the largest value, ``max |got - want| / max |want|``: one wrong
element in a million shows as clearly as all of them. ``want`` is `fastconv.reference` in float64 on the
same (rounded) inputs. An image's result does not depend on its batch, so the forward result and the input
gradient are compared on the first and the last image; the weight gradient sums over all images and is
compared whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmarks.problem import Array, Problem
from benchmarks.public_calls import public_call
from fastconv import reference

_TOLERANCE = {
    ("float64", "highest"): 1e-12,
    ("float32", "highest"): 1e-5,
    ("float32", "high"): 5e-5,
    ("float32", "tf32"): 5e-3,
    ("float32", "medium"): 2e-2,
    ("float16", "highest"): 2e-3,
    ("bfloat16", "highest"): 2e-2,
}


_FREE_TERMS = 4096
"""So many products in a sum cost no further tolerance; beyond, rounding errors add up like a random walk."""


def tolerance(arithmetic: tuple[str, str], problem: Problem) -> float:
    """Return the largest error that still counts as agreement.

    Parameters
    ----------
    arithmetic : (str, str)
        Dtype and precision word, or "tf32" where factors are rounded to 11 bits; it changes float32 alone.
    problem : Problem
        Longer sums may err more, with the square root of their length.

    """
    dtype, precision = arithmetic
    basis = _TOLERANCE[dtype, precision if dtype == "float32" else "highest"]
    results = math.prod(_result_shape(problem))
    terms = problem.shape.flops / 2 / max(1, results)
    return basis * max(1.0, math.sqrt(terms / _FREE_TERMS))


def _result_shape(problem: Problem) -> tuple[int, ...]:
    if problem.direction == "dw" and problem.w is not None:
        return problem.w.shape
    return problem.shape.output if problem.direction == "forward" else problem.shape.input


@dataclass(frozen=True)
class Expected:
    """The right result of a problem, for some of its images or (``images`` is None) as a whole."""

    values: Array
    images: list[int] | None

    def error_of(self, result: Array) -> float:
        """Return ``max |got - want| / max |want|``; infinite where shapes differ or a value is not finite."""
        got = result if self.images is None else result[self.images]
        if got.shape != self.values.shape:
            return math.inf
        error = float(np.max(np.abs(got.astype(np.float64) - self.values), initial=0.0))
        scale = float(np.max(np.abs(self.values), initial=0.0))
        return error / scale if math.isfinite(error) and scale else (0.0 if error == 0 else math.inf)


def expected(problem: Problem) -> Expected:
    """Return the right result of `problem`."""
    batch = problem.shape.input[0]
    everything = problem.direction == "dw"
    images = list(range(batch)) if everything else sorted({0, batch - 1})
    values = public_call(reference, problem.float64(images))()
    return Expected(values, None if everything else images)
