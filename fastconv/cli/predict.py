"""``python -m fastconv predict``: what a trained network says of images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastconv.cli.arguments import positive_int
from fastconv.training.prediction import Classifier


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Register the sub-command ``predict``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "predict",
        help="tell the classes of images by a trained network",
        description="Tell the most probable classes of images by a network that has been trained.",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint.npz of a training")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--top", type=positive_int, default=3, help="classes for each image (default 3)")
    parser.set_defaults(func=lambda arguments: run(arguments, parser))
    return parser


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print a line for each image: its classes, the most probable first."""
    try:
        classifier = Classifier.load(arguments.checkpoint)
        images = classifier.read(arguments.images)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    for path, probabilities in zip(arguments.images, classifier(images), strict=True):
        order = probabilities.argsort()[::-1][: arguments.top]
        told = ", ".join(f"{classifier.classes[place]} {probabilities[place]:.1%}" for place in order)
        print(f"{path}: {told}")
    return 0
