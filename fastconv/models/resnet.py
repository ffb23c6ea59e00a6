"""Residual networks: blocks of convolutions that learn what to add to their input.

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385
(2015): table 1 and figure 5 for ImageNet, section 4.2 for CIFAR. In bottlenecks that halve the planes, the
stride is in the 3 × 3 convolution and not in the 1 × 1 before it, so that no input is skipped: the variant
that is in common use as version 1.5.

A block is ``relu(main(x) + shortcut(x))``. Parameters and buffers have the names and the shapes that they
have in torchvision (``layer1.0.conv1.weight``, ``layer2.0.downsample.1.running_mean``, ``fc.bias``), so that
weights published for PyTorch load by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker
from fastconv.nn.module import Pullback
from fastconv.nn.parameter import Array

IMAGE = (3, 224, 224)
CIFAR_IMAGE = (3, 32, 32)
"""Channels, height and width of the images in the paper; all these networks take other sizes too."""

Path: TypeAlias = dict[str, nn.Layer]
MainPath: TypeAlias = Callable[[LayerMaker, int, int, int], Path]
Shortcut: TypeAlias = Callable[[LayerMaker, int, int, int], nn.Layer]


def resnet18(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    width: int = 64,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make ResNet-18: (N, 3, H, W) to scores (N, classes), 11,689,512 parameters for 1000 classes.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights are drawn from; an int is a seed.
    classes : int
        Number of scores.
    width : int
        Filters of the first convolution, of which all others are multiples.
    data_format : str
        ``"channels_first"``, or ``"channels_last"`` for images (N, H, W, 3).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    Sequential
        The network, in training mode, its weights drawn by He's rule. It takes images of any size; the
        paper's are 224 × 224.

    Raises
    ------
    ValueError, TypeError
        What the layers refuse: no classes, a `width` below 1, an unknown `data_format`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import resnet18
    >>> model = resnet18(rng=0, classes=10, width=8)
    >>> model(np.zeros((2, 3, 64, 64), np.float32)).shape
    (2, 10)
    >>> model.summary().parameters
    177362
    >>> list(model.state_dict())[6]
    'layer1.0.conv1.weight'
    """
    return _imagenet(_basic, 1, (2, 2, 2, 2), width, classes, LayerMaker(rng, data_format, dtype))


