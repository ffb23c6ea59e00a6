"""``python -m fastconv train``: train a network by its recipe, or go on with a training."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastconv import _core
from fastconv.cli.arguments import EXTRA, argument, optional, positive_float, positive_int
from fastconv.models import NETWORKS
from fastconv.pictures import Panel, curves
from fastconv.training.checkpoint import load
from fastconv.training.recipes import AUGMENTATIONS, OPTIMISERS, RECIPES, SCHEDULES, Recipe
from fastconv.training.run import CHECKPOINT, Run

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Register the sub-command ``train``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="train a network, or go on with an interrupted training",
        description="Train a network by its recipe, which the options change. Every epoch ends with a "
        "checkpoint; --resume goes on from it.",
    )
    add = parser.add_argument
    add("network", choices=sorted(NETWORKS), help="which network")
    add(
        "--set",
        action="append",
        type=argument,
        metavar="NAME=VALUE",
        help="an argument of the network's function, such as batch_norm=True; may be given several times",
    )
    add("--data", help="digits, fashion_mnist, scenes, or a folder or zip file with a folder per class")
    add("--test", metavar="PATH", help="images to test with, for a folder (default: a fifth, held out)")
    add("--image-size", type=positive_int, metavar="N", help="bring the images of a folder to N x N")
    add("--epochs", type=positive_int, help="passes over the training images")
    add("--batch-size", type=positive_int, help="images for each step")
    add("--optimiser", choices=sorted(OPTIMISERS), help="rule of the steps")
    add("--lr", type=positive_float, help="highest learning rate")
    add("--schedule", choices=sorted(SCHEDULES), help="learning rate over time")
    add("--warmup", type=positive_float, metavar="EPOCHS", help="the learning rate rises so long")
    add("--weight-decay", type=float, help="pull of the weights towards zero")
    add("--label-smoothing", type=float, help="share of a target that all classes have in common")
    add("--augment", choices=sorted(AUGMENTATIONS), help="random changes of the training images")
    add(
        "--patience",
        type=positive_int,
        metavar="EPOCHS",
        help="stop after so many without a better score on a tenth of the training images, held out for "
        "that, and take the best weights",
    )
    add("--seed", type=int, help="of weights, order of images and their changes (default 0)")
    add("--resume", type=Path, metavar="FILE", help="go on from this checkpoint.npz")
    add("--threads", type=positive_int, help="threads to compute with")
    add("--out", type=Path, help="folder for all files (default runs/NETWORK, or that of --resume)")
    parser.set_defaults(func=lambda arguments: run(arguments, parser))
    return parser


CHANGES = (
    "data", "image_size", "epochs", "batch_size", "optimiser", "lr", "schedule", "warmup", "weight_decay",
    "label_smoothing", "augment", "patience",
)  # fmt: skip
"""The options that change a recipe."""


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Train as the command line says: print figures, save weights and plot, return the exit status."""
    if arguments.threads is not None:
        _core.set_num_threads(arguments.threads)
    try:
        training = _training(arguments)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    origin, split, metric = training.origin, training.dataset.split, training.task.metric
    count = sum(parameter.data.size for parameter in training.model.parameters())
    print(f"{origin.network}: {count:,} parameters; {len(split.train_images):,} images to train with, "
          f"{len(split.test_images):,} to test with")  # fmt: skip

    before = len(training.history)
    watched = "test" if origin.recipe.patience is None else "held-out"
    try:
        with _progress(training) as (advance, say):
            for epoch in training.epochs(advance):
                say(f"epoch {epoch.number:>3}/{origin.recipe.epochs}  loss {epoch.train_loss:.4f}  "
                    f"{watched} {metric} {100 * epoch.test_score:5.2f} %")  # fmt: skip
    except KeyboardInterrupt:
        print(f"interrupted after {len(training.history)} epochs; to go on:\n"
              f"python -m fastconv train {origin.network} --resume {training.checkpoint}")  # fmt: skip
        return INTERRUPTED
    print(f"{metric} on the test images: {100 * training.finish()[1]:.2f} %")
    if new := training.history[before:]:
        images = sum(epoch.images_per_second * epoch.seconds for epoch in new)
        print(f"trained with {images / sum(epoch.seconds for epoch in new):,.0f} images per second")
    print(f"weights: {_save_weights(training)}")
    plot = _save_plot(training, watched)
    print(f"plot: {plot}" if plot else f"no plot: it needs matplotlib ({EXTRA})")
    return 0


def _training(arguments: argparse.Namespace) -> Run:
    """Begin the training, or take the interrupted one up."""
    changes = {name: getattr(arguments, name) for name in CHANGES}
    if arguments.resume is None:
        recipe = RECIPES.get(arguments.network, Recipe()).changed(**changes)
        out = arguments.out or Path("runs", arguments.network)
        _refuse_unfinished(out / CHECKPOINT)
        return Run.begin(
            arguments.network,
            recipe,
            out,
            seed=arguments.seed or 0,
            test=arguments.test,
            arguments=dict(arguments.set or ()),
        )
    given = [name for name in (*CHANGES, "set", "seed", "test") if getattr(arguments, name) is not None]
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(f"--resume goes on as the training began: it takes no {names}")
    training = Run.resume(arguments.resume, arguments.out)
    if training.origin.network != arguments.network:
        raise ValueError(f"{arguments.resume} is of {training.origin.network}, not of {arguments.network}")
    return training


def _refuse_unfinished(path: Path) -> None:
    """Raise where a training that has not come to its end would be written over."""
    if path.exists() and (kept := load(path)).history and not kept.ended:
        raise ValueError(
            f"{path} is of a training that has {len(kept.history)} epochs behind it and is not at its end: "
            "go on with --resume, choose another --out, or remove it"
        )


@contextmanager
def _progress(training: Run) -> Iterator[tuple[Callable[[float], None], Callable[[str], None]]]:
    """Give two functions: one to call after each step with its loss, one to print a line."""
    tqdm = optional("tqdm")
    if tqdm is None:
        print(f"no progress bar: it needs tqdm ({EXTRA})")
        yield lambda loss: None, print
        return
    with tqdm.tqdm(total=training.steps, initial=training.steps_done, unit="batch") as bar:

        def advance(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()

        yield advance, bar.write


def _save_weights(training: Run) -> Path:
    path = training.out / ("weights.npz" if optional("safetensors") is None else "weights.safetensors")
    training.model.save_state_dict(path)
    return path


def _save_plot(training: Run, watched: str) -> Path | None:
    """Draw loss and score by epoch into a PNG file; ``None`` without matplotlib."""
    if optional("matplotlib") is None:
        return None
    history, metric = training.history, training.task.metric
    loss = {"train": [epoch.train_loss for epoch in history], watched: [epoch.test_loss for epoch in history]}
    score = {watched: [100 * epoch.test_score for epoch in history]}
    if training.task.mean_score:
        score = {"train": [100 * (epoch.train_score or 0) for epoch in history], **score}
    path = training.out / "training.png"
    title = f"{training.origin.network}: {history[-1].test_score:.2%} {metric} on the {watched} images"
    curves([Panel("loss", loss), Panel(f"{metric} (%)", score)], path, title=title)
    return path
