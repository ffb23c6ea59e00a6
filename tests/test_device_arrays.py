"""Arrays on CUDA devices, of libraries that exist here alone: how they are read, and where results are made.

No device is needed. The memory of these arrays is the host's, but only their libraries know that; the CPU
computes, behind a back end that tells what it was asked (`tests/cpp/recording_backend.cpp`).
"""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import cmake_builds
import numpy as np
import pytest
from agreement import BFLOAT16, assert_same_bits
from test_arrays import (
    Producer,
    axes_rotated,
    every_second_element,
    interior,
    negative_strides,
    odd_strides,
    transposed,
    unaligned,
)

import fastconv as fc
from fastconv import _core, _device_arrays, nn, signal

STREAM = 0x5EED


class DeviceArray:
    """An array on a device, which can't be touched but through the protocol of its class."""

    def __init__(self, memory, device=0):
        self.memory, self.device = memory, device
        self.asked = []  # the streams that its memory was to be ready on
        self.changes = {}  # to its interface


class DlpackArray(DeviceArray):
    __module__ = "dlpack_library.arrays"

    def __dlpack_device__(self):
        return (2, self.device)

    def __dlpack__(self, *, stream, **keywords):
        self.asked.append(stream)
        if self.memory.dtype == BFLOAT16:
            self.producer = Producer(self.memory, version=1)  # has what the capsule points at
            return self.producer.__dlpack__()
        return self.memory.__dlpack__(**keywords)


class ManagedArray(DlpackArray):
    """Of a class made by a user, in memory that the device shares with the host."""

    __module__ = "program_of_a_user"

    def __dlpack_device__(self):
        return (13, self.device)


class InterfaceArray(DeviceArray):
    __module__ = "interface_library"

    @property
    def __cuda_array_interface__(self):
        memory = self.memory
        return {
            "version": 3,
            "shape": memory.shape,
            "typestr": memory.dtype.str,
            "data": (memory.ctypes.data, not memory.flags.writeable),
            "strides": None if memory.flags.c_contiguous else memory.strides,
        } | self.changes


class Library:
    """What fastconv asks of a library."""

    def __init__(self, array_type):
        self.array_type, self.stream = array_type, STREAM

    def current_stream(self, device):
        return self.stream + device

    def empty(self, shape, dtype, device):
        dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
        return self.array_type(np.zeros(shape, dtype), device)

    def device_of(self, array):
        return array.device


