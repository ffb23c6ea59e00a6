"""U-Net: a fully convolutional network that names the class of every pixel.

O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015, in a small form: one convolution where the paper
has two, padded, so that the result has the size of the image, and normalised by batches. It follows J. Long,
E. Shelhamer, T. Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015: a path down,
where planes shrink and a pixel sees more and more of the image, transposed convolutions up again, and skips
that bring back where exactly things were. A level of the U is

    convolution, Concat(skip: the planes as they are,
                        around: pool, the level below, transposed convolution), convolution

and two convolutions at the bottom.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker


def unet(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 11,
    width: int = 16,
    depth: int = 3,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make a U-Net for grey images: (N, 1, H, W) to scores (N, classes, H, W), 385,515 parameters.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights are drawn from; an int is a seed.
    classes : int
        Scores of each pixel; that of the background is one of them.
    width : int
        Filters of the convolutions at the image's own size; each level further down has twice as many.
    depth : int
        Levels below that.
    data_format : str
        ``"channels_first"``, or ``"channels_last"``: (N, H, W, 1) to (N, H, W, classes).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode, its weights drawn by He's rule. It takes images whose sides are
        multiples of ``2 ** depth``; those of ``fastconv.data.digit_scenes`` are its ``input_shape``.

    Raises
    ------
    ValueError, TypeError
        What the layers refuse: no classes, a `width` below 1, an unknown `data_format`.

    Examples
    --------
    >>> from fastconv.models import unet
    >>> model = unet(rng=0)
    >>> summary = model.summary()
    >>> summary.rows[-1].output_shape, summary.parameters
    ((11, 64, 64), 385515)
    """
    make = LayerMaker(rng, data_format, dtype)

    def normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Layer]:
        return [convolution, make(nn.BatchNorm2d, convolution.out_channels), make(nn.ReLU)]

    def conv(inputs: int, outputs: int) -> list[nn.Layer]:
        return normalised(make(nn.Conv2d, inputs, outputs, 3, padding=1, bias=False))

    def level(inputs: int, filters: int, below: int) -> list[nn.Layer]:
        if below == 0:
            return [*conv(inputs, filters), *conv(filters, filters)]
        skip = nn.Sequential()
        around = nn.Sequential(
            make(nn.MaxPool2d, 2),
            *level(filters, 2 * filters, below - 1),
            *normalised(make(nn.ConvTranspose2d, 2 * filters, filters, 2, stride=2, bias=False)),
        )
        return [*conv(inputs, filters), make(nn.Concat, skip, around), *conv(2 * filters, filters)]

    return make.network((1, 64, 64), *level(1, width, depth), make(nn.Conv2d, width, classes, 1))
