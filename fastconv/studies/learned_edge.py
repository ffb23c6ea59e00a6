"""An edge filter learnt from examples instead of given.

A single 3 x 3 filter is shown pieces of a photograph and, for each, what the Sobel filter makes of it. It
starts at random and ends as the Sobel filter: the nine weights are the only ones that fit all examples. A
small network of eight filters then learns the length of the gradient, which no single filter can compute, and
finds edges of several directions to add up.

I. Goodfellow, Y. Bengio, A. Courville, "Deep learning", MIT Press 2016, section 9.1, on filters that are
learnt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import nn, pictures, signal
from fastconv.nn.losses import mse
from fastconv.optim import Adam, cosine_decay
from fastconv.studies.edges import edge_filters, photo

Array = NDArray[Any]


def crops(
    image: Array, target: Array, count: int, rng: np.random.Generator, side: int = 24
) -> tuple[Array, Array]:
    """Cut the same `count` random squares out of an image and of what is to be made of it.

    Parameters
    ----------
    image, target : array of shape (H, W)
        At least `side` + 2 in both directions.
    count : int
        How many.
    rng : numpy.random.Generator
        Where the places come from.
    side : int
        Of a square of the target; that of the image has a pixel more on each side, which a filter of 3 x 3
        without padding takes away.

    Returns
    -------
    x, y : float32 arrays of shape (count, 1, side + 2, side + 2) and (count, 1, side, side)

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.learned_edge import crops
    >>> image = np.arange(900.0).reshape(30, 30)
    >>> x, y = crops(image, image, 4, np.random.default_rng(0))
    >>> x.shape, y.shape, bool((x[:, :, 1:-1, 1:-1] == y).all())
    ((4, 1, 26, 26), (4, 1, 24, 24), True)
    """
    tops = rng.integers(image.shape[0] - side - 1, size=count)
    lefts = rng.integers(image.shape[1] - side - 1, size=count)
    x = [image[top : top + side + 2, left : left + side + 2] for top, left in zip(tops, lefts, strict=True)]
    y = [
        target[top + 1 : top + side + 1, left + 1 : left + side + 1]
        for top, left in zip(tops, lefts, strict=True)
    ]
    return np.stack(x)[:, None].astype(np.float32), np.stack(y)[:, None].astype(np.float32)


def learn(
    model: nn.Layer, image: Array, target: Array, *, steps: int, lr: float, rng: np.random.Generator
) -> Iterator[float]:
    """Train `model` to make `target` of `image`, on 16 random squares a step.

    Parameters
    ----------
    model : Layer
        Takes (N, 1, H, W) to (N, 1, H - 2, W - 2).
    image, target : array of shape (H, W)
        The example.
    steps : int
        Steps of Adam.
    lr : float
        Learning rate at the start; it falls along a cosine.
    rng : numpy.random.Generator
        Where the squares come from.

    Yields
    ------
    float
        Mean squared error before each step, after which the model is as the step left it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.studies.learned_edge import learn
    >>> rng = np.random.default_rng(0)
    >>> image = rng.standard_normal((64, 64))
    >>> filter = nn.Conv2d(1, 1, 3, rng=rng)
    >>> losses = list(learn(filter, image, 2 * image, steps=200, lr=0.1, rng=rng))
    >>> filter.weight.data[0, 0].round(2) + 0.0
    array([[0., 0., 0.],
           [0., 2., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    optimizer = Adam(model.parameters(), lr)
    for index in range(steps):
        optimizer.lr = cosine_decay(index, steps, lr)
        x, y = crops(image, target, 16, rng)
        loss, gradient = mse(model(x), y)
        optimizer.zero_grad()
        model.backward(gradient, input_gradient=False)
        optimizer.step()
        yield loss


def length_network(rng: np.random.Generator) -> nn.Sequential:
    """Make the network for the gradient's length: eight filters, ReLU, and a weighted sum of them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.learned_edge import length_network
    >>> length_network(np.random.default_rng(0)).summary((1, 26, 26)).rows[-1].output_shape
    (1, 24, 24)
    """
    return nn.Sequential(nn.Conv2d(1, 8, 3, activation="relu", rng=rng), nn.Conv2d(8, 1, 1, rng=rng))


def study(
    out: Path, *, quick: bool = False, seed: int = 0, image: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Learn the Sobel filter along x, then the length of the gradient, from a photograph.

    Parameters
    ----------
    out : Path
        Folder for the pictures ``learned_filter.png``, ``length.png``, ``length_filters.png`` and
        ``losses.png``.
    quick : bool
        Whether to make fewer steps.
    seed : int
        Of the weights and the squares.
    image : path, optional
        The photograph, see ``edges.photo``.

    Returns
    -------
    dict of str to float
        The largest difference of a learnt weight from Sobel's; how many times the loss fell, for both; and
        the share of the length's variance that the network explains.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    """
    pictures.require_matplotlib()
    rng = np.random.default_rng(seed)
    grey = photo(image)
    grey = (grey - grey.mean()) / grey.std()
    sobel = edge_filters()["Sobel"]

    single = nn.Conv2d(1, 1, 3, rng=rng)
    target = signal.sobel(grey, axis=1)
    snapshots, filter_losses = {0: single.weight.data[0, 0].copy()}, []
    for index, loss in enumerate(learn(single, grey, target, steps=1500, lr=0.1, rng=rng), 1):
        filter_losses.append(loss)
        if index in (30, 200, 1500):
            snapshots[index] = single.weight.data[0, 0].copy()
    pictures.image_grid(
        [*snapshots.values(), sobel],
        out / "learned_filter.png",
        titles=[*(f"after {index:,} steps" for index in snapshots), "Sobel"],
        columns=len(snapshots) + 1,
        limits=(-0.6, 0.6),
        title="a filter learns from examples to find vertical edges",
        colours="RdBu_r",
        numbers=True,
        tile=1.9,
    )

    network, length = length_network(rng), np.sqrt(2) * signal.sobel(grey)
    length_losses = list(learn(network, grey, length, steps=600 if quick else 3000, lr=0.02, rng=rng))
    answer = network.eval()(grey[None, None].astype(np.float32))[0, 0]
    truth = length[1:-1, 1:-1]
    pictures.filters(network[0], out / "length_filters.png", title="filters that add up to the length")
    pictures.image_grid(
        [grey[1:-1, 1:-1] / 4 + 0.5, truth / truth.max(), answer / truth.max()],
        out / "length.png",
        titles=["photograph", "length of the gradient (Sobel)", "what the network learnt"],
        columns=3,
        limits=(0, 1),
        tile=2.9,
    )
    pictures.curves(
        [
            pictures.Panel(f"mean squared error of the {name}", {name: losses}, x_label="step", log_y=True)
            for name, losses in (("filter", filter_losses), ("length", length_losses))
        ],
        out / "losses.png",
    )
    return {
        "largest difference from Sobel's weights": float(np.abs(single.weight.data[0, 0] - sobel).max()),
        "fall of the filter's loss (times)": filter_losses[0] / float(np.mean(filter_losses[-20:])),
        "fall of the length's loss (times)": length_losses[0] / float(np.mean(length_losses[-20:])),
        "explained share of the length": 1 - float(np.square(answer - truth).mean() / truth.var()),
    }
