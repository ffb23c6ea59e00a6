"""The training loop that the studies share: batch by batch, with an optimiser of one's choice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.nn import Layer
from fastconv.nn.losses import cross_entropy
from fastconv.optim import Optimizer

Array = NDArray[Any]


def batches(count: int, size: int, epochs: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Draw the places of the images of each batch, all images once per epoch in random order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.descent import batches
    >>> [len(batch) for batch in batches(10, 4, epochs=2, rng=np.random.default_rng(0))]
    [4, 4, 2, 4, 4, 2]
    """
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count, size):
            yield order[start : start + size]


def step(model: Layer, optimizer: Optimizer, images: Array, labels: Array) -> float:
    """Make one step down the cross-entropy of a batch; return the loss before it."""
    loss, gradient = cross_entropy(model.train()(images), labels)
    optimizer.zero_grad()
    model.backward(gradient, input_gradient=False)
    optimizer.step()
    return loss


def outputs(model: Layer, images: Array, batch_size: int = 250) -> Array:
    """Compute the results of all images in evaluation mode; the model is left in it."""
    model.eval()
    parts = [model(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    return np.concatenate(parts)


def accuracy(model: Layer, images: Array, labels: Array) -> float:
    """Compute the share of images, from 0 to 1, whose highest score is that of their label."""
    return float((outputs(model, images).argmax(1) == labels).mean())
