"""VGG-16: thirteen 3 × 3 convolutions and three dense layers.

K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
arXiv:1409.1556 (2014), table 1, configuration D.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.dense_layers import with_dense_layers
from fastconv.models.layer_maker import LayerMaker

STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Filters of the convolutions, in those of the first; each stage ends in a pool that halves the planes."""


def vgg16(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    image_size: int = 224,
    width: int = 64,
    hidden: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make VGG-16: (N, 3, 224, 224) to scores (N, classes), 138,357,544 parameters for 1000 classes.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    classes : int
        Number of scores.
    image_size : int
        Height and width of the images, at least 32; the size of the first dense layer follows from it.
    width : int
        Filters of the first convolution, of which all others are multiples.
    hidden : sequence of int
        Sizes of the dense layers before the last.
    dropout : float
        Probability of an element to be dropped after each of them.
    data_format : str
        ``"channels_first"``, or ``"channels_last"`` for images (N, H, W, C).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode, its weights drawn by He's rule.

    Raises
    ------
    ValueError, TypeError
        Images that are too small, an unknown `data_format`, and what the layers refuse.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import vgg16
    >>> small = vgg16(rng=0, classes=10, image_size=32, hidden=[512])
    >>> small.summary().parameters
    14982474
    >>> small(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """
    make = LayerMaker(rng, data_format, dtype)
    features: list[nn.Layer] = []
    channels = 3
    for stage in STAGES:
        for multiple in stage:
            features.append(make(nn.Conv2d, channels, multiple * width, 3, padding=1, activation="relu"))
            channels = multiple * width
        features.append(make(nn.MaxPool2d, 2))
    image = (3, image_size, image_size)
    return with_dense_layers(make, image, features, hidden=hidden, classes=classes, dropout=dropout)
