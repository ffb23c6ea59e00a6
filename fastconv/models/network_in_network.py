"""Network in Network: small perceptrons slide over the image, and the classes are means of planes.

M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014, arXiv:1312.4400 (2013), in the form that its authors
published for CIFAR-10. A convolution and the two 1 × 1 convolutions behind it are a perceptron of three
layers, the same at every pixel; the last of three such stages has one plane for each class, and the mean of a
plane is the class's score, so that there are no dense layers. Only the last ReLU of the original is missing:
scores may be negative.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker


def network_in_network(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 10,
    width: int = 192,
    dropout: float = 0.5,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make Network in Network for CIFAR: (N, 3, 32, 32) to scores (N, classes), 966,986 parameters for 10.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    classes : int
        Number of scores.
    width : int
        Filters of all convolutions but the second, which has 5/6 of them, the third, which has half, and the
        last.
    dropout : float
        Probability of an element to be dropped after the first and the second stage.
    data_format : str
        ``"channels_first"``, or ``"channels_last"`` for images (N, H, W, C).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode, its weights drawn by He's rule. It takes images of other sizes too.

    Raises
    ------
    ValueError, TypeError
        What the layers refuse: no classes, a `width` below 2, a `dropout` outside of 0 to 1, an unknown
        `data_format`.

    Examples
    --------
    >>> from fastconv.models import network_in_network
    >>> network_in_network(rng=0).summary()
    layer             output shape      parameters  multiply-adds
    -------------------------------------------------------------
    0 Conv2d          (N, 192, 32, 32)      14,592     14,745,600
    1 Conv2d          (N, 160, 32, 32)      30,880     31,457,280
    2 Conv2d          (N, 96, 32, 32)       15,456     15,728,640
    3 MaxPool2d       (N, 96, 16, 16)            0              0
    4 Dropout         (N, 96, 16, 16)            0              0
    5 Conv2d          (N, 192, 16, 16)     460,992    117,964,800
    6 Conv2d          (N, 192, 16, 16)      37,056      9,437,184
    7 Conv2d          (N, 192, 16, 16)      37,056      9,437,184
    8 AvgPool2d       (N, 192, 8, 8)             0              0
    9 Dropout         (N, 192, 8, 8)             0              0
    10 Conv2d         (N, 192, 8, 8)       331,968     21,233,664
    11 Conv2d         (N, 192, 8, 8)        37,056      2,359,296
    12 Conv2d         (N, 10, 8, 8)          1,930        122,880
    13 GlobalAvgPool  (N, 10)                    0              0
    -------------------------------------------------------------
    total                                  966,986    222,486,528
    """
    make = LayerMaker(rng, data_format, dtype)
    conv = partial(make, nn.Conv2d, padding="same", activation="relu")
    narrow, half = 5 * width // 6, width // 2
    return make.network(
        (3, 32, 32),
        *(conv(3, width, 5), conv(width, narrow, 1), conv(narrow, half, 1)),
        make(nn.MaxPool2d, 3, stride=2, ceil_mode=True),
        make(nn.Dropout, dropout),
        *(conv(half, width, 5), conv(width, width, 1), conv(width, width, 1)),
        make(nn.AvgPool2d, 3, stride=2, ceil_mode=True),
        make(nn.Dropout, dropout),
        *(conv(width, width, 3), conv(width, width, 1), make(nn.Conv2d, width, classes, 1)),
        make(nn.GlobalAvgPool),
    )
