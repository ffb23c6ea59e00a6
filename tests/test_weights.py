"""Weights in files: PyTorch's without PyTorch, safetensors both ways, and damage that changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from fastconv import models, nn, weights

FORMATS = {".pt": {}, ".pth": {"_use_new_zipfile_serialization": False}}
"""A suffix for each of PyTorch's formats, the newer and the older, and how it is written."""


def make(seed):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, rng=rng), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3, rng=rng)
    )


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def save(model, path):
    """Write a model's state as its suffix says, with PyTorch where that is PyTorch's."""
    if path.suffix in FORMATS:
        torch = pytest.importorskip("torch")
        state = {name: torch.from_numpy(array) for name, array in model.state_dict().items()}
        torch.save(state, path, **FORMATS[path.suffix])
    else:
        if path.suffix == ".safetensors":
            pytest.importorskip("safetensors")
        model.save_state_dict(path)


# ResNet-18 and PyTorch


def torch_resnet18(torch, classes, width):
    """Build ResNet-18 in PyTorch, with the names that torchvision gives its layers."""
    t = torch.nn

    class Block(t.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = t.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = t.BatchNorm2d(outputs)
            self.conv2 = t.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = t.BatchNorm2d(outputs)
            self.downsample = None
            if stride > 1:
                conv = t.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = t.Sequential(conv, t.BatchNorm2d(outputs))

        def forward(self, x):
            main = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(main + (x if self.downsample is None else self.downsample(x)))

    class ResNet18(t.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = t.Conv2d(3, width, 7, 2, 3, bias=False)
            self.bn1 = t.BatchNorm2d(width)
            self.maxpool = t.MaxPool2d(3, 2, 1)
            inputs = width
            for stage in range(4):
                outputs = width * 2**stage
                blocks = Block(inputs, outputs, 2 if stage else 1), Block(outputs, outputs, 1)
                setattr(self, f"layer{stage + 1}", t.Sequential(*blocks))
                inputs = outputs
            self.fc = t.Linear(inputs, classes)

        def forward(self, x):
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(x.mean((2, 3)))

    return ResNet18()


@pytest.fixture(scope="module")
def trained():
    """A ResNet-18 in PyTorch whose running statistics are not those of a new one, and its result."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch_resnet18(torch, classes=1000, width=64)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        model(2 * x + 1)
        return torch, model.eval(), x, model(x).numpy()


@pytest.mark.parametrize("suffix", [*FORMATS, ".safetensors"])
def test_resnet18_computes_what_pytorchs_does(trained, tmp_path, suffix):
    torch, theirs, x, expected = trained
    path = tmp_path / f"resnet18{suffix}"
    if suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(theirs.state_dict(), path)
    else:
        torch.save(theirs.state_dict(), path, **FORMATS[suffix])
    mine = models.resnet18(rng=1)
    assert mine.load_state_dict(path) == ([], [])
    np.testing.assert_allclose(mine.eval()(x.numpy()), expected, rtol=0, atol=1e-5)


def test_pytorchs_resnet18_computes_what_ours_does(trained, tmp_path):
    torch, _, x, _ = trained
    load_file = pytest.importorskip("safetensors.torch").load_file
    mine = models.resnet18(rng=2)
    mine(np.random.default_rng(0).random((2, 3, 64, 64), np.float32))
    mine.save_state_dict(tmp_path / "resnet18.safetensors")
    theirs = torch_resnet18(torch, classes=1000, width=64)
    assert str(theirs.load_state_dict(load_file(tmp_path / "resnet18.safetensors"))) == (
        "<All keys matched successfully>"
    )
    with torch.no_grad():
        result = theirs.eval()(x).numpy()
    expected = mine.eval()(x.numpy())
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# PyTorch's files


def tensors(torch):
    cube = torch.randn(4, 5, 6)
    integers = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    return {
        "plain": torch.randn(3, 4),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "turned": cube.transpose(0, 2),
        "part": cube[1:, 2:4, ::2],
        "expanded": torch.ones(1).expand(5, 4),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(5),
        "flags": torch.tensor([True, False]),
        **{str(dtype): torch.randn(2, 3).to(dtype) for dtype in (torch.float16, torch.float64)},
        **{str(dtype): torch.arange(5).to(dtype) for dtype in integers},
    }


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_tensors_of_all_kinds(tmp_path, suffix, protocol, wrapper):
    torch = pytest.importorskip("torch")
    state = tensors(torch)
    wrapped = {"epoch": 3, "best": np.float64(0.9), wrapper: state, "steps": [1, 2]} if wrapper else state
    path = tmp_path / f"state{suffix}"
    torch.save(wrapped, path, pickle_protocol=protocol, **FORMATS[suffix])
    arrays = weights.read(path)
    assert list(arrays) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach().numpy()
        assert arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(arrays[name], expected)


@pytest.mark.parametrize("suffix", [*FORMATS, ".safetensors"])
@pytest.mark.parametrize("present", [True, False])
def test_bfloat16_is_read_with_and_without_its_package(tmp_path, suffix, present, monkeypatch):
    torch = pytest.importorskip("torch")
    if present:
        dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    else:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
        dtype = np.dtype(np.float32)
    tensor = torch.randn(3, 4).bfloat16()
    path = tmp_path / f"state{suffix}"
    if suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file({"w": tensor}, path)
    else:
        torch.save({"w": tensor.T}, path, **FORMATS[suffix])
        tensor = tensor.T
    array = weights.read(path)["w"]
    assert array.dtype == dtype
    np.testing.assert_array_equal(array.astype(np.float32), tensor.float().numpy())


def test_pytorchs_files_need_no_pytorch(tmp_path):
    save(make(0), tmp_path / "state.pt")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from fastconv import weights\n"
        f"print(sorted(weights.read({str(tmp_path / 'state.pt')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted(make(0).state_dict()))


@pytest.mark.parametrize("suffix", FORMATS)
def test_code_in_pytorchs_files_is_not_run(tmp_path, suffix):
    torch = pytest.importorskip("torch")

    class Touch:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'trace'}",)

    path = tmp_path / f"state{suffix}"
    torch.save({"w": torch.ones(2), "x": Touch()}, path, **FORMATS[suffix])
    with pytest.raises(ValueError, match=rf"can't be read as {suffix}: it asks for posix.system"):
        nn.ReLU().load_state_dict(path)
    torch.save(torch.nn.ReLU(), path, **FORMATS[suffix])
    with pytest.raises(ValueError, match="can't be read as"):
        nn.ReLU().load_state_dict(path)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "it holds no state dictionary, but a list"),
        ({"a": 1}, "a in its state dictionary is no tensor, but a int"),
        ({"model": 3}, "it holds no state dictionary, but a int"),
        ({1: 2}, "1 in its state dictionary is no tensor"),
    ],
)
def test_a_file_without_a_state_is_an_error(tmp_path, content, message):
    torch = pytest.importorskip("torch")
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(ValueError, match=message):
        weights.read(tmp_path / "state.pt")


def rewritten(source, target, changes, compression=zipfile.ZIP_STORED):
    """Copy a zip file, with what `changes` makes of members whose names end like its keys."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            change = next((changes[end] for end in changes if name.endswith(end)), lambda content: content)
            content = change(old.read(name))
            if content is not None:
                new.writestr(name, content)


PICKLED_SHAPE = b"K\x02K\x03\x86"  # BININT1 2, BININT1 3, TUPLE2
PICKLED_STRIDES = b"K\x03K\x01\x86"


def huge(number):
    return b"\x8a\x0a" + number.to_bytes(10, "little", signed=True)


def deep():
    return b")" + b"\x85" * 100_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.pkl": lambda p: p.replace(PICKLED_SHAPE, b"K\x02K\x04\x86")}, "w reaches to element 6 of"),
        (
            {"data.pkl": lambda p: p.replace(PICKLED_STRIDES, b"K\xffK\x01\x86")},
            "reaches to element 257",
        ),
        ({"data.pkl": lambda p: p.replace(PICKLED_STRIDES, huge(2**63) + huge(2**63) + b"\x86")}, "reaches"),
        ({"data.pkl": lambda p: p.replace(PICKLED_STRIDES, huge(-3) + b"K\x01\x86")}, "w has sizes, strides"),
        ({"data.pkl": lambda p: p.replace(PICKLED_SHAPE, b"K\x06\x85")}, "w has sizes, strides"),
        ({"data.pkl": lambda p: p.replace(PICKLED_SHAPE, b"K\x02N\x86")}, "can't be read as .pt"),
        ({"data.pkl": lambda p: p.replace(b"ctorch\nFloatStorage\n", deep())}, "no storage of numbers"),
        ({"data.pkl": lambda p: p[:-20]}, "can't be read as .pt"),
        ({"data.pkl": lambda p: None}, "0 files data.pkl"),
        ({"data/0": lambda p: p[:-4]}, "w reaches to element 5 of a storage of 5"),
        ({"data/0": lambda p: p[:-1]}, "can't be read as .pt"),
        ({"data/0": lambda p: None}, "data/0"),
        ({"byteorder": lambda p: b"middle"}, "middle"),
    ],
)
def test_impossible_tensors_are_refused(tmp_path, changes, message):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.arange(6.0).reshape(2, 3)}, tmp_path / "whole.pt")
    rewritten(tmp_path / "whole.pt", tmp_path / "same.pt", {})
    np.testing.assert_array_equal(weights.read(tmp_path / "same.pt")["w"], np.arange(6).reshape(2, 3))
    rewritten(tmp_path / "whole.pt", tmp_path / "state.pt", changes)
    assert (tmp_path / "state.pt").read_bytes() != (tmp_path / "same.pt").read_bytes()
    with pytest.raises(ValueError, match=message):
        weights.read(tmp_path / "state.pt")


