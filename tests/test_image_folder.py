"""Folders and zip files of images, whole and damaged."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastconv.data import image_files, image_folder, image_size

Image = pytest.importorskip("PIL.Image")
CHECKOUT = Path(__file__).resolve().parents[1]


def png(array, mode=None, **keywords):
    image = Image.fromarray(array)
    buffer = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(buffer, "PNG", **keywords)
    return buffer.getvalue()


def pictures(count, shape=(6, 8, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def place(tmp_path, files, kind):
    """Write files as a folder or as a zip file."""
    if kind == "zip":
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    for name, content in files.items():
        target = tmp_path / "images" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            target.write_bytes(content)
        else:
            target.mkdir(exist_ok=True)
    return tmp_path / "images"


KINDS = pytest.mark.parametrize("kind", ["folder", "zip"])


def five_files(root=""):
    return {
        f"{root}{folder}/{number}.PNG": png(picture)
        for (folder, number), picture in zip(
            [("dog", 1), ("cat", 2), ("dog", 0), ("cat", 10), ("dog", 2)], pictures(5), strict=True
        )
    }


@KINDS
@pytest.mark.parametrize("root", ["", "pets/small/"])
def test_image_folder_sorts_by_class_and_name(tmp_path, kind, root):
    files = five_files(root) | {
        f"{root}LICENSE.txt": b"of the pictures",
        f"{root}dog/.DS_Store": b"",
        f"{root}__MACOSX/._1.png": b"",
        "Thumbs.db": b"",
    }
    folder = image_folder(place(tmp_path, files, kind))
    assert folder.classes == ("cat", "dog")
    assert folder.labels.tolist() == [0, 0, 1, 1, 1] and folder.labels.dtype == np.int64
    assert folder.images.dtype == np.uint8 and folder.images.flags.c_contiguous
    np.testing.assert_array_equal(folder.images, pictures(5)[[3, 1, 2, 0, 4]].transpose(0, 3, 1, 2))


@KINDS
def test_one_class_and_linked_folders(tmp_path, kind):
    path = place(tmp_path, {"all/1.png": png(pictures(1)[0])}, kind)
    assert image_folder(path).classes == ("all",)
    if kind == "folder":
        os.symlink(path / "all", path / "same", target_is_directory=True)
        assert image_folder(path).classes == ("all", "same")


def test_size_and_grey(tmp_path):
    path = place(tmp_path, {"a/1.png": png(pictures(1)[0]), "b/2.png": png(pictures(1, (12, 4))[0])}, "zip")
    folder = image_folder(path, size=(3, 5))
    assert folder.images.shape == (2, 3, 3, 5)
    assert image_folder(path, size=7, colour=False).images.shape == (2, 1, 7, 7)
    with pytest.raises(ValueError, match=r"a/1.png is 6 × 8, but b/2.png 12 × 4; size=\(6, 8\) would"):
        image_folder(path)
    with pytest.raises(ValueError, match="size must be a positive int or 2 of them, got 0"):
        image_folder(path, size=0)
    even = np.full((6, 8, 3), (10, 200, 30), np.uint8)
    path = place(tmp_path, {"a/1.png": png(even)}, "zip")
    np.testing.assert_array_equal(
        image_folder(path, size=2).images[0, :, 0], np.repeat([[10], [200], [30]], 2, 1)
    )
    assert image_folder(path, colour=False).images.max() == round(0.299 * 10 + 0.587 * 200 + 0.114 * 30)


def test_modes_of_pictures(tmp_path):
    grey = pictures(1, (6, 8))[0]
    clear = np.dstack([pictures(1)[0], np.zeros((6, 8), np.uint8)])
    upright = pictures(1, (8, 6, 3))[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    files = {
        "a/0.png": png(grey),
        "a/1.png": png(clear),
        "a/2.png": png(np.rot90(upright).copy(), exif=exif),
        "a/3.png": png(pictures(1)[0], "P"),
        "a/4.png": png(np.where(grey > 99, 0, 1).astype(np.uint8) * 255, "P", transparency=b"\x00\xff"),
    }
    images = image_folder(place(tmp_path, files, "zip"), size=(8, 6)).images
    np.testing.assert_array_equal(images[2], upright.transpose(2, 0, 1))
    assert (images[1] == 255).all()
    assert (images[0][0] == images[0][1]).all()
    with pytest.raises(ValueError, match=r"a/5.png can't be read .* mode I;16, expected 8 bits"):
        image_folder(place(tmp_path, files | {"a/5.png": png(grey.astype(np.uint16))}, "zip"), size=8)


@KINDS
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cat/notes.txt": b"?"}, "cat/notes.txt is no image"),
        ({"bird/notes.txt": b"?"}, "bird/notes.txt is no image"),
        ({"cat/3.png": b"no picture"}, "cat/3.png can't be read as an image: cannot identify"),
        ({"cat/3.png": b""}, "cat/3.png can't be read as an image"),
        ({"cat/3.png": png(pictures(1)[0])[:-60]}, "cat/3.png can't be read as an image"),
        ({"0.png": b""}, "0.png lies in no class's folder; expected <class>/0.png"),
        ({"cat/more/3.png": b""}, "the folders of cat/10.PNG and cat/more/3.png do not lie side by side"),
        ({"bird/": b""}, "the folder bird holds no images"),
    ],
)
def test_what_does_not_belong_is_named(tmp_path, kind, change, message):
    path = place(tmp_path, five_files() | change, kind)
    with pytest.raises(ValueError, match=message):
        image_folder(path)


def test_the_size_of_an_image_that_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    (picture,) = pictures(1)
    for name, keywords in (("as_it_is", {}), ("turned", {"exif": exif})):
        (tmp_path / name).write_bytes(png(picture, **keywords))
    assert image_size(tmp_path / "as_it_is") == (6, 8)
    assert image_size(tmp_path / "turned") == (8, 6)
    (whole,) = image_files([tmp_path / "turned"], size=(8, 6))
    np.testing.assert_array_equal(whole, np.rot90(picture, -1).transpose(2, 0, 1))
    (tmp_path / "none").write_bytes(b"nothing")
    for name in ("none", "missing"):
        with pytest.raises(ValueError, match=f"{name} can't be read as an image"):
            image_size(tmp_path / name)


def test_no_images_no_file_no_pillow(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="holds no images"):
        image_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        image_folder(tmp_path / "nothing")
    path = place(tmp_path, five_files(), "zip")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match=r'needs Pillow: pip install "fastconv\[train\]"'):
        image_folder(path)


@pytest.mark.parametrize("name", ["../cat/1.png", "/cat/1.png", "cat/../../1.png"])
def test_zip_that_names_files_outside_itself(tmp_path, name):
    path = place(tmp_path, five_files() | {name: png(pictures(1)[0])}, "zip")
    with pytest.raises(ValueError, match=f"names a file outside itself: {name}"):
        image_folder(path)


def test_damaged_zips(tmp_path, monkeypatch):
    path = place(tmp_path, five_files(), "zip")
    whole = path.read_bytes()
    module = sys.modules["fastconv.data.image_folder"]
    monkeypatch.setattr(module, "_LARGEST_FILE", 20)
    with pytest.raises(ValueError, match=r"cat/10.PNG can't be read .* bytes, more than 20"):
        image_folder(path)
    monkeypatch.undo()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is neither a folder nor a whole zip file"):
        image_folder(path)
    place_of_cat = whole.index(b"cat/10.PNG") + 60
    path.write_bytes(whole[:place_of_cat] + b"\x00\xff\x00" + whole[place_of_cat + 3 :])
    with pytest.raises(ValueError, match=r"cat/10.PNG can't be read as an image"):
        image_folder(path)
    encrypted = bytearray(whole)
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at = whole.index(start) + (6 if start.endswith(b"\x04") else 8)
        encrypted[at] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(ValueError, match=r"dog/1.PNG can't be read as an image: .*encrypted"):
        image_folder(path)


def test_image_folder_splits(tmp_path):
    files = {f"{c}/{n}.png": png(p) for (c, n), p in
             zip([(c, n) for c in "ab" for n in range(10)], pictures(20), strict=True)}  # fmt: skip
    folder = image_folder(place(tmp_path, files, "zip"))
    split = folder.split()
    assert split.train_images.shape == (16, 3, 6, 8) and split.test_images.shape == (4, 3, 6, 8)
    np.testing.assert_array_equal(np.bincount(split.test_labels), [2, 2])
    np.testing.assert_allclose(split.train_images.mean((0, 2, 3)), 0, atol=1e-5)
    raw = folder.split(test=6, seed=5, standardise=False)
    found = {image.tobytes(): label for image, label in zip(folder.images, folder.labels, strict=True)}
    both = zip((*raw.train_images, *raw.test_images), (*raw.train_labels, *raw.test_labels), strict=True)
    assert all(found.pop(image.tobytes()) == label for image, label in both) and not found


def test_real_photographs():
    folders = [Path(os.environ["FASTCONV_DATA"])] if os.environ.get("FASTCONV_DATA") else []
    folders.append(CHECKOUT.parent / "shared" / "data")
    path = next((f / "cifar10_test.zip" for f in folders if (f / "cifar10_test.zip").is_file()), None)
    if path is None:
        pytest.skip("no cifar10_test.zip: FASTCONV_DATA names no folder that has it")
    folder = image_folder(path)
    assert folder.images.shape == (3000, 3, 32, 32)
    assert folder.classes[:3] == ("airplane", "automobile", "bird") and len(folder.classes) == 10
    np.testing.assert_array_equal(np.bincount(folder.labels), [300] * 10)
    # Photographs of ships hold more blue than those of frogs.
    blue = [folder.images[folder.labels == folder.classes.index(name), 2].mean() for name in ("ship", "frog")]
    assert blue[0] > blue[1] + 20
