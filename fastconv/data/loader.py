"""Batches of a data set: shuffled, augmented and made ready while the network works on the one before.

The order of an epoch and all draws of its augmentations come from the seed, the number of the epoch and that
of the batch alone, whichever thread makes the batch and when. A training that goes on at some epoch therefore
sees the very bits it would have seen without a stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.augment.step import Augmentation, apply, check_augmentation
from fastconv.nn.arguments import check_data_format, read_int

Batch = tuple[NDArray[Any], Any]


class Loader:
    """Batches ``(x, y)`` of images and labels; going through it once is one epoch.

    Parameters
    ----------
    images : ndarray of uint8, float32 or float64 (N, C, H, W)
        uint8 ones become float32 from 0 to 1; floats stay as they are. Without augmentation, every shape
        (N, ...) will do.
    labels : array (N, ...)
        What belongs to each image: class numbers, masks, boxes.
    batch_size : int
        Images in a batch; the last one may have fewer.
    shuffle : bool
        Whether each epoch has a random order of its own.
    seed : int
        Where order and augmentation come from.
    augment : callable, optional
        ``(images, rng) -> images``, see ``fastconv.augment``; with a method ``with_labels`` it makes the
        labels too.
    drop_last : bool
        Whether a last batch with fewer images is left out.
    prefetch : int
        How many batches a background thread makes ahead; 0 makes each when it is asked for.
    progress : bool
        Whether each epoch draws a progress bar, where tqdm is installed.
    data_format : str
        Layout of the batches, ``"channels_first"`` or ``"channels_last"``; `images` have their channels first
        in both.

    Attributes
    ----------
    epoch : int
        Number of the epoch that is next, from 0: one more after each that was gone through to its end. Set it
        to go on with a training.

    Raises
    ------
    TypeError
        Images that are no array of uint8 or floats, an `augment` that can't be called.
    ValueError
        No images, labels of another number, a batch size below 1, or above the number of images with
        `drop_last`.

    Examples
    --------
    >>> import fastconv as fc
    >>> images, labels, _, _ = fc.data.digits().split(standardise=False)
    >>> augment = fc.augment.Compose(fc.augment.Affine(degrees=10, shift=2), fc.augment.Normalise.of(images))
    >>> loader = fc.data.Loader(images, labels, 32, augment=augment)
    >>> len(loader)
    125
    >>> for x, y in loader:
    ...     pass
    >>> x.shape, x.dtype, y.shape, loader.epoch
    ((32, 1, 28, 28), dtype('float32'), (32,), 1)
    """

    def __init__(
        self,
        images: NDArray[Any],
        labels: Any,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        augment: Augmentation | None = None,
        drop_last: bool = False,
        prefetch: int = 2,
        progress: bool = False,
        data_format: str = "channels_first",
    ) -> None:
        if not isinstance(images, np.ndarray):
            raise TypeError(f"Loader: images must be a NumPy array, got {type(images).__name__}")
        if images.dtype not in (np.uint8, np.float32, np.float64):
            raise TypeError(f"Loader: images must be uint8, float32 or float64, got {images.dtype}")
        if images.ndim < 2 or not len(images):
            raise ValueError(f"Loader: images must be (N, ...) with at least one, got shape {images.shape}")
        labels = np.asarray(labels)
        if labels.ndim < 1 or len(labels) != len(images):
            raise ValueError(
                f"Loader: labels must be one for each of {len(images)} images, got shape {labels.shape}"
            )
        if augment is not None:
            check_augmentation("Loader", "augment", augment)
        check_data_format("Loader", data_format)
        self.batch_size = read_int("Loader", "batch_size", batch_size)
        if drop_last and self.batch_size > len(images):
            raise ValueError(
                f"Loader: batch_size {batch_size} with drop_last leaves nothing of {len(images)} images"
            )
        self.images = images
        self.labels = labels
        self.shuffle = shuffle
        self.seed = read_int("Loader", "seed", seed, 0)
        self.augment = augment
        self.drop_last = drop_last
        self.prefetch = read_int("Loader", "prefetch", prefetch, 0)
        self.progress = progress
        self.data_format = data_format
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Number of the epoch that is next, from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._epoch = read_int("Loader", "epoch", value, 0)

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        full, rest = divmod(len(self.images), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        """Go through one epoch; left early, it does not count."""
        epoch = self.epoch
        with self._bar(epoch) as bar, closing(self._prepared(epoch)) as batches:
            for batch in batches:
                yield batch
                if bar is not None:
                    bar.update()
        self.epoch = epoch + 1

    def _prepared(self, epoch: int) -> Generator[Batch, None, None]:
        """Make the batches of an epoch, `prefetch` of them ahead."""
        order = np.arange(len(self.images))
        if self.shuffle:
            order = self._rng(epoch).permutation(order)
        if not self.prefetch:
            for index in range(len(self)):
                yield self._batch(order, epoch, index)
            return
        ahead: deque[Future[Batch]] = deque()
        thread = ThreadPoolExecutor(1, "fastconv-loader")
        try:
            for index in range(len(self) + self.prefetch):
                if index < len(self):
                    ahead.append(thread.submit(self._batch, order, epoch, index))
                if index >= self.prefetch:
                    yield ahead.popleft().result()
        finally:
            # Reached by break, an exception, Ctrl-C and garbage collection too.
            thread.shutdown(cancel_futures=True)

    def _rng(self, *place: int) -> np.random.Generator:
        """Make the generator of an epoch's order, or of one batch in it."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=place))

    def _batch(self, order: NDArray[np.intp], epoch: int, index: int) -> Batch:
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        x, y = self.images[chosen], self.labels[chosen]
        if x.dtype == np.uint8:
            x = np.divide(x, 255, dtype=np.float32)
        if self.augment is not None:
            x, y = apply(self.augment, x, y, self._rng(epoch, index))
        if self.data_format == "channels_last":
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        return x, y

    def _bar(self, epoch: int) -> Any:
        """Give a progress bar to enter, or nothing to."""
        if self.progress:
            try:
                return import_module("tqdm").tqdm(total=len(self), unit="batch", desc=f"epoch {epoch + 1}")
            except ModuleNotFoundError:
                pass
        return nullcontext()
