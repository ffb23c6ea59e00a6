"""Keras's files: three layouts written by hand, Keras's own where it is installed, and damage."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import zipfile

import numpy as np
import pytest

import fastconv as fc
from fastconv import nn, weights
from fastconv.weights import apart

h5py = pytest.importorskip("h5py")

IMAGES = np.random.default_rng(7).random((2, 7, 7, 3), np.float32)


def layers():
    """Make a small network as Keras has it: the class, name and arrays of each layer."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.random(shape, np.float32) - np.float32(0.3)

    return [
        ("Conv2D", "first", {"kernel": draw(3, 2, 3, 4), "bias": draw(4)}),
        (
            "BatchNormalization",
            "bn",
            {"gamma": draw(4), "beta": draw(4), "moving_mean": draw(4), "moving_variance": draw(4) + 1},
        ),
        ("DepthwiseConv2D", "depthwise", {"kernel": draw(2, 2, 4, 2), "bias": draw(8)}),
        ("Conv2DTranspose", "up", {"kernel": draw(2, 2, 5, 8), "bias": draw(5)}),
        ("MaxPooling2D", "pool", {}),
        ("Flatten", "flatten", {}),
        ("Dense", "dense", {"kernel": draw(2 * 3 * 5, 6), "bias": draw(6)}),
        ("Dense", "scores", {"kernel": draw(6, 3)}),
    ]


def model(data_format="channels_first"):
    keywords = {"data_format": data_format, "rng": 1}
    return nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), **keywords),
        nn.BatchNorm2d(4, data_format=data_format),
        nn.Conv2d(4, 8, 2, groups=4, **keywords),
        nn.ConvTranspose2d(8, 5, 2, **keywords),
        nn.MaxPool2d(2, data_format=data_format),
        nn.Flatten(),
        nn.Linear(30, 6, rng=1),
        nn.Linear(6, 3, bias=False, rng=1),
    ).eval()


def expected():
    """Compute the network on the images in plain NumPy, channels last as in Keras, in float64."""
    x = IMAGES.astype(np.float64)
    arrays = [{name: array.astype(np.float64) for name, array in of.items()} for _, _, of in layers()]
    first, bn, depthwise, up, _, _, dense, scores = arrays

    def windows(x, height, width):
        return np.lib.stride_tricks.sliding_window_view(x, (height, width), (1, 2))

    x = np.einsum("nijchw,hwck->nijk", windows(x, 3, 2), first["kernel"]) + first["bias"]
    x = bn["gamma"] * (x - bn["moving_mean"]) / np.sqrt(bn["moving_variance"] + 1e-5) + bn["beta"]
    x = np.einsum("nijchw,hwcm->nijcm", windows(x, 2, 2), depthwise["kernel"])
    x = x.reshape(*x.shape[:3], -1) + depthwise["bias"]
    y = np.zeros((len(x), x.shape[1] + 1, x.shape[2] + 1, 5))
    for i, j in np.ndindex(2, 2):
        y[:, i : i + x.shape[1], j : j + x.shape[2]] += x @ up["kernel"][i, j].T
    y = windows(y + up["bias"], 2, 2)[:, ::2, ::2].max((-1, -2))
    return (y.reshape(len(y), -1) @ dense["kernel"] + dense["bias"]) @ scores["kernel"]


# The three layouts


def listed(path, layers, top=None, naming="{layer}/{variable}:0", in_pieces=False):
    """Write the older layout: attributes list the layers, and the arrays of each."""
    with h5py.File(path, "w") as file:
        group = file if top is None else file.create_group(top)
        names = np.array([name.encode() for _, name, _ in layers])
        if in_pieces:
            group.attrs["layer_names0"], group.attrs["layer_names1"] = names[:3], names[3:]
        else:
            group.attrs["layer_names"] = names
        for _, name, arrays in layers:
            paths = [naming.format(layer=name, variable=variable) for variable in arrays]
            layer = group.create_group(name)
            layer.attrs["weight_names"] = np.array([path.encode() for path in paths], "S")
            for array_path, array in zip(paths, arrays.values(), strict=True):
                layer[array_path] = array
        if top is not None:
            file.create_group("optimizer_weights")["momentum"] = np.ones(3)


def snake(name):
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=D)(?=T)", "_", name).lower()


def numbered(file, layers, container="layers"):
    """Write the layout of Keras 3: a group for each layer, named after its class."""
    seen = {}
    with h5py.File(file, "w") as root:
        for kind, name, arrays in layers:
            count = seen[kind] = seen.get(kind, -1) + 1
            group = root.create_group(f"{container}/{snake(kind)}{f'_{count}' if count else ''}/vars")
            group.attrs["name"] = name
            for number, array in enumerate(arrays.values()):
                group[str(number)] = array
        root.create_group("optimizer/vars")["0"] = np.ones(3)


