"""GoogLeNet (Inception v1): modules that look at planes through four kinds of windows at once.

    x -> [1 × 1 | 1 × 1, 3 × 3 | 1 × 1, 5 × 5 | max pool 3 × 3, 1 × 1], joined along the channels

The 1 × 1 convolutions before the larger ones, and behind the pool, keep the channels few. C. Szegedy, W. Liu,
Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke, A. Rabinovich, "Going deeper with
convolutions", CVPR 2015, table 1 and section 5; with batch normalisation as in S. Ioffe, C. Szegedy, "Batch
normalization", ICML 2015, which then stands in for the local response normalisation and the biases.

In training, two small auxiliary networks give scores from the middle of the network too, so that gradients
reach its first layers by a shorter way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv import nn
from fastconv.models.layer_maker import LayerMaker
from fastconv.nn.losses import cross_entropy
from fastconv.nn.module import Pullback

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Filters of each module as in table 1: 1 × 1, before 3 × 3, 3 × 3, before 5 × 5, 5 × 5, behind the pool."""

POOLS = {"4a": "pool3", "5a": "pool4"}
"""Modules with a pool before them, which halves the planes."""

AUXILIARY = ("4a", "4d")
"""Modules behind which an auxiliary network stands."""


class HeadedSequential(nn.Sequential):
    """Layers one after the other, and heads that branch off behind some of them in training.

    In training mode the result is a tuple: what the last layer gives, then what each head gives, in their
    order along the row; ``backward`` and the pullback take the tuple of their gradients. In evaluation mode
    the heads rest, and the layer is a ``Sequential`` like any other.

    Parameters
    ----------
    layers : mapping of str to Layer
        The row.
    heads : mapping of str to Layer
        Each under the name of the layer whose result it takes; its own name is that behind ``auxiliary.``.

    Raises
    ------
    ValueError
        A head whose name is none of the row's; when called: not one gradient for each result.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.models.googlenet import HeadedSequential
    >>> row = {"first": nn.Linear(4, 3, rng=0), "last": nn.Linear(3, 2, rng=1)}
    >>> model = HeadedSequential(row, {"first": nn.Linear(3, 2, rng=2)})
    >>> y = model(np.ones((5, 4), np.float32))
    >>> [array.shape for array in y]
    [(5, 2), (5, 2)]
    >>> model.backward(y).shape
    (5, 4)
    >>> model.eval()(np.ones((5, 4), np.float32)).shape
    (5, 2)
    """

    def __init__(self, layers: Mapping[str, nn.Layer], heads: Mapping[str, nn.Layer]) -> None:
        super().__init__(layers)
        for name in heads:
            if name not in layers:
                raise ValueError(f"HeadedSequential: there is no layer {name!r} for a head to stand behind")
        self._heads = dict(heads)

    def children(self) -> Iterator[tuple[str, nn.Layer]]:
        yield from super().children()
        for name, head in self._heads.items():
            yield f"auxiliary.{name}", head

    def _row(self) -> nn.Sequential:
        """Return the layers up to the first head, then a fork into it and the rest, which may fork again."""
        row: list[nn.Layer] = []
        for name, layer in reversed(self._layers.items()):
            if name in self._heads:
                row = [_Fork(nn.Sequential(*row), self._heads[name])]
            row.insert(0, layer)
        return nn.Sequential(*row)

    def forward(self, x: NDArray[Any]) -> Any:
        return self._row().forward(x) if self.training else super().forward(x)

    def vjp(self, x: NDArray[Any]) -> tuple[Any, Pullback]:
        return self._row().vjp(x) if self.training else super().vjp(x)


class _Fork(nn.Layer):
    """One input for two layers: ``(rest(x), head(x))``, and the results of forks in `rest` behind them."""

    def __init__(self, rest: nn.Layer, head: nn.Layer) -> None:
        self.rest = rest
        self.head = head

    def vjp(self, x: NDArray[Any]) -> tuple[Any, Pullback]:
        y, back_through_rest = self.rest.vjp(x)
        aside, back_through_head = self.head.vjp(x)
        forks = isinstance(y, tuple)
        main, *others = y if forks else (y,)
        results = (main, aside, *others)

        def pullback(dy: Any) -> NDArray[Any]:
            if not isinstance(dy, tuple | list) or len(dy) != len(results):
                raise ValueError(
                    f"HeadedSequential: dy must be a tuple of {len(results)} gradients, one for each result"
                )
            main, aside, *others = dy
            behind: Any = (main, *others) if forks else main
            dx: NDArray[Any] = back_through_rest(behind) + back_through_head(aside)
            return dx

        return results, pullback


