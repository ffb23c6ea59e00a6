"""What was found in images: boxes with their class and score, and masks in colours."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv.detection.boxes import read_boxes
from fastconv.nn.arguments import read_int
from fastconv.pictures.figure import Target, new_figure, save, show_tiles
from fastconv.pictures.tones import as_planes, common_limits, toned

COLOURS = 10
"""Colours of classes; further classes begin again with the first."""


def boxes(
    images: Sequence[Any] | NDArray[Any],
    detections: Sequence[ArrayLike],
    path: Target,
    *,
    truths: Sequence[ArrayLike] | NDArray[Any] | None = None,
    classes: Sequence[str] | None = None,
    columns: int = 4,
    title: str = "",
    tile: float = 2.4,
    data_format: str = "channels_first",
) -> None:
    """Draw images with the boxes that were found in them, each with its class and score.

    Parameters
    ----------
    images : sequence of ndarray
        Each (H, W), (1, H, W) or (3, H, W); with ``data_format="channels_last"`` (H, W, 1) or (H, W, 3).
    detections : sequence of array_like (D, 6)
        For each image rows ``class, left, top, right, bottom, score``.
    path : path or binary file
        Where the PNG goes.
    truths : sequence of array_like (M, 5), optional
        For each image rows ``class, left, top, right, bottom``, drawn dotted; those of a class below 0 are
        left out.
    classes : sequence of str, optional
        Names of the classes; ``None`` writes their numbers.
    columns : int
        Images in a row.
    title : str
        Of the whole picture.
    tile : float
        Width of an image in inches.
    data_format : str
        ``"channels_first"`` or ``"channels_last"``.

    Raises
    ------
    ValueError, TypeError
        Not as many detections or truths as images, rows of other lengths, and images that are none.
    ModuleNotFoundError
        Without matplotlib.

    Examples
    --------
    >>> from fastconv import pictures
    >>> from fastconv.data import digit_scenes
    >>> scenes = digit_scenes(2)
    >>> found = [[[7, 5, 5, 20, 25, 0.9]], []]
    >>> pictures.boxes(scenes.images, found, "boxes.png", truths=scenes.boxes)
    """
    planes = as_planes("boxes", images, data_format)
    found = [read_boxes("boxes", "detections", rows, 6) for rows in detections]
    there = [
        read_boxes("boxes", "truths", rows, 5) for rows in ([[]] * len(planes) if truths is None else truths)
    ]
    for name, given in (("detections", found), ("truths", there)):
        if len(given) != len(planes):
            raise ValueError(f"boxes: there are {name} for {len(given)} images, expected {len(planes)}")
    columns = min(read_int("boxes", "columns", columns), len(planes))
    rows = -(-len(planes) // columns)
    tallest = max(plane.shape[0] / plane.shape[1] for plane in planes)
    figure = new_figure(tile * columns, tile * tallest * rows + 0.4 * bool(title), title)
    limits = common_limits(planes)
    for index, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if index >= len(planes):
            axes.set_axis_off()
            continue
        show_tiles(axes, toned(planes[index], limits), "gray", limits)
        axes.autoscale(False)
        for kind, *corners in there[index]:
            if kind >= 0:
                _outline(axes, corners, "deepskyblue", ":")
        for kind, *corners, score in found[index]:
            _outline(axes, corners, "lime", "-")
            name = f"{kind:.0f}" if classes is None else classes[int(kind)]
            axes.annotate(
                f"{name} {score:.2f}", corners[:2], (1, 1), textcoords="offset points",
                color="lime", fontsize=7, bbox={"color": (0, 0, 0, 0.6), "pad": 0.5},
            )  # fmt: skip
    save(figure, path)


def _outline(axes: Any, corners: Sequence[float], colour: str, line: str) -> None:
    left, top, right, bottom = (edge - 0.5 for edge in corners)  # matplotlib counts from a pixel's middle
    axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], line, color=colour, lw=1.2)


def masks(
    images: Sequence[Any] | NDArray[Any],
    predictions: ArrayLike,
    path: Target,
    *,
    truths: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    title: str = "",
    tile: float = 2.4,
    data_format: str = "channels_first",
) -> None:
    """Draw images in a row, below them the masks that were found, and below those the true ones.

    Parameters
    ----------
    images : sequence of ndarray
        As in `boxes`, all of one size.
    predictions : array_like of int (N, H, W)
        The class of each pixel; 0 is the ground, which is black.
    path : path or binary file
        Where the PNG goes.
    truths : array_like of int (N, H, W), optional
        The right classes.
    classes : sequence of str, optional
        Names of the classes, that of the ground first; ``None`` writes their numbers.
    title : str
        Of the whole picture.
    tile : float
        Width of an image in inches.
    data_format : str
        ``"channels_first"`` or ``"channels_last"``.

    Raises
    ------
    ValueError, TypeError
        Masks of another shape than the images, or that hold no integers from 0 up; too few names; images
        that are none.
    ModuleNotFoundError
        Without matplotlib.

    Examples
    --------
    >>> from fastconv import pictures
    >>> from fastconv.data import digit_scenes
    >>> scenes = digit_scenes(3)
    >>> names = ["ground", *"0123456789"]
    >>> pictures.masks(scenes.images, scenes.masks, "masks.png", classes=names)
    """
    planes = as_planes("masks", images, data_format)
    shown = {"predictions": np.asarray(predictions)}
    if truths is not None:
        shown["truths"] = np.asarray(truths)
    shape = (len(planes), *planes[0].shape[:2])
    for name, labels in shown.items():
        if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
            raise TypeError(f"masks: {name} must hold integers from 0 up, got {labels.dtype}")
        if labels.shape != shape:
            raise ValueError(f"masks: {name} must have shape {shape}, got {labels.shape}")
    kinds = np.unique(np.concatenate([labels.ravel() for labels in shown.values()]))
    if classes is not None and kinds[-1] >= len(classes):
        raise ValueError(f"masks: classes has {len(classes)} names, but class {kinds[-1]} occurs")
    height = tile * shape[1] / shape[2] * (1 + len(shown)) + 0.4 * bool(title)
    figure = new_figure(tile * len(planes) + 0.8, height, title)
    grid = figure.subplots(1 + len(shown), len(planes), squeeze=False)
    limits, palette = common_limits(planes), import_module("matplotlib").colormaps["tab10"]
    colours = np.array([(0, 0, 0), *(palette(kind % COLOURS)[:3] for kind in range(kinds[-1]))])
    for column, plane in enumerate(planes):
        show_tiles(grid[0, column], toned(plane, limits), "gray", limits)
        for axes, labels in zip(grid[1:, column], shown.values(), strict=True):
            show_tiles(axes, colours[labels[column]], "gray", limits)
    for axes, name in zip(grid[:, 0], ("images", *shown), strict=True):
        axes.set_ylabel(name)
    patch = import_module("matplotlib.patches").Patch
    names = map(str, kinds) if classes is None else (classes[kind] for kind in kinds)
    handles = [patch(color=colours[kind], label=name) for kind, name in zip(kinds, names, strict=True)]
    figure.legend(handles=handles, loc="outside right upper")
    save(figure, path)
