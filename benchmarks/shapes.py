"""The one list of layers that every benchmark runs over.

A shape is a layer of a named network: what goes in, the filter, and how the filter moves. A
convolution of an input ``(N, C, *spatial)`` with a weight ``(K, C // groups, *kernel)`` gives
``(N, K, *output)`` with, for each axis,

    output = (input + before + after - dilation * (kernel - 1) - 1) // stride + 1

and the transposed one, with a weight ``(C, K // groups, *kernel)``, the input size that belongs to such an
output. Batches are chosen so that one forward call takes about 2 to 100 ms on two cores.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch

DIRECTIONS = ("forward", "dx", "dw")

LEAST_CUDA_BATCH = 32
"""Images that it takes to keep a GPU busy with most layers."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class Shape(ABC):
    """What every layer has: a name, a family of like layers, an input ``(N, C, *spatial)``."""

    name: str
    family: str
    input: tuple[int, ...]
    quick_batch: int
    """Images in a ``--quick`` run, 0 where the shape is not part of it."""

    @property
    def rank(self) -> int:
        """Number of spatial axes: 1, 2 or 3."""
        return len(self.input) - 2

    @property
    @abstractmethod
    def operation(self) -> str:
        """``"conv"``, ``"conv_transpose"`` or ``"pool"``."""

    @property
    @abstractmethod
    def directions(self) -> tuple[str, ...]:
        """The directions this layer can be run in."""

    @property
    @abstractmethod
    def output(self) -> tuple[int, ...]:
        """Shape of the result, ``(N, K, *spatial)``."""

    @property
    @abstractmethod
    def flops(self) -> int:
        """Floating-point operations of one direction; every direction needs the same number."""

    @property
    @abstractmethod
    def elements_moved(self) -> int:
        """Array elements that one direction must read or write at the least, each once."""

    def quick(self) -> Shape:
        """Return the same layer with the batch of a ``--quick`` run."""
        return self.with_batch(self.quick_batch)

    def with_batch(self, images: int) -> Shape:
        """Return the same layer for so many images."""
        return replace(self, input=(images, *self.input[1:]))


