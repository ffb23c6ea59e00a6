"""The training loop: batches from a loader, a loss from a task, steps of an optimiser, figures by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.data import Loader, SceneLoader
from fastconv.nn import Layer
from fastconv.optim import Optimizer
from fastconv.training.tasks import Task

Schedule = Callable[[int, int], float]
"""Learning rate by the step to come, counted from 0, and the number of steps in all."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images.

    Those of the training images are taken while the model changes, in training mode; there is no
    ``train_score`` where the task's score is not a mean over images.
    """

    number: int
    lr: float
    train_loss: float
    train_score: float | None
    test_loss: float
    test_score: float
    seconds: float
    images_per_second: float


def fit(
    model: Layer,
    loader: Loader | SceneLoader,
    held_out: Loader,
    task: Task,
    optimizer: Optimizer,
    schedule: Schedule,
    epochs: int,
    *,
    done: int = 0,
    after_batch: Callable[[float], None] = lambda loss: None,
) -> Iterator[Epoch]:
    """Train `model`, one epoch for each item that is asked for.

    Parameters
    ----------
    model : Layer
        Maps images to what the task reads; trained in place.
    loader : Loader or SceneLoader
        Batches to train with.
    held_out : Loader
        Batches to test with.
    task : Task
        Loss and score.
    optimizer : Optimizer
        Of the model's parameters, or of those that are to change.
    schedule : callable
        ``(step, steps) -> lr``, asked before each step.
    epochs : int
        How many there are in all.
    done : int
        How many of them are behind: those to come see the batches and learning rates that they see in an
        uninterrupted training.
    after_batch : callable
        Called with the loss of each batch.

    Yields
    ------
    Epoch
        Figures of each epoch.

    Examples
    --------
    >>> from fastconv.data import Loader, digits
    >>> from fastconv.models import lenet5
    >>> from fastconv.optim import SGD, cosine_decay
    >>> from fastconv.training import Classification, fit
    >>> x, labels, x_test, labels_test = digits().split(test=4500)
    >>> model = lenet5(rng=0)
    >>> first, last = fit(
    ...     model,
    ...     Loader(x, labels, 50, seed=0),
    ...     Loader(x_test, labels_test, 250, shuffle=False),
    ...     Classification(),
    ...     SGD(model.parameters(), lr=0.05, momentum=0.9),
    ...     lambda step, steps: cosine_decay(step, steps, peak=0.05),
    ...     epochs=2,
    ... )
    >>> last.train_loss < first.train_loss
    True
    """
    steps = epochs * len(loader)
    for number in range(done, epochs):
        model.train()
        loader.epoch = number
        loss_sum = score_sum = 0.0
        images, began = 0, time.perf_counter()
        for index, (x, target) in enumerate(loader):
            optimizer.lr = schedule(number * len(loader) + index, steps)
            prediction = model(x)
            loss, gradient = task.loss(prediction, target)
            optimizer.zero_grad()
            model.backward(gradient, input_gradient=False)
            optimizer.step()
            images += len(x)
            loss_sum += loss * len(x)
            if task.mean_score:
                score_sum += task.score(prediction, target) * len(x)
            after_batch(loss)
        seconds = time.perf_counter() - began
        test_loss, test_score = evaluate(model, held_out, task)
        yield Epoch(
            number=number + 1,
            lr=optimizer.lr,
            train_loss=loss_sum / images,
            train_score=score_sum / images if task.mean_score else None,
            test_loss=test_loss,
            test_score=test_score,
            seconds=seconds,
            images_per_second=images / seconds,
        )


def predict(
    model: Layer,
    images: NDArray[Any],
    prepare: Callable[[NDArray[Any]], NDArray[Any]] = lambda images: images,
    *,
    batch_size: int = 250,
) -> NDArray[Any]:
    """Compute what `model`, in evaluation mode, in which it is left, makes of images.

    Parameters
    ----------
    model : Layer
        The network.
    images : ndarray (N, ...)
        Any number of them, at least one.
    prepare : callable
        What is done to each batch before.
    batch_size : int
        Images at a time.

    Returns
    -------
    ndarray (N, ...)
        The results.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.training import predict
    >>> predict(nn.Flatten(), np.zeros((5, 1, 2, 2)), batch_size=2).shape
    (5, 4)
    """
    model.eval()
    starts = range(0, len(images), batch_size)
    return np.concatenate([model(prepare(images[start : start + batch_size])) for start in starts])


def evaluate(model: Layer, loader: Loader, task: Task) -> tuple[float, float]:
    """Compute the mean loss and the score of `model`, in evaluation mode, in which it is left.

    Parameters
    ----------
    model : Layer
        Maps images to what the task reads.
    loader : Loader
        What to test with.
    task : Task
        Loss and score.

    Returns
    -------
    loss, score : float
        The mean over all images, and the score of all.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.data import Loader
    >>> from fastconv.training import Classification, evaluate
    >>> loader = Loader(np.array([[[[0.0, 9.0]]], [[[9.0, 0.0]]]]), np.array([1, 1]), 1, shuffle=False)
    >>> evaluate(nn.Flatten(), loader, Classification())[1]
    0.5
    """
    model.eval()
    loss_sum, predictions, targets = 0.0, [], []
    for x, target in loader:
        prediction = model(x)
        loss_sum += task.loss(prediction, target)[0] * len(x)
        predictions.append(prediction)
        targets.append(target)
    every: Any = np.concatenate(predictions)
    return loss_sum / len(every), task.score(every, np.concatenate(targets))
