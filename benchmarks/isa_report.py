"""The instruction sets of one machine beside each other, as text."""

from __future__ import annotations

from benchmarks.isa import IsaReport, Line
from benchmarks.report import closing, heading, subheading, table
from benchmarks.settings import CAPS


def render(report: IsaReport, *, markdown: bool = False) -> str:
    """Return the whole report: the caps, the joined table, and what was left out or went wrong."""
    parts = []
    if report.reports:
        first, made = next(iter(report.reports.items()))
        headers = ["", "isa", "rows", f"× {first}"]
        for peer in report.peers:
            headers += [f"× {peer}", "worst", "at"]
        caps = [[isa, *(f"{name}={value}" for name, value in CAPS[isa].items())] for isa in report.reports]
        parts = [
            heading({**made.machine, "isa": " and ".join(report.reports)}, made.settings),
            "\n".join(f"{line[0]}: {' '.join(line[1:])}" for line in caps),
            subheading("Geometric means, and the worst row, under like caps", markdown),
            table(
                headers,
                [_cells(line, report.peers) for line in report.lines()],
                markdown=markdown,
                text_columns=2,
            ),
            f"× {first}: fastconv's time with {first} over its time with this set. × peer: the peer's time "
            "over fastconv's, both held to the set; above 1, fastconv is the faster one.",
        ]
    return "\n\n".join([*parts, *closing(report.absent, report.troubles())]) + "\n"


def _cells(line: Line, peers: list[str]) -> list[str]:
    cells = [line.name, line.isa, str(line.count), "-" if line.gain is None else f"{line.gain:.2f}"]
    for peer in peers:
        group = line.groups.get(peer)
        cells += (
            ["-"] * 3 if group is None else [f"{group.mean:.2f}", f"{group.worst:.2f}", group.worst_shape]
        )
    return cells