@dataclass(frozen=True)
class ConvShape(Shape):
    """A convolution or, with ``transposed``, a transposed one."""

    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[Pair, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def operation(self) -> str:
        """``"conv"`` or ``"conv_transpose"``."""
        return "conv_transpose" if self.transposed else "conv"

    @property
    def directions(self) -> tuple[str, ...]:
        """Forward, input gradient and weight gradient."""
        return DIRECTIONS

    @property
    def kernel(self) -> tuple[int, ...]:
        """Filter size along each spatial axis."""
        return self.weight[2:]

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the result, ``(N, K, *spatial)``."""
        channels = self.weight[1] * self.groups if self.transposed else self.weight[0]
        return (self.input[0], channels, *(self._output_size(axis) for axis in range(self.rank)))

    def _output_size(self, axis: int) -> int:
        size, stride, pad = self.input[axis + 2], self.stride[axis], sum(self.padding[axis])
        reach = self.dilation[axis] * (self.kernel[axis] - 1)
        if self.transposed:
            return (size - 1) * stride - pad + reach + 1 + self.output_padding[axis]
        return (size + pad - reach - 1) // stride + 1

    @property
    def flops(self) -> int:
        """Two per multiply-add; one multiply-add per weight and position of the filter and image."""
        positions = self.input[2:] if self.transposed else self.output[2:]
        return 2 * self.input[0] * math.prod(positions) * math.prod(self.weight)

    @property
    def elements_moved(self) -> int:
        """Input, weight and output, each once."""
        return math.prod(self.input) + math.prod(self.weight) + math.prod(self.output)


@dataclass(frozen=True)
class PoolShape(Shape):
    """A pooling layer; ``kind`` is ``"max"``, ``"avg"``, ``"lp"``, ``"adaptive_avg"``, ``"adaptive_max"``
    or ``"global_avg"``.

    ``window`` holds the window's size, and for the adaptive kinds the size of the output.
    """

    kind: str
    window: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    ceil_mode: bool = False
    norm: float = 2.0

    @property
    def operation(self) -> str:
        """``"pool"``."""
        return "pool"

    @property
    def directions(self) -> tuple[str, ...]:
        """Forward and input gradient: there is no weight."""
        return DIRECTIONS[:2]

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the result, ``(N, C, *spatial)``."""
        if self.kind == "global_avg":
            return self.input[:2]
        if self.kind.startswith("adaptive"):
            return (*self.input[:2], *self.window)
        return (*self.input[:2], *(self._output_size(axis) for axis in range(self.rank)))

    def _output_size(self, axis: int) -> int:
        size, stride, pad = self.input[axis + 2], self.stride[axis], self.padding[axis]
        room = size + 2 * pad - self.window[axis]
        if not self.ceil_mode:
            return room // stride + 1
        count = -(-room // stride) + 1
        return count if (count - 1) * stride < size + pad else count - 1

    @property
    def flops(self) -> int:
        """One per element of a window."""
        if self.kind == "global_avg" or self.kind.startswith("adaptive"):
            return math.prod(self.input)
        return math.prod(self.output) * math.prod(self.window)

    @property
    def elements_moved(self) -> int:
        """Input (or its gradient) and output, each once."""
        return math.prod(self.input) + math.prod(self.output)


def _per_axis(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else value


def _conv(
    family: str,
    name: str,
    input: tuple[int, ...],
    filters: int,
    kernel: int | tuple[int, ...],
    *,
    stride: int = 1,
    padding: int | Pair = 0,
    dilation: int = 1,
    groups: int = 1,
    quick: int = 0,
) -> ConvShape:
    """A convolution; an ``int`` holds for every axis, a padding pair is (before, after)."""
    rank = len(input) - 2
    pair = (padding, padding) if isinstance(padding, int) else padding
    return ConvShape(
        name=name,
        family=family,
        input=input,
        quick_batch=quick,
        weight=(filters, input[1] // groups, *_per_axis(kernel, rank)),
        stride=(stride,) * rank,
        padding=(pair,) * rank,
        dilation=(dilation,) * rank,
        groups=groups,
    )


def _transposed(
    family: str,
    name: str,
    input: tuple[int, ...],
    filters: int,
    kernel: int,
    *,
    stride: int,
    padding: int = 0,
    output_padding: int = 0,
    quick: int = 0,
) -> ConvShape:
    """A transposed convolution."""
    rank = len(input) - 2
    return ConvShape(
        name=name,
        family=family,
        input=input,
        quick_batch=quick,
        weight=(input[1], filters, *(kernel,) * rank),
        stride=(stride,) * rank,
        padding=((padding, padding),) * rank,
        dilation=(1,) * rank,
        groups=1,
        transposed=True,
        output_padding=(output_padding,) * rank,
    )


def _pool(
    name: str,
    kind: str,
    input: tuple[int, ...],
    window: int,
    *,
    stride: int = 1,
    padding: int = 0,
    ceil_mode: bool = False,
    quick: int = 0,
) -> PoolShape:
    """A pooling layer whose window, stride and padding are the same along every axis."""
    rank = len(input) - 2
    return PoolShape(
        name=name,
        family="pooling",
        input=input,
        quick_batch=quick,
        kind=kind,
        window=(window,) * rank,
        stride=(stride,) * rank,
        padding=(padding,) * rank,
        ceil_mode=ceil_mode,
    )


def _causal(
    name: str, input: tuple[int, int, int], filters: int, taps: int, dilation: int, quick: int = 0
) -> ConvShape:
    """A 1-D convolution that sees the past only: all its padding is before."""
    past = dilation * (taps - 1)
    return _conv("1-D", name, input, filters, taps, padding=(past, 0), dilation=dilation, quick=quick)


SHAPES: tuple[Shape, ...] = (
    # LeNet-5 (LeCun et al. 1998), MNIST padded to 32x32.
    _conv("LeNet-5", "lenet5-c1", (256, 1, 32, 32), 6, 5),
    _conv("LeNet-5", "lenet5-c3", (256, 6, 14, 14), 16, 5, quick=64),
    # A net for Fashion-MNIST: 7x7x64, pool, 2 x (3x3x128), pool, 2 x (3x3x256).
    _conv("Fashion-MNIST net", "fashion-7x7-1-64", (64, 1, 28, 28), 64, 7, padding=3),
    _conv("Fashion-MNIST net", "fashion-3x3-64-128", (32, 64, 14, 14), 128, 3, padding=1, quick=8),
    _conv("Fashion-MNIST net", "fashion-3x3-128-128", (32, 128, 14, 14), 128, 3, padding=1),
    _conv("Fashion-MNIST net", "fashion-3x3-128-256", (32, 128, 7, 7), 256, 3, padding=1),
    _conv("Fashion-MNIST net", "fashion-3x3-256-256", (32, 256, 7, 7), 256, 3, padding=1),
    # AlexNet (Krizhevsky et al. 2012), without its split into two groups.
    _conv("AlexNet", "alexnet-11x11-s4", (8, 3, 227, 227), 96, 11, stride=4),
    _conv("AlexNet", "alexnet-5x5", (8, 96, 27, 27), 256, 5, padding=2),
    _conv("AlexNet", "alexnet-3x3-256-384", (16, 256, 13, 13), 384, 3, padding=1),
    _conv("AlexNet", "alexnet-3x3-384-384", (16, 384, 13, 13), 384, 3, padding=1),
    _conv("AlexNet", "alexnet-3x3-384-256", (16, 384, 13, 13), 256, 3, padding=1),
    # VGG-16 (Simonyan and Zisserman 2014): every distinct layer.
    _conv("VGG-16", "vgg16-3-64@224", (4, 3, 224, 224), 64, 3, padding=1),
    _conv("VGG-16", "vgg16-64-64@224", (4, 64, 224, 224), 64, 3, padding=1),
    _conv("VGG-16", "vgg16-64-128@112", (4, 64, 112, 112), 128, 3, padding=1),
    _conv("VGG-16", "vgg16-128-128@112", (4, 128, 112, 112), 128, 3, padding=1),
    _conv("VGG-16", "vgg16-128-256@56", (4, 128, 56, 56), 256, 3, padding=1),
    _conv("VGG-16", "vgg16-256-256@56", (4, 256, 56, 56), 256, 3, padding=1),
    _conv("VGG-16", "vgg16-256-512@28", (4, 256, 28, 28), 512, 3, padding=1),
    _conv("VGG-16", "vgg16-512-512@28", (4, 512, 28, 28), 512, 3, padding=1),
    _conv("VGG-16", "vgg16-512-512@14", (4, 512, 14, 14), 512, 3, padding=1, quick=1),
    # ResNet-50 (He et al. 2015); the stride sits in the 3x3, as in torchvision.
    _conv("ResNet-50", "resnet50-stem-7x7-s2", (8, 3, 224, 224), 64, 7, stride=2, padding=3, quick=1),
    _conv("ResNet-50", "resnet50-1x1-64-64@56", (8, 64, 56, 56), 64, 1),
    _conv("ResNet-50", "resnet50-1x1-64-256@56", (8, 64, 56, 56), 256, 1),
    _conv("ResNet-50", "resnet50-1x1-256-64@56", (8, 256, 56, 56), 64, 1, quick=2),
    _conv("ResNet-50", "resnet50-1x1-512-128@28", (8, 512, 28, 28), 128, 1),
    _conv("ResNet-50", "resnet50-1x1-256-1024@14", (16, 256, 14, 14), 1024, 1),
    _conv("ResNet-50", "resnet50-1x1-2048-512@7", (16, 2048, 7, 7), 512, 1),
    _conv("ResNet-50", "resnet50-1x1-s2-256-512@56", (8, 256, 56, 56), 512, 1, stride=2),
    _conv("ResNet-50", "resnet50-3x3-64-64@56", (8, 64, 56, 56), 64, 3, padding=1),
    _conv("ResNet-50", "resnet50-3x3-128-128@28", (8, 128, 28, 28), 128, 3, padding=1),
    _conv("ResNet-50", "resnet50-3x3-256-256@14", (8, 256, 14, 14), 256, 3, padding=1),
    _conv("ResNet-50", "resnet50-3x3-512-512@7", (16, 512, 7, 7), 512, 3, padding=1),
    _conv("ResNet-50", "resnet50-3x3-s2-128-128@56", (8, 128, 56, 56), 128, 3, stride=2, padding=1),
    _conv("ResNet-50", "resnet50-3x3-s2-256-256@28", (8, 256, 28, 28), 256, 3, stride=2, padding=1),
    # GoogLeNet (Szegedy et al. 2014): the branches of inception 3a and 4e.
    _conv("GoogLeNet", "googlenet-1x1-192-64@28", (16, 192, 28, 28), 64, 1),
    _conv("GoogLeNet", "googlenet-3x3-96-128@28", (8, 96, 28, 28), 128, 3, padding=1),
    _conv("GoogLeNet", "googlenet-5x5-16-32@28", (16, 16, 28, 28), 32, 5, padding=2),
    _conv("GoogLeNet", "googlenet-5x5-32-128@14", (16, 32, 14, 14), 128, 5, padding=2),
    # MobileNet (Howard et al. 2017): one filter per channel.
    _conv("depthwise", "mobilenet-dw-s1-32@112", (8, 32, 112, 112), 32, 3, padding=1, groups=32),
    _conv("depthwise", "mobilenet-dw-s2-64@112", (8, 64, 112, 112), 64, 3, stride=2, padding=1, groups=64),
    _conv("depthwise", "mobilenet-dw-s1-256@28", (16, 256, 28, 28), 256, 3, padding=1, groups=256, quick=4),
    _conv("depthwise", "mobilenet-dw-s2-512@14", (16, 512, 14, 14), 512, 3, stride=2, padding=1, groups=512),
    _conv("depthwise", "convnext-dw-7x7-96@56", (8, 96, 56, 56), 96, 7, padding=3, groups=96),
    _conv("depthwise", "replknet-dw-31x31-128@28", (4, 128, 28, 28), 128, 31, padding=15, groups=128),
    # ResNeXt-50 32x4d (Xie et al. 2016): 32 groups.
    _conv("groups", "resnext50-3x3-128-g32@56", (8, 128, 56, 56), 128, 3, padding=1, groups=32),
    _conv("groups", "resnext50-3x3-256-g32@28", (8, 256, 28, 28), 256, 3, padding=1, groups=32),
    _conv(
        "groups",
        "resnext50-3x3-s2-512-g32@28",
        (8, 512, 28, 28),
        512,
        3,
        stride=2,
        padding=1,
        groups=32,
        quick=1,
    ),
    # Dilated: WaveNet (van den Oord et al. 2016), a temporal convolutional net, DeepLab's atrous branch.
    _causal("wavenet-2tap-d64", (4, 64, 16000), 128, 2, 64),
    _causal("causal-17tap-d4", (4, 64, 4000), 64, 17, 4, quick=1),
    _causal("causal-64tap", (4, 32, 4000), 32, 64, 1),
    _conv("1-D", "speech-9tap-s2-80-256", (8, 80, 3000), 256, 9, stride=2, padding=4),
    _conv("dilated", "deeplab-3x3-d6-256@33", (4, 256, 33, 33), 256, 3, padding=6, dilation=6),
    _conv("dilated", "context-3x3-d2-64@64", (4, 64, 64, 64), 64, 3, padding=2, dilation=2),
    # 3-D: C3D (Tran et al. 2015) and a volumetric segmentation net.
    _conv("3-D", "c3d-3-64@16x56", (4, 3, 16, 56, 56), 64, 3, padding=1, quick=1),
    _conv("3-D", "c3d-64-128@8x28", (4, 64, 8, 28, 28), 128, 3, padding=1),
    _conv("3-D", "c3d-256-256@4x14", (4, 256, 4, 14, 14), 256, 3, padding=1),
    _conv("3-D", "vnet-5x5x5-16@32", (2, 16, 32, 32, 32), 16, 5, padding=2),
    # Transposed: DCGAN (Radford et al. 2015), a decoder's doubling layers, a 3-D one, a 1-D vocoder.
    _transposed("transposed", "dcgan-4x4-512-256@8", (16, 512, 8, 8), 256, 4, stride=2, padding=1, quick=1),
    _transposed("transposed", "dcgan-4x4-128-3@32", (16, 128, 32, 32), 3, 4, stride=2, padding=1),
    _transposed("transposed", "decoder-2x2-128-64@56", (4, 128, 56, 56), 64, 2, stride=2),
    _transposed(
        "transposed", "decoder-3x3-128-64@28", (8, 128, 28, 28), 64, 3, stride=2, padding=1, output_padding=1
    ),
    _transposed("transposed", "vnet-2x2x2-64-32@16", (4, 64, 16, 16, 16), 32, 2, stride=2),
    _transposed("transposed", "vocoder-16tap-s8-256", (4, 256, 256), 128, 16, stride=8, padding=4),
    # One image, small images, odd channel counts, wide filters.
    _conv("batch 1", "batch1-3x3-64-64@56", (1, 64, 56, 56), 64, 3, padding=1),
    _conv("batch 1", "batch1-3x3-512-512@7", (1, 512, 7, 7), 512, 3, padding=1),
    _conv("batch 1", "batch1-1x1-1024-256@14", (1, 1024, 14, 14), 256, 1),
    _conv("odd channels", "odd-3x3-30-100@28", (16, 30, 28, 28), 100, 3, padding=1),
    _conv("odd channels", "odd-3x3-100-30@28", (16, 100, 28, 28), 30, 3, padding=1),
    _conv("odd channels", "odd-1x1-100-100@27", (16, 100, 27, 27), 100, 1),
    _conv("wide filters", "wide-7x7-64-64@28", (4, 64, 28, 28), 64, 7, padding=3),
    _conv("wide filters", "wide-9x9-64-32@48", (4, 64, 48, 48), 32, 9, padding=4),
    _conv("wide filters", "wide-11x11-32-32@48", (4, 32, 48, 48), 32, 11, padding=5),
    _conv("wide filters", "wide-31x31-8-8@64", (4, 8, 64, 64), 8, 31, padding=15),
    # Pooling.
    _pool("lenet5-avg-2x2-s2", "avg", (256, 6, 28, 28), 2, stride=2),
    _pool("alexnet-max-3x3-s2", "max", (16, 96, 55, 55), 3, stride=2),
    _pool("vgg16-max-2x2-s2@112", "max", (8, 128, 112, 112), 2, stride=2, quick=1),
    _pool("resnet50-max-3x3-s2-p1", "max", (8, 64, 112, 112), 3, stride=2, padding=1),
    _pool("googlenet-max-3x3-s1-p1", "max", (8, 192, 28, 28), 3, padding=1),
    _pool("googlenet-max-3x3-s2-ceil", "max", (8, 192, 56, 56), 3, stride=2, ceil_mode=True),
    _pool("densenet-avg-2x2-s2", "avg", (8, 256, 28, 28), 2, stride=2),
    _pool("inception-avg-3x3-s1-p1", "avg", (8, 256, 28, 28), 3, padding=1),
    _pool("lp-2x2-s2", "lp", (8, 64, 56, 56), 2, stride=2),
    _pool("vgg-adaptive-avg-7", "adaptive_avg", (16, 512, 14, 14), 7),
    _pool("adaptive-max-7@27", "adaptive_max", (16, 256, 27, 27), 7),
    _pool("resnet50-global-avg", "global_avg", (64, 2048, 7, 7), 7, quick=8),
    _pool("c3d-max-2x2x2-s2", "max", (4, 64, 16, 56, 56), 2, stride=2),
    _pool("wave-max-4-s4", "max", (8, 64, 16000), 4, stride=4),
)


def select(
    pattern: str | None = None, *, quick: bool = False, least_batch: int | None = None
) -> Iterator[Shape]:
    """Yield the shapes of a run.

    Parameters
    ----------
    pattern : str, optional
        Shell-style pattern(s), separated by commas, matched without case against the name and the family;
        a pattern without ``*`` or ``?`` matches anywhere in them.
    quick : bool
        Take the ``--quick`` subset, with its small batches.
    least_batch : int, optional
        Grow smaller batches to this one, but for layers of a single image; small batches of the ``--quick``
        subset then grow too.

    """
    matches = matcher(pattern)
    for shape in SHAPES:
        if (shape.quick_batch or not quick) and matches(shape.name, shape.family):
            if least_batch is None:
                yield shape.quick() if quick else shape
            else:
                batch = shape.input[0]
                yield shape if batch == 1 else shape.with_batch(max(batch, least_batch))


def matcher(pattern: str | None) -> Callable[..., bool]:
    """Return a function that tells whether any of its texts matches `pattern`, read as in `select`."""
    patterns = [part.strip().lower() for part in pattern.split(",")] if pattern else ["*"]
    globs = [part if any(mark in part for mark in "*?[") else f"*{part}*" for part in patterns]
    return lambda *texts: any(fnmatch(text.lower(), glob) for text in texts for glob in globs)
