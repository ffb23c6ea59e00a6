"""State dictionaries: round trips through memory and files, and errors that change nothing."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from fastconv import nn
from fastconv.models import lenet5

SUFFIXES = [".npz", ".safetensors"]


def make(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, rng=rng, dtype=dtype),
        nn.BatchNorm2d(3, dtype=dtype),
        nn.Flatten(),
        nn.Residual(nn.Linear(12, 12, rng=rng, dtype=dtype)),
    )


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_names_are_pytorchs():
    torch = pytest.importorskip("torch")
    mine = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 2, 3), nn.Linear(5, 4))
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3),
        torch.nn.BatchNorm2d(3),
        torch.nn.ConvTranspose2d(3, 2, 3),
        torch.nn.Linear(5, 4),
    )
    expected = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert {name: value.shape for name, value in mine.state_dict().items()} == expected
    mine.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    np.testing.assert_array_equal(mine[0].weight.data, theirs[0].weight.detach().numpy())


def test_a_state_dict_is_a_copy():
    model = make(0)
    state = model.state_dict()
    model[0].weight.data += 1
    assert not same(state, model.state_dict())
    assert model.load_state_dict(state) == ([], [])
    assert same(state, model.state_dict())
    state["0.weight"] += 1
    assert not same(state, model.state_dict())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_bring_everything_back(tmp_path, suffix):
    pytest.importorskip("safetensors")
    path = tmp_path / f"weights{suffix}"
    model, other = make(0), make(1)
    x = np.random.default_rng(0).standard_normal((4, 1, 4, 4)).astype(np.float32)
    model(x)
    path.write_bytes(b"an older file")
    model.save_state_dict(path)
    other.load_state_dict(str(path))
    assert same(other.state_dict(), model.state_dict())
    assert int(other[1].num_batches_tracked) == 1
    np.testing.assert_array_equal(other.eval()(x), model.eval()(x))
    assert os.listdir(tmp_path) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bfloat16_survives_files(tmp_path, suffix):
    pytest.importorskip("safetensors")
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    model, other = make(0, bfloat16), make(1, bfloat16)
    model.save_state_dict(tmp_path / f"weights{suffix}")
    other.load_state_dict(tmp_path / f"weights{suffix}")
    assert other[0].weight.data.dtype == bfloat16
    assert same(other.state_dict(), model.state_dict())


def test_floating_dtypes_are_converted():
    model = make(0, np.float64)
    model.load_state_dict(make(1).state_dict())
    assert model[0].weight.data.dtype == np.float64
    np.testing.assert_array_equal(model[0].weight.data, make(1)[0].weight.data)


def wrong_states():
    def changed(**changes):
        def change(state):
            state.update({name.replace("_", ".", 1): value for name, value in changes.items()})
            return state

        return change

    def without(name):
        return lambda state: {key: value for key, value in state.items() if key != name}

    yield without("3.main.bias"), ValueError, "load_state_dict: missing: 3.main.bias"
    yield changed(more=np.ones(1)), ValueError, "not in the model: more"
    wrong = np.ones((3, 1, 2, 2), np.float32)
    yield (
        changed(**{"0_weight": wrong}),
        ValueError,
        r"0.weight has shape \(3, 1, 2, 2\), expected \(3, 1, 3, 3\)",
    )
    yield changed(**{"0_bias": np.ones(3, np.int64)}), TypeError, "0.bias has dtype int64, expected float32"
    yield changed(**{"0_bias": np.array(["a", "b", "c"])}), TypeError, "0.bias has dtype <U1"
    yield changed(**{"1_num_batches_tracked": np.array(1.5)}), TypeError, "expected int64"
    large = np.array(2**63, np.uint64)
    yield changed(**{"1_num_batches_tracked": large}), ValueError, "9223372036854775808, which does not fit"
    yield changed(**{"0_bias": np.array([0, 1e300, 0])}), ValueError, r"0.bias holds 1e\+300, .* float32"
    yield changed(**{"0_bias": [[1.0], [2.0, 3.0]]}), TypeError, "0.bias can't be read as a NumPy array"
    yield lambda state: state | {3: np.ones(1)}, ValueError, "not in the model: 3"


@pytest.mark.parametrize(("change", "error", "message"), list(wrong_states()))
def test_errors_leave_the_model_unchanged(change, error, message):
    model = make(0)
    before = model.state_dict()
    with pytest.raises(error, match=message):
        model.load_state_dict(change(make(1).state_dict()))
    assert same(before, model.state_dict())


@pytest.mark.parametrize("strict", [True, False])
def test_a_read_only_parameter_leaves_the_model_unchanged(strict):
    model = make(0)
    last = list(model.parameters())[-1]
    last.data.flags.writeable = False
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"3.main.bias of the model is changed in place, but is read-only"):
        model.load_state_dict(make(1).state_dict(), strict=strict)
    assert same(before, model.state_dict())


def test_infinities_are_loaded():
    model = nn.Linear(1, 1)
    model.load_state_dict({"weight": np.array([[np.inf]]), "bias": np.array([np.nan])})
    assert np.isinf(model.weight.data) and np.isnan(model.bias.data)


def test_one_array_is_no_state(tmp_path):
    with open(tmp_path / "weights.npz", "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"weights.npz can't be read as .npz: it is a .npy file"):
        nn.ReLU().load_state_dict(str(tmp_path / "weights.npz"))


def test_a_state_is_a_mapping_or_a_path():
    with pytest.raises(TypeError, match="state must be a mapping or a path, got list"):
        nn.ReLU().load_state_dict([])


def test_every_fault_is_named_at_once():
    with pytest.raises(ValueError, match=r"missing: bias; not in the model: b; weight has shape"):
        nn.Linear(2, 2).load_state_dict({"weight": np.ones((3, 2)), "b": np.ones(2)})


def test_without_strict_what_fits_is_loaded():
    model = nn.Linear(2, 2, rng=0)
    bias = model.bias.data.copy()
    keys = model.load_state_dict({"weight": np.ones((2, 2)), "more": np.ones(1)}, strict=False)
    assert keys.missing_keys == ["bias"] and keys.unexpected_keys == ["more"]
    np.testing.assert_array_equal(model.weight.data, 1)
    np.testing.assert_array_equal(model.bias.data, bias)
    with pytest.raises(ValueError, match="shape"):
        model.load_state_dict({"weight": np.ones((2, 3))}, strict=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_and_missing_files_are_errors(tmp_path, suffix):
    pytest.importorskip("safetensors")
    model, path = make(0), tmp_path / f"weights{suffix}"
    before = model.state_dict()
    with pytest.raises(FileNotFoundError):
        model.load_state_dict(path)
    model.save_state_dict(path)
    whole = path.read_bytes()
    for damaged in (b"", b"no such format", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="can't be read as"):
            model.load_state_dict(path)
    assert same(before, model.state_dict())


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the suffix must be one of .safetensors, .npz, got '.pt'"):
        nn.ReLU().save_state_dict(tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"one of .safetensors, .npz, .pt, .pth, .h5, .keras, got '.bin'"):
        nn.ReLU().load_state_dict(tmp_path / "weights.bin")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_save_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    pytest.importorskip("safetensors")
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"old")

    def no_space(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="no space"):
        lenet5(0).save_state_dict(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_safetensors_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fastconv\[train\]"'):
        nn.Linear(1, 1).save_state_dict(tmp_path / "weights.safetensors")
    assert os.listdir(tmp_path) == []
