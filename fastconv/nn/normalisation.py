"""Layers that rescale by statistics of the data: batch normalisation, local response normalisation, dropout.

Batch normalisation, for each channel with mean m and variance v over batch and positions:

    y = weight * (x - m) / sqrt(v + eps) + bias

In training m and v are the batch's own, and running means of them are kept for evaluation.

References
----------
S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015.
A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012, section 3.3. N. Srivastava et al., "Dropout", JMLR 15 (2014).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from fastconv import _core
from fastconv.nn.activations import ActivatedLayer, activation_pullback
from fastconv.nn.arguments import check_data_format, read_int, read_number
from fastconv.nn.module import Layer, Pullback, Rng
from fastconv.nn.parameter import Array, Parameter


class BatchNorm(ActivatedLayer):
    """Batch normalisation of any rank."""

    ranks: ClassVar[tuple[int, ...]]
    buffer_names = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        data_format: str = "channels_first",
        dtype: DTypeLike = np.float32,
    ) -> None:
        """Make the layer: weight 1, bias 0, running mean 0 and variance 1.

        Parameters
        ----------
        num_features : int
            Channels of the input.
        eps : float
            Added to the variance.
        momentum : float, optional
            Share of each new batch in the running statistics; ``None`` makes them the mean over all batches
            so far.
        affine : bool
            Whether there are a weight and a bias.
        track_running_stats : bool
            Whether running statistics are kept; without them, evaluation too uses those of the batch.
        data_format : str
            ``"channels_first"`` or ``"channels_last"``.
        dtype : dtype
            Of the parameters; the running statistics of half-precision layers are float32.

        Raises
        ------
        TypeError
            A number of features that is no integer, an `eps` or `momentum` that is no number.
        ValueError
            A number of features below 1, an unknown `data_format`.
        """
        kind = type(self).__name__
        self.num_features = num_features = read_int(kind, "num_features", num_features)
        read_number(kind, "eps", eps)
        if momentum is not None:
            read_number(kind, "momentum", momentum)
        check_data_format(kind, data_format)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.data_format = data_format
        self.weight = Parameter(np.ones(num_features, dtype), "weight") if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype), "bias") if affine else None
        statistics = np.float64 if np.dtype(dtype) == np.float64 else np.float32
        self.running_mean = np.zeros(num_features, statistics) if track_running_stats else None
        self.running_var = np.ones(num_features, statistics) if track_running_stats else None
        self.num_batches_tracked = np.array(0, np.int64) if track_running_stats else None

    def _read(self, x: Array) -> Array:
        x, kind = super()._read(x), type(self).__name__
        if x.ndim not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            raise ValueError(f"{kind}: x must have {ranks} axes, got shape {x.shape}")
        channels = x.shape[1 if self.data_format == "channels_first" else -1]
        if channels != self.num_features:
            raise ValueError(
                f"{kind}: x of shape {x.shape} has {channels} channels, expected {self.num_features}"
            )
        if self.by_batch and x.size == channels:
            raise ValueError(
                f"{kind}: x has shape {x.shape}, expected more than one element for each channel in training"
            )
        if self.weight is not None and self.weight.data.dtype != x.dtype:
            raise TypeError(f"{kind}: x has dtype {x.dtype}, but weight has {self.weight.data.dtype}")
        return x

    def _normalise(self, x: Array, by_batch: bool) -> tuple[Array, Array, Array]:
        momentum = self.momentum
        if momentum is None:
            momentum = 0.0 if self.num_batches_tracked is None else 1 / (1 + int(self.num_batches_tracked))
        result = _core.batch_norm(
            x,
            None if self.weight is None else self.weight.data,
            None if self.bias is None else self.bias.data,
            self.running_mean,
            self.running_var,
            momentum,
            self.eps,
            by_batch,
            self.data_format,
            self.activation,
        )
        if by_batch and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        return result

    @property
    def by_batch(self) -> bool:
        """Whether the statistics are those of the batch, and not the kept ones."""
        return self.training or not self.track_running_stats

    def forward(self, x: Array) -> Array:
        return self._normalise(self._read(x), self.by_batch)[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x, by_batch = self._read(x), self.by_batch
        y, mean, inv_std = self._normalise(x, by_batch)
        back_through_activation = activation_pullback(self.activation, None, y)

        def pullback(dy: Array) -> Array:
            dy = back_through_activation(dy)
            weight = None if self.weight is None else self.weight.data
            dx, dweight, dbias = _core.batch_norm_grad(
                dy, x, weight, mean, inv_std, by_batch, self.data_format
            )
            if self.weight is not None and self.bias is not None:
                self.weight.accumulate(dweight)
                self.bias.accumulate(dbias)
            return dx

        return y, self._checked(y, pullback)


class BatchNorm1d(BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); see ``help(BatchNorm1d.__init__)``.

    In training mode each pass, ``vjp`` too, updates the running statistics (with the unbiased variance).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.BatchNorm1d(1, eps=0, dtype=np.float64)(np.array([[1.0], [3.0]]))
    array([[-1.],
           [ 1.]])
    """

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of (N, C, H, W); see ``help(BatchNorm2d.__init__)``.

    In training mode each pass, ``vjp`` too, updates the running statistics (with the unbiased variance).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.BatchNorm2d(3)(np.ones((2, 3, 4, 4), np.float32)).shape
    (2, 3, 4, 4)
    """

    ranks = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalisation of (N, C, D, H, W); see ``help(BatchNorm3d.__init__)``.

    In training mode each pass, ``vjp`` too, updates the running statistics (with the unbiased variance).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.BatchNorm3d(3)(np.ones((2, 3, 4, 4, 4), np.float32)).shape
    (2, 3, 4, 4, 4)
    """

    ranks = (5,)


