"""A network of moderate size for Fashion-MNIST: five convolutions, three pools, three dense layers.

The filters double each time the planes are halved, and the first ones are wide because the images have a
single channel. After the example network in chapter 14 of A. Géron, "Hands-On Machine Learning with
Scikit-Learn, Keras & TensorFlow", O'Reilly, 2nd edition 2019; its images: H. Xiao, K. Rasul, R. Vollgraf,
"Fashion-MNIST", arXiv:1708.07747.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.dense_layers import with_dense_layers
from fastconv.models.layer_maker import LayerMaker


def fashion_net(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 10,
    dropout: float = 0.5,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make the network for grey images of 28 × 28: (N, 1, 28, 28) to (N, classes), 1,413,834 parameters.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    classes : int
        Number of scores.
    dropout : float
        Probability of an element to be dropped after the two hidden dense layers.
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
        What the layers refuse: no classes, a `dropout` outside of 0 to 1, an unknown `data_format`.

    Examples
    --------
    >>> from fastconv.models import fashion_net
    >>> fashion_net(rng=0).summary()
    layer        output shape      parameters  multiply-adds
    --------------------------------------------------------
    0 Conv2d     (N, 64, 28, 28)        3,200      2,458,624
    1 MaxPool2d  (N, 64, 14, 14)            0              0
    2 Conv2d     (N, 128, 14, 14)      73,856     14,450,688
    3 Conv2d     (N, 128, 14, 14)     147,584     28,901,376
    4 MaxPool2d  (N, 128, 7, 7)             0              0
    5 Conv2d     (N, 256, 7, 7)       295,168     14,450,688
    6 Conv2d     (N, 256, 7, 7)       590,080     28,901,376
    7 MaxPool2d  (N, 256, 3, 3)             0              0
    8 Flatten    (N, 2304)                  0              0
    9 Linear     (N, 128)             295,040        294,912
    10 Dropout   (N, 128)                   0              0
    11 Linear    (N, 64)                8,256          8,192
    12 Dropout   (N, 64)                    0              0
    13 Linear    (N, 10)                  650            640
    --------------------------------------------------------
    total                           1,413,834     89,466,496
    """
    make = LayerMaker(rng, data_format, dtype)
    conv = partial(make, nn.Conv2d, padding="same", activation="relu")
    features = [
        conv(1, 64, 7),
        make(nn.MaxPool2d, 2),
        conv(64, 128, 3),
        conv(128, 128, 3),
        make(nn.MaxPool2d, 2),
        conv(128, 256, 3),
        conv(256, 256, 3),
        make(nn.MaxPool2d, 2),
    ]
    return with_dense_layers(make, (1, 28, 28), features, hidden=(128, 64), classes=classes, dropout=dropout)
