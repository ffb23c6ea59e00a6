"""Where a model flattens features with their channels first, and what that means for the layers behind.

Features (N, C, H, W) become columns in the order (c, h, w), features (N, H, W, C) the same columns in the
order (h, w, c). A layer that was trained on the latter and reads the former needs its columns moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fastconv import nn

if TYPE_CHECKING:
    from fastconv.nn import Layer


@dataclass(frozen=True)
class _Features:
    """What flows between layers: how many channels, whether they come first, whether they are flattened."""

    channels: int = 1
    first: bool = False
    flat: bool = False


def flattened_channels(model: Layer) -> dict[int, int]:
    """Find the layers, by their ``id``, that read flattened channels-first features, and their channels.

    The children of a layer that is none of this package's are taken to stand one behind the other.
    """
    found: dict[int, int] = {}
    _follow(model, _Features(), found)
    return found


def channels_first(columns: NDArray[Any], channels: int) -> NDArray[Any]:
    """Move the last axis from the order (positions, channels) to (channels, positions)."""
    shape = columns.shape
    if shape[-1] % channels:
        raise ValueError(f"{shape[-1]} columns are not those of {channels} channels")
    return columns.reshape(*shape[:-1], -1, channels).swapaxes(-1, -2).reshape(shape)


def _follow(layer: Layer, x: _Features, found: dict[int, int]) -> _Features:
    """Send `x` through a layer and note who reads flattened features."""
    match layer:
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            return _Features(layer.out_channels, layer.data_format == "channels_first")
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
            return _Features(layer.out_channels, layer.data_format == "channels_first")
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d() if not x.flat:
            return _Features(layer.num_features, layer.data_format == "channels_first")
        case nn.BatchNorm1d():
            found[id(layer)] = x.channels
            return x
        case nn.Linear():
            if x.flat:
                found[id(layer)] = x.channels
            return _Features(layer.out_features)
        case nn.Flatten():
            return replace(x, flat=x.first)
        case nn.Concat():
            parts = [_follow(branch, x, found) for _, branch in layer.children()]
            return replace(parts[0], channels=sum(part.channels for part in parts))
    # The shortcut of a residual block has as many channels in the end as the path before it.
    for _, child in layer.children():
        x = _follow(child, x, found)
    return x
