"""What the choice of ``algorithm="auto"`` costs: every route that can serve a call is checked and raced.

    loss = time of the route that auto takes / time of the fastest route - 1

Which route auto takes, and which ones can serve, is what `fastconv.explain` says. A call that one route
alone can serve leaves no choice: it is not timed, and not part of any mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import fastconv as fc
from benchmarks import machine
from benchmarks.peers.fastconv import FastconvPeer
from benchmarks.peers.interface import Call
from benchmarks.problem import Problem, numpy_dtype
from benchmarks.public_calls import explanation, public_call
from benchmarks.results import HOUSE, SCHEMA, Outcome, geometric_mean, partitions, troubles
from benchmarks.runner import Budget, contest, interruptible, problems
from benchmarks.settings import Settings
from benchmarks.shapes import ConvShape

ROUTES = ("implicit_gemm", "direct", "winograd", "tile_gemm", "fft")
"""Every route that ``algorithm=`` can name."""

NOISE = 5.0
"""Percent; routes that differ by less are alike."""


class Route(FastconvPeer):
    """One route of fastconv, forced: `name` is the algorithm's."""

    def calls(self, problem: Problem) -> dict[str, Call]:
        """Return the one call."""
        return {self.name: public_call(fc, problem, algorithm=self.name)}


@dataclass(frozen=True)
class Choice:
    """One shape in one direction: the route that auto takes, and how each that can serve fared."""

    shape: str
    family: str
    operation: str
    direction: str
    chosen: str
    serving: tuple[str, ...]
    refused: dict[str, str]
    """Why each other route can't serve."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Empty where nothing was timed."""

    def seconds(self, route: str) -> float | None:
        """Return the time of a route, None where it was not timed."""
        outcome = self.outcomes.get(route)
        return None if outcome is None else outcome.seconds

    @property
    def best(self) -> str | None:
        """The fastest of the timed routes."""
        return self._fastest(self.outcomes)

    @property
    def rival(self) -> str | None:
        """The fastest of the timed routes that auto does not take."""
        return self._fastest(route for route in self.outcomes if route != self.chosen)

    def _fastest(self, routes: Iterable[str]) -> str | None:
        timed = {route: seconds for route in routes if (seconds := self.seconds(route)) is not None}
        return min(timed, key=timed.__getitem__, default=None)

    @property
    def ratio(self) -> float | None:
        """The time of the rival over that of auto's route; None where either was not timed."""
        chosen, rival = self.seconds(self.chosen), self.rival
        other = None if rival is None else self.seconds(rival)
        return None if chosen is None or other is None else other / chosen

    @property
    def loss(self) -> float | None:
        """What auto's route takes longer than the fastest, in percent; None where it was not timed."""
        if self.seconds(self.chosen) is None:
            return None
        return 0.0 if self.ratio is None else max(0.0, 100 * (1 / self.ratio - 1))


@dataclass(frozen=True)
class Losses:
    """The losses of some choices, in percent: their geometric mean, and the worst with its shape."""

    name: str
    count: int
    missed: int
    """So many rows lose more than `NOISE`."""
    mean: float
    worst: float
    worst_shape: str


@dataclass
class RegretReport:
    """A whole run."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    without_choice: int
    """So many calls one route alone can serve."""
    absent: dict[str, str] = field(default_factory=dict)
    rows: list[Choice] = field(default_factory=list)

    def troubles(self) -> list[str]:
        """Return a line for every result that was wrong and every call that failed."""
        return troubles(self.rows)

    def summary(self) -> list[Losses]:
        """Return mean and worst loss: of everything, by direction, by family."""
        found = ((name, summarise(name, rows)) for name, _, rows in partitions(self.rows))
        return [losses for _, losses in found if losses is not None]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values, derived figures included."""
        return asdict(self) | {
            "schema": SCHEMA,
            "rows": [asdict(row) | {"best": row.best, "loss": row.loss} for row in self.rows],
            "summary": [asdict(losses) for losses in self.summary()],
        }


def summarise(name: str, rows: Sequence[Choice]) -> Losses | None:
    """Return mean and worst of the losses that `rows` have, None where they have none."""
    losses = [(loss, f"{row.shape} {row.direction}") for row in rows if (loss := row.loss) is not None]
    if not losses:
        return None
    worst, shape = max(losses)
    mean = 100 * (geometric_mean(1 + loss / 100 for loss, _ in losses) - 1)
    return Losses(name, len(losses), sum(loss > NOISE for loss, _ in losses), mean, worst, shape)


def ask(shape: ConvShape, direction: str, settings: Settings) -> Choice:
    """Return the choice that auto makes, not timed yet."""
    chosen, reasons = "", {}
    for route in ("auto", *ROUTES):
        try:
            plan = explanation(
                fc,
                shape,
                direction,
                dtype=numpy_dtype(settings.dtype),
                precision=settings.precision,
                algorithm=route,
            )
        except ValueError as reason:
            reasons[route] = str(reason)
        else:
            chosen = chosen or plan.algorithm
    serving = tuple(route for route in ROUTES if route not in reasons)
    return Choice(shape.name, shape.family, shape.operation, direction, chosen, serving, reasons)


def plan(
    shapes: Iterable[ConvShape], directions: Sequence[str], settings: Settings
) -> list[tuple[ConvShape, Choice]]:
    """Return auto's choice for every shape and direction."""
    return [
        (shape, ask(shape, direction, settings))
        for shape in shapes
        for direction in shape.directions
        if direction in directions
    ]


def contested(planned: Iterable[tuple[ConvShape, Choice]]) -> list[tuple[ConvShape, Choice]]:
    """Return those that more than one route can serve."""
    return [(shape, choice) for shape, choice in planned if len(choice.serving) > 1]


def run(
    planned: Sequence[tuple[ConvShape, Choice]],
    settings: Settings,
    *,
    seconds_per_row: float,
    deadline: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> RegretReport:
    """Race the routes of what `plan` returned; the other parameters are those of `benchmarks.runner.run`."""
    routes = {name: Route(name, settings) for name in ROUTES}
    rows = contested(planned)
    report = RegretReport(
        machine=machine.describe(settings, {HOUSE: routes[ROUTES[0]].version}),
        settings=asdict(settings),
        without_choice=len(planned) - len(rows),
    )
    budget = Budget(seconds_per_row, len(rows), deadline)
    drawn = problems(((shape, choice.direction) for shape, choice in rows), settings, progress)
    with interruptible(report.absent):
        for (_, choice), problem in zip(rows, drawn, strict=True):
            outcomes = contest(problem, [routes[name] for name in choice.serving], budget.next_row())
            report.rows.append(replace(choice, outcomes=outcomes))
    return report
