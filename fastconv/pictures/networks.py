"""What a network has learnt: its filters, and what its layers make of an image.

Feature maps as the way to look into a network: M. Zeiler, R. Fergus, "Visualizing and understanding
convolutional networks", ECCV 2014.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.nn.convolution import ConvTranspose2d
from fastconv.nn.module import Layer
from fastconv.nn.watching import watched
from fastconv.pictures.figure import Limits, Target, new_figure, save, show_tiles
from fastconv.pictures.tones import Array, as_planes, common_limits, mosaic, toned

STEP = 1.08  # from tile to tile in a row, in widths of a tile


def filters(model: Layer, path: Target, *, title: str = "", most: int = 16) -> None:
    """Draw the filters of every two-dimensional convolution, a panel for each layer.

    Filters over three channels are drawn in colour (mid grey is zero), those over one channel in red
    (positive) and blue (negative), both as tiles. Of filters over more channels each is a row, with a tile
    for each channel it reads. Each panel has its own scale, symmetric around zero.

    Parameters
    ----------
    model : Layer
        A network, or a single layer.
    path : path or binary file
        Where the PNG goes.
    title : str
        Of the whole picture.
    most : int
        How many filters, and how many of the channels they read, a panel shows; ``most ** 2`` filters where
        each is a single tile. Those with the largest weights (root mean square) are chosen; the panel's title
        says how many there are.

    Raises
    ------
    ValueError
        A `model` without such filters, a `most` below 1.
    ModuleNotFoundError
        Without matplotlib.

    Examples
    --------
    >>> from fastconv import models, pictures
    >>> pictures.filters(models.lenet5(rng=0), "filters.png")
    """
    if most < 1:
        raise ValueError(f"filters: most must be at least 1, got {most}")
    layers: dict[int, tuple[str, Layer]] = {}
    for name, layer in model.named_layers():
        layers.setdefault(id(layer), (name, layer))
    banks = [
        (f"{name} {type(layer).__name__}".strip(), _filters_first(layer))
        for name, layer in layers.values()
        if any(key == "weight" and weight.data.ndim == 4 for key, weight in layer.own_parameters())
    ]
    if not banks:
        raise ValueError(f"filters: {type(model).__name__} has no two-dimensional convolution")
    columns = min(len(banks), 4 if len(banks) > 6 else 3)
    rows = -(-len(banks) // columns)
    figure = new_figure(max(3.6 * columns, 0.09 * len(title)), 3.4 * rows + 0.4 * bool(title), title)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in grid[len(banks) :]:
        axes.set_axis_off()
    for axes, (name, weight) in zip(grid, banks, strict=False):
        _draw_bank(figure, axes, name, weight, most)
    save(figure, path)


def _filters_first(layer: Any) -> Array:
    """Return the weight of a convolution as (filters, channels of each, height, width)."""
    weight: Array = layer.weight.data
    if not isinstance(layer, ConvTranspose2d):
        return weight
    inputs, outputs, *kernel = weight.shape
    grouped = weight.reshape(layer.groups, inputs // layer.groups, outputs, *kernel)
    return grouped.swapaxes(1, 2).reshape(layer.groups * outputs, inputs // layer.groups, *kernel)


def _strongest(strength: Array, most: int) -> Array:
    """Return the places of the largest values, in ascending order."""
    return np.sort(np.argsort(-strength, kind="stable")[:most])


def _draw_bank(figure: Any, axes: Any, name: str, weight: Array, most: int) -> None:
    """Draw the filters of one layer, weight (K, C, h, w)."""
    weight = weight.astype(np.float64)
    count, channels, height, width = weight.shape
    single = channels in (1, 3)
    shown = weight[_strongest(np.square(weight).sum((1, 2, 3)), most**2 if single else most)]
    gap = 0 if height == width == 1 else 1
    words = f"{count} filters {height} × {width}"
    if len(shown) < count:
        words = f"{len(shown)} of {words}"
    if single:
        tiles = shown.transpose(0, 2, 3, 1) if channels == 3 else shown[:, 0]
        words += " in colour" if channels == 3 else ""
        columns = math.ceil(math.sqrt(len(shown)))
    else:
        places = _strongest(np.square(shown).sum((0, 2, 3)), most)
        tiles = shown[:, places].reshape(-1, height, width)
        columns = len(places)
        words += f" × {channels}"
        axes.set_xlabel("channels" if columns == channels else f"{columns} of {channels} channels")
        axes.set_ylabel("filters")
    reach = float(np.abs(tiles).max()) or 1.0
    limits = (-reach, reach)
    tones = np.stack([toned(tile, limits) for tile in tiles])
    drawn = show_tiles(axes, mosaic(tones, columns, gap), "RdBu_r", limits)
    axes.set_title(f"{name}\n{words}", fontsize=9)
    if not (single and channels == 3):
        figure.colorbar(drawn, ax=axes, shrink=0.7)


def feature_maps(
    model: Layer,
    image: ArrayLike,
    path: Target,
    *,
    title: str = "",
    channels: int = 8,
    most: int = 14,
    data_format: str = "channels_first",
) -> None:
    """Draw what each layer makes of an image: one row per layer, a tile for each of its liveliest channels.

    The image is the first row. Shown are the channels whose values vary most from place to place, with their
    numbers above them; tiles of a row share one scale, from the lowest (dark) to the highest (bright) value
    in the row. Layers whose result has no height and width are left out. The network runs in evaluation mode
    and is then as it was; no other thread may use it meanwhile.

    Parameters
    ----------
    model : Layer
        The network.
    image : array of shape (C, H, W)
        What it takes, without the batch axis; (H, W, C) with ``data_format="channels_last"``.
    path : path or binary file
        Where the PNG goes.
    title : str
        Of the whole picture.
    channels : int
        How many channels of each layer are drawn.
    most : int
        How many layers are drawn; of more, these are spread evenly over the depth, first and last included.
    data_format : str
        That of `model`.

    Raises
    ------
    ValueError, TypeError
        An image that is no (C, H, W) or that the layers refuse; a model in which no result has height and
        width; `channels` or `most` below 1.
    ModuleNotFoundError
        Without matplotlib.

    Examples
    --------
    >>> from fastconv import models, pictures
    >>> from fastconv.data import digits
    >>> image = digits().split().test_images[0]
    >>> pictures.feature_maps(models.lenet5(rng=0), image, "feature_maps.png")
    """
    for name, value in (("channels", channels), ("most", most)):
        if value < 1:
            raise ValueError(f"feature_maps: {name} must be at least 1, got {value}")
    image = np.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"feature_maps: image has shape {image.shape}, expected three axes, without a batch")
    results = _results(model, image, data_format)
    if not results:
        raise ValueError(f"feature_maps: no layer of {type(model).__name__} gives planes")
    spread = np.unique(np.linspace(0, len(results) - 1, most).round().astype(int))
    shown = [results[place] for place in spread] if len(results) > most else results
    if title and len(shown) < len(results):
        title += f" ({len(shown)} of {len(results)} layers)"

    figure = new_figure(max(1.05 * channels + 1.6, 0.09 * len(title)), 1.2 * (len(shown) + 1), title)
    first, *others = figure.subplots(len(shown) + 1, 1)
    plane = as_planes("feature_maps", [image], data_format)[0]
    limits = common_limits([plane])
    _draw_row(first, toned(plane, limits)[np.newaxis], channels, "gray", limits)
    _label(first, "image", image.shape)
    for axes, (name, planes) in zip(others, shown, strict=True):
        chosen = _strongest(planes.std((1, 2)), channels)
        limits = (float(planes[chosen].min()), float(planes[chosen].max()))
        _draw_row(axes, planes[chosen], channels, "viridis", limits)
        axes.set_xticks(STEP * np.arange(len(chosen)) + 0.5, chosen)
        axes.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False, labelsize=7, pad=0)
        _label(axes, name, planes.shape)
    save(figure, path)


def _results(model: Layer, image: Array, data_format: str) -> list[tuple[str, Array]]:
    """Send one image through `model`; return the names and the planes (C, H, W) of its layers in order."""
    results: list[tuple[str, Array]] = []

    def record(layer: Layer, name: str, x: Any, y: Any) -> None:
        y = y[0] if isinstance(y, tuple) else y
        if y.ndim == 4 and not any(True for _ in layer.children()):
            planes = y[0] if data_format == "channels_first" else np.moveaxis(y[0], -1, 0)
            results.append((f"{name} {type(layer).__name__}".strip(), planes.astype(np.float64)))

    dtype = next((parameter.data.dtype for parameter in model.parameters()), np.dtype(np.float32))
    with watched(model, record):
        model.forward(image[np.newaxis].astype(dtype))
    return results


def _draw_row(axes: Any, tiles: Array, places: int, colours: str, limits: Limits) -> None:
    """Draw tiles from the left, each of width 1, in a row that has room for `places`."""
    height = tiles.shape[1] / tiles.shape[2]
    for place, tile in enumerate(tiles):
        show_tiles(axes, tile, colours, limits).set_extent((STEP * place, STEP * place + 1, height, 0))
    axes.set(xlim=(0, STEP * places), ylim=(height, 0))


def _label(axes: Any, name: str, shape: tuple[int, ...]) -> None:
    """Write a layer's name and the shape of its result to the left of its row."""
    text = f"{name}\n{' × '.join(map(str, shape))}"
    axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
