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

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Filters of the convolutions; each stage ends in a pool that halves the planes."""


def vgg16(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    image_size: int = 224,
    hidden: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
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
    hidden : sequence of int
        Sizes of the dense layers before the last.
    dropout : float
        Probability of an element to be dropped after each of them.
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode, its weights drawn by He's rule.

    Raises
    ------
    ValueError, TypeError
        Images that are too small, and what the layers refuse.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import vgg16
    >>> small = vgg16(rng=0, classes=10, image_size=32, hidden=[512])
    >>> small.summary((3, 32, 32)).parameters
    14982474
    >>> small(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """
    rng = np.random.default_rng(rng)
    features: list[nn.Layer] = []
    channels = 3
    for stage in STAGES:
        for filters in stage:
            features.append(
                nn.Conv2d(channels, filters, 3, padding=1, activation="relu", rng=rng, dtype=dtype)
            )
            channels = filters
        features.append(nn.MaxPool2d(2))
    return with_dense_layers(
        features,
        (3, image_size, image_size),
        rng,
        hidden=hidden,
        classes=classes,
        dropout=dropout,
        dtype=dtype,
    )
