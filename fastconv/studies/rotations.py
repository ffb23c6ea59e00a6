"""Rotation invariance from pooling over channels: one bank of filters, turned by several angles.

Each filter is used in `copies` orientations, spread evenly over the circle, and at every position the largest
of their results is kept (``ChannelMaxPool``). Turning the image then turns the result, whichever copy it was
that answered; a maximum over all positions (``GlobalMaxPool``) forgets where. With 4 copies, or a multiple,
this holds exactly for turns by 90 degrees, layer after layer; in between it holds as well as the copies are
dense. The price: what only its direction tells apart, as 6 and 9, is not told apart any
more, so that the nines are left out here.

T. Cohen, M. Welling, "Group equivariant convolutional networks", ICML 2016; D. Marcos, M. Volpi, D. Tuia,
"Learning rotation invariant convolutional filters for texture classification", ICPR 2016. The maximum over
copies: I. Goodfellow et al., "Maxout networks", ICML 2013.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv import conv2d, grad, nn, pictures
from fastconv.data import Loader, digits
from fastconv.nn.init import he_normal
from fastconv.optim import Adam, cosine_decay
from fastconv.training import Classification, fit, predict

Array = NDArray[Any]
BLUR = 0.9  # standard deviation, in pixels, of the Gaussian that smoothes filters


def rotation(side: int, degrees: float) -> NDArray[np.float64]:
    """Make the matrix that turns a square image counter-clockwise about its middle.

    An image is linear in its pixels, and so is turning it with bilinear interpolation: each row of the matrix
    says which pixels of the old image make one of the new. Multiples of 90 degrees only reorder pixels.

    Parameters
    ----------
    side : int
        Height and width of the image.
    degrees : float
        The angle.

    Returns
    -------
    ndarray of shape (side ** 2, side ** 2)
        Takes the old image, flattened, to the new one. Outside of the old one there is zero.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.rotations import rotation
    >>> image = np.arange(9.0).reshape(3, 3)
    >>> bool((rotation(3, 90) @ image.ravel() == np.rot90(image).ravel()).all())
    True
    """
    # Rounding makes the sine and cosine of right angles whole numbers, so that turns by them are exact.
    cosine, sine = np.round([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], 12)
    middle = (side - 1) / 2
    y, x = np.mgrid[:side, :side].reshape(2, -1) - middle
    old_y, old_x = sine * x + cosine * y + middle, cosine * x - sine * y + middle
    top, left = np.floor(old_y).astype(int), np.floor(old_x).astype(int)
    matrix = np.zeros((side * side, side * side))
    for down, right in np.ndindex(2, 2):
        row, column = top + down, left + right
        share = (1 - np.abs(old_y - row)) * (1 - np.abs(old_x - column))
        inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
        matrix[np.flatnonzero(inside), (row * side + column)[inside]] = share[inside]
    return matrix


def rotated(images: Array, degrees: float) -> Array:
    """Turn square images (N, C, H, H) counter-clockwise; their corners are zero afterwards.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.rotations import rotated
    >>> rotated(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 90)
    array([[[[2., 4.],
             [1., 3.]]]])
    """
    matrix = rotation(images.shape[-1], degrees).astype(images.dtype)
    flat: Array = images.reshape(*images.shape[:2], -1) @ matrix.T
    return flat.reshape(images.shape)


class RotatedConv2d(nn.Layer):
    """A convolution whose filters are turned copies of a few: (N, C, H, W) to (N, filters * copies, H, W).

    The copies of a filter are neighbouring channels, as ``nn.ChannelMaxPool(copies)`` wants them. Only the
    filters themselves are trained: the gradients of all copies are turned back and added. Before it is turned
    a filter is cut to a disc, whose pixels no turn carries out of the square, and smoothed by a Gaussian,
    since between right angles only what is smooth survives the interpolation.

    Parameters
    ----------
    in_channels, filters : int
        Channels of the input; filters to be copied.
    kernel_size : int
        Their side, an odd number.
    copies : int
        Orientations of each filter, 360 / copies degrees apart.
    rng : numpy.random.Generator or int, optional
        Where the filters are drawn from; an int is a seed.
    dtype : dtype
        Of the filters, and so of the images.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.studies.rotations import RotatedConv2d
    >>> layer = nn.Sequential(RotatedConv2d(1, 6, 5, copies=4, rng=0), nn.ChannelMaxPool(4))
    >>> image = np.random.default_rng(1).standard_normal((1, 1, 12, 12), np.float32)
    >>> bool(np.allclose(layer(np.rot90(image, axes=(2, 3))), np.rot90(layer(image), axes=(2, 3)), atol=1e-5))
    True
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_size: int,
        copies: int,
        *,
        rng: np.random.Generator | int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"RotatedConv2d: kernel_size must be odd, got {kernel_size}")
        shape = (filters, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(he_normal(shape, rng, dtype=dtype), "weight")
        self.bias = nn.Parameter(np.zeros(filters, dtype), "bias")
        self.copies = copies
        across = np.arange(kernel_size) - kernel_size // 2
        disc = (np.hypot(*np.meshgrid(across, across)) <= kernel_size / 2).ravel()
        blur = np.exp(-0.5 * (np.subtract.outer(across, across) / BLUR) ** 2)
        smooth = disc[:, np.newaxis] * np.kron(blur, blur) / np.square(blur.sum(1).max())
        angles = 360 / copies * np.arange(copies)
        self.turns = np.stack([rotation(kernel_size, angle) @ smooth for angle in angles]).astype(dtype)

    def turned_filters(self) -> Array:
        """Return all filters that the convolution is made with, (filters * copies, C, size, size)."""
        filters, channels, *size = self.weight.data.shape
        turned: Array = self.weight.data.reshape(filters, 1, channels, -1) @ self.turns.transpose(0, 2, 1)
        return turned.reshape(filters * self.copies, channels, *size)

    def vjp(self, x: Array) -> tuple[Array, nn.module.Pullback]:
        x = self._read(x)
        filters, padding = self.turned_filters(), self.weight.data.shape[-1] // 2
        y = conv2d(x, filters, np.repeat(self.bias.data, self.copies), padding=padding)

        def pullback(dy: Array, needs_dx: bool) -> Array:
            dx, dw, db = grad.conv2d(dy, x, filters, needs=(needs_dx, True, True), padding=padding)
            count, channels = self.weight.data.shape[:2]
            turned_back = dw.reshape(count, self.copies, channels, -1) @ self.turns
            self.weight.accumulate(turned_back.sum(1).reshape(self.weight.data.shape))
            self.bias.accumulate(db.reshape(count, self.copies).sum(1))
            return dx

        return y, self._skipping(y, pullback)


def network(
    copies: int, rng: np.random.Generator | int | None = None, dtype: DTypeLike = np.float32
) -> nn.Sequential:
    """Make a digit classifier, (N, 1, 28, 28) to (N, 9), with filters in `copies` orientations.

    Three rounds of filters, channel pool, batch normalisation, ReLU and (but for the last) a mean pool of
    2 x 2, then the largest value of each channel and a linear layer. One copy is the plain network, with as
    many parameters.

    Parameters
    ----------
    copies : int
        Orientations of each filter; 1, or a multiple of 4 for invariance to turns by 90 degrees.
    rng : numpy.random.Generator or int, optional
        Where the weights are drawn from; an int is a seed.
    dtype : dtype
        Of the parameters.

    Returns
    -------
    Sequential
        The network; ``[:-1]`` of it computes the features.

    Examples
    --------
    >>> from fastconv.studies.rotations import network
    >>> [sum(p.data.size for p in network(copies, rng=0).parameters()) for copies in (1, 8)]
    [32217, 32217]
    """
    rng = np.random.default_rng(rng)

    def turned(inputs: int, filters: int) -> list[nn.Layer]:
        convolution = RotatedConv2d(inputs, filters, 7, copies, rng=rng, dtype=dtype)
        return [convolution, nn.ChannelMaxPool(copies), nn.BatchNorm2d(filters, dtype=dtype), nn.ReLU()]

    return nn.Sequential(
        *turned(1, 8),
        nn.AvgPool2d(2),
        *turned(8, 16),
        nn.AvgPool2d(2),
        *turned(16, 32),
        nn.GlobalMaxPool(),
        nn.Linear(32, 9, rng=rng, dtype=dtype),
    )


def study(out: Path, *, quick: bool = False, seed: int = 0) -> dict[str, float]:
    """Train networks with 1, 4 and 8 copies on upright digits, and test them on turned ones.

    Parameters
    ----------
    out : Path
        Folder for the pictures ``turned_filters.png``, ``turned_digits.png`` and ``invariance.png``.
    quick : bool
        Whether to train on fewer digits, with 1 and 4 copies, and test at fewer angles.
    seed : int
        Of the weights and the order of the digits.

    Returns
    -------
    dict of str to float
        For each network: the accuracy on upright digits, the lowest and the mean over all angles, and the
        distances of the features at 90 degrees and in the mean.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    """
    pictures.require_matplotlib()
    images, labels, test_images, test_labels = _upright(600 if quick else 3500, 150 if quick else 500)
    degrees = np.arange(0, 361, 45 if quick else 15)
    turned = {angle: rotated(test_images, angle) for angle in degrees.tolist()}
    models = {}
    for copies in (1, 4) if quick else (1, 4, 8):
        name = f"{copies} copies" if copies > 1 else "plain"
        models[name] = network(copies, seed)
        training = fit(
            models[name],
            Loader(images, labels, 30, seed=seed),
            Loader(test_images, test_labels, 250, shuffle=False),
            Classification(),
            Adam(models[name].parameters()),
            lambda step, steps: cosine_decay(step, steps, 5e-3),
            epochs=4 if quick else 5,
        )
        for _ in training:
            pass
    right, distances = {}, {}
    for name, model in models.items():
        features = {angle: predict(model[:-1], x) for angle, x in turned.items()}
        size = np.linalg.norm(features[0])
        distances[name] = [float(np.linalg.norm(x - features[0]) / size) for x in features.values()]
        answers = [model[-1](x).argmax(1) for x in features.values()]
        right[name] = [100 * float((answer == test_labels).mean()) for answer in answers]
    _draw(out, models, turned, test_labels, right, distances)
    figures: dict[str, float] = {}
    for name in models:
        figures |= {
            f"{name}: accuracy upright (%)": right[name][0],
            f"{name}: accuracy at the worst angle (%)": min(right[name]),
            f"{name}: accuracy over all angles (%)": float(np.mean(right[name][:-1])),
            f"{name}: feature distance at 90 degrees": distances[name][list(turned).index(90)],
            f"{name}: feature distance over all angles": float(np.mean(distances[name][1:-1])),
        }
    return figures


def _upright(train: int, test: int) -> tuple[Array, Array, Array, Array]:
    """Choose digits from 0 to 8, with ink 1 on ground 0: what a turn leaves in the corners is then ground."""
    every = digits()
    order = np.random.default_rng(0).permutation(np.flatnonzero(every.labels < 9))
    first, last = order[:train], order[-test:]
    images, labels = (every.images[:, np.newaxis] / 255).astype(np.float32), every.labels.astype(np.int64)
    return images[first], labels[first], images[last], labels[last]


def _draw(
    out: Path,
    models: dict[str, nn.Sequential],
    turned: dict[int, Array],
    labels: Array,
    right: dict[str, list[float]],
    distances: dict[str, list[float]],
) -> None:
    layer = list(models.values())[-1][0]
    assert isinstance(layer, RotatedConv2d)
    copies, filters = layer.copies, layer.turned_filters()[: 4 * layer.copies, 0]
    reach = float(np.abs(filters).max())
    pictures.image_grid(
        filters,
        out / "turned_filters.png",
        titles=[f"{360 * i / copies:g}°" for i in range(copies)] * 4,
        columns=copies,
        title=f"four filters of the first layer, each in {copies} orientations",
        limits=(-reach, reach),
        colours="RdBu_r",
        tile=1.0,
    )
    chosen = [int(np.flatnonzero(labels == digit)[0]) for digit in (2, 4, 6, 7)]
    angles = [angle for angle in turned if angle % 45 == 0 and angle < 360]
    answers = {
        (angle, name): predict(model, turned[angle][chosen]).argmax(1)
        for angle in angles
        for name, model in models.items()
    }
    pictures.image_grid(
        [turned[angle][index] for index in chosen for angle in angles],
        out / "turned_digits.png",
        titles=[
            "\n".join(f"{name}: {answers[angle, name][place]}" for name in models)
            for place in range(len(chosen))
            for angle in angles
        ],
        columns=len(angles),
        title="what the networks say to turned digits",
    )
    measured = {"accuracy (%)": right, "relative distance of the features": distances}
    pictures.curves(
        [
            pictures.Panel(
                label, lines, list(turned), "digits turned by (degrees)", x_ticks=range(0, 361, 90)
            )
            for label, lines in measured.items()
        ],
        out / "invariance.png",
        title="trained on upright digits, tested on turned ones",
    )
