"""Interleaved timing: every round samples each contestant once, and the order rotates.

Whatever drifts on a machine (clock rate, other tenants, temperature) then falls on all of them alike, and
the *ratios* of their medians hold even where the absolute times do not. A sample repeats the call until it
lasts a few milliseconds.

What a second is, a `Clock` says: that of the CPU, where a call is over when it returns, or another that
knows when a device is through with it.
"""

from __future__ import annotations

import gc
import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

SAMPLE_SECONDS = 0.005
"""A sample lasts at least about this long."""

SETTLE_SECONDS = 0.002
"""Steps of the pause before a sample, in which the worker threads of the one before stop spinning."""

MOST_SETTLE_SECONDS = 0.25
"""The pause ends here even if some thread never sleeps."""

TICK_SECONDS = 0.02
"""More than a tick of any system's scheduler."""

TASKS = Path("/proc/self/task")
"""Where Linux tells of the threads of this process."""

LONG_SECONDS = 0.25
"""A call that lasts this long is not repeated to no purpose."""

LEAST_SHARE = 0.05
"""Seconds that every contestant may spend, however small the budget."""

LEAST_ROUNDS = 3
MOST_ROUNDS = 25


def settle() -> None:
    """Wait until no other thread of this process uses a CPU any more.

    Libraries let their worker threads spin for a while after a call (PyTorch for ten milliseconds, OpenBLAS
    for a tenth of a second); whoever came next would have to share the cores with them.
    """
    latest = time.perf_counter() + MOST_SETTLE_SECONDS
    time.sleep(SETTLE_SECONDS)
    while others_run() and time.perf_counter() < latest:
        time.sleep(SETTLE_SECONDS)


def others_run() -> bool:
    """Tell whether another thread of this process runs, or waits for a CPU.

    Linux says so of each thread. Elsewhere the CPU time of the process tells, which is brought up to date no
    more often than the scheduler's clock ticks: a look takes longer than a tick.
    """
    if not TASKS.is_dir():
        before = time.process_time()
        time.sleep(TICK_SECONDS)
        return time.process_time() - before > TICK_SECONDS / 4
    here = threading.get_native_id()
    return any(_state(task) == "R" for task in TASKS.iterdir() if int(task.name) != here)


def _state(task: Path) -> str:
    try:
        line = (task / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""
    return line.rpartition(") ")[2][:1]


class Clock(Protocol):
    """Times calls, and knows how to let what ran before come to rest."""

    def settle(self) -> None:
        """Wait until nothing that ran before can disturb the next sample."""

    def seconds(self, call: Callable[[], Any], repeats: int) -> float:
        """Call so many times in a row, and return the seconds until the last one is through."""


class HostClock:
    """The CPU's clock."""

    def settle(self) -> None:
        """Wait for worker threads."""
        settle()

    def seconds(self, call: Callable[[], Any], repeats: int) -> float:
        """Return the seconds until the last call returns."""
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return time.perf_counter() - start


HOST = HostClock()


@dataclass
class Contestant:
    """A call under test, how often a sample repeats it, and its samples in seconds per call."""

    name: str
    call: Callable[[], Any]
    clock: Clock = HOST
    repeats: int = 1
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median seconds per call."""
        return statistics.median(self.samples)

    def sample(self) -> float:
        """Return the mean seconds per call over `repeats` calls, after as many that warm up short ones.

        The caches and the clock come up in these, and the scheduler parts threads that it has woken on the
        same CPU, which takes it milliseconds.
        """
        self.clock.settle()
        if self.repeats > 1:
            for _ in range(self.repeats):
                self.call()
        return self.clock.seconds(self.call, self.repeats) / self.repeats

    def calibrate(self) -> float:
        """Set `repeats` for a sample of `SAMPLE_SECONDS`, and return the seconds that a call takes.

        A short call is tried twice, and the second counts; a long one is not tried again, but is a
        sample already.
        """
        once = self.clock.seconds(self.call, 1)
        if once < LONG_SECONDS:
            once = self.clock.seconds(self.call, 1)
        else:
            self.samples.append(once)
        self.repeats = max(1, math.ceil(SAMPLE_SECONDS / max(once, 1e-7)))
        return once


def fastest(calls: dict[str, Callable[[], Any]], name: str, clock: Clock = HOST) -> tuple[str, Contestant]:
    """Return the fastest of the ways to run a problem, and its contestant called `name`, calibrated."""
    trials: dict[str, tuple[float, Contestant]] = {}
    for variant, call in calls.items():
        contestant = Contestant(name, call, clock)
        seconds = contestant.calibrate()
        if len(calls) > 1 and seconds < LONG_SECONDS:
            seconds = min(seconds, contestant.sample())
        trials[variant] = (seconds, contestant)
    variant = min(trials, key=lambda key: trials[key][0])
    return variant, trials[variant][1]


def race(contestants: Sequence[Contestant], budget: float) -> None:
    """Sample the contestants in rounds until `budget` seconds are spent.

    Everyone has one sample at least. From then on a contestant that has used up its share of the budget
    sits out, so that a slow one does not take the rounds of the others.
    """
    share = max(LEAST_SHARE, budget / max(1, len(contestants)))
    spent = {contestant.name: sum(contestant.samples) for contestant in contestants}
    start = time.perf_counter()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for round_number in range(MOST_ROUNDS):
            if round_number >= LEAST_ROUNDS and time.perf_counter() - start > budget:
                break
            for place in range(len(contestants)):
                contestant = contestants[(place + round_number) % len(contestants)]
                if contestant.samples and spent[contestant.name] > share:
                    continue
                before = time.perf_counter()
                contestant.samples.append(contestant.sample())
                spent[contestant.name] += time.perf_counter() - before
    finally:
        if collecting:
            gc.enable()
