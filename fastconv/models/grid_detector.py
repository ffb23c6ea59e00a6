"""A single-shot detector: one fully convolutional pass gives box, score and classes for each cell of a grid.

J. Redmon, S. Divvala, R. Girshick, A. Farhadi, "You only look once", CVPR 2016, for the grid and its single
pass; W. Liu et al., "SSD: single shot multibox detector", ECCV 2016, for scores that a convolution, not a
dense layer, computes, so that images of any size can be searched. One box a cell suffices where objects are a
few cells wide. ``fastconv.detection.GridDetection`` says what the channels mean, and holds loss and score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker


def grid_detector(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 10,
    width: int = 16,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make the detector for grey images: (N, 1, H, W) to (N, 5 + classes, H / 8, W / 8), 284,031 parameters.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights are drawn from; an int is a seed.
    classes : int
        Kinds of object.
    width : int
        Filters of the first convolution, of which all others are multiples.
    data_format : str
        ``"channels_first"``, or ``"channels_last"``: (N, H, W, 1) to (N, H / 8, W / 8, 5 + classes).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode, its weights drawn by He's rule. It takes images of any size; those of
        ``fastconv.data.digit_scenes`` are its ``input_shape``.

    Raises
    ------
    ValueError, TypeError
        What the layers refuse: a `width` below 1, an unknown `data_format`.

    Examples
    --------
    >>> from fastconv.models import grid_detector
    >>> model = grid_detector(rng=0)
    >>> summary = model.summary()
    >>> summary.rows[-1].output_shape, summary.parameters
    ((15, 8, 8), 284031)
    """
    make = LayerMaker(rng, data_format, dtype)

    def conv(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            make(nn.Conv2d, inputs, outputs, 3, padding=1, bias=False),
            make(nn.BatchNorm2d, outputs),
            make(nn.ReLU),
        )

    return make.network(
        (1, 64, 64),
        conv(1, width),
        make(nn.MaxPool2d, 2),
        conv(width, 2 * width),
        make(nn.MaxPool2d, 2),
        conv(2 * width, 4 * width),
        conv(4 * width, 4 * width),
        make(nn.MaxPool2d, 2),
        conv(4 * width, 8 * width),
        conv(8 * width, 8 * width),
        make(nn.Conv2d, 8 * width, 5 + classes, 1),
    )