def googlenet(
    rng: np.random.Generator | int | None = None,
    *,
    classes: int = 1000,
    batch_norm: bool = False,
    auxiliary: bool = False,
    image_size: int = 224,
    width: float = 1.0,
    dropout: float = 0.4,
    data_format: str = "channels_first",
    dtype: DTypeLike = np.float32,
) -> HeadedSequential:
    """Make GoogLeNet: (N, 3, H, W) to scores (N, classes), 6,998,552 parameters for 1000 classes.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        Where the weights and the dropped elements are drawn from; an int is a seed.
    classes : int
        Number of scores.
    batch_norm : bool
        Whether each convolution is followed by batch normalisation; without, there is local response
        normalisation in two places.
    auxiliary : bool
        Whether there are auxiliary networks, with another 6,379,728 parameters. In training mode the result
        is then three arrays of scores, the main ones first, as `auxiliary_cross_entropy` takes them; in
        evaluation it is the main scores alone.
    image_size : int
        Height and width of the images. Only the auxiliary networks depend on it: they pool with windows of
        5 × 5, or over whole planes where those are smaller.
    width : float
        Factor on the number of filters of every convolution.
    dropout : float
        Probability of an element to be dropped before the main scores; in the auxiliary networks it is 0.7.
    data_format : str
        ``"channels_first"``, or ``"channels_last"`` for (N, H, W, 3).
    dtype : dtype
        Of the parameters, and so of the images.

    Returns
    -------
    HeadedSequential
        The network, in training mode, its weights drawn by He's rule. Without auxiliary networks it takes
        images of any size from 31 × 31 up.

    Raises
    ------
    ValueError, TypeError
        What the layers refuse: no classes, a `dropout` outside of 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import auxiliary_cross_entropy, googlenet
    >>> model = googlenet(rng=0, classes=10, auxiliary=True, image_size=64, width=0.25)
    >>> x, labels = np.zeros((2, 3, 64, 64), np.float32), np.array([3, 7])
    >>> predictions = model(x)
    >>> [scores.shape for scores in predictions]
    [(2, 10), (2, 10), (2, 10)]
    >>> loss, gradients = auxiliary_cross_entropy(predictions, labels)
    >>> model.backward(gradients).shape
    (2, 3, 64, 64)
    >>> model.eval()(x).shape
    (2, 10)
    """
    make = _GoogLeNetMaker(rng, data_format, dtype, batch_norm=batch_norm, width=width)
    stem, channels = make.filters(64), make.filters(192)
    layers: dict[str, nn.Layer] = {
        "conv1": make.conv(3, stem, 7, stride=2),
        "pool1": make.halving(),
        **({} if batch_norm else {"norm1": make.response_norm()}),
        "conv2_reduce": make.conv(stem, stem, 1),
        "conv2": make.conv(stem, channels, 3),
        **({} if batch_norm else {"norm2": make.response_norm()}),
        "pool2": make.halving(),
    }
    heads: dict[str, nn.Layer] = {}
    side = (image_size + 1) // 2 // 8  # of the planes in modules 4a to 4e
    for name, filters in INCEPTIONS.items():
        if name in POOLS:
            layers[POOLS[name]] = make.halving()
        layers[f"inception_{name}"], channels = make.inception(channels, filters)
        if auxiliary and name in AUXILIARY:
            heads[f"inception_{name}"] = make.head(channels, side, classes)
    layers["avgpool"] = make(nn.GlobalAvgPool)
    layers["dropout"] = make(nn.Dropout, dropout)
    layers["fc"] = make(nn.Linear, channels, classes)
    model = HeadedSequential(layers, heads)
    model.input_shape = make.network((3, image_size, image_size)).input_shape
    return model