class LocalResponseNorm(Layer):
    """Divide each element by a power of what its neighbours in the channel direction sum to.

    ``y = x / (k + alpha / size * s) ** beta``, with s the sum of squares over `size` channels around the
    element's own.

    Parameters
    ----------
    size : int
        Channels in the sum.
    alpha, beta, k : float
        The constants above, defined as in PyTorch.
    data_format : str
        ``"channels_first"`` or ``"channels_last"``.

    Raises
    ------
    TypeError
        A `size` that is no integer, constants that are no numbers.
    ValueError
        A `size` below 1, an unknown `data_format`; when called: an input without a batch and a channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LocalResponseNorm(5, k=2.0)(np.ones((1, 8, 4, 4), np.float32)).shape
    (1, 8, 4, 4)
    """

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        data_format: str = "channels_first",
    ) -> None:
        for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
            read_number("LocalResponseNorm", name, value)
        check_data_format("LocalResponseNorm", data_format)
        self.size = read_int("LocalResponseNorm", "size", size)
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.data_format = data_format

    def _read(self, x: Array) -> Array:
        x = super()._read(x)
        if x.ndim < 2:
            raise ValueError(f"LocalResponseNorm: x must have at least 2 axes, got shape {x.shape}")
        return x

    def _normalise(self, x: Array) -> tuple[Array, Array]:
        return _core.local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.data_format)

    def forward(self, x: Array) -> Array:
        return self._normalise(self._read(x))[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        y, scale = self._normalise(x)

        def pullback(dy: Array) -> Array:
            return _core.local_response_norm_grad(
                dy, x, y, scale, self.size, self.alpha, self.beta, self.data_format
            )

        return y, self._checked(y, pullback)


class Dropout(Layer):
    """In training, set elements to zero with probability `p`, scale the others by 1 / (1 - p).

    Parameters
    ----------
    p : float
        Probability of an element to be dropped, from 0 to 1.
    rng : numpy.random.Generator or int, optional
        Where the draws come from; an int is a seed.

    Raises
    ------
    TypeError
        A `p` that is no number.
    ValueError
        A `p` outside of 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.Dropout(0.5, rng=0)
    >>> sorted(set(layer(np.ones(100, np.float32)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(np.ones(2, np.float32))
    array([1., 1.], dtype=float32)
    """

    def __init__(self, p: float = 0.5, *, rng: Rng = None) -> None:
        if not 0 <= read_number("Dropout", "p", p) <= 1:
            raise ValueError(f"Dropout: p must be from 0 to 1, got {p}")
        self.p = p
        self._rng = np.random.default_rng(rng)

    def forward(self, x: Array) -> Array:
        return self.vjp(x)[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        x = self._read(x)
        if not self.training or self.p == 0:
            return x, self._checked(x, lambda dy: dy)
        kept = self._rng.random(x.shape, np.float32) >= self.p
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0

        def masked(values: Any) -> Array:
            return _core.scale_mask(values, kept, scale)

        y = masked(x)
        return y, self._checked(y, masked)