def test_big_endian_storages_and_compressed_ones(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.arange(6.0)}, tmp_path / "whole.pt")
    swap = {"byteorder": lambda _: b"big", "data/0": lambda p: np.frombuffer(p, "f4").byteswap().tobytes()}
    rewritten(tmp_path / "whole.pt", tmp_path / "big.pt", swap)
    np.testing.assert_array_equal(weights.read(tmp_path / "big.pt")["w"], np.arange(6))
    rewritten(tmp_path / "whole.pt", tmp_path / "packed.pt", {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"is compressed, which torch\.save never does"):
        weights.read(tmp_path / "packed.pt")


# Damage, in every format that needs no other package to be read


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", *FORMATS])
def test_damage_leaves_the_model_unchanged(tmp_path, suffix):
    path, model = tmp_path / f"weights{suffix}", make(0)
    save(make(1), path)
    whole, before = path.read_bytes(), model.state_dict()
    rng = np.random.default_rng(0)
    cut = [whole[:end] for end in [0, 1, len(whole) - 1, *rng.integers(len(whole), size=30)]]
    flipped = []
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=4):
            damaged[place] ^= 1 << rng.integers(8)
        flipped.append(bytes(damaged))
    for content in cut + flipped:
        path.write_bytes(content)
        try:
            # Damaged numbers of a format without checksums are read as other numbers.
            model.load_state_dict(path)
        except ValueError as error:
            assert same(before, model.state_dict())
            assert path.name in str(error) or "load_state_dict" in str(error)
        else:
            assert content in flipped
            model.load_state_dict(before)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", *FORMATS])
