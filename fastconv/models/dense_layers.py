"""The end that many image networks share: planes flattened into features, dense layers, scores.

planes (N, C, H, W) -> (N, C * H * W) -> [dense, ReLU, dropout] for each hidden size -> (N, classes)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker


def with_dense_layers(
    make: LayerMaker,
    image: tuple[int, int, int],
    features: Sequence[nn.Layer],
    *,
    hidden: Sequence[int],
    classes: int,
    dropout: float,
) -> nn.Sequential:
    """Put dense layers with ReLU and dropout, and a linear one for the scores, behind `features`.

    Parameters
    ----------
    make : LayerMaker
        What makes the layers, those of `features` too.
    image : (int, int, int)
        Channels, height and width of an image, from which the number of features follows.
    features : sequence of Layer
        What turns an image into planes.
    hidden : sequence of int
        Sizes of the dense layers before the last.
    classes : int
        Number of scores.
    dropout : float
        Probability of an element to be dropped, after each of the hidden layers.

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
    >>> from fastconv import nn
    >>> from fastconv.models.dense_layers import with_dense_layers
    >>> from fastconv.models.layer_maker import LayerMaker
    >>> make = LayerMaker(0, "channels_first", "float32")
    >>> planes = [make(nn.Conv2d, 1, 4, 3), make(nn.MaxPool2d, 2)]
    >>> model = with_dense_layers(make, (1, 8, 8), planes, hidden=[16], classes=3, dropout=0.5)
    >>> [type(layer).__name__ for layer in model]
    ['Conv2d', 'MaxPool2d', 'Flatten', 'Linear', 'Dropout', 'Linear']
    """
    try:
        planes = make.network(image, *features).summary().rows[-1].output_shape
    except ValueError as error:
        raise ValueError(f"images of shape {image} are too small for this network: {error}") from error
    sizes = [math.prod(planes), *hidden]
    dense: list[nn.Layer] = []
    for inputs, outputs in pairwise(sizes):
        dense += [make(nn.Linear, inputs, outputs, activation="relu"), make(nn.Dropout, dropout)]
    return make.network(image, *features, make(nn.Flatten), *dense, make(nn.Linear, sizes[-1], classes))
