"""Images of one's own: a folder, or a zip file, with a folder of image files for each class."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastconv.data.split import Seed, Split, split_by_class
from fastconv.nn.arguments import read_sizes

_SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
_LEFT_BY_SYSTEMS = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini"))
_LARGEST_FILE = 2**28  # bytes; what claims to be more is no photograph
_THREADS = 4  # the interpreter's lock leaves nothing for more


class ImageFolder(NamedTuple):
    """Images uint8 (N, C, H, W), labels int64 (N,), and the names of the classes that they number.

    Images are sorted by class, then by file name.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def split(self, test: float = 0.2, seed: Seed = 0, *, standardise: bool = True) -> Split:
        """Choose images for testing at random, from each class its share, and standardise all.

        Parameters
        ----------
        test : float or int
            Which share of the images to test with, or how many; the others are for training.
        seed : int, numpy.random.Generator or None
            Where the choice comes from; the same seed gives the same parts. Both parts are in random order.
        standardise : bool
            Whether the images become float32 with mean 0 and deviation 1 in every channel. Without, they stay
            uint8, as ``Loader`` and augmentations want them.

        Returns
        -------
        Split
            ``train_images, train_labels, test_images, test_labels``.

        Raises
        ------
        ValueError
            A `test` that leaves either part empty.
        """
        return split_by_class(self.images, self.labels, test, seed, standardise)


def image_folder(
    path: str | os.PathLike[str], *, size: int | tuple[int, int] | None = None, colour: bool = True
) -> ImageFolder:
    """Load a folder or a zip file of images, with a folder for each class.

    The folders of the classes may lie deeper, as in ``cifar10/<class>/0001.jpg``, but all side by side. Other
    files beside or above them, a licence for instance, are passed over, and so are hidden ones. A zip file is
    read in memory; nothing is unpacked onto the disk.

    Parameters
    ----------
    path : path
        A folder or a zip file. Files named as BMP, GIF, JPEG, PNG, PPM, TIFF or WebP are images.
    size : int or (int, int), optional
        Height and width that images are brought to, without keeping their proportions. ``None``: all must
        have one size already.
    colour : bool
        Whether images get three channels, red, green and blue, or one, grey.

    Returns
    -------
    ImageFolder
        ``images`` uint8 (N, C, H, W), ``labels`` int64 (N,) and ``classes``, the sorted names of the
        folders; its ``split()`` makes training data of them. Photographs stand upright as their Exif notes
        say; what is transparent is white.

    Raises
    ------
    FileNotFoundError
        No such file or folder.
    ValueError
        No images; an image outside the classes' folders; in these a file that is no image, or none at all;
        images that are damaged, have more than 8 bits a channel or, without `size`, differ in size; a zip
        file that is damaged, encrypted, or names files outside itself. The file is named.
    ModuleNotFoundError
        Without Pillow, of the extra ``train``.

    Examples
    --------
    >>> from fastconv.data import image_folder
    >>> photos = image_folder("smiles.zip", size=64)  # doctest: +SKIP
    >>> photos.images.shape, photos.classes  # doctest: +SKIP
    ((5904, 3, 64, 64), ('neutral', 'smile'))
    """
    sides = None if size is None else read_sizes("image_folder", "size", size, 2)
    decoder = _Decoder(sides, colour)
    with _opened(Path(path)) as source:
        by_class = _by_class(source, path)
        names = [name for members in by_class.values() for name in members]
        first = decoder.read(source, names[0])
        images = np.empty((len(names), *first.shape), np.uint8)

        def fill(index: int) -> None:
            image = decoder.read(source, names[index])
            if image.shape != first.shape:
                (height, width), (h, w) = first.shape[1:], image.shape[1:]
                raise ValueError(
                    f"image_folder: {names[0]} is {height} × {width}, but {names[index]} {h} × {w}; "
                    f"size=({height}, {width}) would bring all to one size"
                )
            images[index] = image

        with ThreadPoolExecutor(_THREADS) as threads:
            for _ in threads.map(fill, range(len(names))):
                pass
    labels = np.repeat(np.arange(len(by_class)), [len(members) for members in by_class.values()])
    return ImageFolder(images, labels.astype(np.int64), tuple(by_class))


