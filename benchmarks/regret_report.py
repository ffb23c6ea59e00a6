"""What the choice of routes costs, as text and as a bar chart of the ratios."""

from __future__ import annotations

from pathlib import Path

from benchmarks.plots import Bar, bar_chart, entitle, save
from benchmarks.regret import NOISE, ROUTES, Choice, RegretReport
from benchmarks.report import closing, heading, subheading, table

_WORST = 10
"""So many rows are named as the worst."""


def render(report: RegretReport, *, markdown: bool = False) -> str:
    """Return the whole report: the rows, mean and worst losses, the worst rows, and what went wrong."""
    parts = [
        heading(report.machine, report.settings),
        f"One route alone can serve {report.without_choice} calls: they leave no choice and are not timed.",
    ]
    routes = [route for route in ROUTES if any(route in row.outcomes for row in report.rows)]
    headers = ["shape", "direction", *(f"{route}, ms" for route in routes), "lost, %"]
    if report.rows:
        cells = [_cells(row, routes) for row in report.rows]
        parts += [
            subheading("The routes' times, that of auto's choice marked *", markdown),
            table(headers, cells, markdown=markdown, text_columns=2),
        ]
    if summary := report.summary():
        means = [
            [losses.name, str(losses.count), str(losses.missed), f"{losses.mean:.1f}", f"{losses.worst:.1f}"]
            for losses in summary
        ]
        missed = sorted((row for row in report.rows if row.loss), key=lambda row: row.loss or 0.0)
        worst = [
            [row.shape, row.direction, row.chosen, row.best or "", f"{row.loss:.1f}"]
            for row in reversed(missed[-_WORST:])
        ]
        parts += [
            "lost: what auto's route takes longer than the fastest one, in percent. missed: rows that lose "
            f"more than {NOISE:g} %, which is more than the noise of the timing.",
            subheading("Mean loss (geometric), and the worst", markdown),
            table(["", "rows", "missed", "mean, %", "worst, %"], means, markdown=markdown),
            subheading("Where it is worst", markdown),
            table(
                ["shape", "direction", "auto", "fastest", "lost, %"], worst, markdown=markdown, text_columns=4
            ),
        ]
    return "\n\n".join([*parts, *closing(report.absent, report.troubles())]) + "\n"


def _cells(row: Choice, routes: list[str]) -> list[str]:
    times = []
    for route in routes:
        seconds, mark = row.seconds(route), "*" if route == row.chosen else " "
        times.append(("-" if seconds is None else f"{1e3 * seconds:.3f}") + mark)
    return [row.shape, row.direction, *times, "-" if row.loss is None else f"{row.loss:.1f}"]


def draw(report: RegretReport, folder: Path) -> list[Path]:
    """Draw ``regret.png`` into `folder` if anything was timed; ImportError without matplotlib."""
    rows = {(row.shape, row.direction): bar for row in report.rows if (bar := _bar(row)) is not None}
    if not rows:
        return []
    shapes = list(dict.fromkeys(shape for shape, _ in rows))
    directions = list(dict.fromkeys(direction for _, direction in rows))
    series = {direction: [rows.get((shape, direction)) for shape in shapes] for direction in directions}
    figure = bar_chart(
        shapes,
        series,
        "time of the fastest other route / time of auto's route (logarithmic; left of 1: auto's is slower)",
    )
    entitle(figure, "the route that auto takes against the others", report.machine, report.settings)
    return [save(figure, folder / "regret.png")]


def _bar(row: Choice) -> Bar | None:
    """Return the bar of a row; where another route was faster, its text names that one."""
    if row.ratio is None:
        return None
    return row.ratio, f" {row.ratio:.2f} " + (f"{row.rival} " if row.loss else "")
