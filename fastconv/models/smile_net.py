"""Does a face smile? Four convolutions whose filters double while their planes are halved, and one score.

The means of the last planes go into a single linear unit, so that images of every size are taken. After the
smile classifier in chapter 14 of S. Raschka, Y. Liu, V. Mirjalili, "Machine Learning with PyTorch and
Scikit-Learn", Packt, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker


def smile_net(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1,
    channels: int = 3,
    image_size: int = 64,
    filters: Sequence[int] = (32, 64, 128, 256),
    dropout: float = 0.25,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make the smile classifier: (N, 3, H, W) to one score for each image, (N, 1), 388,673 parameters.

    A score is the logarithm of the odds: ``nn.losses.binary_cross_entropy_with_logits`` trains with it, and
    ``nn.Sigmoid`` makes a probability of it.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    classes : int
        Number of scores: one for yes or no.
    channels, image_size : int
        Channels of the images, and the height and width that ``summary()`` takes them to have; the network
        takes all from 16 up.
    filters : sequence of int
        Filters of the convolutions.
    dropout : float
        Probability of an element to be dropped after each of them.
    data_format : str
        ``"channels_first"``, or ``"channels_last"`` for images (N, H, W, C).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode, its weights drawn by He's rule, but for those of the score, which are
        zero: every image starts at a probability of one half.

    Raises
    ------
    ValueError, TypeError
        What the layers refuse: no filters, a `dropout` outside of 0 to 1, an unknown `data_format`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.models import smile_net
    >>> model = smile_net(rng=0)
    >>> model.summary()
    layer             output shape      parameters  multiply-adds
    -------------------------------------------------------------
    0 Conv2d          (N, 32, 64, 64)          896      3,538,944
    1 MaxPool2d       (N, 32, 32, 32)            0              0
    2 Dropout         (N, 32, 32, 32)            0              0
    3 Conv2d          (N, 64, 32, 32)       18,496     18,874,368
    4 MaxPool2d       (N, 64, 16, 16)            0              0
    5 Dropout         (N, 64, 16, 16)            0              0
    6 Conv2d          (N, 128, 16, 16)      73,856     18,874,368
    7 MaxPool2d       (N, 128, 8, 8)             0              0
    8 Dropout         (N, 128, 8, 8)             0              0
    9 Conv2d          (N, 256, 8, 8)       295,168     18,874,368
    10 MaxPool2d      (N, 256, 4, 4)             0              0
    11 Dropout        (N, 256, 4, 4)             0              0
    12 GlobalAvgPool  (N, 256)                   0              0
    13 Linear         (N, 1)                   257            256
    -------------------------------------------------------------
    total                                  388,673     60,162,304
    >>> faces = np.random.default_rng(1).random((2, 3, 64, 64), np.float32)
    >>> probabilities = nn.Sigmoid()(model.eval()(faces))
    >>> probabilities
    array([[0.5],
           [0.5]], dtype=float32)
    """
    make = LayerMaker(rng, data_format, dtype)
    stages: list[nn.Layer] = []
    for inputs, outputs in pairwise([channels, *filters]):
        stages += [
            make(nn.Conv2d, inputs, outputs, 3, padding=1, activation="relu"),
            make(nn.MaxPool2d, 2),
            make(nn.Dropout, dropout),
        ]
    # Scores that start at zero, even odds, are learnt from in the first epoch; drawn ones must shrink before.
    score = make(nn.Linear, filters[-1], classes, init="zeros")
    return make.network((channels, image_size, image_size), *stages, make(nn.GlobalAvgPool), score)
