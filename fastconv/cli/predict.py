"""``python -m fastconv predict``: what a trained network finds in images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastconv.cli.arguments import positive_int
from fastconv.data import image_files, image_size
from fastconv.pictures import require_matplotlib
from fastconv.training.prediction import Predictor


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Register the sub-command ``predict``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "predict",
        help="tell what a trained network finds in images",
        description="Tell what a network that has been trained finds in images: their most probable "
        "classes; boxes, in pixels of the image; or masks, by the share of each class.",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint.npz of a training")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument(
        "--top",
        type=positive_int,
        metavar="N",
        help="tell the N likeliest classes, best boxes or largest masks of each image (default 3 classes, "
        "all boxes and masks)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="draw each image with what was found into DIR/IMAGE.png"
    )
    parser.set_defaults(func=lambda arguments: run(arguments, parser))
    return parser


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print what was found in each image, a line for each thing, and draw it where that is asked for."""
    paths, out = arguments.images, arguments.out
    try:
        if out is not None:
            require_matplotlib()
            _refuse_overwriting(paths, out)
        predictor = Predictor.load(arguments.checkpoint)
        images, sizes = predictor.read(paths), [image_size(path) for path in paths]
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    task, classes = predictor.task, predictor.classes
    for path, size, found in zip(paths, sizes, predictor(images, sizes), strict=True):
        for line in task.tell(found, classes, arguments.top):
            print(f"{path}: {line}")
        if out is not None:
            (image,) = image_files([path], size=size)
            task.draw(image, found, classes, _picture(path, out))
            print(f"picture: {_picture(path, out)}")
    return 0


def _picture(image: Path, out: Path) -> Path:
    return out / f"{image.stem}.png"


def _refuse_overwriting(images: Sequence[Path], out: Path) -> None:
    """Raise where a picture would be written over an image, or over another's picture."""
    taken = {image.resolve() for image in images}
    for image in images:
        picture = _picture(image, out)
        if picture.resolve() in taken:
            raise ValueError(f"--out: the picture of {image} would be written over {picture}")
        taken.add(picture.resolve())
