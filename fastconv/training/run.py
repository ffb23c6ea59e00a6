"""A training from its beginning or from a checkpoint, with the files it leaves behind.

``checkpoint.npz``, written before the first epoch and after each, is all that is needed to go on: an
interrupted training that goes on ends with the same bits as one that was not interrupted. ``log.csv`` has a
line for each epoch.
"""

from __future__ import annotations

import csv
import inspect
import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv._whole_file import whole_file
from fastconv.augment import Compose
from fastconv.data import Loader
from fastconv.models import NETWORKS
from fastconv.training import checkpoint
from fastconv.training.checkpoint import Origin
from fastconv.training.datasets import Dataset, read
from fastconv.training.loop import Epoch, evaluate, fit, predict
from fastconv.training.recipes import AUGMENTATIONS, TASKS, Recipe

VALIDATION_SHARE = 0.1
"""Of the training images, what early stopping watches."""

TEST_BATCH = 250

CHECKPOINT = "checkpoint.npz"
"""All that is needed to go on."""

BEST = "best.npz"
"""Weights of the best epoch so far, where the training watches for one."""


class Run:
    """A training and the folder of its files.

    Parameters
    ----------
    origin : Origin
        What it begins with.
    out : Path
        Folder for its files, made where it is not there.

    Attributes
    ----------
    model : Layer
        The network.
    history : list of Epoch
        Figures of the epochs that are done.
    dataset : Dataset
        What it trains and tests with.
    """

    def __init__(self, origin: Origin, dataset: Dataset, out: Path) -> None:
        recipe = origin.recipe
        self.origin = origin
        self.out = out
        self.dataset = dataset
        self.task = TASKS[recipe.task](recipe)
        self.model = origin.build()
        self.optimizer = recipe.optimizer(self.model.parameters())
        self.history: list[Epoch] = []
        watched = dataset.split
        if recipe.patience is not None:
            watched = dataset.validation(VALIDATION_SHARE, origin.seed)
        augment = Compose(*AUGMENTATIONS[recipe.augment], origin.normalise)
        self._loader = dataset.batches(watched, recipe.batch_size, origin.seed, augment)
        self._held_out, self._test = (
            Loader(split.test_images, split.test_labels, TEST_BATCH, shuffle=False, augment=origin.normalise)
            for split in (watched, dataset.split)
        )

    @classmethod
    def begin(
        cls,
        network: str,
        recipe: Recipe,
        out: Path,
        *,
        seed: int = 0,
        test: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> Run:
        """Put a training together, and write its first checkpoint.

        Parameters
        ----------
        network : str
            One of ``models.NETWORKS``.
        recipe : Recipe
            What to train with.
        out : Path
            Folder for the files.
        seed : int
            Of the weights, the order of the images and their augmentation.
        test : str, optional
            Images to test with, as in ``datasets.read``.
        arguments : mapping of str, optional
            For the network's function, beside those that follow from the data.

        Raises
        ------
        ValueError, TypeError
            Data that are not there, arguments that the network does not take.
        """
        dataset = read(recipe, test, seed)
        image, classes, normalise = dataset.split.train_images.shape[1:], dataset.classes, dataset.normalise
        origin = Origin(
            network,
            _arguments(network, recipe, image, len(classes)) | dict(arguments or {}),
            recipe,
            seed,
            test,
            image,
            classes,
            tuple(np.atleast_1d(normalise.mean).tolist()),
            tuple(np.atleast_1d(normalise.std).tolist()),
        )
        run = cls(origin, dataset, out)
        out.mkdir(parents=True, exist_ok=True)
        run._save()
        return run

    @classmethod
    def resume(cls, path: Path, out: Path | None = None) -> Run:
        """Go on from the checkpoint at `path`, in its folder or in another."""
        kept = checkpoint.load(path)
        origin = kept.origin
        run = cls(origin, read(origin.recipe, origin.test, origin.seed), out or path.parent)
        kept.restore(run.model, run.optimizer)
        run.history = kept.history
        run.out.mkdir(parents=True, exist_ok=True)
        if run.out != path.parent and (path.parent / BEST).exists():
            shutil.copyfile(path.parent / BEST, run.out / BEST)
        return run

    @property
    def checkpoint(self) -> Path:
        """The file to go on from."""
        return self.out / CHECKPOINT

    @property
    def steps(self) -> int:
        """Steps of the optimiser from beginning to end."""
        return self.origin.recipe.epochs * len(self._loader)

    @property
    def steps_done(self) -> int:
        """Steps that are behind."""
        return len(self.history) * len(self._loader)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do but to ``finish``."""
        return checkpoint.has_ended(self.origin.recipe, self.history)

    def predictions(self, images: NDArray[Any]) -> NDArray[Any]:
        """Compute what the network, in evaluation mode, makes of images of the dataset."""
        return predict(self.model, images, self.origin.inputs)

    def epochs(self, after_batch: Callable[[float], None] = lambda loss: None) -> Iterator[Epoch]:
        """Train on; the files are written before an epoch is given."""
        recipe = self.origin.recipe
        if self.ended:
            return
        for epoch in fit(
            self.model,
            self._loader,
            self._held_out,
            self.task,
            self.optimizer,
            recipe.learning_rate(len(self._loader)),
            recipe.epochs,
            done=len(self.history),
            after_batch=after_batch,
        ):
            self.history.append(epoch)
            if recipe.patience is not None and checkpoint.best(self.history) == len(self.history) - 1:
                self.model.save_state_dict(self.out / BEST)
            self._save()
            yield epoch
            if self.ended:
                break

    def finish(self) -> tuple[float, float]:
        """Take the best weights, where the training watched for them; return loss and score of the test."""
        if self.origin.recipe.patience is not None:
            self.model.load_state_dict(self.out / BEST)
        return evaluate(self.model, self._test, self.task)

    def _save(self) -> None:
        checkpoint.save(self.checkpoint, self.origin, self.history, self.model, self.optimizer)
        text = io.StringIO()
        log = csv.writer(text)
        log.writerow(field.name for field in fields(Epoch))
        log.writerows(astuple(epoch) for epoch in self.history)
        with whole_file(self.out / "log.csv") as file:
            file.write(text.getvalue().encode())


def _arguments(network: str, recipe: Recipe, image: tuple[int, ...], classes: int) -> dict[str, Any]:
    """Return those arguments of a network that its data decide."""
    known = {
        "classes": 1 if recipe.task == "yes_or_no" else classes,
        "channels": image[0],
        "image_size": image[1],
    }
    wanted = inspect.signature(NETWORKS[network]).parameters
    return {name: value for name, value in known.items() if name in wanted}
