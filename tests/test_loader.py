"""The loader: what its batches hold, that a seed decides every bit of them, and that its thread ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fastconv import augment
from fastconv.data import Loader

PREFETCH = pytest.mark.parametrize("prefetch", [0, 1, 4])
TWIST = augment.Compose(augment.PadCrop(2), augment.Affine(20), augment.MixUp(0.5))


def data(count=25):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 3, 8, 8), np.uint8), np.arange(count)


def flat(loader):
    """Go through an epoch; give all arrays of it."""
    return [
        array
        for x, y in loader
        for array in (x, *(y if isinstance(y, augment.MixedLabels) else [y]))
    ]  # fmt: skip


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastconv-loader")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    gc.collect()
    assert not loader_threads()


# What the batches hold


@PREFETCH
@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [10, 10, 5]), (True, [10, 10])])
def test_batches_hold_everything_once(prefetch, drop_last, sizes):
    images, labels = data()
    loader = Loader(images, labels, 10, drop_last=drop_last, prefetch=prefetch)
    assert len(loader) == len(sizes)
    batches = list(loader)
    assert [len(x) for x, _ in batches] == [len(y) for _, y in batches] == sizes
    seen = np.concatenate([y for _, y in batches])
    assert len(np.unique(seen)) == len(seen) and (np.diff(seen) < 0).any()
    for x, y in batches:
        assert x.dtype == np.float32 and x.flags.c_contiguous
        np.testing.assert_array_equal(x, (images[y] / 255).astype(np.float32))
        assert x.min() >= 0 and x.max() <= 1


def test_a_byte_becomes_its_nearest_float():
    images = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    ((x, _),) = Loader(images, np.zeros(256), 256, shuffle=False)
    np.testing.assert_array_equal(x.ravel(), (np.arange(256) / 255).astype(np.float32))


@PREFETCH
def test_without_shuffling_the_order_stays(prefetch):
    images, labels = data()
    loader = Loader(images, labels, 10, shuffle=False, prefetch=prefetch)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([y for _, y in loader]), labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_stay_and_are_copies(dtype):
    images = np.random.default_rng(0).normal(size=(6, 1, 4, 4)).astype(dtype)
    ((x, _),) = Loader(images, np.arange(6), 6, shuffle=False)
    assert x.dtype == dtype and not np.shares_memory(x, images)
    np.testing.assert_array_equal(x, images)


def test_labels_may_be_masks_or_lists_and_images_of_any_rank():
    masks = np.arange(25 * 64).reshape(25, 8, 8)
    for _, y in Loader(data()[0], masks, 10):
        np.testing.assert_array_equal(y, masks[y[:, 0, 0] // 64])
    ((x, y),) = Loader(np.ones((2, 5), np.float32), [3, 4], 8, shuffle=False)
    assert x.shape == (2, 5) and y.tolist() == [3, 4]


def test_channels_last():
    images, labels = data()
    first = flat(Loader(images, labels, 10, augment=TWIST))
    last = flat(Loader(images, labels, 10, augment=TWIST, data_format="channels_last"))
    for one, two in zip(first[::4], last[::4], strict=True):
        assert two.flags.c_contiguous and two.shape[1:] == (8, 8, 3)
        np.testing.assert_array_equal(one, np.moveaxis(two, -1, 1))


# What decides the bits


def test_thread_and_prefetch_change_no_bit():
    epochs = []
    for prefetch in (0, 1, 4, 50):
        loader = Loader(*data(), 10, seed=3, augment=TWIST, prefetch=prefetch)
        epochs.append(flat(loader) + flat(loader))
        assert loader.epoch == 2
    for other in epochs[1:]:
        for one, two in zip(epochs[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@PREFETCH
def test_an_epoch_can_be_gone_on_with(prefetch):
    loader = Loader(*data(), 10, augment=TWIST, prefetch=prefetch)
    epochs = [flat(loader) for _ in range(3)]
    later = Loader(*data(), 10, augment=TWIST, prefetch=prefetch)
    later.epoch = 2
    for one, two in zip(epochs[2], flat(later), strict=True):
        np.testing.assert_array_equal(one, two)
    assert later.epoch == 3


def test_epochs_batches_and_seeds_differ():
    images, labels = np.ones((40, 1, 8, 8), np.float32), np.arange(40)
    noise = augment.Brightness(1.0)
    loader = Loader(images, labels, 10, augment=noise)
    drawn = [x[:, 0, 0, 0] for _ in range(2) for x, _ in loader]
    drawn += [x[:, 0, 0, 0] for x, _ in Loader(images, labels, 10, augment=noise, seed=1)]
    assert len(np.unique(np.concatenate(drawn))) == 120
    orders = [np.concatenate([y for _, y in loader]).tolist() for _ in range(3)]
    orders.append(np.concatenate([y for _, y in Loader(images, labels, 10, seed=1)]).tolist())
    assert len({tuple(order) for order in orders}) == 4


def test_two_at_once_see_the_same_epoch():
    loader = Loader(*data(), 10)
    for (x, y), (x2, y2) in zip(loader, loader, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


# The thread


@PREFETCH
def test_an_epoch_left_early_does_not_count_and_its_thread_ends(prefetch):
    loader = Loader(*data(), 2, augment=TWIST, prefetch=prefetch)
    for _ in loader:
        assert len(loader_threads()) == (prefetch > 0)
        break
    gc.collect()
    assert not loader_threads() and loader.epoch == 0
    with pytest.raises(KeyboardInterrupt):
        for _ in loader:
            raise KeyboardInterrupt
    iterator = iter(loader)
    next(iterator)
    del iterator
    gc.collect()
    assert not loader_threads() and loader.epoch == 0
    next(iter(loader))


@PREFETCH
def test_errors_of_an_augmentation_reach_the_caller(prefetch):
    made = []

    def fails_at_third(images, rng):
        made.append(len(images))
        if len(made) == 3:
            raise ArithmeticError("third batch")
        return images

    loader = Loader(*data(), 2, augment=fails_at_third, prefetch=prefetch)
    got = []
    with pytest.raises(ArithmeticError, match="third batch"):
        for batch in loader:
            got.append(batch)
    assert len(got) == 2 and loader.epoch == 0


@pytest.mark.parametrize("prefetch", [1, 3])
def test_no_more_is_made_ahead_than_asked(prefetch):
    made = []

    def counted(images, rng):
        made.append(threading.current_thread())
        return images

    iterator = iter(Loader(*data(), 2, augment=counted, prefetch=prefetch))
    for taken in range(1, 6):
        next(iterator)
        deadline = time.monotonic() + 10
        while len(made) < taken + prefetch and time.monotonic() < deadline:
            threading.Event().wait(0.001)
        threading.Event().wait(0.01)
        assert len(made) == taken + prefetch
    assert len(set(made)) == 1 and threading.main_thread() not in made
    iterator.close()


def test_a_program_ends_with_an_iterator_left_open():
    code = """
