"""Images side by side, with a title each; and the images a network gets wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.pictures.figure import Limits, Target, new_figure, save, show_tiles
from fastconv.pictures.tones import as_planes, common_limits, toned


def image_grid(
    images: Iterable[Any],
    path: Target,
    *,
    titles: Sequence[object] | None = None,
    columns: int | None = None,
    title: str = "",
    limits: Limits | None = None,
    colours: str = "gray",
    numbers: bool = False,
    tile: float = 1.4,
    data_format: str = "channels_first",
) -> None:
    """Draw images in rows and columns.

    Parameters
    ----------
    images : iterable of ndarray
        Each (H, W), (1, H, W) or (3, H, W); with ``data_format="channels_last"`` (H, W, 1) or (H, W, 3).
    path : path or binary file
        Where the PNG goes.
    titles : sequence, optional
        One for each image, written above it.
    columns : int, optional
        Images in a row; about as many as rows if ``None``.
    title : str
        Of the whole picture.
    limits : (float, float), optional
        Values that are black and white. ``None`` takes 0 and 255 for bytes, 0 and 1 for floats within them,
        and the lowest and highest of all images otherwise.
    colours : str
        Name of matplotlib's colour map for images of one channel, such as ``"RdBu_r"`` for signed values.
    numbers : bool
        Whether the value is written into each pixel, for small filters.
    tile : float
        Width of an image in inches.
    data_format : str
        ``"channels_first"`` or ``"channels_last"``.

    Raises
    ------
    ValueError, TypeError
        No images, shapes or dtypes that are no image, another number of titles than of images, fewer than
        one column.
    ModuleNotFoundError
        Without matplotlib.

    Examples
    --------
    >>> from fastconv import pictures
    >>> from fastconv.data import digits
    >>> images, labels = digits()
    >>> pictures.image_grid(images[::500], "digits.png", titles=labels[::500], columns=5)
    """
    planes = as_planes("image_grid", images, data_format)
    count = len(planes)
    if titles is not None and len(titles) != count:
        raise ValueError(f"image_grid: there are {len(titles)} titles for {count} images")
    if columns is None:
        columns = math.ceil(math.sqrt(count))
    if columns < 1:
        raise ValueError(f"image_grid: columns must be at least 1, got {columns}")
    columns = min(columns, count)
    rows = -(-count // columns)
    limits = common_limits(planes) if limits is None else limits
    texts = [""] * count if titles is None else [str(text) for text in titles]
    lines = max(text.count("\n") + 1 if text else 0 for text in texts)
    tallest = max(plane.shape[0] / plane.shape[1] for plane in planes)

    # Sizes in inches. All are known beforehand, and placing hundreds of axes by them takes no time.
    gap, above, head = 0.08, 0.18 * lines, 0.35 if title else 0.0
    cell_width, cell_height = tile + gap, tile * tallest + above + gap
    width, height = max(columns * cell_width + gap, 0.09 * len(title)), rows * cell_height + gap + head
    left = (width - columns * cell_width + gap) / 2
    figure = new_figure(width, height, title, layout=None)
    for index, plane in enumerate(planes):
        row, column = divmod(index, columns)
        x, y = left + column * cell_width, height - head - (row + 1) * cell_height
        axes = figure.add_axes((x / width, y / height, tile / width, tile * tallest / height))
        show_tiles(axes, toned(plane, limits), colours, limits)
        axes.set_title(texts[index], fontsize=9, pad=3)
        if numbers:
            _write_numbers(axes, plane, limits)
    save(figure, path)


def _write_numbers(axes: Any, plane: Any, limits: Limits) -> None:
    middle, reach = (limits[0] + limits[1]) / 2, (limits[1] - limits[0]) / 2
    for (row, column), value in np.ndenumerate(plane):
        colour = "white" if abs(value - middle) > 0.6 * reach else "black"
        text = f"{round(value, 2) + 0.0:.2f}"  # adding 0.0 turns -0.0 into 0.0
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)


def mistakes(
    images: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
    scores: ArrayLike,
    classes: Sequence[str] | None,
    path: Target,
    *,
    most: int = 24,
    data_format: str = "channels_first",
) -> None:
    """Draw the images whose prediction is wrong, those first of which the network is surest.

    Parameters
    ----------
    images : array of shape (N, 1, H, W), (N, 3, H, W) or (N, H, W)
        The images, in the range they are in; ``(N, H, W, C)`` with ``data_format="channels_last"``.
    labels, predictions : int array of shape (N,)
        The right classes and the network's.
    scores : array of shape (N, K), (N, 1) or (N,)
        The network's scores before any softmax; one number for each image is that of class 1 against class 0,
        before any sigmoid.
    classes : sequence of str, optional
        Names of the classes; ``None`` writes their numbers.
    path : path or binary file
        Where the PNG goes.
    most : int
        How many are drawn.
    data_format : str
        ``"channels_first"`` or ``"channels_last"``.

    Raises
    ------
    ValueError, TypeError
        Arrays of different lengths, and what `image_grid` refuses.
    ModuleNotFoundError
        Without matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import pictures
    >>> images = np.random.default_rng(0).random((2, 1, 8, 8))
    >>> scores = np.array([[2.0, -1.0], [3.0, 1.0]])
    >>> pictures.mistakes(images, [0, 1], scores.argmax(1), scores, ["cat", "dog"], "mistakes.png")
    """
    images, labels, predictions = np.asarray(images), np.asarray(labels), np.asarray(predictions)
    logits = np.asarray(scores, np.float64)
    counts = {len(images), len(labels), len(predictions), len(logits)}
    if len(counts) > 1:
        raise ValueError(
            f"mistakes: there are {len(images)} images, {len(labels)} labels, {len(predictions)} predictions "
            f"and {len(logits)} scores; there must be as many of each"
        )
    if most < 1:
        raise ValueError(f"mistakes: most must be at least 1, got {most}")
    if logits.size == len(logits):
        logits = np.stack([np.zeros(len(logits)), logits.reshape(-1)], axis=1)
    logits = logits - logits.max(axis=1, keepdims=True)
    sure = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    confidence = sure[np.arange(len(sure)), predictions]
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]

    def name(label: Any) -> str:
        return str(label) if classes is None else classes[label]

    if not len(wrong):
        save(new_figure(5, 1, f"none of {len(labels):,} is wrong"), path)
        return
    order = "" if len(wrong) == 1 else ", the surest first" if len(wrong) <= most else f", the {most} surest"
    image_grid(
        images[shown],
        path,
        titles=[f"says {name(predictions[i])} ({confidence[i]:.0%})\nis {name(labels[i])}" for i in shown],
        columns=min(8, len(shown)),
        title=f"{len(wrong):,} of {len(labels):,} wrong{order}",
        data_format=data_format,
    )
