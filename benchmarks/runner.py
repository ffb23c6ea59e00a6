"""The run itself: for every shape and direction check everyone's result, then race those that were right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks import agreement, machine, roof, timing
from benchmarks.agreement import Expected
from benchmarks.peers import Peer, Unsupported, load
from benchmarks.problem import Problem
from benchmarks.results import DISAGREES, FAILED, HOUSE, TIMED, UNSUPPORTED, Outcome, Report, Row
from benchmarks.settings import Settings
from benchmarks.shapes import Shape
from benchmarks.timing import HOST, Clock, Contestant

RACING_SHARE = 0.5
"""What of a hurried row's time is left for the race, after the checks and JAX's compiler."""


@dataclass
class Budget:
    """Seconds to spend on timing a row: `per_row`, or less where the whole run must end by `deadline`."""

    per_row: float
    rows_left: int
    deadline: float | None = None

    def next_row(self, rows: int = 1) -> float:
        """Return the seconds for the row that comes next, or for several that are raced as one."""
        left, self.rows_left = self.rows_left, self.rows_left - rows
        seconds = self.per_row * rows
        if self.deadline is None:
            return seconds
        return max(0.0, min(seconds, RACING_SHARE * (self.deadline - time.perf_counter()) * rows / left))


def load_peers(
    names: Iterable[str], settings: Settings, load: Callable[[str, Settings], Any] = load
) -> tuple[list[Any], dict[str, str]]:
    """Return fastconv and the installed ones of the named peers, and why the others are absent."""
    peers, absent = [load(HOUSE, settings)], {}
    for name in names:
        try:
            peers.append(load(name, settings))
        except ImportError as error:
            absent[name] = f"not installed ({error})"
    return peers, absent


def prepare(
    peer: Peer, problem: Problem, expected: Expected, judge: Any = agreement, clock: Clock = HOST
) -> tuple[Outcome, Contestant | None]:
    """Run `peer` in each of its ways, compare the results, and return the contestant if all are right."""
    tolerance = judge.tolerance(peer.arithmetic, problem)
    worst = 0.0
    try:
        calls = peer.calls(problem)
        for variant, call in calls.items():
            error = expected.error_of(peer.to_numpy(call()))
            worst = max(worst, error)
            if error > tolerance:
                note = f"error {error:.1e} is beyond {tolerance:.0e}"
                return Outcome(DISAGREES, note, variant, error, tolerance), None
        variant, contestant = timing.fastest(calls, peer.name, clock)
    except Unsupported as reason:
        return Outcome(UNSUPPORTED, str(reason)), None
    except NotImplementedError as reason:  # a framework without a kernel for this dtype
        return Outcome(FAILED if peer.name == HOUSE else UNSUPPORTED, str(reason)), None
    except Exception as reason:  # one broken call must not end the run
        return Outcome(FAILED, f"{type(reason).__name__}: {reason}"), None
    return Outcome(TIMED, "", variant, worst, tolerance), contestant


def contest(
    problem: Problem, peers: Sequence[Peer], budget: float, judge: Any = agreement, clock: Clock = HOST
) -> dict[str, Outcome]:
    """Check everyone's result, race those that were right, and return how each fared.

    The `judge` knows the right result and the tolerance, as the functions of `benchmarks.agreement` do.
    """
    expected = judge.expected(problem)
    outcomes: dict[str, Outcome] = {}
    contestants: list[Contestant] = []
    for peer in peers:
        outcomes[peer.name], contestant = prepare(peer, problem, expected, judge, clock)
        if contestant is not None:
            contestants.append(contestant)
    timing.race(contestants, budget)
    for contestant in contestants:
        outcomes[contestant.name] = replace(
            outcomes[contestant.name],
            seconds=contestant.median,
            samples=len(contestant.samples),
            repeats=contestant.repeats,
        )
    return outcomes


def run_row(
    problem: Problem, peers: Sequence[Peer], limits: roof.Roof, budget: float, clock: Clock = HOST
) -> Row:
    """Check and race one shape in one direction."""
    outcomes = contest(problem, peers, budget, clock=clock)
    shape, itemsize = problem.shape, problem.x.dtype.itemsize
    return Row(
        shape=shape.name,
        family=shape.family,
        operation=shape.operation,
        direction=problem.direction,
        flops=shape.flops,
        traffic_bytes=shape.elements_moved * itemsize,
        roof_seconds=limits.seconds(shape, itemsize),
        outcomes=outcomes,
    )


def tasks(shapes: Iterable[Shape], directions: Sequence[str]) -> list[tuple[Shape, str]]:
    """Return every shape with each of the directions that it has."""
    return [(shape, name) for shape in shapes for name in shape.directions if name in directions]


def problems(
    chosen: Iterable[tuple[Shape, str]], settings: Settings, progress: Callable[[str], None]
) -> Iterator[Problem]:
    """Yield the problem of each task and tell `progress`; the directions of a shape share their arrays."""
    drawn: Problem | None = None
    for shape, direction in chosen:
        progress(f"{shape.name} {direction}")
        if drawn is None or drawn.shape is not shape:
            drawn = Problem.draw(shape, settings)
        yield drawn.towards(direction)


@contextmanager
def interruptible(absent: dict[str, str]) -> Iterator[None]:
    """Let Ctrl-C end the block early, and note that in a report's `absent`."""
    try:
        yield
    except KeyboardInterrupt:
        absent["the rest"] = "interrupted"


def new_report(
    peers: Sequence[Peer], absent: dict[str, str], settings: Settings, limits: roof.Roof
) -> Report:
    """Return a report that has no rows yet."""
    return Report(
        machine=machine.describe(settings, {peer.name: peer.version for peer in peers}),
        settings=asdict(settings),
        roof=asdict(limits),
        peers=[peer.name for peer in peers if peer.name != HOUSE],
        absent=absent,
    )


def clock_of(settings: Settings) -> Clock:
    """Return the clock that goes with the device."""
    if settings.device == "cpu":
        return HOST
    from benchmarks import cuda

    return cuda.clock()


def run(
    shapes: Sequence[Shape],
    directions: Sequence[str],
    peer_names: Sequence[str],
    settings: Settings,
    *,
    seconds_per_row: float,
    deadline: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Report:
    """Run everything and return the report; Ctrl-C ends the run early with the rows that are done.

    Parameters
    ----------
    shapes, directions, peer_names : what to run, and against whom
    settings : Settings
    seconds_per_row : float
        Seconds of timing for each shape and direction.
    deadline : float, optional
        Reading of `time.perf_counter` by which the run should be over: rows get less time then.
    progress : callable
        Told what is about to run.

    """
    peers, absent = load_peers(peer_names, settings)
    limits = roof.measure(settings, seconds=min(0.5, max(0.02, seconds_per_row)))
    report = new_report(peers, absent, settings, limits)
    clock = clock_of(settings)
    chosen = tasks(shapes, directions)
    budget = Budget(seconds_per_row, len(chosen), deadline)
    with interruptible(report.absent):
        for problem in problems(chosen, settings, progress):
            report.rows.append(run_row(problem, peers, limits, budget.next_row(), clock))
    return report