import numpy as np
from fastconv.data import Loader
iterator = iter(Loader(np.zeros((100, 1, 4, 4), np.uint8), np.arange(100), 2))
next(iterator)
print("end")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "end\n" and not done.stderr


# Progress


def test_progress(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    loader = Loader(*data(), 10, progress=True)
    loader.epoch = 4
    list(loader)
    shown = capsys.readouterr().err
    assert "epoch 5" in shown and "3/3" in shown
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert len(list(loader)) == 3
    assert not capsys.readouterr().err


# Errors


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": [[1]]}, TypeError, "Loader: images must be a NumPy array, got list"),
        ({"images": np.zeros((25, 3), np.int64)}, TypeError, "uint8, float32 or float64, got int64"),
        ({"images": np.zeros(25, np.uint8)}, ValueError, r"must be \(N, ...\) with at least one, got shape"),
        ({"images": np.zeros((0, 3), np.uint8)}, ValueError, "with at least one"),
        ({"labels": np.zeros(24)}, ValueError, r"one for each of 25 images, got shape \(24,\)"),
        ({"labels": 3}, ValueError, r"one for each of 25 images, got shape \(\)"),
        ({"batch_size": 0}, ValueError, "Loader: batch_size must be at least 1"),
        ({"batch_size": 2.5}, TypeError, "Loader: batch_size must be an integer"),
        ({"batch_size": 26, "drop_last": True}, ValueError, "drop_last leaves nothing of 25 images"),
        ({"seed": -1}, ValueError, "Loader: seed must be at least 0"),
        ({"seed": None}, TypeError, "Loader: seed must be an integer"),
        ({"prefetch": -1}, ValueError, "Loader: prefetch must be at least 0"),
        ({"augment": 3}, TypeError, "Loader: augment must be callable, got 3"),
        ({"augment": augment.Flip}, TypeError, r"Loader: Flip is a class; make a step of it: Flip\(...\)"),
        ({"data_format": "NHWC"}, ValueError, "Loader: data_format must be one of"),
    ],
)
def test_arguments_that_are_refused(change, error, message):
    images, labels = data()
    arguments = {"images": images, "labels": labels, "batch_size": 10} | change
    with pytest.raises(error, match=message):
        Loader(**arguments)


def test_epoch_is_checked():
    loader = Loader(*data(), 10)
    with pytest.raises(ValueError, match="Loader: epoch must be at least 0, got -1"):
        loader.epoch = -1