@pytest.fixture(scope="module")
def recording_backend():
    path = cmake_builds.recording_backend()
    spec = importlib.util.spec_from_file_location("_recording_cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def backend(recording_backend, monkeypatch):
    """Load the back end and two libraries; give what it recorded since it was last asked, line by line."""
    for name, array_type in (("dlpack_library", DlpackArray), ("interface_library", InterfaceArray)):
        monkeypatch.setitem(_device_arrays.LIBRARIES, name, Library(array_type))
    recording_backend.description()
    _core.use_cuda_module(recording_backend)
    yield lambda: recording_backend.description().splitlines()
    _core.use_cuda_module(None)


LIBRARIES = pytest.mark.parametrize("on_device", [DlpackArray, ManagedArray, InterfaceArray])


def random(*shape, dtype=np.float32):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


X, W, B = random(2, 4, 7, 6), random(6, 2, 3, 3), random(6)
DY = random(2, 6, 5, 4)
POOLED, INDICES = fc.max_pool2d(X, 2, return_indices=True)
CONV = {"groups": 2, "activation": "relu"}

# Each is called with `a`, which makes a device's array of an array on the host, or leaves it as it is.
CALLS = {
    "conv1d": lambda a: fc.conv1d(a(X[:, :, 0]), a(W[:, :, 0]), a(B), groups=2),
    "conv2d": lambda a: fc.conv2d(a(X), a(W), a(B), **CONV),
    "conv2d without N": lambda a: fc.conv2d(a(X[0]), a(W), **CONV),
    "conv2d of nothing": lambda a: fc.conv2d(a(X[:0]), a(W), a(B), **CONV),
    "conv3d, channels last": lambda a: fc.conv3d(
        a(X[None]), a(W[:, :, None]), groups=3, data_format="channels_last"
    ),
    "conv_transpose2d": lambda a: fc.conv_transpose2d(a(DY), a(W), a(B[:4]), stride=2, **CONV),
    "grad.conv2d": lambda a: fc.grad.conv2d(a(DY), a(X), a(W), groups=2),
    "grad.conv2d of nothing": lambda a: fc.grad.conv2d(a(DY[:0]), a(X[:0]), a(W), groups=2),
    "grad.conv2d of tanh": lambda a: fc.grad.conv2d(
        a(DY), a(X), a(W), y=a(np.tanh(DY)), groups=2, activation="tanh", needs=(True, False, True)
    ),
    "grad.conv2d of gelu": lambda a: fc.grad.conv2d(
        a(DY), a(X), a(W), b=a(B), groups=2, activation="gelu", needs=(False, True, True)
    ),
    "grad.conv_transpose2d": lambda a: fc.grad.conv_transpose2d(a(X), a(DY), a(W), groups=2),
    "linear": lambda a: _core.linear(a(X), a(W[0, 0, :, :1].repeat(6, 1)), a(B[:3]), "silu", None, None),
    "grad.linear": lambda a: _core.linear_grad(
        a(B[None, :3]), a(B[None]), a(random(3, 6)), (True,) * 3, None
    ),
    "max_pool2d": lambda a: fc.max_pool2d(a(X), 3, padding=1, return_indices=True),
    "max_pool2d, channels last": lambda a: fc.max_pool2d(a(X), 2, data_format="channels_last"),
    "max_pool2d of nothing": lambda a: fc.max_pool2d(a(X[:0]), 2, return_indices=True),
    "avg_pool1d without N": lambda a: fc.avg_pool1d(a(X[0, 0]), 2),
    "lp_pool2d": lambda a: fc.lp_pool2d(a(X), 2, 2),
    "adaptive_max_pool2d": lambda a: fc.adaptive_max_pool2d(a(X), 3, return_indices=True),
    "adaptive_avg_pool2d": lambda a: fc.adaptive_avg_pool2d(a(X), 3),
    "global_max_pool": lambda a: fc.global_max_pool(a(X)),
    "global_avg_pool": lambda a: fc.global_avg_pool(a(X), keepdims=True),
    "channel_max_pool": lambda a: fc.channel_max_pool(a(X), 2),
    "channel_avg_pool": lambda a: fc.channel_avg_pool(a(X), 2),
    "max_unpool2d": lambda a: fc.max_unpool2d(a(POOLED), a(INDICES), 2, output_size=(7, 6)),
    "grad.max_pool2d": lambda a: fc.grad.max_pool2d(a(POOLED), a(INDICES), X.shape),
    "grad.adaptive_max_pool2d": lambda a: fc.grad.adaptive_max_pool2d(a(POOLED), a(INDICES), X.shape),
    "grad.avg_pool2d": lambda a: fc.grad.avg_pool2d(a(POOLED), X.shape, 2),
    "grad.lp_pool2d": lambda a: fc.grad.lp_pool2d(a(POOLED), a(X), a(abs(POOLED)), 2, 2),
    "grad.adaptive_avg_pool2d": lambda a: fc.grad.adaptive_avg_pool2d(a(POOLED), X.shape),
    "grad.global_max_pool": lambda a: fc.grad.global_max_pool(a(X[..., 0, 0]), a(X)),
    "grad.global_avg_pool": lambda a: fc.grad.global_avg_pool(a(X[..., 0, 0]), X.shape),
    "grad.channel_max_pool": lambda a: fc.grad.channel_max_pool(a(X[:, :2]), a(X), 2),
    "grad.channel_avg_pool": lambda a: fc.grad.channel_avg_pool(a(X[:, :2]), X.shape, 2),
    "grad.max_unpool2d": lambda a: fc.grad.max_unpool2d(a(X), a(INDICES), POOLED.shape),
}


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


# ---------------------------------------------------------------- results


@LIBRARIES
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_function_takes_them_and_makes_them(backend, call, on_device):
    """Results are as on the host, of the arguments' library, and come from the device's back end."""
    expected, actual = as_tuple(call(lambda array: array)), as_tuple(call(on_device))
    library = InterfaceArray if on_device is InterfaceArray else DlpackArray
    for host, result in zip(expected, actual, strict=True):
        assert type(result) is (type(None) if host is None else library)
        if host is not None:
            assert_same_bits(result.memory, host)
    assert backend()[0] == f"device 0 stream {STREAM}"


@pytest.mark.parametrize("dtype", [np.float64, np.float16, BFLOAT16], ids=str)
def test_every_dtype(backend, monkeypatch, dtype):
    """bfloat16 needs no ml_dtypes there: NumPy has no part in it."""
    x, w = X.astype(dtype), W.astype(dtype)
    expected = fc.conv2d(x, w, **CONV)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    y = fc.conv2d(DlpackArray(x), DlpackArray(w), **CONV)
    assert_same_bits(y.memory, expected)


@LIBRARIES
@pytest.mark.parametrize("view", [every_second_element, interior, negative_strides, transposed, axes_rotated])
def test_views(backend, view, on_device):
    """A protocol's strides are read as they are; copies are made by the device, where one is needed."""
    w = on_device(view(W))
    assert_same_bits(fc.conv2d(on_device(view(X)), w, **CONV).memory, fc.conv2d(X, W, **CONV))
    assert backend().count("copy") == 1  # of w
    for actual, host in zip(
        fc.grad.conv2d(on_device(view(DY)), on_device(view(X)), w, groups=2),
        fc.grad.conv2d(DY, X, W, groups=2),
        strict=True,
    ):
        np.testing.assert_allclose(actual.memory, host, rtol=1e-5, atol=1e-5)
    dx = fc.grad.max_pool2d(on_device(view(POOLED)), on_device(view(INDICES)), X.shape)
    assert_same_bits(dx.memory, fc.grad.max_pool2d(POOLED, INDICES, X.shape))


def test_arguments_of_several_libraries(backend):
    y = fc.conv2d(InterfaceArray(X), DlpackArray(W), **CONV)
    assert isinstance(y, InterfaceArray)
    assert_same_bits(y.memory, fc.conv2d(X, W, **CONV))


def test_memory_is_held_for_the_length_of_a_call(backend):
    class OnDevice(Producer):
        __module__ = "dlpack_library"

        def __dlpack_device__(self):
            return (2, 0)

    producer = OnDevice(X, version=1, code=2, bits=32)
    assert_same_bits(fc.max_pool2d(producer, 2).memory, POOLED)
    assert producer.deleted == 1


# ---------------------------------------------------------------- streams and devices


def test_work_is_queued_on_the_librarys_stream_of_the_device(backend):
    x = DlpackArray(X, device=3)
    assert fc.max_pool2d(x, 2).device == 3
    assert backend() == [f"device 3 stream {STREAM + 3}"]
    assert x.asked == [STREAM + 3]


def test_the_default_stream(backend):
    """DLPack calls it 1, where CUDA's handle is 0."""
    _device_arrays.LIBRARIES["dlpack_library"].stream = 0
    x = DlpackArray(X)
    fc.max_pool2d(x, 2)
    assert backend() == ["device 0 stream 0"]
    assert x.asked == [1]


@pytest.mark.parametrize(
    ("ours", "theirs", "waits"),
    [(STREAM, 5, True), (STREAM, STREAM, False), (0, 1, False), (STREAM, 1, True)],
)
def test_the_stream_of_an_interface_is_waited_for(backend, monkeypatch, ours, theirs, waits):
    """What an array's own stream still computes is done before ours reads it."""
    _device_arrays.LIBRARIES["interface_library"].stream = ours
    x = InterfaceArray(X)
    x.changes = {"stream": theirs}
    assert_same_bits(fc.max_pool2d(x, 2).memory, POOLED)
    assert backend() == [
        f"device 0 stream {ours}",
        *([f"device 0 stream {theirs}", "wait max_pool2d: x"] if waits else []),
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fc.conv2d(DlpackArray(X), W),
            "conv2d: w lies on the host, but x lies on CUDA device 0",
        ),
        (
            lambda: fc.conv2d(X, DlpackArray(W)),
            "conv2d: w lies on CUDA device 0, but x lies on the host",
        ),
        (lambda: fc.conv2d(X, InterfaceArray(W)), "conv2d: w lies on a CUDA device, but x lies on the host"),
        (
            lambda: fc.conv2d(DlpackArray(X), InterfaceArray(W, 1)),
            "conv2d: w lies on CUDA device 1, but x lies on CUDA device 0",
        ),
        (
            lambda: fc.grad.conv2d(DY, DlpackArray(X, 2), DlpackArray(W, 2), groups=2),
            "grad.conv2d: dy lies on the host, but x lies on CUDA device 2",
        ),
        (
            lambda: fc.grad.max_pool2d(DlpackArray(POOLED), INDICES, X.shape),
            "grad.max_pool2d: indices lies on the host, but dy lies on CUDA device 0",
        ),
        (
            lambda: fc.max_pool2d(DlpackArray(X), 2, out=POOLED.copy()),
            "max_pool2d: out lies on the host, but x lies on CUDA device 0",
        ),
        (
            lambda: fc.max_pool2d(X, 2, out=DlpackArray(POOLED.copy())),
            "max_pool2d: out lies on CUDA device 0, but x lies on the host",
        ),
    ],
)
def test_all_arrays_of_a_call_lie_on_one_device(backend, call, message):
    with pytest.raises(ValueError, match=f"^{message}; all arrays of one call lie on one device$"):
        call()


