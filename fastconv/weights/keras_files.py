"""Keras's ``.h5`` and ``.keras`` as rows of layers with named arrays.

Three layouts are in use. The older HDF5 files, of weights alone or of a whole model, list their layers and
the arrays of each as attributes. Keras 3 writes a group for each layer, named after its class and numbered,
in which the arrays have numbers for names; the order of layers of different classes is not kept. ``.keras``
is a zip file of that and of ``config.json``, which has the order.

HDF5 files can refer to other files; such references are refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastconv.weights import bfloat16

BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
KERNEL = ("kernel", "bias")
"""Arrays of batch normalisation, separable convolution and all other layers, as Keras numbers them."""

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""Groups that hold layers, named after their classes, in Keras 3 and before."""

DEFLATED = 1032
"""Bytes that one compressed byte can become at most."""


@dataclass(frozen=True)
class KerasLayer:
    """A layer that has arrays, by their names in Keras; `kind` is its class in small letters where known."""

    name: str
    kind: str | None
    arrays: Mapping[str, NDArray[Any]]

    def __str__(self) -> str:
        return f"{self.name} of the file"


@dataclass(frozen=True)
class KerasFile:
    """The layers of a file; `in_order`, or with only those of one kind in order among themselves."""

    layers: tuple[KerasLayer, ...]
    in_order: bool


def open_h5(file: BinaryIO) -> KerasFile:
    """Read an HDF5 file of any layout."""
    with import_module("h5py").File(file, "r") as root:
        top = _member(root, "model_weights") if "model_weights" in root else root
        if "layer_names" in top.attrs or "layer_names0" in top.attrs:
            return KerasFile(tuple(_listed(top)), in_order=True)
        return KerasFile(tuple(_numbered(root, None)), in_order=False)


def open_zip(file: BinaryIO) -> KerasFile:
    """Read the zip file of Keras 3."""
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))["config"]
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with import_module("h5py").File(weights, "r") as root:
        return KerasFile(tuple(_numbered(root, config)), in_order="layers" in config)


def _listed(top: Any) -> Iterator[KerasLayer]:
    """Go through the layers of the older layout."""
    for layer in _listing(top, "layer_names"):
        group = _member(top, layer)
        # A model within the model is one entry, with the arrays of all its layers.
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for path in _listing(group, "weight_names"):
            part, _, variable = path.rpartition("/")
            parts.setdefault(part, {})[variable.partition(":")[0]] = _array(_member(group, path))
        for part, arrays in parts.items():
            name = layer if len(parts) == 1 else f"{layer}/{part.rpartition('/')[2]}"
            if not part:  # Keras 1 had names of another kind, in the same order
                order = BATCH_NORM if len(arrays) == len(BATCH_NORM) else KERNEL
                arrays = _named(list(arrays.values()), order)
            yield KerasLayer(name, None, arrays)


def _listing(group: Any, attribute: str) -> list[str]:
    """Read a list of names; a long one is in pieces, ``layer_names0``, ``layer_names1``, ..."""
    pieces = [attribute] if attribute in group.attrs else []
    while not pieces or (pieces[0] != attribute and f"{attribute}{len(pieces)}" in group.attrs):
        pieces.append(f"{attribute}{len(pieces)}")
    names = [name for piece in pieces for name in group.attrs[piece]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _numbered(group: Any, config: Any, outer: str = "") -> Iterator[KerasLayer]:
    """Go through the layers of Keras 3: in the order of `config`, or else of their classes and numbers."""
    container = next((name for name in CONTAINERS if name in group), None)
    layers = group if container is None else _member(group, container)
    for key, inner in _keys(layers, config):
        layer = _member(layers, key)
        variables = _member(layer, "vars") if "vars" in layer else {}
        name = outer + str(inner.get("name") or getattr(variables, "attrs", {}).get("name", key))
        if any(name in layer for name in CONTAINERS):
            yield from _numbered(layer, inner, f"{name}/")
        elif len(variables):
            kind = None if container is None else _kind_and_number(key)[0]
            arrays = [_array(_member(variables, str(number))) for number in range(len(variables))]
            yield KerasLayer(name, kind, _named(arrays, _order(kind, inner)))


def _keys(layers: Any, config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Go through the names of layers' groups, each with the layer's configuration where there is one."""
    keys = set(layers) - {"optimizer", "vars"}
    if not config or "layers" not in config:
        for key in sorted(keys, key=_kind_and_number):
            yield key, {}
        return
    seen: Counter[str] = Counter()
    for layer in config["layers"]:
        words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", layer["class_name"])
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
        key = f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1
        if key in keys:
            keys.remove(key)
            yield key, layer["config"]
    if keys:
        raise ValueError(f"its config.json has no layers for {', '.join(sorted(keys))}")


def _kind_and_number(key: str) -> tuple[str, int]:
    kind, _, number = key.rpartition("_")
    return (kind, int(number)) if kind and number.isdecimal() else (key, 0)


def _order(kind: str | None, config: Mapping[str, Any]) -> tuple[str, ...]:
    if kind == "batch_normalization":
        left_out = {"gamma": config.get("scale"), "beta": config.get("center")}
        return tuple(name for name in BATCH_NORM if left_out.get(name) is not False)
    return SEPARABLE if kind and kind.startswith("separable_conv") else KERNEL


def _named(arrays: Sequence[NDArray[Any]], order: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Name the arrays of a layer; only a bias, the last, may be missing, else they keep their numbers."""
    if len(arrays) != len(order) and (*order[: len(arrays)], "bias") != tuple(order):
        order = [str(number) for number in range(len(arrays))]
    return dict(zip(order, arrays, strict=False))


def _member(group: Any, path: str) -> Any:
    """Open what the file itself holds under a path."""
    hard_link = import_module("h5py").HardLink
    for name in path.split("/"):
        if not isinstance(group.get(name, getlink=True), hard_link):
            raise ValueError(f"{path} in it is a link to elsewhere")
        group = group[name]
    return group


def _array(dataset: Any) -> NDArray[Any]:
    """Read an array, whose numbers must lie in the file itself."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} in it refers to another file")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > DEFLATED * stored:
        raise ValueError(f"{dataset.name} in it has {dataset.nbytes} bytes, of which {stored} are there")
    if dataset.attrs.get("dtype") == "bfloat16":
        return bfloat16.widened(bfloat16.from_bits(dataset[()].view(np.uint16)))
    if dataset.dtype.kind not in "biuf":
        raise ValueError(f"{dataset.name} in it has dtype {dataset.dtype}, expected numbers")
    return np.asarray(dataset[()])
