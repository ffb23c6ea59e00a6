"""Pickles of arrays: read back equal, and never run."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
from collections import OrderedDict

import numpy as np
import pytest

from fastconv import weights

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def read(pickled):
    return weights.read_pickle(io.BytesIO(pickled))


def content():
    matrix = np.arange(6.0).reshape(2, 3)
    return {
        "conv": [matrix.astype(np.float32), np.zeros(0)],
        "columns": OrderedDict(first=np.asfortranarray(matrix), turned=np.ones((2, 3, 4)).swapaxes(0, 1)),
        "numbers": (1, -(2**70), 2.5, "é", b"\xff", None, True, False),
        "scalars": [np.float32(2), np.array(5), np.bool_(True)],
        "swapped": np.arange(3, dtype=">i8"),
        3: [np.array([True, False]), np.array([1 + 2j])],
        "twice": [matrix, matrix],
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_pickled_comes_back(protocol):
    np.testing.assert_equal(read(pickle.dumps(content(), protocol)), content())


def test_names_before_numpy_2_and_python_2s_bytes():
    pickled = pickle.dumps({"w": np.arange(3.0)}, 2).replace(b"numpy._core", b"numpy.core")
    np.testing.assert_equal(read(pickled), {"w": np.arange(3.0)})
    data = struct.pack("<2f", 1.5, -2)
    python_2 = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08" + data + b"tb."
    )
    np.testing.assert_array_equal(read(python_2), np.array([1.5, -2], np.float32))


def test_a_path_and_an_open_file(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps([np.ones(2)]))
    np.testing.assert_equal(weights.read_pickle(tmp_path / "w.pkl"), [np.ones(2)])
    with open(tmp_path / "w.pkl", "rb") as file:
        np.testing.assert_equal(weights.read_pickle(file), [np.ones(2)])


class Touch:
    """Would make a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_code_is_run(tmp_path, protocol):
    trace, path = tmp_path / "trace", tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"w": np.ones(2), "x": Touch(trace)}, protocol))
    with pytest.raises(ValueError, match=r"w.pkl can't be read as a pickle .*: it asks for \w+.system"):
        weights.read_pickle(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists(), "the pickle itself was harmless"


@pytest.mark.parametrize(
    "instructions",
    [
        b"cnumpy\nndarray\n(K\x01\x85tR.",  # a name that is no function
        b"(X\x01\x00\x00\x00alX\x00\x00\x00\x00\x85R.",  # a call of data
        b"c_codecs\nencode\n}(X\x0c\x00\x00\x00__defaults__K\x01ub.",  # a function is given attributes
        b"(cposix\nsystem\no.",
        b"(X\x02\x00\x00\x00lsiposix\nsystem\n.",
        b"\x80\x02cos\nsystem\n)\x81.",
        b"\x82\x01.",
        b"Pname\n.",
    ],
)
def test_what_makes_no_data_is_refused(instructions):
    with pytest.raises(ValueError, match="can't be read as a pickle of arrays"):
        read(instructions)


def array_pickle(**changes):
    """Pickle an array whose state says something else."""
    state = {"shape": (2, 3), "dtype": np.dtype("f4"), "fortran": False, "data": bytes(24)} | changes

    class Array:
        def __reduce__(self):
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, *state.values())

    return pickle.dumps(Array())


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (2, 4)},
        {"shape": (2**40, 2**40)},
        {"shape": (-2, -3)},
        {"shape": (1,) * 70 + (6,)},
        {"shape": 6},
        {"data": bytes(23)},
        {"data": [1, 2]},
        {"dtype": np.dtype(object), "shape": (3,)},
        {"dtype": np.dtype([("a", "f4")]), "shape": (6,)},
        {"dtype": np.dtype("U1"), "shape": (6,)},
        {"dtype": "f4"},
    ],
)
def test_impossible_arrays_are_refused(changes):
    assert read(array_pickle()).shape == (2, 3)
    with pytest.raises(ValueError, match="can't be read"):
        read(array_pickle(**changes))


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"ab.",  # BINBYTES8
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"ab.",  # BYTEARRAY8
        b"})" + b"\x85" * 100_000 + b"Ns.",  # a key so deep that its hash would end the process
        b"2" * 10 + b".",
        b"I" + b"9" * 10_000 + b"\n.",
        b"g5\n.",
        b"t.",
        b"0.",
        b"",
    ],
)
def test_bombs_are_refused(bomb):
    with pytest.raises(ValueError, match="can't be read"):
        read(bomb)


def test_a_large_place_in_the_memo_costs_nothing():
    assert read(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.") is None


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_damage_is_an_error_or_other_data():
    rng = np.random.default_rng(0)
    for protocol in (0, 2, 5):
        whole = pickle.dumps(content(), protocol)
        assert sum(1 for _ in pickletools.genops(whole)) > 100
        for end in rng.integers(len(whole), size=40):
            with pytest.raises(ValueError, match="can't be read"):
                read(whole[:end])
        for _ in range(100):
            damaged = bytearray(whole)
            for place in rng.integers(len(whole), size=3):
                damaged[place] = rng.integers(256)
            try:
                read(bytes(damaged))
            except ValueError as error:
                assert "can't be read" in str(error)
