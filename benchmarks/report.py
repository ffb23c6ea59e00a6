"""A report as text: aligned tables for the terminal, or Markdown ones for a README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.goals import cuda_goals
from benchmarks.results import DISAGREES, FAILED, Group, Report, Row
from benchmarks.shapes import ConvShape, PoolShape, Shape

_FASTER_LAYOUT = "channels_last"
"""A variant that gets a star."""


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, markdown: bool = False, text_columns: int = 1
) -> str:
    """Return an aligned table: the first `text_columns` columns to the left, figures to the right."""
    lines = [list(headers), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]

    def aligned(line: Sequence[str]) -> list[str]:
        return [
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]

    body = [aligned(line) for line in lines]
    if markdown:
        rule = [
            "-" * max(width, 3) if column < text_columns else "-" * max(width - 1, 2) + ":"
            for column, width in enumerate(widths)
        ]
        return "\n".join("| " + " | ".join(line) + " |" for line in [body[0], rule, *body[1:]])
    rule = ["-" * width for width in widths]
    return "\n".join("  ".join(line).rstrip() for line in [body[0], rule, *body[1:]])


_FIGURES = {"convolutions": ["GFLOP/s"], "pooling": ["GB/s"], "networks": ["ms", "GFLOP/s"]}
"""Columns of fastconv's own figures, by kind of row."""


def render(report: Report, *, markdown: bool = False) -> str:
    """Return the whole report: the machine, the rows, the means, and what went wrong."""
    rates = report.roof
    roof = f"{rates['flops_per_second'] / 1e9:.0f} GFLOP/s, {rates['bytes_per_second'] / 1e9:.1f} GB/s copied"
    whose = "the whole device" if "gpu" in report.machine else "all threads"
    parts = [heading(report.machine, report.settings) + f"\nroof: {roof}, {whose}"]
    for kind, figures in _FIGURES.items():
        rows = [row for row in report.rows if row.kind == kind]
        if rows:
            headers = ["shape", "direction", *figures, *(f"× {peer}" for peer in report.peers), "% of roof"]
            cells = [_cells(row, report.peers) for row in rows]
            parts += [
                subheading(kind.capitalize(), markdown),
                table(headers, cells, markdown=markdown, text_columns=2),
            ]
    if report.groups():
        parts += [
            "× peer: the peer's time over fastconv's; above 1, fastconv is the faster one. *: the peer was "
            f"faster in its {_FASTER_LAYOUT} layout, which then counts.",
            subheading("Geometric means, and the worst row", markdown),
            _means(report, markdown),
            subheading("Where it is worst", markdown),
            _worst(report, markdown),
        ]
    if reached := cuda_goals(report):
        headers = ["", "peer", "mean", "goal", "worst", "goal", ""]
        parts += [subheading("Goals", markdown), table(headers, reached, markdown=markdown, text_columns=2)]
    parts += [*report.sitting_out(), *closing(report.absent, report.troubles())]
    return "\n\n".join(parts) + "\n"


def closing(absent: Mapping[str, str], troubles: Iterable[str]) -> list[str]:
    """Return the last lines of a report: what was left out, and what went wrong."""
    return [f"{name} is left out: {reason}" for name, reason in absent.items()] + [
        f"!!! {line}" for line in troubles
    ]


def _means(report: Report, markdown: bool) -> str:
    """Return a row per group of rows, with mean and worst ratio against each peer."""
    by_name: dict[str, dict[str, Group]] = {}
    for group in report.groups():
        by_name.setdefault(group.name, {})[group.peer] = group
    headers = ["", "rows", *(title for peer in report.peers for title in (f"× {peer}", "worst"))]
    cells = []
    for name, groups in by_name.items():
        line = [name, str(max(group.count for group in groups.values()))]
        for peer in report.peers:
            found = groups.get(peer)
            line += ["-", "-"] if found is None else [f"{found.mean:.2f}", f"{found.worst:.2f}"]
        cells.append(line)
    return table(headers, cells, markdown=markdown)


def _worst(report: Report, markdown: bool) -> str:
    """Return a row per peer and direction that names the worst shape."""
    cells = [
        [group.name, group.peer, group.worst_shape, f"{group.worst:.2f}"]
        for group in report.groups()
        if group.whole
    ]
    return table(["", "peer", "at", "ratio"], cells, markdown=markdown, text_columns=3)


def subheading(text: str, markdown: bool) -> str:
    """Return the title of a table."""
    return f"#### {text}" if markdown else text


def heading(machine: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return the first lines of a report: the machine, the date, the software."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    gpu = machine.get("gpu")
    return "\n".join(
        [
            *(
                [", ".join([gpu["name"], *(f"{part} {gpu[part]}" for part in gpu if part != "name")])]
                if gpu
                else []
            ),
            f"{machine['cpu']} ({caches}), {machine['isa']}, {settings['threads']} threads",
            f"{machine['system']}, {machine['date']}",
            f"{settings['dtype']}, precision {settings['precision']}; {versions}",
        ]
    )


def _cells(row: Row, peers: Sequence[str]) -> list[str]:
    values = {"ms": row.milliseconds, "GFLOP/s": row.rate, "GB/s": row.rate}
    figures = ["-" if values[unit] is None else f"{values[unit]:.1f}" for unit in _FIGURES[row.kind]]
    share = "-" if row.roof_share is None else f"{100 * row.roof_share:.0f}"
    return [row.shape, row.direction, *figures, *(_ratio_cell(row, peer) for peer in peers), share]


def _ratio_cell(row: Row, peer: str) -> str:
    outcome, ratio = row.outcomes.get(peer), row.ratio(peer)
    if outcome is None:
        return "- "
    if outcome.status == DISAGREES:
        return "WRONG "
    if outcome.status == FAILED:
        return "failed "
    if ratio is None:
        return "- "
    return f"{ratio:.2f}" + ("*" if outcome.variant == _FASTER_LAYOUT else " ")


def shape_list(shapes: Iterable[Shape]) -> str:
    """Return a table of shapes, for ``--list``."""
    headers = ["name", "family", "input", "weight or window", "output", "stride", "GFLOP", "MB", "quick"]
    return table(headers, (_shape_cells(shape) for shape in shapes), text_columns=6)


def _shape_cells(shape: Shape) -> list[str]:
    def sizes(values: tuple[int, ...]) -> str:
        return "×".join(map(str, values))

    filter_text = stride = ""
    if isinstance(shape, ConvShape):
        filter_text = sizes(shape.weight) + (f" / {shape.groups} groups" if shape.groups > 1 else "")
        stride = sizes(shape.stride)
    elif isinstance(shape, PoolShape):
        filter_text, stride = f"{shape.kind} {sizes(shape.window)}", sizes(shape.stride)
    return [
        shape.name,
        shape.family,
        sizes(shape.input),
        filter_text,
        sizes(shape.output),
        stride,
        f"{shape.flops / 1e9:.3f}",
        f"{shape.elements_moved * 4 / 1e6:.1f}",
        "yes" if shape.quick_batch else "",
    ]
