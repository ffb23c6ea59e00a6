"""The instruction sets of one machine: the same rows once per set, each in a process of its own.

A set is named as in ``FASTCONV_ISA``, which caps fastconv; PyTorch is held to the same one by the variables
that it and its oneDNN read when they are loaded. Ratios compare the two under like caps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import fastconv as fc
from benchmarks import child
from benchmarks.results import SCHEMA, Group, Report, Row, geometric_mean, partitions, summarise
from benchmarks.runner import interruptible
from benchmarks.settings import CAPS


@dataclass(frozen=True)
class Line:
    """One instruction set over some rows: its gain over the first set, and a group of ratios per peer."""

    name: str
    isa: str
    count: int
    gain: float | None
    """Geometric mean of fastconv's time with the first set over that with this one."""
    groups: dict[str, Group]


@dataclass
class IsaReport:
    """The reports of all instruction sets that could run, in the order they were named in."""

    reports: dict[str, Report] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """The sets that did not run, and what the others left out, with the reasons."""
    failed: list[str] = field(default_factory=list)
    """A line for every run that broke."""

    @property
    def peers(self) -> list[str]:
        """Every peer that some set was compared with."""
        return list(dict.fromkeys(peer for report in self.reports.values() for peer in report.peers))

    def troubles(self) -> list[str]:
        """Return a line for every run that broke, every result that was wrong and every call that failed."""
        wrong = [f"{isa}: {line}" for isa, report in self.reports.items() for line in report.troubles()]
        return self.failed + wrong

    def lines(self) -> list[Line]:
        """Return a line per set for all convolutions and all pools, and for each of their directions."""
        found: dict[str, list[Line]] = {}
        first: list[Row] = next((report.rows for report in self.reports.values()), [])
        for isa, report in self.reports.items():
            for name, whole, rows in partitions(report.rows):
                if whole and rows:
                    groups = {peer: summarise(name, peer, rows) for peer in report.peers}
                    known = {peer: group for peer, group in groups.items() if group is not None}
                    found.setdefault(name, []).append(Line(name, isa, len(rows), gain(first, rows), known))
        return [line for lines in found.values() for line in lines]

    def as_json(self) -> dict[str, Any]:
        """Return the reports as plain values, and the lines that join them."""
        return {
            "schema": SCHEMA,
            "caps": {isa: CAPS[isa] for isa in self.reports},
            "absent": self.absent,
            "failed": self.failed,
            "reports": {isa: report.as_json() for isa, report in self.reports.items()},
            "summary": [asdict(line) for line in self.lines()],
        }


def gain(first: Iterable[Row], rows: Iterable[Row]) -> float | None:
    """Return the geometric mean of fastconv's times in `first` over those in `rows`, where both have one."""
    before = {(row.shape, row.direction): row.seconds for row in first}
    gains = [
        seconds / row.seconds
        for row in rows
        if row.seconds is not None and (seconds := before.get((row.shape, row.direction))) is not None
    ]
    return geometric_mean(gains) if gains else None


def run(names: Sequence[str], options: Sequence[str], folder: Path, within: float | None) -> IsaReport:
    """Run the benchmark once with each of the instruction sets, and join the reports.

    Parameters
    ----------
    names : sequence of str
        Keys of `CAPS`.
    options : sequence of str
        The command line of every run, without ``--out`` and ``--within``.
    folder : Path
        Every run writes its files into a folder here that is named after the set.
    within : float, optional
        Seconds for all runs together.

    """
    available = fc.config()["isas"]
    report = IsaReport()
    runnable = [name for name in names if name in available]
    for name in names:
        if name not in available:
            report.absent[name] = f"fastconv runs {', '.join(available)} on this machine"
    if within is not None:
        options = [*options, "--within", str(within / max(1, len(runnable)))]

    def take(name: str, made: Report) -> None:
        report.reports[name] = made
        report.absent |= {f"{name}: {what}": reason for what, reason in made.absent.items()}

    with interruptible(report.absent), child.terminable():
        for name in runnable:
            caps = {"FASTCONV_ISA": name, **CAPS[name]}
            place = folder.resolve() / name
            child.run(name, options, place, caps, take=partial(take, name), fail=report.failed.append)
    return report
