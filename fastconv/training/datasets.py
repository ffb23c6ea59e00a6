"""What a training reads: a data set by its name or path, in a part to train and a part to test with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastconv import data
from fastconv.augment import Augmentation, Normalise
from fastconv.data import Loader, SceneLoader, Split
from fastconv.training.recipes import Recipe

TEST_SHARE = 0.2
"""Of a folder without a test part, what is held out."""

SCENES, TEST_SCENES = 1000, 500
"""Scenes of an epoch, and to test with."""

CROWDED = (3, 5)
"""Digits in a scene to train with: the more there are, the more is learnt from it."""

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Dataset:
    """Images and targets in two parts, uint8 or float32 from 0 to 1, and the names of the classes.

    ``fresh(batch_size, seed)`` makes the batches of a training part that is drawn anew for each epoch; the
    one in ``split`` is then a sample of it.
    """

    split: Split
    classes: tuple[str, ...]
    fresh: Callable[[int, int], SceneLoader] | None = None

    def batches(self, part: Split, batch_size: int, seed: int, augment: Augmentation) -> Loader | SceneLoader:
        """Make the batches to train with."""
        if self.fresh is not None:
            return self.fresh(batch_size, seed)
        return Loader(part.train_images, part.train_labels, batch_size, seed=seed, augment=augment)

    @property
    def normalise(self) -> Normalise:
        """What brings images to mean 0 and deviation 1; fresh ones stay as they are drawn."""
        return Normalise.of(self.split.train_images) if self.fresh is None else Normalise(0, 1)

    def validation(self, share: float, seed: int) -> Split:
        """Cut the training part in two: so much of it takes the place of the test part."""
        images, targets = self.split.train_images, self.split.train_labels
        order = np.random.default_rng(seed).permutation(len(images))
        held, kept = np.split(order, [max(1, round(share * len(images)))])
        return Split(images[kept], targets[kept], images[held], targets[held])


def read(recipe: Recipe, test: str | None = None, seed: int = 0) -> Dataset:
    """Read the data set that `recipe` names.

    Parameters
    ----------
    recipe : Recipe
        Its ``data``, ``image_size`` and ``colour``.
    test : str, optional
        Path of the images to test with, for a folder; without it a fifth of each class is held out.
    seed : int
        Where the choice of these comes from.

    Returns
    -------
    Dataset
        Images and targets.

    Raises
    ------
    ValueError
        No such data set, or parts that do not fit together.
    """
    name = recipe.data
    if name in NAMED:
        if test is not None:
            raise ValueError(f"{name} has a test part of its own: test must not be given, got {test}")
        return NAMED[name](recipe)
    if name is None or not Path(name).exists():
        known = ", ".join(NAMED)
        raise ValueError(f"data must be {known} or the path of a folder or zip file, got {name!r}")
    size = recipe.image_size
    whole = data.image_folder(name, size=size, colour=recipe.colour)
    if test is None:
        return Dataset(whole.split(TEST_SHARE, seed, standardise=False), whole.classes)
    other = data.image_folder(test, size=whole.images.shape[2:], colour=recipe.colour)
    if other.classes != whole.classes:
        raise ValueError(
            f"{test} has the classes {', '.join(other.classes)}, but {name} has {', '.join(whole.classes)}"
        )
    return Dataset(Split(whole.images, whole.labels, other.images, other.labels), whole.classes)


def _digits(recipe: Recipe) -> Dataset:
    return Dataset(data.digits().split(standardise=False), DIGITS)


def _fashion_mnist(recipe: Recipe) -> Dataset:
    return Dataset(data.fashion_mnist(standardise=False), data.FASHION_MNIST_CLASSES)


def _scenes(recipe: Recipe) -> Dataset:
    """Draw scenes of digits, with the targets that the task has."""
    truths = "boxes" if recipe.task == "boxes" else "masks"
    train = data.digit_scenes(SCENES, digits_per_scene=CROWDED, seed=1)
    test = data.digit_scenes(TEST_SCENES, part="test", seed=1)

    def fresh(batch_size: int, seed: int) -> SceneLoader:
        return SceneLoader(SCENES, batch_size, truths, seed=seed, digits_per_scene=CROWDED)

    split = Split(train.images, getattr(train, truths), test.images, getattr(test, truths))
    return Dataset(split, DIGITS if truths == "boxes" else ("ground", *DIGITS), fresh)


NAMED: dict[str, Callable[[Recipe], Dataset]] = {
    "digits": _digits,
    "fashion_mnist": _fashion_mnist,
    "scenes": _scenes,
}
