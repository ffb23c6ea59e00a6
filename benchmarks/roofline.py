"""The roofline of an ordinary run: every convolution's rate over its arithmetic intensity, below the roofs.

    intensity = FLOPs / bytes moved        roof = min(FMA rate, intensity * copy bandwidth)

(Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", 2009.) The bytes are those of `benchmarks.roof`: every array once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.plots import entitle, plain_numbers, save
from benchmarks.results import Report, Row

_NAMED = 8
"""So many points, those with the least share of the roof, are named."""


def intensity(row: Row) -> float:
    """Return FLOP per byte moved."""
    return row.flops / row.traffic_bytes


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw ``roofline.png`` into `folder` if convolutions were timed; ImportError without matplotlib."""
    from matplotlib.figure import Figure

    rows = [row for row in report.rows if row.kind == "convolutions" and row.rate is not None]
    if not rows:
        return []
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log")
    for direction in dict.fromkeys(row.direction for row in rows):
        chosen = [row for row in rows if row.direction == direction]
        axes.scatter(
            [intensity(row) for row in chosen],
            [row.rate or 0.0 for row in chosen],
            s=18,
            alpha=0.8,
            label=direction,
        )
    _roofs(axes, report, rows)
    _number(axes, sorted(rows, key=lambda row: row.roof_share or 0.0)[:_NAMED])
    axes.set_xlabel("FLOP per byte moved")
    axes.set_ylabel("GFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        plain_numbers(axis)
    axes.grid(which="both", alpha=0.2)
    figure.legend(loc="outside lower center", ncols=4)
    entitle(figure, "roofline of the convolutions", report.machine, report.settings)
    return [save(figure, folder / "roofline.png")]


def _roofs(axes: Any, report: Report, rows: list[Row]) -> None:
    """Draw the measured roofs: the slope of the bandwidth up to the ridge, the FMA rate from there on."""
    flops, bandwidth = report.roof["flops_per_second"] / 1e9, report.roof["bytes_per_second"] / 1e9
    ridge, found = flops / bandwidth, [intensity(row) for row in rows]
    left, right = min(*found, ridge) / 1.5, max(*found, ridge) * 1.5
    label = f"roofs: {bandwidth:.1f} GB/s copied, {flops:.0f} GFLOP/s of FMA"
    axes.set_ylim(top=8 * flops)  # room for the names
    axes.plot([left, ridge, right], [left * bandwidth, flops, flops], color="black", linewidth=1, label=label)


def _number(axes: Any, rows: list[Row]) -> None:
    """Number the points of `rows`, and say in the corner above the roof which they are."""
    lines = ["furthest below its roof:"]
    for number, row in enumerate(rows, start=1):
        axes.annotate(
            str(number),
            (intensity(row), row.rate),
            xytext=(4, 2),
            textcoords="offset points",
            fontsize="x-small",
        )
        lines.append(f"{number}  {row.shape} {row.direction}, {100 * (row.roof_share or 0.0):.0f} %")
    axes.text(0.01, 0.99, "\n".join(lines), transform=axes.transAxes, va="top", fontsize="x-small")
