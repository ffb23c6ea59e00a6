"""Arrays on their way in and out: views of every kind, DLPack, `out=` with guards around it."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest
from agreement import BFLOAT16, DTYPES, Guarded, assert_agrees, assert_same_bits, exact_inputs
from cases import CONV_CASES, CONV_TRANSPOSE_CASES, FORMATS, ConvCase, ConvTransposeCase
from test_conv import exact_result, name_of

import fastconv as fc
from fastconv import _core, reference, signal

# ---------------------------------------------------------------- views with the values of a plain array


def filled(shape, dtype):
    """An array of what must not be read: NaN, or -1 among indices."""
    return np.full(shape, -1 if np.dtype(dtype).kind == "i" else np.nan, dtype)


def every_second_element(array):
    parent = filled([2 * n + 1 for n in array.shape], array.dtype)
    view = parent[tuple(slice(1, 2 * n + 1, 2) for n in array.shape)]
    view[...] = array
    return view


def interior(array):
    """A window into a larger array: rows are contiguous, planes are not."""
    parent = filled([n + 3 for n in array.shape], array.dtype)
    view = parent[tuple(slice(1, n + 1) for n in array.shape)]
    view[...] = array
    return view


def negative_strides(array):
    flip = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[flip])[flip]


def transposed(array):
    return np.asfortranarray(array)


def axes_rotated(array):
    """As a channels-last array looks to a channels-first reader, and the other way round."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 0, -1)), -1, 0)


def read_only(array):
    view = array.copy()
    view.flags.writeable = False
    return view


def unaligned(array):
    memory = b"\0" + array.tobytes()
    view = np.frombuffer(memory, np.uint8, offset=1).view(array.dtype).reshape(array.shape)
    assert array.size == 0 or not view.flags.aligned
    return view


def odd_strides(array):
    """Strides that are no whole number of elements: a field of a packed record."""
    record = np.zeros(array.shape, np.dtype([("flag", np.uint8), ("value", array.dtype)]))
    record["value"] = array
    return record["value"]


VIEWS = [
    every_second_element,
    interior,
    negative_strides,
    transposed,
    axes_rotated,
    read_only,
    unaligned,
    odd_strides,
]

