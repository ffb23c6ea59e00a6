"""Transfer learning: a network trained on one task is the start of another one with few examples.

SqueezeNet has learnt to see from more than a million photographs of ImageNet; its last layer gives way to a
new one, and three ways to train are compared on the same images:

    from scratch   all layers, from random weights
    frozen         the new last layer alone, on the features that the others find
    fine-tuned     the new last layer and the fire modules before it, with smaller steps

A frozen layer is one whose parameters no optimiser gets. The layers at the front that are frozen give the
same for an image in every epoch, so they are computed once, and what is trained is a network behind them.

J. Yosinski, J. Clune, Y. Bengio, H. Lipson, "How transferable are features in deep neural networks?",
NIPS 2014. The data: faces from 64 × 64 grey pixels, smiling or not, and CIFAR-10 (A. Krizhevsky, "Learning
multiple layers of features from tiny images", 2009).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import nn, pictures
from fastconv.data import Loader, image_folder
from fastconv.data.own_files import own_file
from fastconv.models.squeezenet import ARCHIVE, squeezenet1_1
from fastconv.optim import Adam, cosine_decay
from fastconv.pictures.figure import new_figure, save
from fastconv.training import Classification, fit, predict

Array = NDArray[Any]


@dataclass(frozen=True)
class Way:
    """How to train: whether from ImageNet's weights, behind how many frozen layers, with what steps."""

    pretrained: bool
    frozen: int
    lr: float


WAYS = {
    "from scratch": Way(pretrained=False, frozen=0, lr=7e-4),
    "frozen": Way(pretrained=True, frozen=13, lr=3e-3),
    "fine-tuned": Way(pretrained=True, frozen=6, lr=5e-4),
}


SIDE = 96
"""Height and width that images are brought to: closer to what the weights were trained on."""


@dataclass(frozen=True)
class Epoch:
    """What was reached after a pass over the images: accuracy from 0 to 1, seconds since the start."""

    test_accuracy: float
    seconds: float


