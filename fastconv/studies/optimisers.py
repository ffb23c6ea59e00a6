"""Optimisers compared: gradient descent, momentum, RMSprop and Adam on one network.

All start from the same weights and see the same batches in the same order; only the rule that turns gradients
into steps differs. A rule is no better than its learning rate, so each trains with a range of them, and is
judged by the one that lowered the loss most.

The rules and their papers are in ``fastconv.optim``. On the comparison: D. Choi et al., "On empirical
comparisons of optimizers for deep learning", arXiv:1910.05446.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastconv import nn, pictures
from fastconv.data import Loader, Split, digits
from fastconv.models import lenet5
from fastconv.optim import SGD, Adam, Optimizer, RMSprop
from fastconv.training import Classification, fit

OPTIMISERS: dict[str, Callable[[nn.Layer, float], Optimizer]] = {
    "gradient descent": lambda model, lr: SGD(model.parameters(), lr),
    "momentum": lambda model, lr: SGD(model.parameters(), lr, momentum=0.9),
    "RMSprop": lambda model, lr: RMSprop(model.parameters(), lr),
    "Adam": lambda model, lr: Adam(model.parameters(), lr),
}
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)


def train(
    name: str, lr: float, split: Split, *, epochs: int, seed: int, size: int = 25
) -> tuple[list[float], list[float]]:
    """Train LeNet-5 by one of the rules, at a constant learning rate.

    Parameters
    ----------
    name : str
        Which one, of `OPTIMISERS`.
    lr : float
        Learning rate.
    split : Split
        Images and labels.
    epochs : int
        Passes over the training images.
    seed : int
        Of the weights and the order of the images, and so the same for every rule.
    size : int
        Images in a batch.

    Returns
    -------
    losses : list of float
        Mean loss of the batches of each epoch.
    accuracies : list of float
        Accuracy on the test images after each epoch, from 0 to 1.

    Examples
    --------
    >>> from fastconv.data import digits
    >>> from fastconv.studies.optimisers import train
    >>> losses, accuracies = train("Adam", 0.003, digits().split(test=4500), epochs=3, seed=0)
    >>> losses[2] < losses[1] < losses[0]
    True
    """
    model = lenet5(seed)
    training = fit(
        model,
        Loader(split.train_images, split.train_labels, size, seed=seed),
        Loader(split.test_images, split.test_labels, 250, shuffle=False),
        Classification(),
        OPTIMISERS[name](model, lr),
        lambda step, steps: lr,
        epochs,
    )
    done = list(training)
    return [epoch.train_loss for epoch in done], [epoch.test_score for epoch in done]


def study(out: Path, *, quick: bool = False, seed: int = 0) -> dict[str, float]:
    """Train by each rule with every learning rate, and draw the curves of the best ones.

    Parameters
    ----------
    out : Path
        Folder for the picture ``optimisers.png``.
    quick : bool
        Whether to train on fewer digits, with every other learning rate.
    seed : int
        Of the weights and the order of the digits.

    Returns
    -------
    dict of str to float
        For each rule: the learning rate, how many times smaller the loss is in the last epoch than in the
        first, and the accuracy on the test digits.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    """
    pictures.require_matplotlib()
    images, labels, test_images, test_labels = digits().split(test=4500 if quick else 1000)
    split = Split(images, labels, test_images[:1000], test_labels[:1000])
    rates = RATES[::2] if quick else RATES
    epochs = 5 if quick else 12
    tried: dict[str, list[float]] = {}
    losses: dict[str, list[float]] = {}
    percent: dict[str, list[float]] = {}
    figures: dict[str, float] = {}
    for name in OPTIMISERS:
        runs = [train(name, lr, split, epochs=epochs, seed=seed) for lr in rates]
        tried[name] = [of_epochs[-1] for of_epochs, _ in runs]
        best = int(np.nanargmin(tried[name]))
        losses[name], accuracies = runs[best]
        percent[name] = [100 * share for share in accuracies]
        figures |= {
            f"{name}: learning rate": rates[best],
            f"{name}: fall of the loss (times)": losses[name][0] / losses[name][-1],
            f"{name}: accuracy on the test digits (%)": percent[name][-1],
        }
    pictures.curves(
        [
            pictures.Panel("loss in the last epoch", tried, rates, "learning rate", log_x=True, log_y=True),
            pictures.Panel("training loss", losses, log_y=True),
            pictures.Panel("accuracy on the test digits (%)", percent),
        ],
        out / "optimisers.png",
        title="LeNet-5, the same weights and batches, each optimiser at the best learning rate on the left",
    )
    return figures
