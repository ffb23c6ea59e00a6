"""LeNet-5, the network that read cheques.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86 (1998), section II.B; in the simpler form in use today: plain averages in the
pooling layers, every filter of the second convolution sees all six planes, and a linear last layer for
softmax cross-entropy.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker


def lenet5(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 10,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make LeNet-5 for grey images of 28 × 28: (N, 1, 28, 28) to scores (N, classes), 61,706 parameters.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights are drawn from; an int is a seed.
    classes : int
        Number of scores.
    data_format : str
        ``"channels_first"``, or ``"channels_last"`` for images (N, H, W, C).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode.

    Raises
    ------
    ValueError, TypeError
        No classes, an unknown `data_format`.

    Examples
    --------
    >>> from fastconv.models import lenet5
    >>> lenet5(rng=0).summary()
    layer        output shape     parameters  multiply-adds
    -------------------------------------------------------
    0 Conv2d     (N, 6, 28, 28)          156        117,600
    1 AvgPool2d  (N, 6, 14, 14)            0              0
    2 Conv2d     (N, 16, 10, 10)       2,416        240,000
    3 AvgPool2d  (N, 16, 5, 5)             0              0
    4 Flatten    (N, 400)                  0              0
    5 Linear     (N, 120)             48,120         48,000
    6 Linear     (N, 84)              10,164         10,080
    7 Linear     (N, 10)                 850            840
    -------------------------------------------------------
    total                             61,706        416,520
    """
    make = LayerMaker(rng, data_format, dtype)
    conv = partial(make, nn.Conv2d, activation="tanh", init="glorot")
    dense = partial(make, nn.Linear, activation="tanh", init="glorot")
    return make.network(
        (1, 28, 28),
        conv(1, 6, 5, padding=2),
        make(nn.AvgPool2d, 2),
        conv(6, 16, 5),
        make(nn.AvgPool2d, 2),
        make(nn.Flatten),
        dense(16 * 5 * 5, 120),
        dense(120, 84),
        make(nn.Linear, 84, classes, init="glorot"),
    )
