"""Layers over NumPy arrays: PyTorch's names, explicit derivatives.

``y = layer(x)`` and ``dx = layer.backward(dy)`` train; ``y, pullback = layer.vjp(x)`` does the same and keeps
no state in the layer. ``fastconv.nn.losses`` starts the way back, ``fastconv.optim`` makes the steps.
"""

from fastconv.nn import init, losses
from fastconv.nn.activations import GELU, LeakyReLU, ReLU, ReLU6, Sigmoid, SiLU, Softmax, Tanh
from fastconv.nn.adaptive_pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    ChannelAvgPool,
    ChannelMaxPool,
    GlobalAvgPool,
    GlobalMaxPool,
)
from fastconv.nn.containers import Concat, Residual, Sequential
from fastconv.nn.convolution import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from fastconv.nn.linear import Flatten, Linear
from fastconv.nn.module import IncompatibleKeys, Layer
from fastconv.nn.normalisation import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Dropout,
    LocalResponseNorm,
)
from fastconv.nn.parameter import Parameter
from fastconv.nn.pooling import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from fastconv.nn.summary import Summary, SummaryRow
from fastconv.nn.unpooling import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d

__all__ = [
    "GELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "ChannelAvgPool",
    "ChannelMaxPool",
    "Concat",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "IncompatibleKeys",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Summary",
    "SummaryRow",
    "Tanh",
    "init",
    "losses",
]
