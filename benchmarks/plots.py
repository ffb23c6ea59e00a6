"""Bar charts of the ratios, as PNG files: one bar per shape and peer, one file per direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import title
from benchmarks.results import Report

_BAR_HEIGHT = 0.2
"""Inches."""

_GAP = 0.7
"""Between the bars of one shape and those of the next, in bars."""

Bar = tuple[float, str]
"""A ratio, and the text at the end of its bar."""


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw a chart per direction into `folder` and return their paths; ImportError without matplotlib."""
    drawn = []
    for direction in dict.fromkeys(row.direction for row in report.rows):
        rows = [row for row in report.rows if row.direction == direction]
        series = {peer: [_bar(row.ratio(peer)) for row in rows] for peer in report.peers}
        series = {peer: bars for peer, bars in series.items() if any(bars)}
        if not series:
            continue
        figure = bar_chart(
            [row.shape for row in rows],
            series,
            "time of the peer / time of fastconv (logarithmic; right of 1: fastconv is faster)",
        )
        entitle(
            figure, f"{direction}: how many times as long each peer takes", report.machine, report.settings
        )
        drawn.append(save(figure, folder / f"ratios-{direction}.png"))
    return drawn


def _bar(ratio: float | None) -> Bar | None:
    return None if ratio is None else (ratio, f" {ratio:.2f} ")


def bar_chart(labels: Sequence[str], series: Mapping[str, Sequence[Bar | None]], axis: str) -> Any:
    """Return a figure of ratios: on a logarithmic axis, a bar from 1 for every label and series."""
    from matplotlib.figure import Figure

    group = len(series) + _GAP
    figure = Figure(figsize=(9, 1.8 + _BAR_HEIGHT * len(labels) * group), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, bars) in enumerate(series.items()):
        found = [(at * group + place, *bar) for at, bar in enumerate(bars) if bar]
        drawn = axes.barh(
            [at for at, _, _ in found],
            [ratio - 1 for _, ratio, _ in found],
            left=1,
            height=0.9,
            label=name,
            color=f"C{place}",
        )
        axes.bar_label(drawn, [text for _, _, text in found], fontsize="x-small")
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.01)
    axes.axvline(1, color="black", linewidth=1)
    plain_numbers(axes.xaxis)
    axes.set_xlabel(axis)
    axes.set_yticks([at * group + (len(series) - 1) / 2 for at in range(len(labels))], labels)
    axes.tick_params(axis="y", labelsize="small")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=len(series))
    return figure


def plain_numbers(axis: Any) -> None:
    """Put ticks such as 0.5, 20, 1000 on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def entitle(figure: Any, text: str, machine: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write over the figure what it shows, of which machine and with which settings."""
    figure.suptitle(
        f"fastconv, {text}\n{title(machine)}, {settings['threads']} threads, "
        f"{settings['dtype']}, precision {settings['precision']}",
        fontsize="medium",
    )


def save(figure: Any, path: Path) -> Path:
    """Write the figure as a PNG file, and return its path."""
    figure.savefig(path, dpi=100)
    return path