def divide(model: nn.Sequential, frozen: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Divide a network of ``features`` and ``classifier`` behind the first `frozen` layers of its features.

    Parameters
    ----------
    model : Sequential
        Such as ``squeezenet1_1``; both parts share its layers.
    frozen : int
        Layers in the front part, from 0 to all of the features.

    Returns
    -------
    front, rest : Sequential
        One behind the other, they are the network.

    Raises
    ------
    ValueError
        A `frozen` that is out of range, or a network of other parts.

    Examples
    --------
    >>> from fastconv.models import squeezenet1_1
    >>> from fastconv.studies.transfer import divide
    >>> front, rest = divide(squeezenet1_1(rng=0, classes=2), frozen=9)
    >>> sum(p.data.size for p in front.parameters()), sum(p.data.size for p in rest.parameters())
    (120416, 603106)
    """
    parts = dict(model.children())
    features, classifier = parts.get("features"), parts.get("classifier")
    if not isinstance(features, nn.Sequential) or classifier is None:
        raise ValueError(f"divide: model must consist of features and a classifier, got {', '.join(parts)}")
    if not 0 <= frozen <= len(features):
        raise ValueError(f"divide: frozen must be from 0 to {len(features)}, got {frozen}")
    return features[:frozen], nn.Sequential(*features[frozen:], classifier)


def train(
    way: Way,
    images: Array,
    labels: Array,
    test_images: Array,
    test_labels: Array,
    *,
    epochs: int,
    weights: str | os.PathLike[str] = ARCHIVE,
    rng: np.random.Generator | int | None = None,
    batch_size: int = 25,
) -> Iterator[Epoch]:
    """Train SqueezeNet in one of the ways, an epoch for each item that is asked for.

    Parameters
    ----------
    way : Way
        One of ``WAYS``, or another.
    images, test_images : float32 arrays of shape (N, 3, H, W)
        Red, green and blue from 0 to 1; from scratch they are standardised first.
    labels, test_labels : int arrays of shape (N,)
        Classes from 0 up.
    epochs : int
        Passes over the images.
    weights : path
        As `squeezenet1_1` takes them; not read where `way` does without.
    rng : numpy.random.Generator or int, optional
        Where new weights and the order of the images come from.
    batch_size : int
        Images in a step.

    Yields
    ------
    Epoch
        After each pass; the seconds count the frozen layers' one pass too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.transfer import Way, train
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(20) % 2
    >>> images = rng.random((20, 3, 32, 32), np.float32) * np.float32(0.5 + labels / 2).reshape(-1, 1, 1, 1)
    >>> way = Way(pretrained=False, frozen=0, lr=1e-3)
    >>> *_, last = train(way, images, labels, images, labels, epochs=8, rng=0, batch_size=5)
    >>> last.test_accuracy
    1.0
    """
    began = time.perf_counter()
    rng = np.random.default_rng(rng)
    model = squeezenet1_1(rng, classes=int(labels.max()) + 1, weights=weights if way.pretrained else None)
    if not way.pretrained:
        mean, deviation = images.mean(), images.std()
        images, test_images = (images - mean) / deviation, (test_images - mean) / deviation
    front, rest = divide(model, way.frozen)
    x, test_x = predict(front, images), predict(front, test_images)
    training = fit(
        rest,
        Loader(x, labels, batch_size, seed=int(rng.integers(2**31))),
        Loader(test_x, test_labels, 250, shuffle=False),
        Classification(),
        Adam(rest.parameters()),
        lambda step, steps: cosine_decay(step, steps, way.lr),
        epochs,
    )
    for epoch in training:
        yield Epoch(epoch.test_score, time.perf_counter() - began)


def small_split(
    images: Array, labels: Array, train: int, test: int, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Choose images at random to train and to test with, and make floats from 0 to 1 of them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.transfer import small_split
    >>> images, labels = np.full((9, 3, 4, 4), 255, np.uint8), np.arange(9)
    >>> x, y, test_x, test_y = small_split(images, labels, 5, 3, np.random.default_rng(0))
    >>> x.shape, float(x.max()), len(set(y) | set(test_y))
    ((5, 3, 4, 4), 1.0, 8)
    """
    order = rng.permutation(len(images))
    first, last = order[:train], order[train : train + test]
    as_floats = (images[first] / np.float32(255), images[last] / np.float32(255))
    return as_floats[0], labels[first], as_floats[1], labels[last]


def study(
    out: Path, *, quick: bool = False, seed: int = 0, weights: str | os.PathLike[str] = ARCHIVE
) -> dict[str, float]:
    """Train SqueezeNet in the three ways on smiles and on CIFAR-10, few images of each.

    The data are looked for in the folder ``$FASTCONV_DATA``: ``smiles.zip`` and ``cifar10_train.zip``, each
    with a folder of images for each class.

    Parameters
    ----------
    out : Path
        Folder for the pictures ``transfer_smiles.png`` and ``transfer_cifar10.png``: accuracy by epoch and by
        second.
    quick : bool
        Whether to train on fewer smiles, for fewer epochs, and leave CIFAR-10 out.
    seed : int
        Of the choice of images, new weights and the order of training.
    weights : path
        As `squeezenet1_1` takes them.

    Returns
    -------
    dict of str to float
        For each data set and way: the accuracy at the end in per cent, the seconds it took, and the epoch
        that first reached what training from scratch came to, where one did.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib or Pillow.
    FileNotFoundError
        Weights or data are missing.
    """
    pictures.require_matplotlib()
    side = 48 if quick else SIDE
    plans = {"smiles": (100, 100, 2)} if quick else {"smiles": (500, 1000, 15), "cifar10": (1500, 1000, 12)}
    figures: dict[str, float] = {}
    for name, (count, test, epochs) in plans.items():
        rng = np.random.default_rng(seed)
        file = own_file("cifar10_train.zip" if name == "cifar10" else "smiles.zip")
        images, labels, _ = image_folder(file, size=side)
        split = small_split(images, labels, count, test, rng)
        runs = {
            title: list(train(way, *split, epochs=epochs, weights=weights, rng=seed))
            for title, way in WAYS.items()
        }
        _draw(out / f"transfer_{name}.png", runs, f"{name}: {count:,} images to learn from")
        goal = runs["from scratch"][-1].test_accuracy
        for title, run in runs.items():
            figures[f"{name}, {title}: accuracy (%)"] = 100 * run[-1].test_accuracy
            figures[f"{name}, {title}: seconds"] = run[-1].seconds
            there = [number for number, epoch in enumerate(run, 1) if epoch.test_accuracy >= goal]
            if there:
                figures[f"{name}, {title}: epochs to the accuracy from scratch"] = float(there[0])
    return figures


def _draw(path: Path, runs: dict[str, list[Epoch]], title: str) -> None:
    """Draw accuracy by epoch and by second."""
    figure = new_figure(9, 4, title)
    by_epoch, by_second = figure.subplots(1, 2, sharey=True)
    for name, run in runs.items():
        right = [100 * epoch.test_accuracy for epoch in run]
        by_epoch.plot(range(1, len(run) + 1), right, marker="o", markersize=3, label=name)
        by_second.plot([epoch.seconds for epoch in run], right, marker="o", markersize=3, label=name)
    by_epoch.set_xlabel("epoch")
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    by_epoch.set_ylabel("accuracy on the test images (%)")
    by_second.set_xlabel("seconds")
    for axes in (by_epoch, by_second):
        axes.grid(alpha=0.3)
    by_epoch.legend()
    save(figure, path)
