"""Layers made of layers: one after the other, side by side and added, side by side and joined.

Each implements the chain rule for its shape: pullbacks are called in reverse order, and gradients of an input
that is used more than once are added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import overload

import numpy as np

from fastconv import _core
from fastconv.nn.activations import NEED_INPUT, ActivatedLayer, activation_pullback
from fastconv.nn.arguments import as_numpy, check_data_format
from fastconv.nn.folding import folded
from fastconv.nn.module import Layer, Pullback, SkippingPullback, describe
from fastconv.nn.parameter import Array


class _Container(Layer):
    """Named layers, kept in order."""

    def _keep(self, layers: Mapping[str, Layer]) -> None:
        for name, layer in layers.items():
            if not isinstance(layer, Layer):
                raise TypeError(f"{type(self).__name__}: {name} must be a layer, got {type(layer).__name__}")
        self._layers = dict(layers)

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield from self._layers.items()

    def __repr__(self) -> str:
        lines = [f"({name}): {layer!r}".replace("\n", "\n  ") for name, layer in self.children()]
        return "\n  ".join([f"{type(self).__name__}({describe(self)}", *lines]) + "\n)"


def _numbered(layers: tuple[Layer, ...]) -> dict[str, Layer]:
    return {str(index): layer for index, layer in enumerate(layers)}


class Sequential(_Container):
    """Layers one after the other.

    A convolution, a linear layer, a batch normalisation or a ``Residual`` and an activation right behind it
    (ReLU, ReLU6, LeakyReLU with its default slope, Sigmoid, Tanh) are computed in one pass, as if the
    activation were the layer's own. In evaluation mode so are a convolution and the batch normalisation
    behind it. A max pool that follows, without `return_indices`, joins the convolution too: the result
    between them, which is the larger one, is neither written out whole nor kept for the gradient.

    Parameters
    ----------
    *layers : Layer
        In the order of use; or one mapping of names to layers, whose names then appear in
        ``named_parameters()`` instead of numbers.

    Raises
    ------
    TypeError
        Something that is no layer.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.GlobalAvgPool(), nn.Linear(4, 2, rng=1))
    >>> y = model(np.ones((5, 1, 8, 8), np.float32))
    >>> y.shape
    (5, 2)
    >>> model.backward(np.ones_like(y)).shape
    (5, 1, 8, 8)
    >>> [name for name, _ in model.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Layer | Mapping[str, Layer]) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            self._keep(layers[0])
        else:
            self._keep(_numbered(layers))  # type: ignore[arg-type]  # _keep refuses what is no layer

    def _steps(self, differentiable: bool) -> list[Layer]:
        """Return what stands in for the layers in a call: neighbours that have a common pass are one."""
        steps: list[Layer] = []
        for layer in self:
            before = steps[-1] if steps else None
            both = before.followed_by(layer) if isinstance(before, ActivatedLayer) else None
            if before is not None and both is None and not differentiable:
                both = folded(before, layer)
            if both is None:
                steps.append(layer)
            else:
                steps[-1] = both
        return steps

    def forward(self, x: Array) -> Array:
        if not self._layers:
            return as_numpy("Sequential", "x", x)
        for layer in self._steps(differentiable=False):
            x = layer.forward(x)
        return x

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        if not self._layers:
            x = as_numpy("Sequential", "x", x)
            return x, self._checked(x, lambda dy: dy)
        pullbacks = []
        for layer in self._steps(differentiable=True):
            x, pullback = layer.vjp(x)
            pullbacks.append(pullback)

        first, *others = pullbacks

        def behind_first(dy: Array) -> Array:
            for pullback in reversed(others):
                dy = pullback(dy)
            return dy

        def chained(dy: Array) -> Array:
            return first(behind_first(dy))

        if isinstance(first, SkippingPullback):
            return x, SkippingPullback(chained, lambda dy: first.for_parameters(behind_first(dy)))
        return x, chained

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers.values())

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        if isinstance(index, slice):
            return Sequential(dict(list(self._layers.items())[index]))
        return tuple(self)[index]


