"""A convolution and the max pool behind it in one pass.

Some images at a time are convolved into memory that stays in cache, and pooled from there: the convolution's
result, four times as large as the pool's where windows are 2x2, is never whole, and is not kept.

    y = max over windows of f(conv(x)),   dy/d conv(x) = f'(y) at the maxima, 0 elsewhere

so that the pullback needs x, y and the places of the maxima alone, as long as the slope of the activation f
follows from its result.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from fastconv import _core
from fastconv.nn.activations import NEED_INPUT, activation_pullback, is_untouched
from fastconv.nn.module import Layer, Pullback
from fastconv.nn.parameter import Array
from fastconv.nn.pooling import MaxPool

if TYPE_CHECKING:
    from fastconv.nn.convolution import Convolution


def pooled(conv: Convolution, pool: Layer) -> Layer | None:
    """Return one layer for a convolution and a max pool, ``None`` for others.

    It serves for a single call.
    """
    if not isinstance(pool, MaxPool) or pool.return_indices or conv.activation in NEED_INPUT:
        return None
    if not (is_untouched(conv) and is_untouched(pool)):
        return None
    if (conv.rank, conv.data_format) != (pool.rank, pool.data_format):
        return None
    return _PooledConvolution(conv, pool)


class _PooledConvolution(Layer):
    def __init__(self, conv: Convolution, pool: MaxPool) -> None:
        self._conv = conv
        self._pool = pool

    def _run(self, x: Array, with_index: bool) -> tuple[Array, Any]:
        conv = self._conv
        return _core.conv_max_pool(
            conv.rank,
            x,
            conv.weight.data,
            None if conv.bias is None else conv.bias.data,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            conv.padding_mode,
            conv.data_format,
            conv.activation,
            conv.precision,
            *self._pool.window(),
            with_index,
        )

    def forward(self, x: Array) -> Array:
        return self._run(x, False)[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._conv._read(x)
        y, index = self._run(x, True)
        through_activation = activation_pullback(self._conv.activation, None, y)
        linear = copy.copy(self._conv)
        linear.activation = None

        def pullback(dy: Array, needs_dx: bool) -> Array:
            return linear.pull_back(index.gradient(through_activation(dy)), x, None, needs_dx)

        return y, self._pool._skipping(y, pullback)