def test_wrong_files_leave_the_model_unchanged(tmp_path, suffix):
    pytest.importorskip("safetensors")
    model = make(0)
    before = model.state_dict()
    for name, content in {"empty": b"", "text": b"no weights\n" * 50, "zeros": bytes(1000)}.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}{suffix} can't be read as {suffix}"):
            model.load_state_dict(path)
    other = tmp_path / f"other{'.npz' if suffix != '.npz' else '.safetensors'}"
    save(make(1), other)
    other.rename(tmp_path / f"renamed{suffix}")
    with pytest.raises(ValueError, match=rf"renamed{suffix} can't be read as {suffix}"):
        model.load_state_dict(tmp_path / f"renamed{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(IsADirectoryError):
        model.load_state_dict(tmp_path / f"folder{suffix}")
    with pytest.raises(FileNotFoundError):
        model.load_state_dict(tmp_path / f"absent{suffix}")
    assert same(before, model.state_dict())


def test_write_and_read(tmp_path):
    pytest.importorskip("safetensors")
    arrays = {"turned": np.arange(6.0).reshape(2, 3).T, "number": np.array(3), "half": np.ones(2, np.float16)}
    for suffix in (".npz", ".safetensors"):
        weights.write(tmp_path / f"arrays{suffix}", arrays)
        found = weights.read(tmp_path / f"arrays{suffix}")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
