"""The end that many image networks share: planes flattened into features, dense layers, scores.

planes (N, C, H, W) -> (N, C * H * W) -> [dense, ReLU, dropout] for each hidden size -> (N, classes)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn


def with_dense_layers(
    features: Sequence[nn.Layer],
    image: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    hidden: Sequence[int],
    classes: int,
    dropout: float,
    dtype: DTypeLike,
) -> nn.Sequential:
    """Put dense layers with ReLU and dropout, and a linear one for the scores, behind `features`.

    Parameters
    ----------
    features : sequence of Layer
        What turns an image into planes.
    image : (int, int, int)
        Channels, height and width of an image, from which the number of features follows.
    rng : numpy.random.Generator
        Where the weights and the dropped elements are drawn from.
    hidden : sequence of int
        Sizes of the dense layers before the last.
    classes : int
        Number of scores.
    dropout : float
        Probability of an element to be dropped, after each of the hidden layers.
    dtype : dtype
        Of the parameters.

    Returns
    -------
    Sequential
        `features`, flattening and the dense layers, in one row.

    Raises
    ------
    ValueError
        An image that is too small for `features`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.models.dense_layers import with_dense_layers
    >>> planes = [nn.Conv2d(1, 4, 3, rng=0), nn.MaxPool2d(2)]
    >>> rng = np.random.default_rng(0)
    >>> keywords = {"hidden": [16], "classes": 3, "dropout": 0.5, "dtype": np.float32}
    >>> model = with_dense_layers(planes, (1, 8, 8), rng, **keywords)
    >>> [type(layer).__name__ for layer in model]
    ['Conv2d', 'MaxPool2d', 'Flatten', 'Linear', 'Dropout', 'Linear']
    """
    try:
        planes = nn.Sequential(*features).summary(image).rows[-1].output_shape
    except ValueError as error:
        raise ValueError(f"images of shape {image} are too small for this network: {error}") from error
    sizes = [math.prod(planes), *hidden]
    dense: list[nn.Layer] = []
    for inputs, outputs in pairwise(sizes):
        dense += [
            nn.Linear(inputs, outputs, activation="relu", rng=rng, dtype=dtype),
            nn.Dropout(dropout, rng=rng),
        ]
    return nn.Sequential(*features, nn.Flatten(), *dense, nn.Linear(sizes[-1], classes, rng=rng, dtype=dtype))