class _GoogLeNetMaker(LayerMaker):
    """Makes the parts of the network; every convolution ends in ReLU."""

    def __init__(
        self,
        rng: np.random.Generator | int | None,
        data_format: str,
        dtype: DTypeLike,
        *,
        batch_norm: bool,
        width: float,
    ) -> None:
        super().__init__(rng, data_format, dtype)
        self.batch_norm = batch_norm
        self.width = width

    def filters(self, number: int) -> int:
        return max(1, round(self.width * number))

    def conv(self, channels: int, filters: int, kernel: int, stride: int = 1) -> nn.Layer:
        padding = kernel // 2
        if not self.batch_norm:
            return self(nn.Conv2d, channels, filters, kernel, stride, padding, activation="relu")
        return nn.Sequential(
            {
                "conv": self(nn.Conv2d, channels, filters, kernel, stride, padding, bias=False),
                "bn": self(nn.BatchNorm2d, filters),
                "relu": nn.ReLU(),
            }
        )

    def halving(self) -> nn.Layer:
        return self(nn.MaxPool2d, 3, stride=2, ceil_mode=True)

    def response_norm(self) -> nn.Layer:
        return self(nn.LocalResponseNorm, 5)

    def inception(self, channels: int, filters: Sequence[int]) -> tuple[nn.Layer, int]:
        """Make a module, and tell the channels of its result."""
        plain, before_3, of_3, before_5, of_5, pooled = map(self.filters, filters)
        module = self(
            nn.Concat,
            self.conv(channels, plain, 1),
            nn.Sequential(self.conv(channels, before_3, 1), self.conv(before_3, of_3, 3)),
            nn.Sequential(self.conv(channels, before_5, 1), self.conv(before_5, of_5, 5)),
            nn.Sequential(self(nn.MaxPool2d, 3, stride=1, padding=1), self.conv(channels, pooled, 1)),
        )
        return module, plain + of_3 + of_5 + pooled

    def head(self, channels: int, side: int, classes: int) -> nn.Layer:
        """Make an auxiliary network for planes of side × side: pool, 1 × 1, two dense layers."""
        window, filters, hidden = min(5, side), self.filters(128), self.filters(1024)
        places = ((side - window) // 3 + 1) ** 2
        return nn.Sequential(
            {
                "pool": self(nn.AvgPool2d, window, stride=3),
                "conv": self.conv(channels, filters, 1),
                "flatten": self(nn.Flatten),
                "fc1": self(nn.Linear, filters * places, hidden, activation="relu"),
                "dropout": self(nn.Dropout, 0.7),
                "fc2": self(nn.Linear, hidden, classes),
            }
        )


def auxiliary_cross_entropy(
    predictions: NDArray[Any] | tuple[NDArray[Any], ...],
    target: NDArray[Any],
    *,
    weight: float = 0.3,
    label_smoothing: float = 0.0,
) -> tuple[float, Any]:
    """Sum cross-entropies: that of the main scores, and `weight` times those of the auxiliary ones.

    Parameters
    ----------
    predictions : tuple of ndarray (N, C), or ndarray (N, C)
        Scores, the main ones first; or the main ones alone, as they come in evaluation.
    target : ndarray of int (N,)
        The right classes, 0 to C - 1.
    weight : float
        Of each auxiliary loss.
    label_smoothing : float
        As in ``nn.losses.cross_entropy``.

    Returns
    -------
    loss : float
        The weighted sum.
    gradient : tuple of ndarray, or ndarray
        Its gradients by `predictions`.

    Raises
    ------
    ValueError, TypeError
        What ``nn.losses.cross_entropy`` refuses.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import auxiliary_cross_entropy
    >>> scores = np.zeros((1, 2))
    >>> loss, gradients = auxiliary_cross_entropy((scores, scores, scores), np.array([1]))
    >>> round(loss, 4), [gradient.tolist() for gradient in gradients]
    (1.109, [[[0.5, -0.5]], [[0.15, -0.15]], [[0.15, -0.15]]])
    """
    if not isinstance(predictions, tuple):
        return cross_entropy(predictions, target, label_smoothing=label_smoothing)
    total, gradients = 0.0, []
    for index, scores in enumerate(predictions):
        share = weight if index else 1.0
        loss, gradient = cross_entropy(scores, target, label_smoothing=label_smoothing)
        total += share * loss
        gradients.append(gradient if index == 0 else (share * gradient).astype(gradient.dtype, copy=False))
    return total, tuple(gradients)
