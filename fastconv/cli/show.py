"""``python -m fastconv show``: pictures of a training's data and of what its network has learnt."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastconv import augment, pictures
from fastconv.cli.arguments import positive_int
from fastconv.training.recipes import AUGMENTATIONS
from fastconv.training.run import Run

SAMPLES = 24
"""Images in a picture of the data."""

FOUND = 8
"""Images with boxes or masks."""

AUGMENTED = 6
"""Images that are shown beside their augmented forms."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Register the sub-command ``show``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "show",
        help="draw the data, filters, feature maps or mistakes of a training",
        description="Draw a picture of a training: " + "; ".join(f"{name}: {what}" for name, (what, _) in
                                                             PICTURES.items()) + ".",
    )  # fmt: skip
    parser.add_argument("what", choices=list(PICTURES), help="the picture")
    parser.add_argument("checkpoint", type=Path, help="checkpoint.npz of the training")
    parser.add_argument(
        "--image", type=positive_int, default=1, help="number of the test image for feature maps (default 1)"
    )
    parser.add_argument("--out", type=Path, help="the file (default WHAT.png beside the checkpoint)")
    parser.set_defaults(func=lambda arguments: run(arguments, parser))
    return parser


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Draw the picture."""
    try:
        pictures.require_matplotlib()
        training = Run.resume(arguments.checkpoint)
        images = len(training.dataset.split.test_images)
        if arguments.image > images:
            raise ValueError(f"--image: there are {images:,} test images, got {arguments.image}")
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    path = arguments.out or arguments.checkpoint.with_name(f"{arguments.what}.png")
    PICTURES[arguments.what][1](training, path, arguments)
    print(f"picture: {path}")
    return 0


def _data(training: Run, path: Path, arguments: argparse.Namespace) -> None:
    split, classes = training.dataset.split, training.dataset.classes
    labels = split.train_labels[:SAMPLES]
    titles = [classes[label] for label in labels] if labels.ndim == 1 else None
    pictures.image_grid(split.train_images[:SAMPLES], path, titles=titles)


def _augmented(training: Run, path: Path, arguments: argparse.Namespace) -> None:
    steps = AUGMENTATIONS[training.origin.recipe.augment]
    augment.samples_picture(training.dataset.split.train_images[:AUGMENTED], augment.Compose(*steps), path)


def _filters(training: Run, path: Path, arguments: argparse.Namespace) -> None:
    pictures.filters(training.model, path, title=training.origin.network)


def _features(training: Run, path: Path, arguments: argparse.Namespace) -> None:
    place = slice(arguments.image - 1, arguments.image)
    (image,) = training.origin.inputs(training.dataset.split.test_images[place])
    pictures.feature_maps(training.model, image, path, title=training.origin.network)


def _mistakes(training: Run, path: Path, arguments: argparse.Namespace) -> None:
    split = training.dataset.split
    shown = slice(None if split.test_labels.ndim == 1 else FOUND)
    images, truths = split.test_images[shown], split.test_labels[shown]
    training.task.draw_mistakes(images, truths, training.predictions(images), training.dataset.classes, path)


PICTURES: dict[str, tuple[str, Callable[[Run, Path, argparse.Namespace], None]]] = {
    "data": ("images of the training part", _data),
    "augmented": ("some of them with random changes", _augmented),
    "filters": ("those of every convolution", _filters),
    "features": ("what each layer makes of a test image", _features),
    "mistakes": ("test images it is wrong about, or what it found in some beside what is there", _mistakes),
}
