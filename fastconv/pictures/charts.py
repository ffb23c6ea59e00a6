"""Lines over epochs, steps, or whatever else was varied: several panels in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from fastconv.pictures.figure import Target, new_figure, save


@dataclass(frozen=True)
class Panel:
    """One pair of axes: lines by their names, and what is written beside them.

    Parameters
    ----------
    label : str
        What the lines measure, with its unit: the vertical axis.
    lines : mapping of str to sequence of float
        The values of each line.
    x : sequence of float or of str, optional
        Where the values belong; ``None`` counts 1, 2, ...
    x_label : str
        What is counted: the horizontal axis.
    log_x, log_y : bool
        Whether an axis is logarithmic.
    x_ticks : sequence of float, optional
        Which places of the horizontal axis are named; ``None`` leaves the choice to matplotlib.

    Examples
    --------
    >>> from fastconv import pictures
    >>> pictures.Panel("loss", {"train": [2.3, 0.4], "test": [1.9, 0.5]}).x_label
    'epoch'
    """

    label: str
    lines: Mapping[str, Sequence[float]]
    x: Sequence[float] | Sequence[str] | None = None
    x_label: str = "epoch"
    log_x: bool = False
    log_y: bool = False
    x_ticks: Sequence[float] | None = None


def curves(panels: Sequence[Panel], path: Target, *, title: str = "") -> None:
    """Draw panels of lines side by side, such as loss and accuracy by epoch.

    Parameters
    ----------
    panels : sequence of Panel
        From left to right.
    path : path or binary file
        Where the PNG goes.
    title : str
        Of the whole picture.

    Raises
    ------
    ValueError
        No panels, a panel without lines, a line of another length than its `x`.
    ModuleNotFoundError
        Without matplotlib.

    Examples
    --------
    >>> from fastconv import pictures
    >>> loss = pictures.Panel("loss", {"train": [2.3, 0.4, 0.1], "test": [1.9, 0.5, 0.3]})
    >>> accuracy = pictures.Panel("accuracy (%)", {"train": [40, 90, 97], "test": [60, 87, 91]})
    >>> pictures.curves([loss, accuracy], "training.png", title="lenet5")
    """
    if not panels:
        raise ValueError("curves: there are no panels")
    for panel in panels:
        if not panel.lines:
            raise ValueError(f"curves: panel {panel.label!r} has no lines")
        for name, values in panel.lines.items():
            if panel.x is not None and len(values) != len(panel.x):
                raise ValueError(
                    f"curves: line {name!r} of panel {panel.label!r} has {len(values)} values, "
                    f"x has {len(panel.x)}"
                )
    figure = new_figure(4.5 * len(panels), 4, title)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        for name, values in panel.lines.items():
            x = range(1, len(values) + 1) if panel.x is None else panel.x
            axes.plot(x, values, label=name, marker="o" if len(values) <= 60 else None, markersize=3)
        axes.set_xlabel(panel.x_label)
        axes.set_ylabel(panel.label)
        if panel.x is None:
            axes.xaxis.get_major_locator().set_params(integer=True)
        if panel.log_x:
            axes.set_xscale("log")
        if panel.log_y:
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            if high < 300 * low:  # few powers of ten: name 2 and 5 of each as well
                axes.yaxis.set_minor_locator(import_module("matplotlib.ticker").LogLocator(subs=(2, 5)))
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(alpha=0.3)
        if panel.x_ticks is not None:
            axes.set_xticks(panel.x_ticks)
        if len(panel.lines) > 1:  # above the axes it covers no line
            columns = len(panel.lines) if sum(map(len, panel.lines)) < 26 else 2
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns, frameon=False)
    save(figure, path)