def image_files(
    paths: Iterable[str | os.PathLike[str]], *, size: int | tuple[int, int], colour: bool = True
) -> NDArray[np.uint8]:
    """Load image files, in the order that is given.

    Parameters
    ----------
    paths : iterable of path
        The files.
    size : int or (int, int)
        Height and width that images are brought to.
    colour : bool
        Whether images get three channels, red, green and blue, or one, grey.

    Returns
    -------
    ndarray of uint8 (N, C, H, W)
        The images, as ``image_folder`` reads them.

    Raises
    ------
    ValueError
        A file that can't be read, or is no image; it is named.
    ModuleNotFoundError
        Without Pillow, of the extra ``train``.

    Examples
    --------
    >>> from fastconv.data import image_files
    >>> image_files(["me.jpg", "you.png"], size=64).shape  # doctest: +SKIP
    (2, 3, 64, 64)
    """
    sides = read_sizes("image_files", "size", size, 2)
    decoder = _Decoder(sides, colour)
    images = [decoder.read(_FILES, PurePosixPath(path)) for path in paths]
    return np.stack(images) if images else np.empty((0, 3 if colour else 1, *sides), np.uint8)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Tell how large the image in a file is.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    (int, int)
        Height and width in pixels, standing upright as its Exif notes say.

    Raises
    ------
    ValueError
        A file that can't be read, or is no image; it is named.
    ModuleNotFoundError
        Without Pillow, of the extra ``train``.

    Examples
    --------
    >>> from fastconv.data import image_files, image_size
    >>> image_files(["me.jpg"], size=image_size("me.jpg")).shape  # doctest: +SKIP
    (1, 3, 1080, 1920)
    """
    return _Decoder(None, colour=True).size(_FILES, PurePosixPath(path))


# What is there


@dataclass(frozen=True)
class _Source:
    """The files and folders below a place, and how to read one of the files."""

    files: list[PurePosixPath]
    folders: list[PurePosixPath]
    read: Callable[[PurePosixPath], bytes]


_FILES = _Source([], [], lambda name: Path(name).read_bytes())
"""All files there are."""


@contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        files, folders = [], []
        for top, below, names in os.walk(path, followlinks=True):
            here = PurePosixPath(Path(top).relative_to(path).as_posix())
            folders += [here / name for name in below]
            files += [here / name for name in names]
        yield _Source(files, folders, lambda name: (path / name).read_bytes())
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"image_folder: {path} is neither a folder nor a whole zip file: {error}") from error
    with archive:
        members = {PurePosixPath(member.filename): member for member in archive.infolist()}
        for name in members:
            if name.is_absolute() or ".." in name.parts:
                raise ValueError(f"image_folder: {path} names a file outside itself: {name}")

        def read(name: PurePosixPath) -> bytes:
            if members[name].file_size > _LARGEST_FILE:
                raise ValueError(
                    f"it would be {members[name].file_size:,} bytes, more than {_LARGEST_FILE:,}"
                )
            return archive.read(members[name])

        files = [name for name, member in members.items() if not member.is_dir()]
        yield _Source(files, [name for name, member in members.items() if member.is_dir()], read)


def _by_class(source: _Source, path: str | os.PathLike[str]) -> dict[str, list[PurePosixPath]]:
    """Sort the images by the folders they lie in."""
    files = sorted(name for name in source.files if not _is_hidden(name))
    images = [name for name in files if name.suffix.lower() in _SUFFIXES]
    if not images:
        raise ValueError(f"image_folder: {path} holds no images ({', '.join(sorted(_SUFFIXES))})")
    root = images[0].parent.parent
    by_class: dict[str, list[PurePosixPath]] = {}
    for name in images:
        if len(name.parts) < 2:
            raise ValueError(f"image_folder: {name} lies in no class's folder; expected <class>/{name}")
        if name.parent.parent != root:
            raise ValueError(
                f"image_folder: the folders of {images[0]} and {name} do not lie side by side; "
                "expected one folder for each class and nothing below"
            )
        by_class.setdefault(name.parent.name, []).append(name)
    for name in sorted(set(files).difference(images)):
        if root in name.parent.parents:
            raise ValueError(f"image_folder: {name} is no image ({', '.join(sorted(_SUFFIXES))})")
    for name in sorted(source.folders):
        if name.parent == root and name.name not in by_class and not _is_hidden(name):
            raise ValueError(f"image_folder: the folder {name} holds no images")
    return dict(sorted(by_class.items()))


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part.startswith(".") or part in _LEFT_BY_SYSTEMS for part in name.parts)


# Pixels


class _Decoder:
    """Reads image files with Pillow as arrays uint8 (C, H, W)."""

    def __init__(self, sides: tuple[int, ...] | None, colour: bool) -> None:
        try:
            self._image: Any = import_module("PIL.Image")
            self._operations: Any = import_module("PIL.ImageOps")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('image_folder needs Pillow: pip install "fastconv[train]"') from error
        self._sides = sides
        self._mode = "RGB" if colour else "L"

    def read(self, source: _Source, name: PurePosixPath) -> NDArray[np.uint8]:
        """Decode one file; an error names it."""
        with self._opened(source, name) as picture:
            pixels = self._pixels(picture)
        return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[np.newaxis]

    def size(self, source: _Source, name: PurePosixPath) -> tuple[int, int]:
        """Tell height and width of one file's image; an error names it."""
        with self._opened(source, name) as picture:
            return picture.height, picture.width

    @contextmanager
    def _opened(self, source: _Source, name: PurePosixPath) -> Iterator[Any]:
        """Give the picture in a file, upright; an error, of the block too, names the file."""
        try:
            with self._image.open(BytesIO(source.read(name))) as file:
                yield self._operations.exif_transpose(file) if "exif" in file.info else file
        except MemoryError:
            raise
        # On damaged files zipfile and Pillow's decoders raise nearly everything there is.
        except Exception as error:
            raise ValueError(f"{name} can't be read as an image: {error}") from error

    def _pixels(self, picture: Any) -> NDArray[np.uint8]:
        if picture.mode.startswith(("I", "F")):
            raise ValueError(f"its pixels are of mode {picture.mode}, expected 8 bits a channel")
        if "transparency" in picture.info or "A" in picture.getbands():
            picture = picture.convert("RGBA")
            paper = self._image.new("RGBA", picture.size, "white")
            picture = self._image.alpha_composite(paper, picture)
        picture = picture.convert(self._mode)
        if self._sides is not None:
            height, width = self._sides
            picture = picture.resize((width, height), self._image.Resampling.BILINEAR)
        return np.asarray(picture)