VIEWED_CASES = [
    ConvCase(x=(2, 3, 9, 8), w=(5, 3, 3, 2), padding=1),
    ConvCase(x=(2, 3, 9, 8), w=(5, 3, 3, 2), stride=2, data_format="channels_last"),
    ConvCase(x=(2, 17, 9, 7), w=(19, 17, 1, 1)),
    ConvCase(x=(2, 17, 9, 7), w=(19, 17, 1, 1), data_format="channels_last"),
    ConvCase(x=(2, 6, 9, 8), w=(6, 1, 3, 3), groups=6, padding="same"),
    ConvCase(x=(2, 6, 9, 8), w=(6, 1, 3, 3), groups=6, padding="same", data_format="channels_last"),
    ConvCase(x=(2, 4, 31), w=(6, 2, 5), groups=2, padding=2, padding_mode="circular"),
    ConvCase(x=(1, 3, 5, 6, 7), w=(4, 3, 2, 3, 2), padding_mode="reflect", padding=1),
    ConvTransposeCase(x=(2, 4, 6, 5), w=(4, 3, 3, 3), stride=2, padding=1),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("case", VIEWED_CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_convolutions_read_any_view(view, case, dtype):
    x, w, b = case.arrays(dtype)
    name = f"conv_transpose{case.rank}d" if isinstance(case, ConvTransposeCase) else f"conv{case.rank}d"
    exact = getattr(reference, name)(*exact_inputs(x, w, b), **case.keywords)
    assert_agrees(getattr(fc, name)(view(x), view(w), view(b), **case.keywords), exact, dtype)
    dy = case.upstream(exact, dtype)
    gradients = getattr(fc.grad, name)(view(dy), view(x), view(w), **case.keywords)
    exact_gradients = getattr(reference.grad, name)(*exact_inputs(dy, x, w), **case.keywords)
    for actual, expected in zip(gradients, exact_gradients, strict=True):
        assert_agrees(actual, expected, dtype)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pools_read_any_view(view, data_format, dtype):
    layout = {"data_format": data_format}
    x = np.random.default_rng(0).integers(-9, 9, (2, 9, 8, 5)).astype(dtype)
    y, indices = fc.max_pool2d(x, 3, stride=2, return_indices=True, **layout)
    dy = np.random.default_rng(1).integers(-9, 9, y.shape).astype(dtype)
    viewed_indices = view(indices)
    sizes = x.shape[1:3] if data_format == "channels_last" else x.shape[2:]
    for actual, expected in [
        (fc.max_pool2d(view(x), 3, stride=2, **layout), y),
        (fc.avg_pool2d(view(x), 3, **layout), fc.avg_pool2d(x, 3, **layout)),
        (fc.lp_pool2d(view(x), 2, 3, **layout), fc.lp_pool2d(x, 2, 3, **layout)),
        (fc.adaptive_max_pool2d(view(x), 3, **layout), fc.adaptive_max_pool2d(x, 3, **layout)),
        (fc.adaptive_avg_pool2d(view(x), 3, **layout), fc.adaptive_avg_pool2d(x, 3, **layout)),
        (fc.global_max_pool(view(x), **layout), fc.global_max_pool(x, **layout)),
        (fc.global_avg_pool(view(x), **layout), fc.global_avg_pool(x, **layout)),
        (fc.channel_max_pool(view(x), 3, **layout), fc.channel_max_pool(x, 3, **layout)),
        (fc.channel_avg_pool(view(x), 3, **layout), fc.channel_avg_pool(x, 3, **layout)),
        (
            fc.grad.max_pool2d(view(dy), viewed_indices, x.shape, **layout),
            fc.grad.max_pool2d(dy, indices, x.shape, **layout),
        ),
        (
            fc.grad.avg_pool2d(view(dy), x.shape, 3, stride=2, **layout),
            fc.grad.avg_pool2d(dy, x.shape, 3, stride=2, **layout),
        ),
        (
            fc.max_unpool2d(view(y), viewed_indices, 3, stride=2, output_size=sizes, **layout),
            fc.max_unpool2d(y, indices, 3, stride=2, output_size=sizes, **layout),
        ),
    ]:
        np.testing.assert_allclose(actual.astype(float), expected.astype(float), rtol=1e-6, atol=1e-6)


def test_overlapping_and_zero_strides():
    """What sliding_window_view and broadcast_to make: elements that share their memory."""
    rng = np.random.default_rng(0)
    signal, w = rng.standard_normal(20), rng.standard_normal((4, 3, 3))
    windows = np.lib.stride_tricks.sliding_window_view(signal, 9)[:3][None]
    assert_agrees(fc.conv1d(windows, w), reference.conv1d(windows, w), np.float64)
    one = np.broadcast_to(signal[:1], (2, 3, 9))
    assert_agrees(fc.conv1d(one, w), reference.conv1d(one, w), np.float64)
    dy = np.broadcast_to(signal[1:2], (2, 4, 7))
    for actual, expected in zip(fc.grad.conv1d(dy, one, w), reference.grad.conv1d(dy, one, w), strict=True):
        assert_agrees(actual, expected, np.float64)
    assert_same_bits(fc.max_pool1d(one, 2), np.ascontiguousarray(one[..., :4]))


# ---------------------------------------------------------------- DLPack


class Exporter:
    """An array of some other library, which speaks DLPack and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **keywords):
        return self._array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dlpack_objects_are_arrays(dtype):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 9, 8)).astype(dtype), rng.standard_normal((4, 3, 3, 3)).astype(dtype)
    b, expected = w[:, 0, 0, 0].copy(), fc.conv2d(x, w, w[:, 0, 0, 0])
    assert_same_bits(fc.conv2d(Exporter(x), Exporter(w), Exporter(b)), expected)
    assert_same_bits(fc.conv2d(Exporter(x), w, b), expected)
    y, indices = fc.max_pool2d(Exporter(x), 2, return_indices=True)
    assert_same_bits(y, fc.max_pool2d(x, 2))
    dx = fc.grad.max_pool2d(Exporter(y), Exporter(indices), x.shape)
    assert_same_bits(dx, fc.grad.max_pool2d(y, indices, x.shape))
    for actual, plain in zip(
        fc.grad.conv2d(Exporter(expected), Exporter(x), w), fc.grad.conv2d(expected, x, w), strict=True
    ):
        assert_same_bits(actual, plain)


def test_torch_tensors_are_arrays():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: no tensors to hand over")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 9, 8), np.float32), rng.standard_normal((4, 3, 3, 3), np.float32)
    y = fc.conv2d(torch.from_numpy(x), torch.from_numpy(w))
    assert isinstance(y, np.ndarray)
    assert_same_bits(y, fc.conv2d(x, w))
    channels_last = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    assert_agrees(fc.conv2d(channels_last, w), reference.conv2d(*exact_inputs(x, w)), np.float32)


@pytest.mark.parametrize("library", ["torch", "jax.numpy"])
def test_bfloat16_of_other_libraries(library):
    other = pytest.importorskip(library, reason=f"{library} is not installed: no arrays to hand over")
    x, w = (other.ones(shape, dtype=other.bfloat16) for shape in ((1, 2, 5, 6), (3, 2, 3, 3)))
    plain = np.ones((1, 2, 5, 6), BFLOAT16), np.ones((3, 2, 3, 3), BFLOAT16)
    assert_same_bits(fc.conv2d(x, w), fc.conv2d(*plain))
    assert_same_bits(fc.max_pool2d(x, 2), fc.max_pool2d(plain[0], 2))
    assert_same_bits(signal.laplace(x), signal.laplace(plain[0]))


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = (("tensor", DLTensor), ("manager", ctypes.c_void_p), ("deleter", DELETER))


class ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    )


CAPSULE = ctypes.pythonapi.PyCapsule_New
CAPSULE.restype, CAPSULE.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
CAPSULE_NAME = ctypes.pythonapi.PyCapsule_GetName
CAPSULE_NAME.restype, CAPSULE_NAME.argtypes = ctypes.c_char_p, (ctypes.py_object,)


class Producer:
    """A DLPack producer made by hand; `version` None makes the capsules that came before version 1."""

    def __init__(self, array, version=None, flags=0, code=4, bits=16, lanes=1, device=1, strides=True):
        self.array, self.deleted, self.capsules, self.version = array, 0, [], version
        ints = ctypes.c_int64 * max(array.ndim, 1)
        steps = ints(*(n // array.itemsize for n in array.strides)) if strides else None
        tensor = DLTensor(
            array.ctypes.data - 4, device, 0, array.ndim, code, bits, lanes, ints(*array.shape), steps, 4
        )
        deleter = DELETER(self._delete)
        if version is None:
            self.managed = Managed(tensor, None, deleter)
        else:
            self.managed = ManagedVersioned(version, 0, None, deleter, flags, tensor)

    def _delete(self, pointer):
        assert pointer == ctypes.addressof(self.managed)
        self.deleted += 1

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, **keywords):
        if self.version is None and keywords:
            raise TypeError("__dlpack__() takes no keywords")
        name = b"dltensor" if self.version is None else b"dltensor_versioned"
        self.capsules.append(CAPSULE(ctypes.addressof(self.managed), name, None))
        return self.capsules[-1]


@pytest.mark.parametrize(
    ("keywords", "writable"), [({}, False), ({"version": 1}, True), ({"version": 1, "flags": 1}, False)]
)
@pytest.mark.parametrize("view", [np.array, transposed, negative_strides, every_second_element])
def test_dlpack_capsules_are_taken_over(view, keywords, writable):
    """Without a copy, for as long as the array lives, and the deleter is called once."""
    plain = view(np.arange(24).reshape(2, 3, 4).astype(BFLOAT16))
    producer = Producer(plain, **keywords)
    array = _core.as_array("f", "x", producer)
    assert_same_bits(array, plain)
    assert array.strides == plain.strides
    assert array.ctypes.data == plain.ctypes.data
    assert array.flags.writeable == writable
    (capsule,) = producer.capsules
    assert CAPSULE_NAME(capsule).startswith(b"used_dltensor")
    part = array[1:]
    del array
    assert producer.deleted == 0
    del part
    assert producer.deleted == 1


def test_dlpack_capsules_without_strides_or_elements():
    plain = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert_same_bits(_core.as_array("f", "x", Producer(plain, code=2, bits=32, strides=False)), plain)
    empty = Producer(plain[:0], code=2, bits=32)
    assert _core.as_array("f", "x", empty).shape == (0, 3, 4)
    assert empty.deleted == 1


@pytest.mark.parametrize(
    ("keywords", "error", "match"),
    [
        ({"code": 10, "bits": 8}, TypeError, "f: x .*code 10, 8 bits"),
        ({"lanes": 2}, TypeError, "f: x .*2 lanes"),
        ({"code": 2, "bits": 128}, TypeError, "f: x .*128 bits"),
        ({"version": 2}, TypeError, "f: x .*version"),
        ({"device": 2}, ValueError, "f: x lies on a DLPack device of kind 2"),
        ({"device": 8}, ValueError, "f: x lies on a DLPack device of kind 8"),
    ],
)
def test_dlpack_capsules_that_are_given_back(keywords, error, match):
    producer = Producer(np.ones((2, 3), BFLOAT16), **keywords)
    with pytest.raises(error, match=match):
        _core.as_array("f", "x", producer)
    assert producer.deleted == 1


def test_bfloat16_without_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match=r"f: x .*bfloat16.*pip install ml_dtypes"):
        _core.as_array("f", "x", Producer(np.ones(3, BFLOAT16)))


# ---------------------------------------------------------------- byte order


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "<f8", ">f2"])
def test_arrays_of_either_byte_order(dtype):
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 6)).astype(dtype)
    w = np.random.default_rng(1).standard_normal((3, 2, 3, 3)).astype(dtype)
    native = np.dtype(dtype).newbyteorder("=")
    plain_x, plain_w = x.astype(native), w.astype(native)
    for actual, expected in [
        (fc.conv2d(x, w), fc.conv2d(plain_x, plain_w)),
        (fc.conv2d(x, plain_w), fc.conv2d(plain_x, plain_w)),
        (fc.avg_pool2d(x, 2), fc.avg_pool2d(plain_x, 2)),
        (signal.convolve(x, w), signal.convolve(plain_x, plain_w)),
        (signal.convolve2d(x[0, 0], w[0, 0]), signal.convolve2d(plain_x[0, 0], plain_w[0, 0])),
        (signal.sobel(x), signal.sobel(plain_x)),
        (signal.gaussian(x, 1.5), signal.gaussian(plain_x, 1.5)),
    ]:
        assert_same_bits(actual, expected)


# ---------------------------------------------------------------- ints

INTS = [np.int64, np.array, lambda n: np.array(n, np.uint8)]


@pytest.mark.parametrize("number", INTS, ids=["scalar", "array", "uint8 array"])
@pytest.mark.parametrize("module", [fc, reference], ids=["fastconv", "reference"])
def test_integers_of_any_kind(module, number):
    """Whatever has `__index__` is an int: arrays without axes too."""
    x, w = np.arange(2 * 49.0).reshape(1, 2, 7, 7), np.ones((2, 1, 2, 2))
    conv = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
    numbers = {name: number(n) for name, n in conv.items()}
    assert_same_bits(module.conv2d(x, w, **numbers), module.conv2d(x, w, **conv))
    for name in ("max_pool2d", "avg_pool2d"):
        pool = getattr(module, name)
        given = pool(x, number(3), stride=number(2), padding=number(1))
        assert_same_bits(given, pool(x, 3, stride=2, padding=1))
    for size in (number(3), (number(3), None), np.array([3, 7])):
        expected = module.adaptive_avg_pool2d(x, 3 if size is not np.array and np.ndim(size) == 0 else (3, 7))
        assert_same_bits(module.adaptive_avg_pool2d(x, size), expected)
    assert_same_bits(module.channel_max_pool(x, number(2)), module.channel_max_pool(x, 2))
    pair = ((number(0), number(1)), np.array([1, 1]))
    assert_same_bits(
        module.conv2d(x, w[:, [0, 0]], padding=pair), module.conv2d(x, w[:, [0, 0]], padding=((0, 1), (1, 1)))
    )


# ---------------------------------------------------------------- results


OUT_CASES = [*CONV_CASES[::11], *CONV_TRANSPOSE_CASES[::11]]


@pytest.mark.parametrize("case", OUT_CASES, ids=lambda case: case.id)
def test_out_is_filled_and_nothing_else(case, isa):
    for dtype in DTYPES:
        x, w, b = case.arrays(dtype)
        function = getattr(fc, name_of(case))
        expected = function(x, w, b, **case.keywords)
        for threads in (1, 2):
            guarded = Guarded(expected.shape, dtype)
            with fc.threads(threads):
                assert function(x, w, b, out=guarded.array, **case.keywords) is guarded.array
            guarded.assert_intact()
            assert_same_bits(guarded.array, expected)


@pytest.mark.parametrize("view", [every_second_element, interior, negative_strides, transposed, axes_rotated])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_out_may_be_any_writable_view(view, dtype):
    case = VIEWED_CASES[0]
    x, w, b = case.arrays(dtype)
    out = view(np.full((2, 5, 9, 9), np.nan, dtype))
    assert fc.conv2d(x, w, b, out=out, **case.keywords) is out
    assert_same_bits(np.ascontiguousarray(out), fc.conv2d(x, w, b, **case.keywords))
    if view is every_second_element:
        assert np.isnan(out.base[::2].astype(float)).all()
    pooled = view(np.full((2, 3, 3, 3), np.nan, dtype))
    for pool in (fc.max_pool2d, fc.avg_pool2d):
        assert pool(x, (3, 2), stride=(3, 3), out=pooled) is pooled
        assert_same_bits(np.ascontiguousarray(pooled), pool(x, (3, 2), stride=(3, 3)))


@pytest.mark.parametrize("shift", [0, 3])
def test_out_may_overlap_an_input(shift):
    """The result is as if the inputs had been copied first."""
    rng = np.random.default_rng(0)
    memory = rng.standard_normal(2000, np.float32)
    shape, size = (1, 4, 12, 13), 4 * 12 * 13
    x, out = memory[:size].reshape(shape), memory[shift : shift + size].reshape(shape)
    for function, arguments in [
        (fc.conv2d, (rng.standard_normal((4, 4, 3, 3), np.float32),)),
        (fc.conv2d, (rng.standard_normal((4, 4, 1, 1), np.float32),)),
        (fc.conv_transpose2d, (rng.standard_normal((4, 4, 3, 3), np.float32),)),
        (fc.max_pool2d, (3,)),
        (fc.avg_pool2d, (3,)),
    ]:
        keywords = {"padding": 0 if np.shape(arguments[0])[-1:] == (1,) else 1}
        if function in (fc.max_pool2d, fc.avg_pool2d):
            keywords["stride"] = 1
        memory[:] = rng.standard_normal(memory.size, np.float32)
        expected = function(x.copy(), *arguments, **keywords)
        assert function(x, *arguments, out=out, **keywords) is out
        assert_same_bits(out, expected)


def test_results_are_the_callers_own():
    """Results keep their values when later calls reuse pooled memory, and may be written to."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 40, 41), np.float32), rng.standard_normal((16, 8, 3, 3), np.float32)
    first = fc.conv2d(x, w)
    copy = first.copy()
    second = fc.conv2d(-x, w)
    assert not np.shares_memory(first, second)
    assert_same_bits(first, copy)
    assert first.flags.writeable
    second[...] = 0
    assert_same_bits(fc.conv2d(x, w), copy)


def test_bfloat16_results_are_ml_dtypes():
    x, w = np.ones((1, 1, 4), BFLOAT16), np.ones((1, 1, 2), BFLOAT16)
    assert fc.conv1d(x, w).dtype == BFLOAT16
    assert fc.max_pool1d(x, 2).dtype == BFLOAT16


@pytest.mark.parametrize("case", CONV_CASES[::50], ids=lambda case: case.id)
def test_inputs_are_never_written(case):
    x, w, b = (array if array is None else read_only(array) for array in case.arrays(np.float32))
    assert_agrees(
        getattr(fc, name_of(case))(x, w, b, **case.keywords), exact_result(case, np.dtype("f4")), np.float32
    )
