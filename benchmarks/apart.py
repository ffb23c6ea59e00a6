"""One process for each peer, in which fastconv races it alone.

Libraries in one process disturb each other: each brings threads of its own, and those of one that spin or
sleep in the wrong place cost another one up to several times its time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import child
from benchmarks.results import HOUSE, Outcome, Report, Row
from benchmarks.runner import interruptible

LEAST_SECONDS = 1.0
"""What a run is asked to be over within, at least, even where the time is up."""


def run(peers: Sequence[str], options: Sequence[str], within: float | None) -> Report:
    """Run the benchmark once against each peer, and join the reports.

    Parameters
    ----------
    peers : sequence of str
        At least one.
    options : sequence of str
        The command line of every run, without ``--peers``, ``--out`` and ``--within``.
    within : float, optional
        Seconds for all runs together.

    Raises
    ------
    SystemExit
        No run left results.

    """
    reports: list[Report] = []
    failed: list[str] = []
    installed = [peer for peer in peers if find_spec(peer.partition("-")[0])] or ["none"]
    absent = {peer: "not installed" for peer in peers if peer not in installed}
    deadline = time.perf_counter() + (within or 0)
    with interruptible(absent), child.terminable(), TemporaryDirectory() as folder:
        for place, peer in enumerate(installed):
            command = [*options, f"--peers={peer}"]
            if within is not None:  # a run that takes longer than its share leaves less to those that follow
                share = (deadline - time.perf_counter()) / (len(installed) - place)
                command += ["--within", str(max(LEAST_SECONDS, share))]
            child.run(peer, command, Path(folder) / peer, {}, take=reports.append, fail=failed.append)
    if not reports:
        raise SystemExit("\n".join([*failed, *absent.values()]))
    for report in reports:
        absent = report.absent | absent
    return replace(join(reports), absent=absent, failed=failed)


def join(reports: Sequence[Report]) -> Report:
    """Return the first of at least one report, with the peers of the others added to its rows.

    Each peer's ratio stays that against fastconv's time in its own report.
    """
    first, *others = reports
    rows = {(row.shape, row.direction): row for row in first.rows}
    for report in others:
        for row in report.rows:
            key = row.shape, row.direction
            if key in rows:
                rows[key] = replace(rows[key], outcomes={**rows[key].outcomes, **_against_own(row)})
    versions = {name: version for report in reports for name, version in report.machine["versions"].items()}
    return replace(
        first,
        machine={**first.machine, "versions": versions},
        peers=[peer for report in reports for peer in report.peers],
        rows=list(rows.values()),
    )


def _against_own(row: Row) -> dict[str, Outcome]:
    """Return the outcomes of the peers, with the time of fastconv beside them."""
    return {
        name: replace(outcome, against=row.seconds) for name, outcome in row.outcomes.items() if name != HOUSE
    }
