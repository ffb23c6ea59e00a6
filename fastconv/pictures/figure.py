"""Matplotlib's figures without pyplot: made, filled with tiles, and saved."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, BinaryIO, TypeAlias

from numpy.typing import NDArray

Target: TypeAlias = str | os.PathLike[str] | BinaryIO
Limits: TypeAlias = tuple[float, float]


def require_matplotlib() -> None:
    """Raise unless matplotlib can be imported: before work whose pictures could not be drawn.

    Raises
    ------
    ModuleNotFoundError
        Naming the extra to install.

    Examples
    --------
    >>> from fastconv import pictures
    >>> pictures.require_matplotlib()
    """
    try:
        import_module("matplotlib.figure")
    except ModuleNotFoundError:
        raise ModuleNotFoundError('pictures need matplotlib: pip install "fastconv[train]"') from None


def new_figure(width: float, height: float, title: str = "", layout: str | None = "constrained") -> Any:
    """Make an empty figure of `width` x `height` inches; without `layout` the caller places the axes."""
    require_matplotlib()
    figure = import_module("matplotlib.figure").Figure(figsize=(width, height), layout=layout)
    if title:
        figure.suptitle(title, **({"y": 1 - 0.08 / height, "va": "top"} if layout is None else {}))
    return figure


def save(figure: Any, path: Target) -> None:
    """Write `figure` as PNG."""
    figure.savefig(path, dpi=120, format="png")


def show_tiles(axes: Any, tiles: NDArray[Any], colours: str, limits: Limits) -> Any:
    """Draw an array (H, W), or (H, W, 3) in [0, 1], with sharp pixels and neither frame nor numbers.

    What is NaN, such as the gaps between tiles, is white. Returns what a colour bar is made for.
    """
    colour_map = import_module("matplotlib").colormaps[colours].with_extremes(bad="white")
    low, high = limits
    drawn = axes.imshow(tiles, cmap=colour_map, vmin=low, vmax=high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    return drawn
