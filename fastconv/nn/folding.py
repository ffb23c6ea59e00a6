"""Batch normalisation folded into the convolution before it, for evaluation.

By its kept statistics a normalisation is a scale and a shift for each channel, and a convolution is linear:

    s * (w * x + b - m) + beta  =  (s * w) * x + (s * (b - m) + beta),   s = gamma / sqrt(v + eps)

so that one convolution with other filters does both, and the pass over its result is saved. The filters are
scaled anew in each call: they may have been changed since the last. A max pool behind it joins that
convolution as it would any other.
"""

from __future__ import annotations

import copy

import numpy as np

from fastconv import _core
from fastconv.nn.activations import ActivatedLayer, is_untouched
from fastconv.nn.convolution import Convolution
from fastconv.nn.module import Layer
from fastconv.nn.normalisation import BatchNorm
from fastconv.nn.parameter import Array, Parameter
from fastconv.nn.pooling import MaxPool


def folded(conv: Layer, norm: Layer) -> Layer | None:
    """Return one layer for a convolution and a normalisation by kept statistics, ``None`` for others.

    It has no derivative, and serves for a single call.
    """
    if not (isinstance(conv, Convolution) and isinstance(norm, BatchNorm)):
        return None
    if not (is_untouched(conv) and is_untouched(norm)) or conv.activation is not None or norm.by_batch:
        return None
    if (conv.out_channels, conv.data_format) != (norm.num_features, norm.data_format):
        return None
    return _NormalisedConvolution(conv, norm)


class _NormalisedConvolution(ActivatedLayer):
    def __init__(self, conv: Convolution, norm: BatchNorm) -> None:
        self._conv = conv
        self._norm = norm
        self._pool: MaxPool | None = None

    def followed_by(self, layer: Layer) -> Layer | None:
        if self._pool is not None:
            return None
        if not isinstance(layer, MaxPool):
            return super().followed_by(layer)
        both = copy.copy(self)
        both._pool = layer
        return both

    def forward(self, x: Array) -> Array:
        for layer in self._layers_for(x):
            x = layer.forward(x)
        return x

    def _layers_for(self, x: Array) -> list[Layer]:
        conv, norm = copy.copy(self._conv), copy.copy(self._norm)
        # Filters larger than the images are more work to scale than the result.
        if np.ndim(x) != conv.rank + 2 or np.size(x) < conv.weight.data.size:
            norm.activation = self.activation
            return [conv, norm] if self._pool is None else [conv, norm, self._pool]
        conv.activation = self.activation
        conv.weight, conv.bias = self._filters()
        if self._pool is None:
            return [conv]
        both = conv.followed_by(self._pool)
        return [conv, self._pool] if both is None else [both]

    def _filters(self) -> tuple[Parameter, Parameter]:
        """Normalise the filters without any shift, and the bias with it."""
        conv, norm = self._conv, self._norm
        weight = conv.weight.data
        channels = len(weight)
        bias = np.zeros(channels, weight.dtype) if conv.bias is None else conv.bias.data
        gamma, beta = (None if p is None else p.data for p in (norm.weight, norm.bias))

        def normalised(values: Array, beta: Array | None, mean: Array | None) -> Array:
            others = (norm.running_var, 0.0, norm.eps, False, "channels_first", None)
            return _core.batch_norm(values, gamma, beta, mean, *others)[0]

        no_mean = np.zeros_like(norm.running_var)
        scaled = normalised(weight.reshape(1, channels, -1), None, no_mean)
        shifted = normalised(bias.reshape(1, channels), beta, norm.running_mean)
        return Parameter(scaled.reshape(weight.shape), "weight"), Parameter(shifted.reshape(channels), "bias")