# ---------------------------------------------------------------- out


@LIBRARIES
def test_out_is_filled_in_place(backend, on_device):
    out = on_device(np.full_like(POOLED, np.nan))
    assert fc.max_pool2d(on_device(X), 2, out=out) is out
    assert_same_bits(out.memory, POOLED)
    assert "copy" not in backend()


@LIBRARIES
@pytest.mark.parametrize("view", [every_second_element, negative_strides, transposed])
def test_out_may_be_any_view(backend, view, on_device):
    out = on_device(view(np.full_like(DY, np.nan)))
    assert fc.conv2d(on_device(X), on_device(W), out=out, **CONV) is out
    assert_same_bits(np.ascontiguousarray(out.memory), fc.conv2d(X, W, **CONV))
    if view is every_second_element:
        assert np.isnan(out.memory.base[::2]).all()


@pytest.mark.parametrize("shift", [0, 5])
def test_out_may_overlap_an_input(backend, shift):
    memory = np.tile(X.ravel(), 2)
    x, out = memory[: X.size].reshape(X.shape), memory[shift : shift + X.size].reshape(X.shape)
    expected = fc.avg_pool2d(x.copy(), 3, stride=1, padding=1)
    fc.avg_pool2d(DlpackArray(x), 3, stride=1, padding=1, out=DlpackArray(out))
    assert_same_bits(out, expected)
    assert backend().count("copy") == 1


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (POOLED[:1], ValueError, r"out has shape \(1, 4, 3, 3\), expected \(2, 4, 3, 3\)"),
        (POOLED.astype(np.float64), TypeError, "out has dtype float64, expected float32"),
        (INDICES, TypeError, "out has dtype int64, expected float32"),
        (read_only(POOLED.copy()), ValueError, "out is read-only"),
        (
            np.lib.stride_tricks.as_strided(POOLED, POOLED.shape, (144, 0, 12, 4)),
            ValueError,
            r"out has strides of \(144, 0, 12, 4\) bytes.*share memory",
        ),
    ],
)
@pytest.mark.parametrize("on_device", [DlpackArray, InterfaceArray])
def test_out_that_does_not_fit(backend, out, error, match, on_device):
    before = out.copy()
    with pytest.raises(error, match=f"^max_pool2d: {match}"):
        fc.max_pool2d(on_device(X), 2, out=on_device(out))
    assert_same_bits(out.copy(), before)


