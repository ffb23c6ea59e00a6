"""The kinds of run beside the ordinary one: each makes its report, delivers it and returns the exit status.

`benchmarks.cli` calls them once the command line is read and the threads are set.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmarks.delivery import deliver
from benchmarks.progress import Progress
from benchmarks.settings import Settings
from benchmarks.shapes import ConvShape

if TYPE_CHECKING:
    from benchmarks.results import Report


def regret(
    shapes: Sequence[ConvShape],
    directions: Sequence[str],
    settings: Settings,
    options: argparse.Namespace,
    deadline: float | None,
) -> int:
    """Race fastconv's routes against each other."""
    from benchmarks import regret, regret_report

    planned = regret.plan(shapes, directions, settings)
    run = partial(regret.run, planned, settings)
    return _timed("regret", len(regret.contested(planned)), run, regret_report, options, deadline)


def scaling(
    layers: Sequence[ConvShape],
    directions: Sequence[str],
    peers: Sequence[str],
    settings: Settings,
    options: argparse.Namespace,
    deadline: float | None,
) -> int:
    """Time layers over threads, batch, channels and side."""
    from benchmarks import scaling, scaling_report

    planned = scaling.plan(layers, directions, quick=options.quick)
    run = partial(scaling.run, planned, peers, settings)
    return _timed("scaling", len(planned), run, scaling_report, options, deadline)


def isa(
    names: Sequence[str],
    directions: Sequence[str],
    peers: Sequence[str],
    settings: Settings,
    options: argparse.Namespace,
    within: float | None,
) -> int:
    """Run the benchmark once per instruction set, each in a process of its own."""
    from benchmarks import isa, isa_report

    command = [*_again(directions, settings, options), f"--peers={','.join(peers) or 'none'}"]
    report = isa.run(names, command, options.out, within)
    text = isa_report.render(report, markdown=options.markdown)
    deliver("isa", text, report.as_json(), lambda folder: [], options.out, markdown=options.markdown)
    return 1 if report.troubles() or not report.reports else 0


def apart(
    peers: Sequence[str],
    directions: Sequence[str],
    settings: Settings,
    options: argparse.Namespace,
    within: float | None,
) -> Report:
    """Run the benchmark once per peer, each in a process of its own, and return the joined report."""
    from benchmarks import apart

    return apart.run(peers, _again(directions, settings, options), within)


def _again(directions: Sequence[str], settings: Settings, options: argparse.Namespace) -> list[str]:
    """Return the command line of the same run, but for its peers, its seconds and its folder."""
    return [
        f"--directions={','.join(directions)}",
        f"--threads={settings.threads}",
        f"--precision={settings.precision}",
        f"--dtype={settings.dtype}",
        f"--budget={options.budget}",
        *([f"--only={options.only}"] if options.only else []),
        *(["--quick"] if options.quick else []),
        *(["--networks"] if options.networks else []),
    ]


def _timed(
    name: str,
    rows: int,
    run: Callable[..., Any],
    words: ModuleType,
    options: argparse.Namespace,
    deadline: float | None,
) -> int:
    """Run `rows` rows within the time there is, and deliver the report as the module `words` tells it."""
    with Progress(rows) as progress:
        report = run(seconds_per_row=options.budget, deadline=deadline, progress=progress.begin)
    text = words.render(report, markdown=options.markdown)
    charts = partial(words.draw, report)
    deliver(name, text, report.as_json(), charts, options.out, markdown=options.markdown)
    return 1 if report.troubles() else 0
