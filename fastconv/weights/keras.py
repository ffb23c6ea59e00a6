"""Keras's layers and a model's: which is which, and how the arrays of one become those of the other.

    convolution     kernel (*window, in, out)       weight (out, in, *window)
    depthwise       kernel (*window, in, each)      weight (in * each, 1, *window)
    transposed      kernel (*window, out, in)       weight (in, out, *window)
    dense           kernel (in, out)                weight (out, in)
    batch norm.     gamma, beta, moving_mean,       weight, bias, running_mean,
                    moving_variance                 running_var

Keras flattens images with their channels last. Where a model flattens them with the channels first, the
features behind come in another order, and so do the columns of the layer that reads them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv import nn
from fastconv.weights.apart import FORMATS, open_file
from fastconv.weights.files import checked, read, readable
from fastconv.weights.flattening import channels_first, flattened_channels
from fastconv.weights.keras_files import KerasFile, KerasLayer

if TYPE_CHECKING:
    from fastconv.nn import Layer

NAMES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "pointwise_kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def read_keras(
    path: str | os.PathLike[str], model: Layer, *, names: Mapping[str, str] | None = None
) -> dict[str, NDArray[Any]]:
    """Read a Keras file as a state dictionary of `model`.

    Layers that have weights are matched in their order, and the kinds and shapes of all must fit. Weights
    alone as Keras 3 writes them (``.weights.h5``) are matched in the order within each kind, which is all
    that such a file keeps, and only where the model's layers stand in one row.

    Parameters
    ----------
    path : path
        ``.h5``, of a whole model or of weights alone, or ``.keras``.
    model : Layer
        Whose names, shapes and data format the result has. Nothing is written into it.
    names : mapping of str to str, optional
        For layers of the model, by their dotted names, those of their counterparts in the file (as far as the
        ``/`` in the names that ``read`` gives); all other layers are matched in their order.

    Returns
    -------
    dict of str to ndarray
        What ``model.load_state_dict`` takes.

    Raises
    ------
    OSError
        No such file, or one that can't be opened.
    ValueError
        Another suffix, a damaged file, or layers that do not fit: all of them are named.
    ModuleNotFoundError
        Without h5py.

    Notes
    -----
    Keras's batch normalisation has ``epsilon=1e-3``, ``nn.BatchNorm2d`` has ``eps=1e-5`` if nothing else is
    said, and nothing here changes that. A dense layer behind a flattening of channels-first features
    gets its columns in their order: the channels are those of the last convolution or batch normalisation
    before. A network that flattens its very input is taken to be given it as Keras was.

    Examples
    --------
    >>> from fastconv import models, weights
    >>> model = models.lenet5()
    >>> state = weights.read_keras("lenet.h5", model)  # doctest: +SKIP
    >>> model.load_state_dict(state)  # doctest: +SKIP
    """
    source = checked(path, FORMATS)
    with open(source, "rb") as file, readable(source):
        content = open_file(file, source.suffix)
    state = model.state_dict()
    channels = flattened_channels(model)
    faults = []
    try:
        pairs = list(_pairs(model, content, names or {}))
    except ValueError as error:
        raise ValueError(f"{source} does not fit the model: {error}") from None
    for ours, theirs in pairs:
        if ours is None or theirs is None:
            faults.append(f"{ours or theirs} has no counterpart")
            continue
        try:
            arrays = _converted(ours.layer, theirs, channels.get(id(ours.layer)))
        except ValueError as error:
            faults.append(f"{theirs} is no {ours}: {error}")
            continue
        for place in ours.names:
            state.update({f"{place}.{name}" if place else name: array for name, array in arrays.items()})
    if faults:
        raise ValueError(f"{source} does not fit the model: {'; '.join(faults)}")
    return state


def read_for(path: str | os.PathLike[str], model: Layer) -> dict[str, NDArray[Any]]:
    """Read a file of any format as a state dictionary for `model`: Keras's by ``read_keras``, else as it is.

    Parameters
    ----------
    path : path
        What ``read`` takes.
    model : Layer
        Whose names a Keras file is to get.

    Returns
    -------
    dict of str to ndarray
        What ``model.load_state_dict`` takes.

    Raises
    ------
    OSError, ValueError, ModuleNotFoundError
        As ``read`` and ``read_keras``.
    """
    return read_keras(path, model) if Path(path).suffix in FORMATS else read(path)


@dataclass(frozen=True)
class _Ours:
    """A layer of the model that has weights, by the names of all the places where it stands."""

    layer: Layer
    names: list[str]

    def __str__(self) -> str:
        return f"{self.names[0]} {type(self.layer).__name__}".lstrip()


def _pairs(
    model: Layer, content: KerasFile, names: Mapping[str, str]
) -> Iterator[tuple[_Ours | None, KerasLayer | None]]:
    """Go through what belongs together, in the end through what is left over on either side."""
    ours: dict[int, _Ours] = {}
    for name, layer in model.named_layers():
        buffers = (getattr(layer, buffer) for buffer in layer.buffer_names)
        if any(layer.own_parameters()) or any(buffer is not None for buffer in buffers):
            ours.setdefault(id(layer), _Ours(layer, [])).names.append(name)
    theirs = {layer.name: layer for layer in _parts(content)}
    for name, counterpart in names.items():
        named = next((key for key, place in ours.items() if name in place.names), None)
        if named is None or counterpart not in theirs:
            raise ValueError(f"names: there is no pair of layers {name!r} and {counterpart!r}")
        yield ours.pop(named), theirs.pop(counterpart)
    if content.in_order:
        yield from zip_longest(ours.values(), theirs.values())
        return
    in_one_row = all(_in_one_row(layer) for _, layer in model.named_layers())
    separable = any("pointwise_kernel" in layer.arrays for layer in theirs.values())
    if ours and (separable or not in_one_row):
        raise ValueError(
            "a file of weights alone does not keep the order of layers of different kinds, which models with "
            "branches and separable convolutions need; take a .keras file, or read_keras(names=)"
        )
    for place in ours.values():
        fitting = (layer for kind in _kinds(place.layer) for layer in theirs.values() if layer.kind == kind)
        found = next(fitting, None)
        yield place, theirs.pop(found.name) if found else None
    for rest in theirs.values():
        yield None, rest


def _in_one_row(layer: Layer) -> bool:
    return isinstance(layer, nn.Sequential) or len(list(layer.children())) < 2


def _parts(content: KerasFile) -> Iterator[KerasLayer]:
    """Go through the layers, a separable convolution as the two convolutions that it is."""
    for layer in content.layers:
        if "pointwise_kernel" not in layer.arrays:
            yield layer
            continue
        kind = layer.kind and layer.kind.removeprefix("separable_")
        pointwise = dict(layer.arrays)
        depthwise = {"depthwise_kernel": pointwise.pop("depthwise_kernel")}
        yield KerasLayer(f"{layer.name}/depthwise", kind and f"depthwise_{kind}", depthwise)
        yield KerasLayer(f"{layer.name}/pointwise", kind, pointwise)


def _kinds(layer: Layer) -> tuple[str, ...]:
    """Name Keras's counterparts of a layer, the likeliest first."""
    match layer:
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            kinds = (f"conv{layer.rank}d", f"depthwise_conv{layer.rank}d")
            return kinds if layer.groups == 1 else kinds[::-1]
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
            return (f"conv{layer.rank}d_transpose",)
        case nn.Linear():
            return ("dense",)
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
            return ("batch_normalization",)
    return ()


