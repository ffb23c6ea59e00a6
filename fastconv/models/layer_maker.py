"""What the layers of one network share, said once: draws, data format, dtype, and the shape of the images."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.nn.arguments import check_data_format

L = TypeVar("L", bound=nn.Layer)


class LayerMaker:
    """Makes layers that share where weights are drawn from, the data format and the dtype.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    data_format : str
        ``"channels_first"`` or ``"channels_last"``.
    dtype : dtype
        Of the parameters.

    Raises
    ------
    ValueError
        An unknown `data_format`.

    Examples
    --------
    >>> from fastconv import nn
    >>> from fastconv.models.layer_maker import LayerMaker
    >>> make = LayerMaker(0, "channels_last", "float32")
    >>> model = make.network((3, 32, 32), make(nn.Conv2d, 3, 8, 3), make(nn.GlobalAvgPool))
    >>> model.summary()
    layer            output shape    parameters  multiply-adds
    ----------------------------------------------------------
    0 Conv2d         (N, 30, 30, 8)         224        194,400
    1 GlobalAvgPool  (N, 8)                   0              0
    ----------------------------------------------------------
    total                                   224        194,400
    """

    def __init__(self, rng: np.random.Generator | int | None, data_format: str, dtype: DTypeLike) -> None:
        check_data_format("models", data_format)
        self.data_format = data_format
        self._shared = {"rng": np.random.default_rng(rng), "data_format": data_format, "dtype": dtype}

    def __call__(self, kind: Callable[..., L], *arguments: Any, **keywords: Any) -> L:
        """Make a layer of this kind, handing it those of the shared keywords that it takes."""
        taken = inspect.signature(kind).parameters
        shared = {name: value for name, value in self._shared.items() if name in taken}
        return kind(*arguments, **shared, **keywords)

    def network(
        self, image: tuple[int, int, int], *layers: nn.Layer | Mapping[str, nn.Layer]
    ) -> nn.Sequential:
        """Put layers, or one mapping of names to layers, in a row that knows the shape of its images.

        `image` is channels, height and width; the network's ``input_shape`` is in the data format.
        """
        channels, *size = image
        network = nn.Sequential(*layers)
        network.input_shape = (channels, *size) if self.data_format == "channels_first" else (*size, channels)
        return network