# ---------------------------------------------------------------- what can't be read


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": X > 0}, "it has a mask, which would be lost"),
        ({"version": 1}, "the version of its __cuda_array_interface__ is 1, expected 2 or 3"),
        ({"version": None}, "the version of its __cuda_array_interface__ is None, expected 2 or 3"),
        ({"typestr": ">f4"}, "its byte order is not the device's"),
        ({"strides": (4, 4)}, "it has not one stride for each axis"),
        ({"strides": (672, 168, 26, 4)}, "its strides are no whole numbers of elements"),
        ({"shape": "abc"}, "it tells of its memory in values of unexpected types"),
        ({"data": None}, "it tells of its memory in values of unexpected types"),
    ],
)
def test_interfaces_that_are_refused(backend, changes, message):
    x = InterfaceArray(X)
    x.changes = changes
    with pytest.raises(TypeError, match=f"^max_pool2d: x can't be read as an array: {message}$"):
        fc.max_pool2d(x, 2)


@pytest.mark.parametrize("on_device", [DlpackArray, InterfaceArray])
@pytest.mark.parametrize("dtype", ["int32", "complex64", "uint8"])
def test_other_dtypes_are_refused(backend, dtype, on_device):
    expected = f"has dtype {dtype}, expected float32, float64, float16 or bfloat16$"
    with pytest.raises(TypeError, match=f"^max_pool2d: x {expected}"):
        fc.max_pool2d(on_device(X.astype(dtype)), 2)
    with pytest.raises(TypeError, match=f"^max_unpool2d: indices has dtype {dtype}, expected int64$"):
        fc.max_unpool2d(on_device(POOLED), on_device(INDICES.astype(dtype)), 2)


