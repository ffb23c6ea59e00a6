"""Networks of the literature, built from ``fastconv.nn``: one file each, and a table of them by name.

To add one, write its function (``rng`` first, the rest with defaults, ``data_format`` and ``dtype`` among
them) in a file of its own and enter it in ``NETWORKS``; a ``LayerMaker`` makes its layers. Every network
knows the ``input_shape`` that its ``summary()`` takes, and a state of one data format loads into the other.
"""

from __future__ import annotations

from collections.abc import Callable

from fastconv.models.alexnet import alexnet
from fastconv.models.fashion_net import fashion_net
from fastconv.models.googlenet import auxiliary_cross_entropy, googlenet
from fastconv.models.grid_detector import grid_detector
from fastconv.models.lenet5 import lenet5
from fastconv.models.mobilenet import mobilenet_v1
from fastconv.models.network_in_network import network_in_network
from fastconv.models.resnet import resnet18, resnet20, resnet34, resnet50, resnet101, resnet152
from fastconv.models.smile_net import smile_net
from fastconv.models.squeezenet import squeezenet1_1
from fastconv.models.unet import unet
from fastconv.models.vgg16 import vgg16
from fastconv.nn import Sequential

__all__ = [
    "NETWORKS",
    "alexnet",
    "auxiliary_cross_entropy",
    "fashion_net",
    "googlenet",
    "grid_detector",
    "lenet5",
    "mobilenet_v1",
    "network_in_network",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "smile_net",
    "squeezenet1_1",
    "unet",
    "vgg16",
]

NETWORKS: dict[str, Callable[..., Sequential]] = {
    "lenet5": lenet5,
    "fashion_net": fashion_net,
    "smile_net": smile_net,
    "network_in_network": network_in_network,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "grid_detector": grid_detector,
    "unet": unet,
    "googlenet": googlenet,
    "mobilenet_v1": mobilenet_v1,
    "squeezenet1_1": squeezenet1_1,
}
