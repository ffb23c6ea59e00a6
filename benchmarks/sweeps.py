"""How a layer is varied: the threads, the batch, the channels or the image's side, one at a time.

A sweep's layers are those of `benchmarks.shapes` with one size replaced; all else stays as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from benchmarks.shapes import ConvShape

LARGE = ("vgg16-512-512@14", "resnet50-3x3-64-64@56", "resnet50-1x1-256-1024@14")
SMALL = ("lenet5-c3", "googlenet-5x5-16-32@28", "mobilenet-dw-s1-256@28")
"""What is varied where ``--only`` names nothing."""

MOST_FLOPS = 64_000_000_000
MOST_ELEMENTS = 2**27
"""No layer of a sweep has more arithmetic, or larger arrays."""

_SHARE_OF_DW = 4
"""Weight gradients get a fourth of both: the reference, in float64, sums them over the whole batch."""

_SHARE_OF_QUICK = 16


@dataclass(frozen=True)
class Sweep:
    """What is varied, the values it takes, and the layer that a value makes of another."""

    name: str
    values: Callable[[ConvShape], tuple[int, ...]]
    vary: Callable[[ConvShape, int], ConvShape]

    def layers(
        self, layer: ConvShape, direction: str, *, quick: bool = False
    ) -> Iterator[tuple[int, ConvShape]]:
        """Yield the values and the layers that they make, as far as these exist and are not too large.

        A quick sweep takes every other value, and smaller layers.
        """
        share = (_SHARE_OF_DW if direction == "dw" else 1) * (_SHARE_OF_QUICK if quick else 1)
        for value in self.values(layer)[:: 2 if quick else 1]:
            varied = self.vary(layer, value)
            exists = varied.input[1] % varied.groups == 0 and min(varied.output) > 0
            if (
                exists
                and share * varied.flops <= MOST_FLOPS
                and share * varied.elements_moved <= MOST_ELEMENTS
            ):
                yield value, replace(varied, name=f"{layer.name}, {self.name} {value}")


def thread_counts(most: int) -> tuple[int, ...]:
    """Return 1 to `most`, above 8 only the powers of two and `most` itself."""
    powers = (2**power for power in range(4, most.bit_length()))
    return tuple(sorted({*range(1, min(most, 8) + 1), *powers, most}))


def _with_batch(layer: ConvShape, batch: int) -> ConvShape:
    return replace(layer, input=(batch, *layer.input[1:]))


def _with_channels(layer: ConvShape, channels: int) -> ConvShape:
    """As many filters as channels; a depthwise layer stays one."""
    groups = channels if 1 < layer.groups == layer.input[1] else layer.groups
    return replace(
        layer,
        input=(layer.input[0], channels, *layer.input[2:]),
        weight=(channels, channels // groups, *layer.kernel),
        groups=groups,
    )


def _with_side(layer: ConvShape, side: int) -> ConvShape:
    return replace(layer, input=(*layer.input[:2], *(side,) * layer.rank))


_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_CHANNELS = (16, 24, 30, 32, 50, 64, 100, 128, 200, 256, 384, 512)
_SIDES = {
    1: (500, 1000, 2000, 4000, 8000, 16000),
    2: (7, 14, 28, 56, 112, 224),
    3: (4, 8, 16, 32, 64),
}

SWEEPS = (
    Sweep("batch", lambda layer: _BATCHES, _with_batch),
    Sweep("channels", lambda layer: _CHANNELS, _with_channels),
    Sweep("side", lambda layer: _SIDES[layer.rank], _with_side),
)
