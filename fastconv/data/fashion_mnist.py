"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 × 28, in ten classes.

Four files in the IDX format of MNIST, gzipped: two zero bytes, the type (8: uint8), the number of axes, the
length of each as a big-endian 32-bit integer, then the elements.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastconv.data.split import Split

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Name, shape, and SHA-256 of the authors' file.
_FILES = (
    (
        "train-images-idx3-ubyte.gz",
        (60000, 28, 28),
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    (
        "train-labels-idx1-ubyte.gz",
        (60000,),
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    (
        "t10k-images-idx3-ubyte.gz",
        (10000, 28, 28),
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    (
        "t10k-labels-idx1-ubyte.gz",
        (10000,),
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)
_SOURCE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def fashion_mnist(folder: str | os.PathLike[str] | None = None, *, standardise: bool = True) -> Split:
    """Load Fashion-MNIST: 60,000 images to train with, 10,000 to test with, as its authors parted them.

    The four ``.gz`` files are looked for in the folder that the environment variable ``FASTCONV_DATA`` names
    and in ``fashion-mnist`` within it, then where Debian's package dataset-fashion-mnist puts them. Else they
    are downloaded from the authors' site (31 MB, once) and kept in the user's cache; this needs pooch, of the
    extra ``train``.

    Parameters
    ----------
    folder : path, optional
        Where the four files are; no other place is asked then.
    standardise : bool
        Whether the images become float32 with mean 0 and deviation 1. Without, they stay uint8, as ``Loader``
        and augmentations want them.

    Returns
    -------
    Split
        Images (N, 1, 28, 28), labels 0 to 9, which ``FASHION_MNIST_CLASSES`` names.

    Raises
    ------
    FileNotFoundError
        A `folder` without the files.
    ValueError
        A file that is damaged or another one.
    ModuleNotFoundError
        No files, and no pooch to download them.
    ConnectionError
        The download failed.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", arXiv:1708.07747, 2017.

    Examples
    --------
    >>> from fastconv.data import fashion_mnist
    >>> split = fashion_mnist()  # doctest: +SKIP
    >>> split.train_images.shape, split.test_images.shape  # doctest: +SKIP
    ((60000, 1, 28, 28), (10000, 1, 28, 28))
    """
    place = Path(folder) if folder is not None else _stored() or _downloaded()
    images, labels, test_images, test_labels = (_read_idx(place / name, shape) for name, shape, _ in _FILES)
    for part in (labels, test_labels):
        if part.max() >= len(FASHION_MNIST_CLASSES):
            raise ValueError(f"fashion_mnist: {place} holds labels up to {part.max()}, expected 0 to 9")
    split = Split(
        images[:, np.newaxis],
        labels.astype(np.int64),
        test_images[:, np.newaxis],
        test_labels.astype(np.int64),
    )
    return split.standardised() if standardise else split


def _stored() -> Path | None:
    """Find a folder that has all four files."""
    folders = [_DEBIAN]
    if os.environ.get("FASTCONV_DATA"):
        own = Path(os.environ["FASTCONV_DATA"])
        folders = [own, own / "fashion-mnist", *folders]
    return next((f for f in folders if all((f / name).is_file() for name, *_ in _FILES)), None)


def _downloaded() -> Path:
    """Download what the cache does not hold yet, and return its folder."""
    mend = (
        "install Debian's package dataset-fashion-mnist, or put the four .gz files into a folder "
        "and set FASTCONV_DATA to it"
    )
    try:
        pooch = import_module("pooch")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'fashion_mnist: the download needs pooch: pip install "fastconv[train]"; or {mend}'
        ) from error
    folder = Path(pooch.os_cache("fastconv")) / "fashion-mnist"
    for name, _, checksum in _FILES:
        url = f"{_SOURCE}/{name}"
        try:
            pooch.retrieve(url, f"sha256:{checksum}", name, folder)
        except OSError as error:
            raise ConnectionError(
                f"fashion_mnist: {url} could not be downloaded ({error}); {mend}"
            ) from error
    return folder


def _read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of uint8 with this shape and no other."""
    try:
        with gzip.open(path) as file:
            # One byte more than there should be, to see whether there is more.
            content = file.read(4 + 4 * len(shape) + math.prod(shape) + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"fashion_mnist: {path} is damaged: {error}") from error
    header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
    if not content.startswith(header):
        raise ValueError(f"fashion_mnist: {path} is no IDX file of uint8 with the shape {shape}")
    if len(content) != len(header) + math.prod(shape):
        raise ValueError(f"fashion_mnist: {path} does not end where its header says")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