def test_dtypes_that_differ_are_refused(backend):
    with pytest.raises(TypeError, match="conv2d: x has dtype float32, but w has float64"):
        fc.conv2d(DlpackArray(X), DlpackArray(W.astype(np.float64)))


@pytest.mark.parametrize("view", [unaligned, odd_strides])
def test_memory_that_kernels_cannot_address_is_refused(backend, view):
    with pytest.raises((TypeError, ValueError), match=r"^max_pool2d: x .*(no multiple|no whole numbers)"):
        fc.max_pool2d(InterfaceArray(view(X)), 2)


def test_too_many_axes_are_refused(backend):
    for array in (np.ones((1,) * 33), InterfaceArray(np.ones((1,) * 33))):
        with pytest.raises(ValueError, match="max_pool2d: x has 33 axes, expected at most 32"):
            fc.max_pool2d(array, 2)


def test_a_library_says_itself_why_not(backend):
    class Differentiable(DlpackArray):
        def __dlpack__(self, **keywords):
            raise BufferError("call detach() first")

    for call in (
        lambda: fc.conv2d(Differentiable(X), DlpackArray(W)),
        lambda: fc.max_pool2d(DlpackArray(X), 2, out=Differentiable(POOLED)),
    ):
        with pytest.raises(
            TypeError, match=r"^\w+: (x|out) can't be read as an array: call detach\(\) first"
        ):
            call()


def test_an_unknown_library_is_refused(backend):
    class Stranger(DlpackArray):
        __module__ = "elsewhere.arrays"

    _device_arrays.LIBRARIES.pop("dlpack_library")
    expected = "expected an array of torch, cupy, numba, interface_library, in whose memory"
    with pytest.raises(
        TypeError, match=rf"conv2d: x is a elsewhere\.arrays\..*Stranger on a CUDA.*{expected}"
    ):
        fc.conv2d(Stranger(X), DlpackArray(W))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: _core.softmax(x),
        lambda x: _core.add(X, x),
        lambda x: _core.activation(X, "relu", out=x),
        lambda x: nn.BatchNorm2d(4)(x),
        lambda x: nn.Conv2d(4, 6, 3, rng=0)(x),
        lambda x: nn.losses.mse(x, X),
        lambda x: nn.losses.cross_entropy(np.ones((2, 3), np.float32), x),
        lambda x: signal.sobel(x),
        lambda x: fc.explain("conv2d", X.shape, W.shape, groups=2, b=x),
    ],
)
def test_what_runs_on_the_cpu_alone_says_so(backend, call):
    with pytest.raises(
        ValueError, match=r": \w+ lies on CUDA device 0.*CPU alone; copy the array to the host"
    ):
        call(DlpackArray(X))
    with pytest.raises(
        ValueError, match=r": \w+ lies on a CUDA device.*CPU alone; copy the array to the host"
    ):
        call(InterfaceArray(X))


# ---------------------------------------------------------------- the back end's module


def test_without_the_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastconv._cuda", None)
    for x, place in ((DlpackArray(X), "CUDA device 0"), (InterfaceArray(X), "a CUDA device")):
        with pytest.raises(ValueError) as caught:
            fc.conv2d(x, W)
        message = str(caught.value)
        assert message.startswith(f"conv2d: x lies on {place}, but this installation of fastconv has no CUDA")
        assert "nvcc" in message and "pip install -C cmake.define.FASTCONV_CUDA=ON ." in message


