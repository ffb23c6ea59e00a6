"""A training in a file, to go on later to the same bits: one ``.npz`` that is there whole or not at all.

Arrays (weights, running statistics, what the optimiser remembers) are stored under dotted names, all the rest
as JSON text. The states of the random generators that layers keep (dropout) belong to it; the order of the
images and their augmentation follow from the seed and the number of the epoch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import weights
from fastconv.augment import Normalise
from fastconv.models import NETWORKS
from fastconv.nn import Layer
from fastconv.optim import Optimizer
from fastconv.training.loop import Epoch
from fastconv.training.recipes import Recipe

FORMAT = "fastconv training 1"


@dataclass(frozen=True)
class Origin:
    """What a training began with.

    Attributes
    ----------
    network : str
        One of ``models.NETWORKS``.
    arguments : dict
        What it was made with, beside the seed.
    recipe : Recipe
        All the rest but the data's form.
    seed : int
        Of the weights, the order of the images and their augmentation.
    test : str, optional
        Path of the test images.
    image : tuple of int
        Channels, height and width of the images.
    classes : tuple of str
        Names of the classes.
    mean, std : tuple of float
        Of the channels of the training images on the scale from 0 to 1; all images are standardised by them.
    """

    network: str
    arguments: dict[str, Any]
    recipe: Recipe
    seed: int
    test: str | None
    image: tuple[int, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def build(self) -> Layer:
        """Make the network as it was at the beginning."""
        return NETWORKS[self.network](np.random.default_rng(self.seed), **self.arguments)

    @property
    def normalise(self) -> Normalise:
        """The step that standardises images."""
        return Normalise(self.mean, self.std)

    def inputs(self, images: NDArray[Any]) -> NDArray[Any]:
        """Bring images, uint8 or floats from 0 to 1, into the form that the network takes."""
        return self.normalise(images / np.float32(255) if images.dtype == np.uint8 else images)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: see ``load``."""

    origin: Origin
    history: list[Epoch]
    generators: list[dict[str, Any]]
    optimizer: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def ended(self) -> bool:
        """Whether the training has come to its end."""
        return has_ended(self.origin.recipe, self.history)

    def restore(self, model: Layer, optimizer: Optimizer | None = None) -> None:
        """Give `model`, and an optimiser of its parameters, the state they had.

        Raises
        ------
        ValueError, TypeError
            A model or optimiser that the file is not of; the model is then unchanged.
        """
        generators = list(_generators(model))
        if len(generators) != len(self.generators):
            raise ValueError(
                f"checkpoint: the model keeps {len(generators)} random generators, "
                f"the file {len(self.generators)}"
            )
        model.load_state_dict(
            {name[6:]: array for name, array in self.arrays.items() if name.startswith("model.")}
        )
        for generator, state in zip(generators, self.generators, strict=True):
            generator.bit_generator.state = state
        if optimizer is not None:
            kept: list[dict[str, Any]] = [{} for _ in optimizer.parameters]
            for name, array in self.arrays.items():
                if name.startswith("optimizer."):
                    _, place, key = name.split(".")
                    kept[int(place)][key] = array
            optimizer.load_state_dict({**self.optimizer, "arrays": kept})  # type: ignore[typeddict-item]


def best(history: Sequence[Epoch]) -> int:
    """Return the place of the epoch with the best score, the first of equals."""
    return max(range(len(history)), key=lambda place: history[place].test_score)


def has_ended(recipe: Recipe, history: Sequence[Epoch]) -> bool:
    """Tell whether there are no more epochs, or was no better one in as many as the recipe's patience."""
    done = len(history)
    impatient = recipe.patience is not None and done > 0 and done - 1 - best(history) >= recipe.patience
    return done >= recipe.epochs or impatient


def save(
    path: str | os.PathLike[str],
    origin: Origin,
    history: list[Epoch],
    model: Layer,
    optimizer: Optimizer,
) -> None:
    """Write the training between two epochs to a ``.npz`` file, which is there whole or not at all."""
    state = optimizer.state_dict()
    about = {
        "format": FORMAT,
        "origin": asdict(origin),
        "history": [asdict(epoch) for epoch in history],
        "generators": [generator.bit_generator.state for generator in _generators(model)],
        "optimizer": {"settings": state["settings"], "steps": state["steps"]},
    }
    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    for place, kept in enumerate(state["arrays"]):
        arrays.update((f"optimizer.{place}.{name}", array) for name, array in kept.items())
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    weights.write(path, {"about": text, **arrays})


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read what ``save`` wrote.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        A file that is damaged or something else.
    """
    arrays = weights.read(path)
    try:
        about = json.loads(arrays.pop("about").tobytes())
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}, expected {FORMAT!r}")
        origin = about["origin"]
        rows = {name: tuple(value) for name, value in origin.items() if isinstance(value, list)}
        return Checkpoint(
            origin=Origin(**{**origin, **rows, "recipe": Recipe(**origin["recipe"])}),
            history=[Epoch(**epoch) for epoch in about["history"]],
            generators=about["generators"],
            optimizer=about["optimizer"],
            arrays=arrays,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no checkpoint of a training: {error}") from error


def _generators(model: Layer) -> Iterator[np.random.Generator]:
    """Go through the random generators that layers keep as attributes, a shared one once."""
    seen: set[int] = set()
    for _, layer in model.named_layers():
        for value in vars(layer).values():
            if isinstance(value, np.random.Generator) and id(value) not in seen:
                seen.add(id(value))
                yield value