def zipped(path, layers):
    """Write a .keras file: the layout of Keras 3, and the layers' order."""
    content = io.BytesIO()
    numbered(content, layers)
    config = [
        {"class_name": kind, "config": {"name": name, "scale": "gamma" in arrays, "center": "beta" in arrays}}
        for kind, name, arrays in layers
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": config}}))
        archive.writestr("model.weights.h5", content.getvalue())


LAYOUTS = {
    "weights.h5": listed,
    "pieces.h5": lambda path, layers: listed(path, layers, in_pieces=True),
    "whole.h5": lambda path, layers: listed(path, layers, "model_weights"),
    "nested.h5": lambda path, layers: listed(path, layers, naming="model/{layer}/{variable}"),
    "first.h5": lambda path, layers: listed(path, layers, naming="{layer}_{variable}"),
    "model.weights.h5": numbered,
    "earlier.weights.h5": lambda path, layers: numbered(path, layers, "_layer_checkpoint_dependencies"),
    "model.keras": zipped,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_computes_what_kerass_does(tmp_path, layout):
    LAYOUTS[layout](tmp_path / layout, layers())
    first, last = model(), model("channels_last")
    assert first.load_state_dict(tmp_path / layout) == ([], [])
    last.load_state_dict(tmp_path / layout)
    images = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(first(images), expected(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(last(IMAGES), expected(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["whole.h5", "model.weights.h5", "model.keras"])
def test_read_gives_kerass_own_arrays(tmp_path, layout):
    LAYOUTS[layout](tmp_path / layout, layers())
    arrays = {f"{name}/{variable}": array for _, name, of in layers() for variable, array in of.items()}
    found = fc.weights.read(tmp_path / layout)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32


def test_a_separable_convolution_is_two(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "depthwise_kernel": rng.random((3, 2, 2)),
        "pointwise_kernel": rng.random((1, 4, 5)),
        "bias": rng.random(5),
    }
    zipped(tmp_path / "model.keras", [("SeparableConv1D", "s", arrays)])
    numbered(tmp_path / "model.h5", [("SeparableConv1D", "s", arrays)])
    mine = nn.Sequential(nn.Conv1d(2, 4, 3, groups=2, bias=False), nn.Conv1d(4, 5, 1))
    mine.load_state_dict(tmp_path / "model.keras")
    np.testing.assert_allclose(mine[0].weight.data[3, 0], arrays["depthwise_kernel"][:, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(mine[1].weight.data[:, :, 0], arrays["pointwise_kernel"][0].T, rtol=1e-6)
    with pytest.raises(ValueError, match=r"model.h5 does not fit .* or read_keras\(names=\)"):
        mine.load_state_dict(tmp_path / "model.h5")
    names = {"0": "s/depthwise", "1": "s/pointwise"}
    state = weights.read_keras(tmp_path / "model.h5", mine, names=names)
    np.testing.assert_allclose(state["1.bias"], arrays["bias"])


def test_bfloat16_is_widened(tmp_path):
    numbered(tmp_path / "model.h5", [])
    with h5py.File(tmp_path / "model.h5", "a") as file:
        for name, shape in (("0", (2, 3)), ("1", (3,))):
            bits = (np.full(shape, 1.5, np.float32).view(np.uint32) >> 16).astype(np.uint16)
            file.create_dataset(f"layers/dense/vars/{name}", data=bits.view("V2")).attrs["dtype"] = "bfloat16"
    mine = nn.Linear(2, 3)
    mine.load_state_dict(tmp_path / "model.h5")
    np.testing.assert_array_equal(mine.weight.data, np.full((3, 2), 1.5))


def test_batch_normalisation_without_scale_or_offset(tmp_path):
    arrays = {"beta": np.full(3, 2.0), "moving_mean": np.ones(3), "moving_variance": np.full(3, 4.0)}
    mine = nn.BatchNorm1d(3)
    mine.weight.data[:] = 7
    mine.num_batches_tracked[...] = 5
    for layout, write in (("model.keras", zipped), ("weights.h5", listed)):
        write(tmp_path / layout, [("BatchNormalization", "bn", arrays)])
        mine.load_state_dict(tmp_path / layout)
        np.testing.assert_array_equal(mine.weight.data, 1)
        np.testing.assert_array_equal(mine.bias.data, 2)
        assert mine.num_batches_tracked == 5
    del arrays["beta"]
    zipped(tmp_path / "model.keras", [("BatchNormalization", "bn", arrays)])
    bare = nn.BatchNorm1d(3, affine=False)
    bare.load_state_dict(tmp_path / "model.keras")
    np.testing.assert_array_equal(bare.running_var, 4)


def test_normalised_flattened_features_are_moved_too(tmp_path):
    kernel = np.arange(4 * 2 * 1, dtype=np.float32).reshape(2, 2, 2, 1)
    features = np.arange(8, dtype=np.float32)
    bn = {"gamma": features, "beta": features, "moving_mean": features, "moving_variance": features}
    stack = [("Conv2D", "c", {"kernel": kernel[:, :, :1, :].repeat(2, 3), "bias": np.zeros(2)})]
    stack += [
        ("BatchNormalization", "bn", bn),
        ("Dense", "d", {"kernel": features[:, None], "bias": np.ones(1)}),
    ]
    listed(tmp_path / "weights.h5", stack)
    mine = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 1))
    mine.load_state_dict(tmp_path / "weights.h5")
    # Feature (h, w, c) of Keras is our (c, h, w).
    moved = features.reshape(2, 2, 2).transpose(2, 0, 1).ravel()
    np.testing.assert_array_equal(mine[2].running_mean, moved)
    np.testing.assert_array_equal(mine[3].weight.data[0], moved)


def residual():
    main = nn.Sequential({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    return nn.Sequential({"block": nn.Residual(main, nn.Linear(2, 2, bias=False)), "last": nn.Linear(2, 1)})


def test_branches_are_matched_in_order_or_by_name(tmp_path):
    values = {"a": 1.0, "s": 2.0, "b": 3.0}
    stack = [("Dense", name, {"kernel": np.full((2, 2), value)}) for name, value in values.items()]
    stack += [("Dense", "last", {"kernel": np.ones((2, 1)), "bias": np.ones(1)})]
    zipped(tmp_path / "model.keras", stack)
    numbered(tmp_path / "model.h5", stack)
    with pytest.raises(ValueError, match="models with branches"):
        residual().load_state_dict(tmp_path / "model.h5")
    names = {"block.main.a": "a", "block.main.b": "b", "block.shortcut": "s"}
    mine = residual()
    with pytest.raises(ValueError, match=r"names: there is no pair of layers 'last' and 'lost'"):
        weights.read_keras(tmp_path / "model.keras", mine, names={"last": "lost"})
    mine.load_state_dict(weights.read_keras(tmp_path / "model.keras", mine, names=names))
    for name, value in (("main.a", 1), ("main.b", 3), ("shortcut", 2)):
        np.testing.assert_array_equal(mine.state_dict()[f"block.{name}.weight"], value)


# What does not fit


def test_all_that_does_not_fit_is_named(tmp_path):
    listed(tmp_path / "weights.h5", layers())
    zipped(tmp_path / "model.keras", [*layers(), ("Embedding", "words", {"embeddings": np.ones((3, 3))})])
    wrong = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(3, 3))
    before = wrong.state_dict()
    with pytest.raises(ValueError) as caught:
        wrong.load_state_dict(tmp_path / "weights.h5")
    message = str(caught.value)
    assert "weights.h5 does not fit the model: first of the file is no 0 Conv2d: it has" in message
    assert "weight (4, 3, 3, 2), expected bias (4,), weight (4, 3, 3, 3)" in message
    assert "depthwise of the file is no 2 Linear" in message
    assert "scores of the file has no counterpart" in message
    with pytest.raises(ValueError, match=r"depthwise of the file is no 2 Linear: it is of the kind"):
        wrong.load_state_dict(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"does not fit the model: words of the file has no counterpart$"):
        model().load_state_dict(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("config.json", '{"config": {"layers": []}}')
        with zipfile.ZipFile(tmp_path / "model.keras") as whole:
            archive.writestr("model.weights.h5", whole.read("model.weights.h5"))
    with pytest.raises(ValueError, match=r"its config.json has no layers for batch_normalization, conv2d, "):
        model().load_state_dict(tmp_path / "other.keras")
    more = nn.Sequential(model(), nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"1 Linear"):
        more.load_state_dict(tmp_path / "weights.h5")
    assert all(np.array_equal(before[name], array) for name, array in wrong.state_dict().items())


# Damage


def test_damage_leaves_the_model_unchanged(tmp_path):
    """The HDF5 library ends or hangs on some files; the seeds here find no hanging one."""
    mine, rng = model(), np.random.default_rng(0)
    before = mine.state_dict()
    for write, path in ((listed, tmp_path / "weights.h5"), (zipped, tmp_path / "model.keras")):
        write(path, layers())
        whole = path.read_bytes()
        damaged = [b"", b"no weights", whole[: len(whole) // 2], whole[:-1]]
        for _ in range(4):
            flipped = np.frombuffer(whole, np.uint8).copy()
            flipped[rng.integers(len(whole), size=len(whole) // 20)] ^= 255
            damaged.append(flipped.tobytes())
        for content in damaged:
            path.write_bytes(content)
            with pytest.raises(ValueError, match=path.name):
                mine.load_state_dict(path)
        (tmp_path / f"folder{path.suffix}").mkdir()
        with pytest.raises(IsADirectoryError):
            mine.load_state_dict(tmp_path / f"folder{path.suffix}")
        with pytest.raises(FileNotFoundError):
            mine.load_state_dict(tmp_path / f"absent{path.suffix}")
    assert all(np.array_equal(before[name], array) for name, array in mine.state_dict().items())


def links():
    def soft(file):
        file["w/w/kernel:0"] = h5py.SoftLink("/other")

    def external(file):
        file["w/w/kernel:0"] = h5py.ExternalLink("other.h5", "/data")

    def raw(file):
        file.create_dataset("w/w/kernel:0", (3,), "u1", external=[("/etc/hostname", 0, 3)])

    def virtual(file):
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "data", (3,))
        file.create_virtual_dataset("w/w/kernel:0", layout)

    def empty(file):
        file.create_dataset("w/w/kernel:0", (2**40,), "f4", chunks=(1024,))

    def text(file):
        file["w/w/kernel:0"] = np.array([b"a"])

    yield from (
        (soft, "a link to elsewhere"),
        (external, "a link to elsewhere"),
        (raw, "refers to another file"),
    )
    yield from (
        (virtual, "refers to another file"),
        (empty, "of which 0 are there"),
        (text, "expected numbers"),
    )


@pytest.mark.parametrize(("put", "message"), list(links()))
def test_numbers_must_be_in_the_file(tmp_path, put, message):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_group("w").attrs["weight_names"] = np.array([b"w/kernel:0"])
        file.attrs["layer_names"] = np.array([b"w"])
        put(file)
    with pytest.raises(ValueError, match=rf"weights.h5 can't be read as .h5: .*{message}"):
        fc.weights.read(tmp_path / "weights.h5")


def test_a_reader_that_ends_or_hangs_is_an_error(tmp_path, monkeypatch):
    listed(tmp_path / "weights.h5", layers())
    monkeypatch.setattr(apart, "PATIENCE", 0.0)
    with pytest.raises(ValueError, match="reading it took more than 0 seconds"):
        fc.weights.read(tmp_path / "weights.h5")
    monkeypatch.undo()
    shell = tmp_path / "python"
    shell.write_text("#!/bin/sh\nkill -SEGV $$\n")
    shell.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shell))
    with pytest.raises(ValueError, match="the HDF5 library ended with signal 11"):
        fc.weights.read(tmp_path / "weights.h5")


def test_h5py_is_named_where_it_is_missing(tmp_path, monkeypatch):
    listed(tmp_path / "weights.h5", layers())
    monkeypatch.setattr(apart, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r'h5py: pip install "fastconv\[train\]"'):
        model().load_state_dict(tmp_path / "weights.h5")


# Keras itself


@pytest.mark.filterwarnings("ignore")  # Keras's, of its own back ends
@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_kerass_own_files(tmp_path, suffix, monkeypatch):
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    keras = pytest.importorskip("keras")
    k = keras.layers
    theirs = keras.Sequential(
        [
            keras.Input((7, 7, 3)),
            k.Conv2D(4, (3, 2)),
            k.BatchNormalization(epsilon=1e-5),
            k.DepthwiseConv2D(2, depth_multiplier=2),
            k.Conv2DTranspose(5, 2),
            k.MaxPool2D(2),
            k.Flatten(),
            k.Dense(6),
            k.Dense(3, use_bias=False),
        ]
    )
    theirs.set_weights([array for _, _, arrays in layers() for array in arrays.values()])
    np.testing.assert_allclose(theirs.predict(IMAGES, verbose=0), expected(), rtol=0, atol=1e-5)
    path = tmp_path / f"model{suffix}"
    (theirs.save_weights if suffix == ".weights.h5" else theirs.save)(path)
    mine = model()
    mine.load_state_dict(path)
    images = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(mine(images), expected(), rtol=0, atol=1e-5)
