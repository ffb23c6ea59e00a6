"""``python -m fastconv train``: train a network on the digits that come with the package.

The loop is stochastic gradient descent with momentum and a cosine decay of the learning rate; each network
has its recipe in ``RECIPES``. A bar and a plot are drawn where tqdm and matplotlib are installed, the
``train`` extra.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv.data import Split, digits
from fastconv.models import NETWORKS
from fastconv.nn import Layer
from fastconv.nn.losses import cross_entropy
from fastconv.optim import SGD, cosine_decay

EXTRA = 'pip install "fastconv[train]"'


@dataclass(frozen=True)
class Recipe:
    """Numbers a network is trained with, unless the command line says otherwise."""

    epochs: int
    batch_size: int
    lr: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0


RECIPES = {
    "lenet5": Recipe(epochs=30, batch_size=32, lr=0.05, weight_decay=2e-3, label_smoothing=0.1),
}


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images: mean losses, accuracies from 0 to 1, speed of training."""

    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    images_per_second: float


def fit(
    model: Layer,
    split: Split,
    recipe: Recipe,
    rng: np.random.Generator | int | None = None,
    *,
    after_batch: Callable[[float], None] = lambda loss: None,
) -> Iterator[Epoch]:
    """Train `model`, one epoch for each item that is asked for.

    Parameters
    ----------
    model : Layer
        Maps images to scores of the classes; trained in place.
    split : Split
        Images and labels to train and to test with.
    recipe : Recipe
        The numbers to train with.
    rng : numpy.random.Generator or int, optional
        Where the order of the images comes from; an int is a seed.
    after_batch : callable
        Called with the loss of each batch.

    Yields
    ------
    Epoch
        Figures of each epoch; those of the training images are taken while the model changes.

    Examples
    --------
    >>> from fastconv.data import digits
    >>> from fastconv.models import lenet5
    >>> from fastconv.training import Recipe, fit
    >>> recipe = Recipe(epochs=2, batch_size=50, lr=0.05)
    >>> first, last = fit(lenet5(rng=0), digits().split(test=4500), recipe, rng=0)
    >>> last.train_loss < first.train_loss
    True
    """
    rng = np.random.default_rng(rng)
    images, labels, test_images, test_labels = split
    optimizer = SGD(model.parameters(), recipe.lr, recipe.momentum, recipe.momentum > 0, recipe.weight_decay)
    starts = range(0, len(images), recipe.batch_size)
    for epoch in range(recipe.epochs):
        model.train()
        order = rng.permutation(len(images))
        loss_sum, right, began = 0.0, 0, time.perf_counter()
        for index, start in enumerate(starts):
            batch = order[start : start + recipe.batch_size]
            optimizer.lr = cosine_decay(epoch * len(starts) + index, recipe.epochs * len(starts), recipe.lr)
            scores = model(images[batch])
            loss, gradient = cross_entropy(scores, labels[batch], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            model.backward(gradient, input_gradient=False)
            optimizer.step()
            loss_sum += loss * len(batch)
            right += int((scores.argmax(1) == labels[batch]).sum())
            after_batch(loss)
        seconds = time.perf_counter() - began
        test_loss, test_accuracy = evaluate(
            model, test_images, test_labels, label_smoothing=recipe.label_smoothing
        )
        yield Epoch(
            train_loss=loss_sum / len(images),
            train_accuracy=right / len(images),
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            images_per_second=len(images) / seconds,
        )


def evaluate(
    model: Layer,
    images: NDArray[Any],
    labels: NDArray[Any],
    *,
    batch_size: int = 250,
    label_smoothing: float = 0.0,
) -> tuple[float, float]:
    """Compute the mean cross-entropy and the accuracy, from 0 to 1, of `model`.

    The model is switched to evaluation mode and left in it.

    Parameters
    ----------
    model : Layer
        Maps images to scores of the classes.
    images, labels : ndarray
        What to test with.
    batch_size : int
        Images at a time.
    label_smoothing : float
        As in ``nn.losses.cross_entropy``.

    Returns
    -------
    loss, accuracy : float
        Means over all images.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> evaluate(nn.Flatten(), np.array([[0.0, 9.0], [9.0, 0.0]]), np.array([1, 1]))[1]
    0.5
    """
    model.eval()
    loss_sum, right = 0.0, 0
    for start in range(0, len(images), batch_size):
        here = slice(start, start + batch_size)
        scores = model(images[here])
        loss_sum += cross_entropy(scores, labels[here], label_smoothing=label_smoothing)[0] * len(scores)
        right += int((scores.argmax(1) == labels[here]).sum())
    return loss_sum / len(images), right / len(images)


# The command line


def add_train_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Register the sub-command ``train`` with what ``argparse``'s ``add_subparsers()`` gave.

    The parsed arguments then hold ``func``, a function that takes them and returns the exit status.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="train a network on the digits that come with the package",
        description="Train a network on 4,000 of the digits in the package, test it on 1,000 others.",
    )
    parser.add_argument("network", choices=sorted(RECIPES), help="which network")
    parser.add_argument("--epochs", type=_positive_int, help="passes over the training images")
    parser.add_argument("--batch-size", type=_positive_int, help="images for each step")
    parser.add_argument("--lr", type=_positive_float, help="learning rate at the start")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the weights and of the order of images (default 0)"
    )
    parser.add_argument("--threads", type=_positive_int, help="threads to compute with")
    parser.add_argument("--out", type=Path, help="folder for weights and plot (default runs/NETWORK)")
    parser.set_defaults(func=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says: print figures, save weights and plot, return the exit status."""
    if arguments.threads is not None:
        _core.set_num_threads(arguments.threads)
    changes = {name: getattr(arguments, name) for name in ("epochs", "batch_size", "lr")}
    recipe = Recipe(**vars(RECIPES[arguments.network]) | {k: v for k, v in changes.items() if v is not None})
    out: Path = arguments.out or Path("runs", arguments.network)
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(arguments.seed)
    model = NETWORKS[arguments.network](rng)
    split = digits().split()
    count = sum(parameter.data.size for parameter in model.parameters())
    print(f"{arguments.network}: {count:,} parameters; {len(split.train_images):,} digits to train with, "
          f"{len(split.test_images):,} to test with")  # fmt: skip

    steps = recipe.epochs * -(-len(split.train_images) // recipe.batch_size)
    history: list[Epoch] = []
    with _progress(steps) as (advance, say):
        for epoch in fit(model, split, recipe, rng, after_batch=advance):
            history.append(epoch)
            say(f"epoch {len(history):>3}/{recipe.epochs}  loss {epoch.train_loss:.4f}  "
                f"test accuracy {100 * epoch.test_accuracy:5.2f} %")  # fmt: skip
    speed = len(history) / sum(1 / epoch.images_per_second for epoch in history)
    print(f"accuracy on the test digits: {100 * history[-1].test_accuracy:.2f} %")
    print(f"trained with {speed:,.0f} images per second")
    print(f"weights: {_save_weights(model, out)}")
    plot = _save_plot(history, recipe, arguments.network, out / "training.png")
    print(f"plot: {plot}" if plot else f"no plot: it needs matplotlib ({EXTRA})")
    return 0


@contextmanager
def _progress(steps: int) -> Iterator[tuple[Callable[[float], None], Callable[[str], None]]]:
    """Give two functions: one to call after each step with its loss, one to print a line."""
    tqdm = _optional("tqdm")
    if tqdm is None:
        print(f"no progress bar: it needs tqdm ({EXTRA})")
        yield lambda loss: None, print
        return
    with tqdm.tqdm(total=steps, unit="batch") as bar:

        def advance(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()

        yield advance, bar.write


def _save_weights(model: Layer, out: Path) -> Path:
    path = out / ("weights.npz" if _optional("safetensors") is None else "weights.safetensors")
    model.save_state_dict(path)
    return path


def _save_plot(history: list[Epoch], recipe: Recipe, title: str, path: Path) -> Path | None:
    """Draw loss and accuracy by epoch into a PNG file; ``None`` without matplotlib."""
    matplotlib = _optional("matplotlib.figure")
    if matplotlib is None:
        return None
    figure = matplotlib.Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(f"{title}: {100 * history[-1].test_accuracy:.2f} % of the test digits")
    smoothing = f", labels smoothed by {recipe.label_smoothing}" if recipe.label_smoothing else ""
    panels = [
        ("loss", 1, f"cross-entropy{smoothing}", "upper right"),
        ("accuracy", 100, "accuracy (%)", "lower right"),
    ]
    for axes, (quantity, scale, label, corner) in zip(figure.subplots(1, 2), panels, strict=True):
        for part in ("train", "test"):
            values = [scale * getattr(epoch, f"{part}_{quantity}") for epoch in history]
            axes.plot(range(1, len(history) + 1), values, marker="o", markersize=3, label=part)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(loc=corner)
    figure.savefig(path, dpi=150)
    return path


def _optional(module: str) -> Any:
    """Import a module of the ``train`` extra; ``None`` where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        return None


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value
