"""What the layers of a trained network look for, from strokes to digits.

A small network learns the digits; then its filters are drawn, its feature maps for one digit, and, for
channels of each layer, the pieces of the test digits that excite them most, as large as the channel can see.
A number goes with the pictures: how well the nearest class mean classifies, by the pixels themselves and by
the result of each layer. Layer by layer the classes move apart.

M. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014; on simple classifiers
as probes of layers: G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes",
arXiv:1610.01644.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastconv import nn, pictures
from fastconv.data import Loader, digits
from fastconv.optim import Adam
from fastconv.training import Classification, fit, predict

Array = NDArray[Any]


def network(rng: np.random.Generator | int | None = None) -> nn.Sequential:
    """Make three convolutions with ReLU and pools, and a linear layer: (N, 1, 28, 28) to (N, 10).

    Examples
    --------
    >>> from fastconv.studies.hierarchy import network
    >>> [row.output_shape for row in network(0).summary((1, 28, 28)).rows if row.kind == "Conv2d"]
    [(12, 28, 28), (24, 14, 14), (32, 7, 7)]
    """
    rng = np.random.default_rng(rng)
    first = nn.Conv2d(1, 12, 5, padding=2, activation="relu", rng=rng)
    first.weight.data *= 0.1  # so that what its filters show in the end was learnt, not drawn
    return nn.Sequential(
        first,
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1, activation="relu", rng=rng),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1, activation="relu", rng=rng),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10, rng=rng),
    )


def field_of_view(layers: nn.Sequential) -> tuple[int, int, int]:
    """Compute which pixels an element of the result sees, for a row of convolutions and pools.

    Parameters
    ----------
    layers : Sequential
        Two-dimensional convolutions and pools with one integer each for kernel size, stride and padding.

    Returns
    -------
    size, step, start : int
        Element i of the result, along either axis, sees the pixels from ``start + step * i`` on, `size` of
        them; those outside of the image are padding.

    Examples
    --------
    >>> from fastconv.studies.hierarchy import field_of_view, network
    >>> [field_of_view(network(0)[:count]) for count in (1, 3, 5)]
    [(5, 1, -2), (10, 2, -4), (20, 4, -8)]
    """
    size, step, start = 1, 1, 0
    for layer in cast(Iterable[Any], layers):
        kernel = int(np.max(layer.kernel_size))
        stride = kernel if layer.stride is None else layer.stride
        size += (kernel - 1) * step
        start -= layer.padding * step
        step *= stride
    return size, step, start


def strongest_patches(layers: nn.Sequential, images: Array, channels: Sequence[int], count: int) -> Array:
    """Cut out of `images` what excites each channel most, at most one piece of each image.

    Parameters
    ----------
    layers : Sequential
        What gives the channels; see `field_of_view`.
    images : array of shape (N, 1, H, W)
        Where to look; around them they are taken to go on with their lowest value.
    channels : sequence of int
        Which ones.
    count : int
        How many pieces for each.

    Returns
    -------
    ndarray of shape (len(channels), count, size, size)
        The strongest first.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.studies.hierarchy import strongest_patches
    >>> falling = nn.Conv2d(1, 1, 2, init="zeros")
    >>> falling.weight.data[0, 0] = [[1, 0], [0, 1]]
    >>> image = np.array([[[[0, 1, 0], [1, 0, 0], [0, 1, 0]]]], np.float32)
    >>> strongest_patches(nn.Sequential(falling), image, [0], 1)
    array([[[[1., 0.],
             [0., 1.]]]], dtype=float32)
    """
    size, step, start = field_of_view(layers)
    maps = predict(layers, images)
    padded = np.pad(images[:, 0], ((0, 0), (size, size), (size, size)), constant_values=images.min())
    patches = []
    for channel in channels:
        for image in np.argsort(-maps[:, channel].max((1, 2)), kind="stable")[:count]:
            place = np.unravel_index(maps[image, channel].argmax(), maps.shape[2:])
            row, column = (start + size + step * int(i) for i in place)
            patches.append(padded[image, row : row + size, column : column + size])
    return np.stack(patches).reshape(len(channels), -1, size, size)


def nearest_mean_accuracy(train: Array, labels: Array, test: Array, test_labels: Array) -> float:
    """Compute the accuracy, from 0 to 1, of giving each test row the class whose mean is nearest.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.hierarchy import nearest_mean_accuracy
    >>> rows = np.array([[0.0], [2.0], [9.0]])
    >>> nearest_mean_accuracy(rows, np.array([0, 0, 1]), np.array([[3.0], [4.0]]), np.array([0, 1]))
    0.5
    """
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    means = np.stack([train[labels == label].mean(0) for label in range(labels.max() + 1)])
    # |x - m|^2 without |x|^2, which is the same for all means.
    distances = np.square(means).sum(1) - 2 * test @ means.T
    return float((distances.argmin(1) == test_labels).mean())


def study(out: Path, *, quick: bool = False, seed: int = 0) -> dict[str, float]:
    """Train the network and draw what its layers have learnt.

    Parameters
    ----------
    out : Path
        Folder for the pictures ``filters.png``, ``feature_maps.png``, ``excited_by_N.png`` for each
        convolution N, ``classes.png`` and ``mistakes.png``.
    quick : bool
        Whether to train on fewer digits.
    seed : int
        Of the weights and the order of the digits.

    Returns
    -------
    dict of str to float
        How many times the loss fell; the accuracy on the test digits; and that of the nearest class mean on
        the pixels and on the result of each layer.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    """
    pictures.require_matplotlib()
    images, labels, test_images, test_labels = digits().split(test=4000 if quick else 1000)
    test_images, test_labels = test_images[:500], test_labels[:500]
    model = network(seed)
    losses: list[float] = []
    *_, last = fit(
        model,
        Loader(images, labels, 50, seed=seed),
        Loader(test_images, test_labels, 250, shuffle=False),
        Classification(),
        Adam(model.parameters()),
        lambda step, steps: 3e-3,
        epochs=3 if quick else 6,
        after_batch=losses.append,
    )
    names = {1: "conv 1", 3: "conv 2", 5: "conv 3", 7: "scores"}
    nearest = {"pixels": nearest_mean_accuracy(images, labels, test_images, test_labels)}
    for depth, name in names.items():
        train, test = (predict(model[:depth], x) for x in (images, test_images))
        nearest[name] = nearest_mean_accuracy(train, labels, test, test_labels)

    pictures.filters(model, out / "filters.png", title="filters, after training")
    pictures.feature_maps(model, test_images[0], out / "feature_maps.png", title="a digit, layer by layer")
    for number, depth in enumerate((1, 3, 5), 1):
        _draw_patches(model[:depth], test_images, number, out / f"excited_by_{number}.png")
    pictures.curves(
        [
            pictures.Panel("training loss", {"batch": losses}, x_label="step", log_y=True),
            pictures.Panel(
                "accuracy on the test digits (%)",
                {"test digits": [100 * share for share in nearest.values()]},
                list(nearest),
                "nearest class mean on",
            ),
        ],
        out / "classes.png",
    )
    found = predict(model, test_images)
    pictures.mistakes(test_images, test_labels, found.argmax(1), found, None, out / "mistakes.png")
    return {
        "fall of the loss (times)": losses[0] / float(np.mean(losses[-10:])),
        "accuracy on the test digits (%)": 100 * last.test_score,
        **{f"nearest class mean, {name} (%)": 100 * share for name, share in nearest.items()},
    }


def _draw_patches(layers: nn.Sequential, images: Array, number: int, path: Path) -> None:
    """Draw nine pieces for each of eight channels, those that differ most from image to image."""
    lively = np.argsort(-predict(layers, images).max((2, 3)).std(0), kind="stable")[:8]
    patches = strongest_patches(layers, images, lively.tolist(), 9)
    pictures.image_grid(
        patches.reshape(-1, *patches.shape[2:]),
        path,
        titles=[f"channel {channel}" if place == 0 else "" for channel in lively for place in range(9)],
        columns=9,
        title=f"what excites channels of convolution {number} most",
        limits=(float(images.min()), float(images.max())),
        tile=0.9,
    )
