"""AlexNet in one tower, the network that won ImageNet's contest of 2012.

A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012, with the paper's filters but without its split over two GPUs: each filter sees all channels. The
paper's local response normalisation is left out too; later work found that it changes little (K. Simonyan,
A. Zisserman, arXiv:1409.1556, section 4.1).

A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997, has another
one-tower variant, with fewer filters: ``filters=(64, 192, 384, 256, 256)``, 61,100,840 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.dense_layers import with_dense_layers


def alexnet(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    image_size: int = 224,
    filters: Sequence[int] = (96, 256, 384, 384, 256),
    hidden: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make AlexNet in one tower: (N, 3, 224, 224) to scores (N, classes), 62,378,344 parameters for 1000.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    classes : int
        Number of scores.
    image_size : int
        Height and width of the images: 224, 227 (which has the same number of parameters), or another
        from 63 up.
    filters : sequence of five int
        Filters of the convolutions.
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
        Not five numbers of filters, images that are too small, and what the layers refuse.

    Examples
    --------
    >>> from fastconv.models import alexnet
    >>> small = alexnet(rng=0, classes=10, image_size=64, filters=(8, 16, 24, 24, 16), hidden=(32, 32))
    >>> small.summary((3, 64, 64))
    layer        output shape    parameters  multiply-adds
    ------------------------------------------------------
    0 Conv2d     (N, 8, 15, 15)       2,912        653,400
    1 MaxPool2d  (N, 8, 7, 7)             0              0
    2 Conv2d     (N, 16, 7, 7)        3,216        156,800
    3 MaxPool2d  (N, 16, 3, 3)            0              0
    4 Conv2d     (N, 24, 3, 3)        3,480         31,104
    5 Conv2d     (N, 24, 3, 3)        5,208         46,656
    6 Conv2d     (N, 16, 3, 3)        3,472         31,104
    7 MaxPool2d  (N, 16, 1, 1)            0              0
    8 Flatten    (N, 16)                  0              0
    9 Linear     (N, 32)                544            512
    10 Dropout   (N, 32)                  0              0
    11 Linear    (N, 32)              1,056          1,024
    12 Dropout   (N, 32)                  0              0
    13 Linear    (N, 10)                330            320
    ------------------------------------------------------
    total                            20,218        920,920
    """
    if len(filters) != 5:
        raise ValueError(f"alexnet: filters must be five numbers, got {tuple(filters)}")
    rng = np.random.default_rng(rng)
    first, second, third, fourth, fifth = filters

    def conv(inputs: int, outputs: int, kernel: int, padding: int, stride: int = 1) -> nn.Conv2d:
        return nn.Conv2d(inputs, outputs, kernel, stride, padding, activation="relu", rng=rng, dtype=dtype)

    features = [
        conv(3, first, kernel=11, padding=2, stride=4),
        nn.MaxPool2d(3, stride=2),
        conv(first, second, kernel=5, padding=2),
        nn.MaxPool2d(3, stride=2),
        conv(second, third, kernel=3, padding=1),
        conv(third, fourth, kernel=3, padding=1),
        conv(fourth, fifth, kernel=3, padding=1),
        nn.MaxPool2d(3, stride=2),
    ]
    return with_dense_layers(
        features,
        (3, image_size, image_size),
        rng,
        hidden=hidden,
        classes=classes,
        dropout=dropout,
        dtype=dtype,
    )
