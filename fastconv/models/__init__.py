"""Networks of the literature, built from ``fastconv.nn``: one file each, and a table of them by name.

To add one, write its function (``rng`` first, the rest with defaults) in a file of its own and enter it in
``NETWORKS``.
"""

from __future__ import annotations

from collections.abc import Callable

from fastconv.models.alexnet import alexnet
from fastconv.models.fashion_net import fashion_net
from fastconv.models.lenet5 import lenet5
from fastconv.models.resnet50 import resnet50
from fastconv.models.vgg16 import vgg16
from fastconv.nn import Sequential

__all__ = ["NETWORKS", "alexnet", "fashion_net", "lenet5", "resnet50", "vgg16"]

NETWORKS: dict[str, Callable[..., Sequential]] = {
    "lenet5": lenet5,
    "fashion_net": fashion_net,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet50": resnet50,
}
