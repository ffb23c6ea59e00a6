"""ResNet-50: sixteen residual blocks of three convolutions each, with batch normalisation.

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385
(2015), table 1 and figure 5. Where a stage halves the planes, the stride is in the 3 × 3 convolution of its
first block and not in the 1 × 1 before it, so that no input is skipped: the variant that is in common use as
version 1.5.

Layers have the names that PyTorch users know (``conv1``, ``layer1`` to ``layer4``, ``fc``); a block is its
``sum``, of a ``main`` path and a ``shortcut``, and the ``relu`` behind it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn

BLOCKS = (3, 4, 6, 3)
"""Blocks of each stage."""

EXPANSION = 4
"""The last convolution of a block has so many times the filters of the others."""


def resnet50(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    width: int = 64,
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make ResNet-50: (N, 3, H, W) to scores (N, classes), 25,557,032 parameters for 1000 classes.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights are drawn from; an int is a seed.
    classes : int
        Number of scores.
    width : int
        Filters of the first convolution, of which all others are multiples.
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
        What the layers refuse: no classes, a `width` below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import resnet50
    >>> model = resnet50(rng=0, classes=10, width=8)
    >>> model(np.zeros((2, 3, 64, 64), np.float32)).shape
    (2, 10)
    >>> model.summary((3, 64, 64)).parameters
    376722
    >>> list(model.state_dict())[6]
    'layer1.0.sum.main.conv1.weight'
    """
    rng = np.random.default_rng(rng)
    layers: dict[str, nn.Layer] = {
        **_conv("1", 3, width, 7, 2, rng, dtype),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    channels = width
    for stage, count in enumerate(BLOCKS):
        filters = width * 2**stage
        blocks = []
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(_bottleneck(channels, filters, stride, rng, dtype))
            channels = EXPANSION * filters
        layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    layers["avgpool"] = nn.GlobalAvgPool()
    layers["fc"] = nn.Linear(channels, classes, rng=rng, dtype=dtype)
    return nn.Sequential(layers)


def _bottleneck(
    channels: int, filters: int, stride: int, rng: np.random.Generator, dtype: DTypeLike
) -> nn.Sequential:
    """Make a block: 1 × 1 to few channels, 3 × 3 on those, 1 × 1 to many; the input is added, then ReLU."""
    outputs = EXPANSION * filters
    main = nn.Sequential(
        {
            **_conv("1", channels, filters, 1, 1, rng, dtype),
            "relu1": nn.ReLU(),
            **_conv("2", filters, filters, 3, stride, rng, dtype),
            "relu2": nn.ReLU(),
            **_conv("3", filters, outputs, 1, 1, rng, dtype),
        }
    )
    shortcut = None
    if stride != 1 or channels != outputs:
        shortcut = nn.Sequential(_conv("", channels, outputs, 1, stride, rng, dtype))
    return nn.Sequential({"sum": nn.Residual(main, shortcut), "relu": nn.ReLU()})


def _conv(
    number: str,
    channels: int,
    filters: int,
    kernel: int,
    stride: int,
    rng: np.random.Generator,
    dtype: DTypeLike,
) -> dict[str, nn.Layer]:
    """Make a convolution, which needs no bias, and the batch normalisation behind it."""
    return {
        f"conv{number}": nn.Conv2d(
            channels, filters, kernel, stride, kernel // 2, bias=False, rng=rng, dtype=dtype
        ),
        f"bn{number}": nn.BatchNorm2d(filters, dtype=dtype),
    }
