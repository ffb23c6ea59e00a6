"""MobileNet v1: each convolution split into one within the channels and one across them.

    x -> 3 × 3 depthwise, batch normalisation, ReLU -> 1 × 1, batch normalisation, ReLU

which takes about an eighth of the work of a full 3 × 3 convolution. A. Howard, M. Zhu, B. Chen,
D. Kalenichenko, W. Wang, T. Weyand, M. Andreetto, H. Adam, "MobileNets: efficient convolutional neural
networks for mobile vision applications", arXiv:1704.04861 (2017), table 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker

FILTERS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
"""Filters of the 1 × 1 convolutions."""

HALVING = (1, 3, 5, 11)
"""Numbers of the blocks whose depthwise convolution has stride 2."""


def mobilenet_v1(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    width: float = 1.0,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make MobileNet v1: (N, 3, H, W) to scores (N, classes), 4,231,976 parameters for 1000 classes.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights are drawn from; an int is a seed.
    classes : int
        Number of scores.
    width : float
        Factor on the number of filters of every convolution, the paper's width multiplier.
    data_format : str
        ``"channels_first"``, or ``"channels_last"`` for (N, H, W, 3).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode, its weights drawn by He's rule. It takes images of any size; the
        paper's are 224 × 224.

    Raises
    ------
    ValueError, TypeError
        What the layers refuse: no classes, an unknown `data_format`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import mobilenet_v1
    >>> model = mobilenet_v1(rng=0, classes=10, width=0.25)
    >>> model(np.zeros((2, 3, 64, 64), np.float32)).shape
    (2, 10)
    >>> model.summary().parameters
    215642
    """
    make = LayerMaker(rng, data_format, dtype)

    def conv(name: str, channels: int, filters: int, kernel: int, stride: int, groups: int = 1) -> None:
        layers[f"{name}.conv"] = make(
            nn.Conv2d, channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        layers[f"{name}.bn"] = make(nn.BatchNorm2d, filters)
        layers[f"{name}.relu"] = nn.ReLU()

    layers: dict[str, nn.Layer] = {}
    channels = max(1, round(width * 32))
    conv("first", 3, channels, 3, 2)
    for index, filters in enumerate(max(1, round(width * number)) for number in FILTERS):
        conv(f"{index}.depthwise", channels, channels, 3, 2 if index in HALVING else 1, groups=channels)
        conv(f"{index}.pointwise", channels, filters, 1, 1)
        channels = filters
    layers["avgpool"] = make(nn.GlobalAvgPool)
    layers["fc"] = make(nn.Linear, channels, classes)
    return make.network((3, 224, 224), layers)