class Residual(_Container, ActivatedLayer):
    """The sum of two paths: ``main(x) + shortcut(x)``.

    Parameters
    ----------
    main : Layer
        The longer path.
    shortcut : Layer, optional
        The shorter one; ``None`` is the input itself.
    activation : str, optional
        ``"relu"``, ``"relu6"``, ``"leaky_relu"``, ``"sigmoid"`` or ``"tanh"``, of the sum and in the same
        pass.

    Raises
    ------
    TypeError
        Something that is no layer; when called: paths whose results differ in dtype.
    ValueError
        An `activation` that needs more than the sum for its gradient; when called: paths whose results differ
        in shape.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> block = nn.Residual(nn.Conv2d(4, 4, 3, padding="same", init="zeros"))
    >>> x = np.ones((1, 4, 5, 5), np.float32)
    >>> bool((block(x) == x).all())
    True
    """

    def __init__(self, main: Layer, shortcut: Layer | None = None, *, activation: str | None = None) -> None:
        if activation in NEED_INPUT:
            raise ValueError(f"Residual: activation {activation!r} has no common pass with a sum")
        self._keep({"main": main} if shortcut is None else {"main": main, "shortcut": shortcut})
        self.activation = activation

    @property
    def main(self) -> Layer:
        """The longer path."""
        return self._layers["main"]

    @property
    def shortcut(self) -> Layer | None:
        """The shorter path; ``None`` is the input itself."""
        return self._layers.get("shortcut")

    def _sum(self, main: Array, shortcut: Array) -> Array:
        if main.shape != shortcut.shape:
            raise ValueError(f"Residual: main gives shape {main.shape}, but the shortcut {shortcut.shape}")
        if main.dtype != shortcut.dtype:
            raise TypeError(f"Residual: main gives dtype {main.dtype}, but the shortcut {shortcut.dtype}")
        return _core.add(main, shortcut, self.activation)

    def forward(self, x: Array) -> Array:
        x = as_numpy("Residual", "x", x)
        return self._sum(self.main.forward(x), x if self.shortcut is None else self.shortcut.forward(x))

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = as_numpy("Residual", "x", x)
        main, back_through_main = self.main.vjp(x)
        shortcut, back_through_shortcut = x, None
        if self.shortcut is not None:
            shortcut, back_through_shortcut = self.shortcut.vjp(x)
        y = self._sum(main, shortcut)
        back_through_activation = activation_pullback(self.activation, None, y)

        def pullback(dy: Array) -> Array:
            dy = back_through_activation(dy)
            dx = dy if back_through_shortcut is None else back_through_shortcut(dy)
            return _core.add(back_through_main(dy), dx)

        return y, self._checked(y, pullback)


class Concat(_Container):
    """Several paths from one input, their results joined along the channels.

    Parameters
    ----------
    *branches : Layer
        The paths, in the order of their channels in the result.
    data_format : str
        ``"channels_first"`` (channels are axis 1; the batch axis is there) or ``"channels_last"`` (the last
        axis).

    Raises
    ------
    TypeError
        Something that is no layer.
    ValueError
        No branches, or an unknown `data_format`; when called: results that differ in more than their
        channels.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> block = nn.Concat(nn.Conv2d(3, 4, 1, rng=0), nn.Conv2d(3, 8, 3, padding="same", rng=1))
    >>> block(np.zeros((2, 3, 6, 6), np.float32)).shape
    (2, 12, 6, 6)
    """

    def __init__(self, *branches: Layer, data_format: str = "channels_first") -> None:
        if not branches:
            raise ValueError("Concat: there must be at least one branch")
        check_data_format("Concat", data_format)
        self.data_format = data_format
        self._axis = 1 if data_format == "channels_first" else -1
        self._keep(_numbered(branches))

    def _join(self, parts: list[Array]) -> Array:
        try:
            return np.concatenate(parts, self._axis)
        except ValueError as error:
            shapes = ", ".join(str(part.shape) for part in parts)
            raise ValueError(f"Concat: branches must differ in channels only, got shapes {shapes}") from error

    def forward(self, x: Array) -> Array:
        x = as_numpy("Concat", "x", x)
        return self._join([branch.forward(x) for branch in self._layers.values()])

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = as_numpy("Concat", "x", x)
        parts, pullbacks = zip(*(branch.vjp(x) for branch in self._layers.values()), strict=True)
        ends = np.cumsum([part.shape[self._axis] for part in parts])[:-1]

        def pullback(dy: Array) -> Array:
            slices = np.split(dy, ends, self._axis)
            dx: Array
            dx, *others = (back(part) for back, part in zip(pullbacks, slices, strict=True))
            for other in others:
                dx = dx + other
            return dx

        y = self._join(list(parts))
        return y, self._checked(y, pullback)
