"""AlexNet in one tower, the network that won ImageNet's contest of 2012.

A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012, with the paper's filters but without its split over two GPUs: each filter sees all channels. The
paper's local response normalisation (section 3.3) is an option, since later work found that it changes little
(K. Simonyan, A. Zisserman, arXiv:1409.1556, section 4.1).

The paper speaks of images of 224 × 224, but its first planes, 55 × 55, are those of 227 × 227 without
padding. Here the first convolution is padded by as much as gives ``size // 4 - 1`` rows: 55 for all sizes
from 224, where that is two pixels on each side, to 227, where it is none.

A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997, has another
one-tower variant, with fewer filters: ``filters=(64, 192, 384, 256, 256)``, 61,100,840 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.dense_layers import with_dense_layers
from fastconv.models.layer_maker import LayerMaker


def alexnet(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    image_size: int = 227,
    filters: Sequence[int] = (96, 256, 384, 384, 256),
    hidden: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    local_response_norm: bool = False,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make AlexNet in one tower: (N, 3, 227, 227) to scores (N, classes), 62,378,344 parameters for 1000.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    classes : int
        Number of scores.
    image_size : int
        Height and width of the images: 227, 224 (which has the same number of parameters), or another
        from 64 up.
    filters : sequence of five int
        Filters of the convolutions.
    hidden : sequence of int
        Sizes of the dense layers before the last.
    dropout : float
        Probability of an element to be dropped after each of them.
    local_response_norm : bool
        Whether the results of the first two convolutions are divided by what their neighbours in the channel
        direction sum to, with the paper's constants: 5 channels, k = 2, alpha = 1e-4, beta = 0.75.
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
        Not five numbers of filters, images that are too small, an unknown `data_format`, and what the layers
        refuse.

    Examples
    --------
    >>> from fastconv.models import alexnet
    >>> small = alexnet(rng=0, classes=10, image_size=64, filters=(8, 16, 24, 24, 16), hidden=(32, 32))
    >>> small.summary()
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
    first, second, third, fourth, fifth = filters
    make = LayerMaker(rng, data_format, dtype)
    conv = partial(make, nn.Conv2d, activation="relu")

    def normalised() -> list[nn.Layer]:
        return [make(nn.LocalResponseNorm, 5, alpha=5e-4, k=2.0)] if local_response_norm else []

    features = [
        conv(3, first, 11, stride=4, padding=(4 - image_size % 4) // 2),
        *normalised(),
        make(nn.MaxPool2d, 3, stride=2),
        conv(first, second, 5, padding=2),
        *normalised(),
        make(nn.MaxPool2d, 3, stride=2),
        conv(second, third, 3, padding=1),
        conv(third, fourth, 3, padding=1),
        conv(fourth, fifth, 3, padding=1),
        make(nn.MaxPool2d, 3, stride=2),
    ]
    image = (3, image_size, image_size)
    return with_dense_layers(make, image, features, hidden=hidden, classes=classes, dropout=dropout)