def _converted(layer: Layer, theirs: KerasLayer, channels: int | None) -> dict[str, NDArray[Any]]:
    """Make a layer's state of Keras's arrays; `channels` are those of flattened features that it reads."""
    if theirs.kind is not None and theirs.kind not in _kinds(layer):
        raise ValueError(f"it is of the kind {theirs.kind}")
    unknown = sorted(theirs.arrays.keys() - NAMES.keys())
    if unknown:
        raise ValueError(f"it has arrays {', '.join(unknown)}")
    expected = {name: array.shape for name, array in layer._state().items() if name != "num_batches_tracked"}
    arrays: dict[str, NDArray[Any]] = {}
    if "moving_mean" in theirs.arrays and "weight" in expected:
        # Keras's batch normalisation can do without one of scale and offset.
        arrays = {"weight": np.ones(expected["weight"]), "bias": np.zeros(expected["bias"])}
    for name, array in theirs.arrays.items():
        arrays[NAMES[name]] = _weight(layer, array) if name.endswith("kernel") else array
    got = {name: array.shape for name, array in arrays.items()}
    if got != expected:
        raise ValueError(f"it has {_shapes(got)}, expected {_shapes(expected)}")
    if channels is not None:
        columns = ["weight"] if isinstance(layer, nn.Linear) else list(arrays)
        arrays |= {name: channels_first(arrays[name], channels) for name in columns}
    return arrays


def _weight(layer: Layer, kernel: NDArray[Any]) -> NDArray[Any]:
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    match layer:
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d() if layer.groups == layer.in_channels == kernel.shape[-2]:
            # Depthwise; in Keras's other convolution of so many groups that size is 1.
            return weight.swapaxes(0, 1).reshape(-1, 1, *weight.shape[2:])
    return weight


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "nothing"
