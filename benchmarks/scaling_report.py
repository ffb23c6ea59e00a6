"""How the time scales, as text and as line charts: a PNG file per sweep and direction, a panel per layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.plots import entitle, plain_numbers, save
from benchmarks.report import closing, heading, subheading, table
from benchmarks.results import HOUSE, geometric_mean
from benchmarks.scaling import THREADS, Curve, Point, ScalingReport

_COLUMNS = 3
"""Panels beside each other."""


def render(report: ScalingReport, *, markdown: bool = False) -> str:
    """Return the whole report: a table per sweep, the speed-ups of threads, and what went wrong."""
    parts = [heading(report.machine, report.settings)]
    curves = report.curves()
    for sweep in dict.fromkeys(curve.sweep for curve in curves):
        headers = ["layer", "direction", sweep, "ms", "GFLOP/s", *(f"× {peer}" for peer in report.peers)]
        if sweep == THREADS:
            headers += [f"speed-up of {name}" for name in [HOUSE, *report.peers]]
        cells = [
            _cells(curve, point, report.peers)
            for curve in curves
            if curve.sweep == sweep
            for point in curve.points
        ]
        parts += [
            subheading(f"Over the {sweep}" if sweep != "side" else "Over the image's side", markdown),
            table(headers, cells, markdown=markdown, text_columns=2),
        ]
    if cells := _speedups(curves, [HOUSE, *report.peers]):
        parts += [
            subheading("Speed-up of threads: geometric mean over the layers, and the worst", markdown),
            table(["", "threads", "mean", "worst", "at"], cells, markdown=markdown),
        ]
    if report.peers:
        parts.append("× peer: the peer's time over fastconv's; above 1, fastconv is the faster one.")
    return "\n\n".join([*parts, *closing(report.absent, report.troubles())]) + "\n"


def _cells(curve: Curve, point: Point, peers: Sequence[str]) -> list[str]:
    seconds, rate = point.seconds(HOUSE), point.rate(HOUSE)
    cells = [
        point.layer,
        point.direction,
        str(point.value),
        _figure(None if seconds is None else 1e3 * seconds, 3),
        _figure(rate, 1),
        *(_figure(_ratio(seconds, point.seconds(peer)), 2) for peer in peers),
    ]
    if point.sweep == THREADS:
        cells += [_figure(curve.speedup(name, point.value), 2) for name in [HOUSE, *peers]]
    return cells


def _ratio(seconds: float | None, of_peer: float | None) -> float | None:
    return None if seconds is None or of_peer is None else of_peer / seconds


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _speedups(curves: Sequence[Curve], names: Sequence[str]) -> list[list[str]]:
    """Return a row per contestant and number of threads above 1."""
    threaded = [curve for curve in curves if curve.sweep == THREADS]
    rows = []
    for name in names:
        for count in sorted({point.value for curve in threaded for point in curve.points} - {1}):
            found = [
                (speedup, f"{curve.layer} {curve.direction}")
                for curve in threaded
                if (speedup := curve.speedup(name, count)) is not None
            ]
            if found:
                worst, at = min(found)
                mean = geometric_mean(speedup for speedup, _ in found)
                rows.append([name, f"1 -> {count}", f"{mean:.2f}", f"{worst:.2f}", at])
    return rows


def draw(report: ScalingReport, folder: Path) -> list[Path]:
    """Draw a chart per sweep and direction into `folder`; ImportError without matplotlib."""
    from matplotlib.figure import Figure

    charts: dict[tuple[str, str], list[Curve]] = {}
    for curve in report.curves():
        if len(curve.line(HOUSE)) > 1:
            charts.setdefault((curve.sweep, curve.direction), []).append(curve)
    drawn = []
    for (sweep, direction), curves in charts.items():
        lines = -(-len(curves) // _COLUMNS)
        columns = min(_COLUMNS, len(curves))
        figure = Figure(figsize=(max(6.0, 4.0 * columns), 1.2 + 3 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).flat
        for axes, curve in zip(panels, curves, strict=False):
            _panel(axes, curve, [HOUSE, *report.peers])
        for axes in list(panels)[len(curves) :]:
            axes.remove()
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        entitle(figure, f"{direction}: time over the {sweep}", report.machine, report.settings)
        drawn.append(save(figure, folder / f"scaling-{sweep}-{direction}.png"))
    return drawn


def _panel(axes: Any, curve: Curve, names: Sequence[str]) -> None:
    """Draw the curves of a layer on logarithmic axes, where what is proportional is a straight line."""
    for place, name in enumerate(names):
        if line := curve.line(name):
            values, seconds = zip(*line, strict=True)
            milliseconds = [1e3 * value for value in seconds]
            axes.plot(values, milliseconds, marker="o", markersize=3, color=f"C{place}", label=name)
    if straight := curve.straight():
        values, seconds = zip(*straight, strict=True)
        label = "one thread's time shared" if curve.sweep == THREADS else "fastconv at its best rate"
        axes.plot(values, [1e3 * value for value in seconds], "--", color="grey", linewidth=1, label=label)
    axes.set(xscale="log", yscale="log", title=curve.layer, xlabel=curve.sweep, ylabel="ms")
    axes.title.set_fontsize("small")
    plain_numbers(axes.yaxis)
    axes.set_xticks([point.value for point in curve.points], [str(point.value) for point in curve.points])
    axes.set_xticks([], minor=True)
    axes.tick_params(labelsize="x-small")
    axes.tick_params(axis="x", rotation=90)
    axes.grid(alpha=0.3)