def resnet34(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    width: int = 64,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make ResNet-34, 21,797,672 parameters for 1000 classes; arguments as in `resnet18`."""
    return _imagenet(_basic, 1, (3, 4, 6, 3), width, classes, LayerMaker(rng, data_format, dtype))


def resnet50(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    width: int = 64,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make ResNet-50, 25,557,032 parameters for 1000 classes; arguments as in `resnet18`."""
    return _imagenet(_bottleneck, 4, (3, 4, 6, 3), width, classes, LayerMaker(rng, data_format, dtype))


def resnet101(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    width: int = 64,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make ResNet-101, 44,549,160 parameters for 1000 classes; arguments as in `resnet18`."""
    return _imagenet(_bottleneck, 4, (3, 4, 23, 3), width, classes, LayerMaker(rng, data_format, dtype))


def resnet152(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    width: int = 64,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make ResNet-152, 60,192,808 parameters for 1000 classes; arguments as in `resnet18`."""
    return _imagenet(_bottleneck, 4, (3, 8, 36, 3), width, classes, LayerMaker(rng, data_format, dtype))


def resnet20(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 10,
    width: int = 16,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> nn.Sequential:
    """Make ResNet-20 for CIFAR: (N, 3, 32, 32) to (N, classes), 269,722 parameters for 10 classes.

    Three stages of three blocks on 32, 16 and 8 rows, all shortcuts without parameters (the paper's option
    A, see `PaddedShortcut`). Arguments as in `resnet18`, and images of other sizes are taken too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import resnet20
    >>> model = resnet20(rng=0)
    >>> model(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    >>> model.summary().parameters
    269722
    """
    make = LayerMaker(rng, data_format, dtype)
    stem = {**_conv(make, "1", CIFAR_IMAGE[0], width, 3), "relu": nn.ReLU()}
    stages, channels = _stages(make, _basic, 1, (3, 3, 3), width, _padded)
    return make.network(CIFAR_IMAGE, stem | stages | _scores(make, channels, classes))


class ResidualBlock(nn.Residual):
    """The sum of a path and a shortcut, then ReLU; the layers of the path go by their own names here.

    Parameters
    ----------
    main : Sequential
        The path; its layers' names appear without that of the path: ``conv1.weight``, ``bn1.bias``.
    downsample : Layer, optional
        The shortcut, by this name; ``None`` is the input itself.

    Examples
    --------
    >>> from fastconv import nn
    >>> from fastconv.models.resnet import ResidualBlock
    >>> ResidualBlock(nn.Sequential({"conv1": nn.Conv2d(4, 4, 3, padding=1, bias=False)}))
    ResidualBlock(
      (conv1): Conv2d(4, 4, (3, 3), padding=1, bias=False)
    )
    """

    def __init__(self, main: nn.Sequential, downsample: nn.Layer | None = None) -> None:
        super().__init__(main, downsample, activation="relu")

    def children(self) -> Iterator[tuple[str, nn.Layer]]:
        yield from self.main.children()
        if self.shortcut is not None:
            yield "downsample", self.shortcut


class PaddedShortcut(nn.Layer):
    """A shortcut without parameters to smaller planes and more channels: pixels left out, zeros added.

    ``y[:, c, i, j] = x[:, c, stride * i, stride * j]`` for the channels that `x` has, zero for the others:
    option A of He et al. 2015, section 3.3.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of `x` and, at least as many, of the result.
    stride : int
        Every so many rows and columns are kept, the first among them.
    data_format : str
        ``"channels_first"`` or ``"channels_last"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models.resnet import PaddedShortcut
    >>> PaddedShortcut(1, 2, stride=2)(np.array([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]))
    array([[[[1., 3.]],
    <BLANKLINE>
            [[0., 0.]]]])
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, data_format: str = "channels_first"
    ) -> None:
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.data_format = data_format

    def _kept(self, x: Array) -> Array:
        step = slice(None, None, self.stride)
        return x[:, :, step, step] if self.data_format == "channels_first" else x[:, step, step]

    def _filled(self, y: Array) -> Array:
        channels = slice(self.in_channels)
        return y[:, channels] if self.data_format == "channels_first" else y[..., channels]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        input_shape, dtype = x.shape, x.dtype
        output_shape = list(self._kept(x).shape)
        output_shape[1 if self.data_format == "channels_first" else -1] = self.out_channels
        y = np.zeros(output_shape, dtype)
        self._filled(y)[...] = self._kept(x)

        def pullback(dy: Array) -> Array:
            dx = np.zeros(input_shape, dtype)
            self._kept(dx)[...] = self._filled(dy)
            return dx

        return y, self._checked(y, pullback)


def _imagenet(
    main: MainPath, expansion: int, counts: Sequence[int], width: int, classes: int, make: LayerMaker
) -> nn.Sequential:
    """Make a network of the paper's table 1, with 1 × 1 convolutions in shortcuts that change the shape."""
    stem = {
        **_conv(make, "1", IMAGE[0], width, 7, stride=2),
        "relu": nn.ReLU(),
        "maxpool": make(nn.MaxPool2d, 3, stride=2, padding=1),
    }
    stages, channels = _stages(make, main, expansion, counts, width, _projected)
    return make.network(IMAGE, stem | stages | _scores(make, channels, classes))


def _stages(
    make: LayerMaker,
    main: MainPath,
    expansion: int,
    counts: Sequence[int],
    width: int,
    shortcut: Shortcut,
) -> tuple[Path, int]:
    """Make stages of so many blocks, each but the first with half the rows and twice the filters.

    The result is named layers, and the channels of the last.
    """
    stages: Path = {}
    channels = width
    for stage, count in enumerate(counts):
        filters, blocks = width * 2**stage, []
        for index in range(count):
            stride, outputs = 2 if stage > 0 and index == 0 else 1, expansion * filters
            path = nn.Sequential(main(make, channels, filters, stride))
            fits = stride == 1 and channels == outputs
            blocks.append(ResidualBlock(path, None if fits else shortcut(make, channels, outputs, stride)))
            channels = outputs
        stages[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    return stages, channels


def _basic(make: LayerMaker, channels: int, filters: int, stride: int) -> Path:
    """Make two 3 × 3 convolutions."""
    return {
        **_conv(make, "1", channels, filters, 3, stride),
        "relu1": nn.ReLU(),
        **_conv(make, "2", filters, filters, 3),
    }


def _bottleneck(make: LayerMaker, channels: int, filters: int, stride: int) -> Path:
    """Make a 1 × 1 convolution to few channels, a 3 × 3 on those, and a 1 × 1 to four times as many."""
    return {
        **_conv(make, "1", channels, filters, 1),
        "relu1": nn.ReLU(),
        **_conv(make, "2", filters, filters, 3, stride),
        "relu2": nn.ReLU(),
        **_conv(make, "3", filters, 4 * filters, 1),
    }


def _projected(make: LayerMaker, channels: int, outputs: int, stride: int) -> nn.Layer:
    return nn.Sequential(*_conv(make, "", channels, outputs, 1, stride).values())


def _padded(make: LayerMaker, channels: int, outputs: int, stride: int) -> nn.Layer:
    return make(PaddedShortcut, channels, outputs, stride)


def _conv(make: LayerMaker, number: str, channels: int, filters: int, kernel: int, stride: int = 1) -> Path:
    """Make a convolution, which needs no bias, and the batch normalisation behind it."""
    return {
        f"conv{number}": make(nn.Conv2d, channels, filters, kernel, stride, kernel // 2, bias=False),
        f"bn{number}": make(nn.BatchNorm2d, filters),
    }


def _scores(make: LayerMaker, channels: int, classes: int) -> Path:
    return {"avgpool": make(nn.GlobalAvgPool), "fc": make(nn.Linear, channels, classes)}