def test_the_module_is_loaded_at_the_first_array(backend, recording_backend, monkeypatch):
    _core.use_cuda_module(None)
    monkeypatch.setitem(sys.modules, "fastconv._cuda", recording_backend)
    assert_same_bits(fc.max_pool2d(DlpackArray(X), 2).memory, POOLED)


def test_a_module_that_hands_over_something_else():
    with pytest.raises(ValueError, match="PyCapsule_GetPointer"):
        _core.use_cuda_module(SimpleNamespace(make_backend=_core.cpu_backend))


def test_config_tells_of_the_module_without_loading_it(monkeypatch):
    for spec, state in ((None, "absent"), (object(), "installed")):
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "fastconv._cuda", raising=False)
            patch.setattr(importlib.util, "find_spec", lambda name, spec=spec: spec)
            assert fc.config()["cuda"] == state
            assert "fastconv._cuda" not in sys.modules
    monkeypatch.setitem(sys.modules, "fastconv._cuda", SimpleNamespace(description=lambda: "CUDA 13.0"))
    assert fc.config()["cuda"] == "CUDA 13.0"


def test_logged_calls_are_waited_for(backend):
    lines = []
    _core.set_verbose_callback(lines.append)
    try:
        fc.max_pool2d(DlpackArray(X), 2)
        fc.conv2d(DlpackArray(X), DlpackArray(W), **CONV)
    finally:
        _core.set_verbose_callback(None)
    assert [line for line in backend() if line.startswith("wait")] == ["wait max_pool2d", "wait conv2d"]
    assert lines[0].startswith("max_pool2d x=(2, 4, 7, 6) float32 to (2, 4, 3, 3) on CUDA device 0, ")
    assert "implicit_gemm on CUDA device 0, " in lines[1] or "winograd on CUDA device 0, " in lines[1]


# ---------------------------------------------------------------- the libraries that are known


class Devices:
    """Stands for a library's devices: which one is the current."""

    def __init__(self):
        self.current = 0

    def __getitem__(self, device):
        return Chosen(self, device)


class Chosen:
    def __init__(self, devices, device):
        self.devices, self.device = devices, device

    def __enter__(self):
        self.before, self.devices.current = self.devices.current, self.device

    def __exit__(self, *error):
        self.devices.current = self.before


def fake_torch(devices):
    return {
        "torch": SimpleNamespace(
            float16="half",
            device=lambda kind, number: (kind, number),
            empty=lambda shape, dtype, device: (shape, dtype, device[1]),
            cuda=SimpleNamespace(current_stream=lambda device: SimpleNamespace(cuda_stream=100 + device)),
        )
    }


def fake_cupy(devices):
    return {
        "cupy": SimpleNamespace(
            empty=lambda shape, dtype: (shape, {"float16": "half"}[dtype], devices.current),
            cuda=SimpleNamespace(
                Device=devices.__getitem__,
                get_current_stream=lambda: SimpleNamespace(ptr=100 + devices.current),
            ),
        )
    }


def fake_numba(devices):
    return {
        "numba.cuda": SimpleNamespace(
            gpus=devices,
            default_stream=lambda: 100 + devices.current,
            device_array=lambda shape, dtype: (shape, {"float16": "half"}[dtype], devices.current),
            get_current_device=lambda: SimpleNamespace(id=devices.current),
        )
    }


@pytest.mark.parametrize(
    ("name", "fake"), [("torch", fake_torch), ("cupy", fake_cupy), ("numba", fake_numba)]
)
def test_known_libraries_are_asked_about_the_device_that_is_meant(monkeypatch, name, fake):
    devices = Devices()
    for module, contents in fake(devices).items():
        monkeypatch.setitem(sys.modules, module, contents)
    array_type = type("ndarray", (), {"__module__": f"{name}.some.where"})
    library = _device_arrays.library_of(array_type(), "f: x")
    assert library.current_stream(2) == 102
    assert library.empty([3, 4], "float16", 2) == ((3, 4), "half", 2)
    assert devices.current == 0
