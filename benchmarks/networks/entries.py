"""The one list of networks that are raced, with the batches of `fastconv`'s published goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.shapes import matcher

DIRECTIONS = ("inference", "training")


@dataclass(frozen=True)
class Network:
    """A network of `fastconv.models`, the shape of its images, and how many of them make a batch."""

    title: str
    name: str
    image: tuple[int, int, int]
    batch: int
    quick_batch: int = 0
    """Images in a ``--quick`` run, 0 where the network is not part of it."""
    quick_size: int = 0
    """Their height and width, 0 where these are as ever."""
    classes: int = 1000
    keywords: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Title and batch, such as ``"VGG-16 (4)"``."""
        return f"{self.title} ({self.batch})"

    def quick(self) -> Network:
        """Return the same network with the batch of a ``--quick`` run."""
        small = replace(self, batch=self.quick_batch)
        if not self.quick_size:
            return small
        size = self.quick_size
        return replace(small, title=f"{self.title}@{size}", image=(self.image[0], size, size))


# Dropped elements are drawn in another way by every library: networks are compared, and raced, without.
_WHOLE = {"dropout": 0.0}

NETWORKS = (
    Network("LeNet-5", "lenet5", (1, 28, 28), 64, quick_batch=64, classes=10),
    Network("Fashion-MNIST net", "fashion_net", (1, 28, 28), 32, quick_batch=8, classes=10, keywords=_WHOLE),
    Network("AlexNet", "alexnet", (3, 224, 224), 8, keywords=_WHOLE | {"image_size": 224}),
    Network("VGG-16", "vgg16", (3, 224, 224), 4, keywords=_WHOLE),
    Network("ResNet-50", "resnet50", (3, 224, 224), 8, quick_batch=2, quick_size=96),
)


def select(pattern: str | None = None, *, quick: bool = False) -> Iterator[Network]:
    """Yield the networks of a run, by patterns as in `benchmarks.shapes.select`."""
    matches = matcher(pattern)
    for network in NETWORKS:
        if (network.quick_batch or not quick) and matches(network.title, network.name):
            yield network.quick() if quick else network
