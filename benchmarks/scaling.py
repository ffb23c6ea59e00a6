"""How the time grows with the batch, the channels and the image's side, and falls with the threads.

The points of a curve are contests of their own, in which fastconv and its peers take turns. The numbers of
threads are all raced in one contest, so that the speed-up

    time with one thread / time with n threads

compares what ran under the same conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Protocol, cast

from benchmarks import machine
from benchmarks.peers import Call, Peer
from benchmarks.problem import Array, Problem
from benchmarks.results import HOUSE, SCHEMA, Outcome, troubles
from benchmarks.runner import Budget, contest, interruptible, load_peers, problems
from benchmarks.settings import Settings
from benchmarks.shapes import ConvShape
from benchmarks.sweeps import SWEEPS, thread_counts

THREADS = "threads"
"""Name of the sweep over numbers of threads."""


@dataclass(frozen=True)
class Point:
    """A layer of a curve, and how everyone fared on it."""

    layer: str
    family: str
    operation: str
    direction: str
    sweep: str
    value: int
    flops: int
    outcomes: dict[str, Outcome]

    @property
    def shape(self) -> str:
        """The layer and what was varied."""
        return f"{self.layer}, {self.sweep} {self.value}"

    def seconds(self, name: str) -> float | None:
        """Return the time of a contestant, None where it was not timed."""
        outcome = self.outcomes.get(name)
        return None if outcome is None else outcome.seconds

    def rate(self, name: str) -> float | None:
        """Return the GFLOP/s of a contestant."""
        seconds = self.seconds(name)
        return None if seconds is None else self.flops / seconds / 1e9


@dataclass(frozen=True)
class Curve:
    """The points of one layer, direction and sweep, in the order of their values."""

    layer: str
    direction: str
    sweep: str
    points: list[Point]

    def line(self, name: str) -> list[tuple[int, float]]:
        """Return the values and seconds of a contestant, as far as it was timed."""
        return [
            (point.value, seconds) for point in self.points if (seconds := point.seconds(name)) is not None
        ]

    def speedup(self, name: str, threads: int) -> float | None:
        """Return how many times as fast a contestant is with `threads` threads as with one."""
        seconds = dict(self.line(name))
        return seconds[1] / seconds[threads] if {1, threads} <= seconds.keys() else None

    def straight(self) -> list[tuple[int, float]]:
        """Return the values and seconds of a fastconv that always computes as fast as at its best.

        With more threads that is the time of one thread shared among them.
        """
        line = self.line(HOUSE)
        if self.sweep == THREADS:
            alone = dict(line).get(1)
            return [] if alone is None else [(value, alone / value) for value, _ in line]
        best = max((rate for point in self.points if (rate := point.rate(HOUSE)) is not None), default=None)
        return [] if best is None else [(point.value, point.flops / best / 1e9) for point in self.points]


@dataclass
class ScalingReport:
    """A whole run."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    peers: list[str]
    absent: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    def troubles(self) -> list[str]:
        """Return a line for every result that was wrong and every call that failed."""
        return troubles(self.points)

    def curves(self) -> list[Curve]:
        """Return the curves, those of a sweep together."""

        def key(point: Point) -> tuple[str, str, str]:
            return point.sweep, point.layer, point.direction

        names = [THREADS, *(sweep.name for sweep in SWEEPS)]
        ordered = sorted(self.points, key=lambda point: names.index(point.sweep))
        return [
            Curve(layer, direction, sweep, list(points))
            for (sweep, layer, direction), points in groupby(ordered, key)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values, derived figures included."""
        contestants = [HOUSE, *self.peers]
        points = [
            asdict(point) | {"rates": {name: point.rate(name) for name in contestants}}
            for point in self.points
        ]
        speedups = [
            {
                "layer": curve.layer,
                "direction": curve.direction,
                "threads": point.value,
                "speedups": {name: curve.speedup(name, point.value) for name in contestants},
            }
            for curve in self.curves()
            if curve.sweep == THREADS
            for point in curve.points
        ]
        return asdict(self) | {"schema": SCHEMA, "points": points, "speedups": speedups}


class ThreadedPeer(Peer, Protocol):
    """A peer whose number of threads may change between calls."""

    def set_threads(self, count: int) -> None:
        """Set the number of threads for the calls that follow."""


class AtThreads:
    """A peer as a contestant with a number of threads of its own; `name` tells both.

    `now` is shared by all numbers of one library: the threads that it was last set to. They are set within
    the first call of a sample, and not again in those that follow.
    """

    def __init__(self, peer: ThreadedPeer, count: int, now: dict[str, int]) -> None:
        self.name, self.version, self.arithmetic = at_threads(peer.name, count), peer.version, peer.arithmetic
        self._peer, self._count, self._now = peer, count, now

    def calls(self, problem: Problem) -> dict[str, Call]:
        """Return the peer's calls with the threads set before."""
        return {variant: self._with_threads(call) for variant, call in self._peer.calls(problem).items()}

    def to_numpy(self, result: Any) -> Array:
        """Return a call's result as an array."""
        return self._peer.to_numpy(result)

    def _with_threads(self, call: Call) -> Call:
        peer, count, now = self._peer, self._count, self._now

        def threaded() -> Any:
            if now.get(peer.name) != count:
                peer.set_threads(count)
                now[peer.name] = count
            return call()

        return threaded


def at_threads(name: str, count: int) -> str:
    """Return the name of a contestant with so many threads."""
    return f"{name} with {count} threads"


@dataclass(frozen=True)
class Task:
    """A contest: a layer, made by a value of a sweep, in a direction; of the threads it is all values."""

    layer: ConvShape
    direction: str
    sweep: str
    value: int
    varied: ConvShape


def plan(layers: Sequence[ConvShape], directions: Sequence[str], *, quick: bool = False) -> list[Task]:
    """Return the contests of a run."""
    return [
        task
        for layer in layers
        for direction in directions
        for task in [
            Task(layer, direction, THREADS, 0, layer),
            *(
                Task(layer, direction, sweep.name, value, varied)
                for sweep in SWEEPS
                for value, varied in sweep.layers(layer, direction, quick=quick)
            ),
        ]
    ]


def run(
    planned: Sequence[Task],
    peer_names: Sequence[str],
    settings: Settings,
    *,
    seconds_per_row: float,
    deadline: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> ScalingReport:
    """Run what `plan` returned; the other parameters are those of `benchmarks.runner.run`.

    The numbers of threads are 1 to that of `settings`; everything else runs with all of them.
    """
    peers, absent = load_peers(peer_names, settings)
    report = ScalingReport(
        machine=machine.describe(settings, {peer.name: peer.version for peer in peers}),
        settings=asdict(settings),
        peers=[peer.name for peer in peers if peer.name != HOUSE],
        absent=absent,
    )
    counts = thread_counts(settings.threads)
    rows = [len(counts) if task.sweep == THREADS else 1 for task in planned]
    budget = Budget(seconds_per_row, sum(rows), deadline)
    drawn = problems(((task.varied, task.direction) for task in planned), settings, progress)
    with interruptible(report.absent):
        for task, count, problem in zip(planned, rows, drawn, strict=True):
            seconds = budget.next_row(count)
            if task.sweep == THREADS:
                report.points += _thread_points(task, problem, peers, counts, seconds)
            else:
                report.points.append(_point(task, task.value, contest(problem, peers, seconds)))
    return report


def _thread_points(
    task: Task, problem: Problem, peers: Sequence[Peer], counts: Sequence[int], seconds: float
) -> list[Point]:
    """Race everyone with every number of threads, and set the last number, that of the run, again."""
    threaded, now = cast("Sequence[ThreadedPeer]", peers), dict[str, int]()
    contestants = [AtThreads(peer, count, now) for count in counts for peer in threaded]
    try:
        outcomes = contest(problem, contestants, seconds)
    finally:
        for peer in threaded:
            peer.set_threads(counts[-1])
    return [
        _point(task, count, {peer.name: outcomes[at_threads(peer.name, count)] for peer in peers})
        for count in counts
    ]


def _point(task: Task, value: int, outcomes: dict[str, Outcome]) -> Point:
    layer = task.layer
    return Point(
        layer=layer.name,
        family=layer.family,
        operation=layer.operation,
        direction=task.direction,
        sweep=task.sweep,
        value=value,
        flops=task.varied.flops,
        outcomes=outcomes,
    )
