"""Bar charts of the ratios, as PNG files: one bar per shape and peer, one file per direction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.results import Report, Row

_BAR_HEIGHT = 0.2
"""Inches."""


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw a chart per direction into `folder` and return their paths; ImportError without matplotlib."""
    from matplotlib.figure import Figure

    drawn = []
    for direction in dict.fromkeys(row.direction for row in report.rows):
        rows = [row for row in report.rows if row.direction == direction]
        peers = [peer for peer in report.peers if any(row.ratio(peer) is not None for row in rows)]
        if not peers:
            continue
        height = 1.8 + _BAR_HEIGHT * len(rows) * (len(peers) + 0.7)
        figure = Figure(figsize=(9, height), layout="constrained")
        _bars(figure.add_subplot(), rows, peers)
        machine, settings = report.machine, report.settings
        figure.suptitle(
            f"fastconv, {direction}: how many times as long each peer takes\n"
            f"{machine['cpu']}, {machine['isa']}, {settings['threads']} threads, "
            f"{settings['dtype']}, precision {settings['precision']}",
            fontsize="medium",
        )
        figure.legend(loc="outside lower center", ncols=len(peers))
        path = folder / f"ratios-{direction}.png"
        figure.savefig(path, dpi=100)
        drawn.append(path)
    return drawn


def _bars(axes: Any, rows: list[Row], peers: list[str]) -> None:
    """Draw the bars on a logarithmic axis: to the right of 1 where fastconv is faster, else to the left."""
    group = len(peers) + 0.7
    for place, peer in enumerate(peers):
        found = [(at, ratio) for at, row in enumerate(rows) if (ratio := row.ratio(peer)) is not None]
        positions = [at * group + place for at, _ in found]
        lengths = [ratio - 1 for _, ratio in found]
        bars = axes.barh(positions, lengths, left=1, height=0.9, label=peer, color=f"C{place}")
        axes.bar_label(bars, [f" {ratio:.2f} " for _, ratio in found], fontsize="x-small")
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.01)
    axes.axvline(1, color="black", linewidth=1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("time of the peer / time of fastconv (logarithmic; right of 1: fastconv is faster)")
    middles = [at * group + (len(peers) - 1) / 2 for at in range(len(rows))]
    axes.set_yticks(middles, [row.shape for row in rows])
    axes.tick_params(axis="y", labelsize="small")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
