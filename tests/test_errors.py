"""Wrong arguments end in an error that names them, before anything is computed or written."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from agreement import BFLOAT16

import fastconv as fc
from fastconv import _core, nn, signal

F32 = np.float32


def ones(*shape: int, dtype: type = F32) -> np.ndarray:
    return np.ones(shape, dtype)


X, W, B = ones(2, 16, 9, 8), ones(32, 16, 3, 3), ones(32)
X1, W1 = ones(2, 4, 9), ones(6, 4, 3)
WT = ones(16, 8, 3, 3)
DY = ones(2, 32, 7, 6)
INDICES = np.zeros((2, 16, 4, 4), np.int64)
HUGE = 2**62


MASKED = np.ma.masked_array(X, X > 0)


class NoArray:
    """Something that is no array and speaks no protocol."""


CONV_ERRORS = {
    # dtypes and kinds of argument
    "integers": (lambda: fc.conv2d(X.astype(np.int32), W), TypeError, r"x.*int32.*astype\(np\.float32\)"),
    "integer filters": (lambda: fc.conv2d(X, W.astype(np.uint8)), TypeError, r"w.*uint8.*astype"),
    "booleans": (lambda: fc.conv2d(X > 0, W), TypeError, r"x.*bool"),
    "complex": (lambda: fc.conv2d(X.astype(complex), W), TypeError, r"x.*complex128"),
    "strings": (lambda: fc.conv2d(np.full(X.shape, "a"), W), TypeError, r"x"),
    "objects": (lambda: fc.conv2d(X.astype(object), W), TypeError, r"x.*object"),
    "mixed": (lambda: fc.conv2d(X, W.astype(np.float64)), TypeError, r"float32.*float64|float64.*float32"),
    "mixed 16-bit": (
        lambda: fc.conv2d(X.astype(np.float16), W.astype(BFLOAT16)),
        TypeError,
        r"float16.*bfloat16|bfloat16.*float16",
    ),
    "mixed bias": (lambda: fc.conv2d(X, W, B.astype(np.float16)), TypeError, r"b\b.*float16|float16.*\bb\b"),
    "a list": (lambda: fc.conv2d(X.tolist(), W), TypeError, r"x.*list"),
    "masked": (lambda: fc.conv2d(MASKED, W), TypeError, r"conv2d: x is a masked array.*x\.filled\("),
    "masked filters": (lambda: fc.conv2d(X, np.ma.array(W)), TypeError, r"conv2d: w is a masked.*w\.filled"),
    "no elements of numbers": (
        lambda: fc.conv2d(X.astype(np.complex64), W),
        TypeError,
        r"x.*complex.*not supp",
    ),
    "None": (lambda: fc.conv2d(X, None), TypeError, r"w.*NoneType"),
    "no array": (lambda: fc.conv2d(X, W, NoArray()), TypeError, r"b.*NoArray"),
    # shapes
    "too few axes": (lambda: fc.conv2d(X[0, 0], W), ValueError, r"x.*\(9, 8\)"),
    "too many axes": (lambda: fc.conv1d(X1[None], W1), ValueError, r"x.*\(1, 2, 4, 9\)"),
    "filters of another rank": (lambda: fc.conv2d(X, W1), ValueError, r"w.*\(6, 4, 3\)"),
    "channels": (
        lambda: fc.conv2d(X, ones(32, 8, 3, 3)),
        ValueError,
        r"conv2d: x has 16 channels, but w of shape \(32, 8, 3, 3\) with groups=1 reads 8"
        r"; groups=2 would fit",
    ),
    "channels of channels_last": (
        lambda: fc.conv2d(X, W, data_format="channels_last"),
        ValueError,
        r"x has 8 channels.*reads 16",
    ),
    "too many groups": (lambda: fc.conv2d(X, W, groups=2), ValueError, r"groups=2"),
    "groups do not divide": (lambda: fc.conv2d(X, ones(31, 8, 3, 3), groups=2), ValueError, r"31.*groups=2"),
    "groups 0": (lambda: fc.conv2d(X, W, groups=0), ValueError, r"groups"),
    "bias": (lambda: fc.conv2d(X, W, ones(31)), ValueError, r"b\b.*31.*32"),
    "bias of two axes": (lambda: fc.conv2d(X, W, ones(32, 1)), ValueError, r"b\b.*\(32, 1\)"),
    "no filters": (lambda: fc.conv2d(X, ones(0, 16, 3, 3)), ValueError, r"w.*\(0, 16, 3, 3\)"),
    "kernel of size 0": (lambda: fc.conv2d(X, ones(32, 16, 0, 3)), ValueError, r"w.*\(32, 16, 0, 3\)"),
    "no channels": (lambda: fc.conv2d(ones(2, 0, 9, 8), ones(32, 0, 3, 3)), ValueError, r"x|w"),
    "empty image": (lambda: fc.conv2d(X[:, :, :0], W), ValueError, r"x"),
    "kernel too large": (lambda: fc.conv2d(X, ones(32, 16, 10, 3)), ValueError, r"10.*9"),
    "dilated kernel too large": (lambda: fc.conv2d(X, W, dilation=(1, 4)), ValueError, r"9.*8"),
    # keywords
    "stride 0": (lambda: fc.conv2d(X, W, stride=0), ValueError, r"stride.*0"),
    "stride -1": (lambda: fc.conv2d(X, W, stride=(1, -1)), ValueError, r"stride.*-1"),
    "stride of 3 axes": (lambda: fc.conv2d(X, W, stride=(1, 1, 1)), ValueError, r"stride.*3.*2"),
    "stride 1.5": (lambda: fc.conv2d(X, W, stride=1.5), TypeError, r"stride.*1\.5"),
    "stride None": (lambda: fc.conv2d(X, W, stride=None), TypeError, r"stride.*None"),
    "stride words": (lambda: fc.conv2d(X, W, stride="1"), TypeError, r"stride"),
    "dilation 0": (lambda: fc.conv2d(X, W, dilation=0), ValueError, r"dilation.*0"),
    "groups 1.0": (lambda: fc.conv2d(X, W, groups=1.0), TypeError, r"groups.*1\.0"),
    "padding -1": (lambda: fc.conv2d(X, W, padding=-1), ValueError, r"padding.*-1"),
    "padding -1 in a pair": (lambda: fc.conv2d(X, W, padding=((0, 0), (1, -1))), ValueError, r"padding.*-1"),
    "padding of 3 axes": (lambda: fc.conv2d(X, W, padding=(1, 1, 1)), ValueError, r"padding.*\(1, 1, 1\)"),
    "padding of triples": (lambda: fc.conv2d(X, W, padding=((1, 1, 1), (1, 1, 1))), ValueError, r"padding"),
    "padding word": (lambda: fc.conv2d(X, W, padding="SAME"), ValueError, r"padding.*'SAME'.*same"),
    "causal in 2-D": (lambda: fc.conv2d(X, W, padding="causal"), ValueError, r"padding.*causal.*1-D"),
    "bare pair in 1-D": (lambda: fc.conv1d(X1, W1, padding=(2, 1)), ValueError, r"padding.*\(\(2, 1\),\)"),
    "padding 1.0": (lambda: fc.conv2d(X, W, padding=1.0), TypeError, r"padding.*1\.0"),
    "padding mode": (
        lambda: fc.conv2d(X, W, padding_mode="mirror"),
        ValueError,
        r"padding_mode.*'mirror'.*reflect",
    ),
    "reflect too far": (
        lambda: fc.conv2d(X, W, padding=8, padding_mode="reflect"),
        ValueError,
        r"padding.*8.*reflect",
    ),
    "circular too far": (
        lambda: fc.conv2d(X, W, padding=9, padding_mode="circular"),
        ValueError,
        r"padding.*9.*circular",
    ),
    "data format": (
        lambda: fc.conv2d(X, W, data_format="NCHW"),
        ValueError,
        r"data_format.*'NCHW'.*channels_first",
    ),
    "activation": (lambda: fc.conv2d(X, W, activation="swish"), ValueError, r"activation.*'swish'.*silu"),
    "precision": (lambda: fc.conv2d(X, W, precision="float32"), ValueError, r"precision.*'float32'.*highest"),
    "algorithm": (lambda: fc.conv2d(X, W, algorithm="magic"), ValueError, r"algorithm.*'?magic"),
    "stride array": (
        lambda: fc.conv2d(X, W, stride=np.array(1.0)),
        TypeError,
        r"conv2d: stride.*array\(1\.\)",
    ),
    "stride truth": (lambda: fc.conv2d(X, W, stride=np.array(True)), TypeError, r"conv2d: stride.*True"),
    "groups truth": (lambda: fc.conv2d(X, W, groups=True), TypeError, r"conv2d: groups.*True"),
    # transposed
    "transposed channels": (lambda: fc.conv_transpose2d(X, W), ValueError, r"x has 16 channels.*32"),
    "transposed groups": (lambda: fc.conv_transpose2d(X, WT, groups=3), ValueError, r"groups=3"),
    "transposed bias": (lambda: fc.conv_transpose2d(X, WT, B), ValueError, r"b\b.*32.*8"),
    "output padding": (
        lambda: fc.conv_transpose2d(X, WT, output_padding=1),
        ValueError,
        r"output_padding.*1",
    ),
    "output padding with same": (
        lambda: fc.conv_transpose2d(X, WT, stride=2, padding="same", output_padding=(0, 1)),
        ValueError,
        r"conv_transpose2d: output_padding is \(0, 1\).*padding='same'",
    ),
    "gradient's output padding with same": (
        lambda: fc.grad.conv_transpose2d(X, X, WT, stride=2, padding="same", output_padding=1),
        ValueError,
        r"grad.conv_transpose2d: output_padding is 1.*padding='same'",
    ),
    "transposed full": (lambda: fc.conv_transpose2d(X, WT, padding="full"), ValueError, r"padding.*'full'"),
    "nothing left": (lambda: fc.conv_transpose2d(X, WT, padding=9), ValueError, r"padding"),
    # gradients
    "dy shape": (
        lambda: fc.grad.conv2d(DY[:, :, 1:], X, W),
        ValueError,
        r"dy.*\(2, 32, 6, 6\).*\(2, 32, 7, 6\)",
    ),
    "dy batch": (lambda: fc.grad.conv2d(DY[:1], X, W), ValueError, r"dy.*\(1, 32, 7, 6\)"),
    "dy axes": (lambda: fc.grad.conv2d(DY[0], X, W), ValueError, r"dy.*\(32, 7, 6\)"),
    "dy dtype": (
        lambda: fc.grad.conv2d(DY.astype(np.float64), X, W),
        TypeError,
        r"float64.*float32|float32.*float64",
    ),
    "y shape": (
        lambda: fc.grad.conv2d(DY, X, W, y=DY[:1], activation="relu"),
        ValueError,
        r"\by\b.*\(1, 32, 7, 6\)",
    ),
    "y missing": (lambda: fc.grad.conv2d(DY, X, W, activation="tanh"), ValueError, r"\by\b"),
    "needs": (lambda: fc.grad.conv2d(DY, X, W, needs=(True, True)), ValueError, r"needs"),
    "needs a word": (
        lambda: fc.grad.conv2d(DY, X, W, needs="abc"),
        ValueError,
        r"needs is 'abc'.*three bools",
    ),
    "needs numbers": (lambda: fc.grad.conv2d(DY, X, W, needs=(1, 0, 1)), TypeError, r"needs\[0\].*bool.*1"),
    "transposed dy": (lambda: fc.grad.conv_transpose2d(X, X, WT), ValueError, r"dy"),
}

POOL_ERRORS = {
    "integers": (lambda: fc.max_pool2d(X.astype(int), 2), TypeError, r"x.*int64.*astype"),
    "axes": (lambda: fc.max_pool2d(X[0, 0], 2), ValueError, r"x.*\(9, 8\)"),
    "window 0": (lambda: fc.max_pool2d(X, 0), ValueError, r"kernel_size.*0"),
    "window of 3 axes": (lambda: fc.avg_pool2d(X, (1, 2, 3)), ValueError, r"kernel_size.*3.*2"),
    "window too large": (lambda: fc.max_pool2d(X, (10, 2)), ValueError, r"10.*9"),
    "window 2.0": (lambda: fc.max_pool2d(X, 2.0), TypeError, r"kernel_size.*2\.0"),
    "stride 0": (lambda: fc.avg_pool2d(X, 2, stride=0), ValueError, r"stride.*0"),
    "window of no size": (
        lambda: fc.max_pool2d(X, 2**40, dilation=2**40),
        ValueError,
        r"max_pool2d: the dilated window is too large",
    ),
    "padding too large": (lambda: fc.max_pool2d(X, 2, padding=2), ValueError, r"padding.*2"),
    "one side too large": (lambda: fc.avg_pool2d(X, 2, padding=((0, 2), (0, 0))), ValueError, r"padding.*2"),
    "bare pair in 1-D": (lambda: fc.max_pool1d(X1, 3, padding=(2, 1)), ValueError, r"padding.*\(\(2, 1\),\)"),
    "padding word": (lambda: fc.avg_pool2d(X, 2, padding="SAME"), ValueError, r"padding.*'SAME'"),
    "dilation 0": (lambda: fc.max_pool2d(X, 2, dilation=0), ValueError, r"dilation.*0"),
    "divisor 0": (lambda: fc.avg_pool2d(X, 2, divisor_override=0), ValueError, r"divisor_override"),
    "p 0": (lambda: fc.lp_pool2d(X, 0, 2), ValueError, r"\bp\b"),
    "p -1": (lambda: fc.lp_pool2d(X, -1.0, 2), ValueError, r"\bp\b.*-1"),
    "p NaN": (lambda: fc.lp_pool2d(X, float("nan"), 2), ValueError, r"\bp\b.*nan"),
    "data format": (lambda: fc.max_pool2d(X, 2, data_format="NHWC"), ValueError, r"data_format.*'NHWC'"),
    "empty image": (lambda: fc.max_pool2d(X[..., :0], 2), ValueError, r"x"),
    "output size axes": (lambda: fc.adaptive_avg_pool2d(X, (1, 2, 3)), ValueError, r"output_size"),
    "masked": (lambda: fc.max_pool2d(MASKED, 2), TypeError, r"max_pool2d: x is a masked array.*filled"),
    "masked indices": (
        lambda: fc.max_unpool2d(ones(2, 16, 4, 4), np.ma.array(INDICES), 2),
        TypeError,
        r"max_unpool2d: indices is a masked array",
    ),
    "output size -1": (lambda: fc.adaptive_max_pool2d(X, -1), ValueError, r"output_size.*-1"),
    "global without batch": (lambda: fc.global_max_pool(X[0, 0]), ValueError, r"x.*\(9, 8\)"),
    "channel window": (lambda: fc.channel_max_pool(X, 17), ValueError, r"pool_size.*17.*16|16.*17"),
    "channel window of a tuple": (
        lambda: fc.channel_max_pool(X, (2,)),
        TypeError,
        r"channel_max_pool: pool_size.*\(2,\)",
    ),
    "channel stride": (lambda: fc.channel_avg_pool(X, 2, stride=0), ValueError, r"stride.*0"),
    "index dtype": (
        lambda: fc.max_unpool2d(ones(2, 16, 4, 4), INDICES.astype(np.int32), 2),
        TypeError,
        r"indices.*int32.*int64",
    ),
    "index shape": (lambda: fc.max_unpool2d(X, INDICES, 2), ValueError, r"indices.*\(2, 16, 4, 4\)"),
    "index too large": (
        lambda: fc.max_unpool2d(ones(2, 16, 4, 4), INDICES + 64, 2),
        ValueError,
        r"indices.*63",
    ),
    "index -1": (lambda: fc.max_unpool2d(ones(2, 16, 4, 4), INDICES - 1, 2), ValueError, r"indices.*63"),
    "unpool size": (
        lambda: fc.max_unpool2d(ones(2, 16, 4, 4), INDICES, 2, output_size=(8, 8, 8)),
        ValueError,
        r"output_size",
    ),
    "far unpool size": (
        lambda: fc.max_unpool2d(ones(2, 16, 4, 4), INDICES, 2, output_size=(1000, 8)),
        ValueError,
        r"max_unpool2d: output_size has the value 1000.*axis 0, expected 7 to 9",
    ),
    "near unpool size": (
        lambda: fc.max_unpool2d(ones(2, 16, 4, 4), INDICES, 3, stride=2, padding=1, output_size=(8, 9)),
        ValueError,
        r"output_size has the value 9 for spatial axis 1, expected 6 to 8",
    ),
    "unpool size with pairs": (
        lambda: fc.max_unpool1d(
            ones(1, 1, 4), INDICES[:1, :1, 0], 3, stride=2, padding=((0, 1),), output_size=(6,)
        ),
        ValueError,
        r"output_size has the value 6 .*expected 7 to 9",
    ),
    "where the index is": (
        lambda: fc.max_unpool1d(ones(1, 1, 4), np.array([[[0, 2, 99, 8]]]), 2),
        ValueError,
        r"max_unpool1d: indices\.flat\[2\] is 99, expected .*0 to 7",
    ),
    "where the gradient's index is": (
        lambda: fc.grad.adaptive_max_pool1d(ones(1, 4), np.array([[0, 2, 3, -5]]), (1, 8)),
        ValueError,
        r"grad.adaptive_max_pool1d: indices\.flat\[3\] is -5, expected .*0 to 7",
    ),
    "empty input shape": (
        lambda: fc.grad.max_pool2d(ones(2, 16, 4, 4), INDICES, (2, 16, 0, 8)),
        ValueError,
        r"input_shape.*\(2, 16, 0, 8\).*at least 1",
    ),
    "negative input shape": (
        lambda: fc.grad.max_pool2d(ones(2, 16, 4, 4), INDICES, (2, 16, -9, 8)),
        ValueError,
        r"input_shape.*\(2, 16, -9, 8\)",
    ),
    "gradient's index": (
        lambda: fc.grad.max_pool2d(ones(2, 16, 4, 4), INDICES + 72, X.shape),
        ValueError,
        r"indices.*71",
    ),
    "gradient's shape": (lambda: fc.grad.max_pool2d(X, INDICES, X.shape), ValueError, r"indices|dy"),
    "input shape's axes": (
        lambda: fc.grad.max_pool2d(ones(2, 16, 4, 4), INDICES, (9, 8)),
        ValueError,
        r"input_shape",
    ),
    "input shape's channels": (
        lambda: fc.grad.max_pool2d(ones(2, 16, 4, 4), INDICES, (2, 15, 9, 8)),
        ValueError,
        r"dy|input_shape",
    ),
    "dy of an average": (lambda: fc.grad.avg_pool2d(X, X.shape, 2), ValueError, r"dy"),
    "dy of a norm": (lambda: fc.grad.lp_pool2d(X, X, X, 2, 2), ValueError, r"dy"),
    "y of a norm": (
        lambda: fc.grad.lp_pool2d(ones(2, 16, 4, 4), X, ones(2, 16, 4, 3), 2, 2),
        ValueError,
        r"\by\b",
    ),
    "dy of an adaptive average": (
        lambda: fc.grad.adaptive_avg_pool2d(ones(2, 15, 3, 3), X.shape),
        ValueError,
        r"dy",
    ),
    "dy of a global pool": (lambda: fc.grad.global_avg_pool(ones(2, 15), X.shape), ValueError, r"dy"),
    "dy of a channel pool": (lambda: fc.grad.channel_max_pool(X, X, 2), ValueError, r"dy"),
    "dy of an unpool": (
        lambda: fc.grad.max_unpool2d(ones(2, 15, 8, 8), INDICES, INDICES.shape),
        ValueError,
        r"dy|indices",
    ),
}


@pytest.mark.parametrize(("call", "error", "match"), CONV_ERRORS.values(), ids=CONV_ERRORS)
def test_convolutions(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(("call", "error", "match"), POOL_ERRORS.values(), ids=POOL_ERRORS)
def test_pools(call, error, match):
    with pytest.raises(error, match=match):
        call()


# ---------------------------------------------------------------- DLPack


class Exporter:
    """An object that speaks DLPack as it is told to."""

    def __init__(self, capsule, device=(1, 0)):
        self.capsule, self.device = capsule, device

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **keywords):
        return self.capsule()


USED = np.ones(3).__dlpack__()
np.from_dlpack(Exporter(lambda: USED))

EXPORTERS = {
    "raises": (Exporter(lambda: 1 // 0), TypeError, "division"),
    "raises without a word": (Exporter(lambda: (_ for _ in ()).throw(KeyError())), TypeError, "KeyError"),
    "no capsule": (Exporter(lambda: 5), TypeError, "gave 5"),
    "used capsule": (Exporter(lambda: USED), TypeError, "used_dltensor"),
    "no device": (Exporter(lambda: USED, device=None), TypeError, "NoneType"),
    "CUDA": (
        Exporter(lambda: USED, device=(2, 0)),
        ValueError,
        "CUDA device 0, but .*(CUDA back end|host)",
    ),
    "another device": (Exporter(lambda: USED, device=(8, 0)), ValueError, "device of kind 8"),
}


def calls_with(value):
    return {
        "conv2d: x": lambda: fc.conv2d(value, W),
        "conv2d: b": lambda: fc.conv2d(X, W, value),
        "avg_pool2d: x": lambda: fc.avg_pool2d(value, 2),
        "max_unpool2d: indices": lambda: fc.max_unpool2d(ones(2, 16, 4, 4), value, 2),
        "convolve: a": lambda: signal.convolve(value, B),
        "sobel: image": lambda: signal.sobel(value),
        "cross_entropy: target": lambda: nn.losses.cross_entropy(ones(2, 3), value),
    }


@pytest.mark.parametrize(("exporter", "error", "match"), EXPORTERS.values(), ids=EXPORTERS)
def test_dlpack_that_fails(exporter, error, match, monkeypatch):
    """The error names function and argument, in the words of the array's own library."""
    monkeypatch.setitem(sys.modules, "fastconv._cuda", None)  # as where the CUDA back end was not built
    for where, call in calls_with(exporter).items():
        with pytest.raises(error, match=f"^{where} .*{match}"):
            call()


def test_tensors_that_cannot_be_handed_over():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: no tensors to hand over")
    for tensor, match in [
        (torch.ones(2, 2, requires_grad=True), r"detach\(\)"),
        (torch.ones(2, 2).to_sparse(), "strided"),
        (torch.ones(2, 2).to(torch.float8_e4m3fn), "8 bits"),
        (torch.ones(2, 2, device="meta"), "meta"),
    ]:
        for where, call in calls_with(tensor).items():
            with pytest.raises(TypeError, match=f"^{where} .*{match}"):
                call()


def test_an_interrupt_in_a_foreign_array_ends_the_program():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fc.conv2d(Exporter(interrupt), W)


# ---------------------------------------------------------------- out


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def strided(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Return a view of writable memory in which elements may share their place."""
    memory = np.zeros(4000, F32)
    return np.lib.stride_tricks.as_strided(memory[1000:], shape, strides)


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (ones(2, 32, 7, 5), ValueError, r"out.*\(2, 32, 7, 5\).*\(2, 32, 7, 6\)"),
        (ones(2, 32 * 42), ValueError, r"out.*\(2, 1344\)"),
        (ones(2, 32, 7, 6, dtype=np.float64), TypeError, r"out.*float64.*float32"),
        (ones(2, 32, 7, 6, dtype=np.int32), TypeError, r"out.*int32.*float32"),
        (read_only(ones(2, 32, 7, 6)), ValueError, r"out.*read-only"),
        ([0.0], TypeError, r"out.*list"),
        (np.ma.array(ones(2, 32, 7, 6)), TypeError, r"out.*masked"),
        (strided((2, 32, 7, 6), (0, 168, 24, 4)), ValueError, r"out.*\(0, 168, 24, 4\).*share memory"),
        (strided((2, 32, 7, 6), (5376, 168, 20, 4)), ValueError, r"out.*share memory"),
        (strided((2, 32, 7, 6), (5376, 168, -8, 28)), ValueError, r"out.*share memory"),
    ],
)
def test_out(out, error, match):
    """Each pool and convolution checks `out`, and none writes to one that it refuses."""
    calls = [
        lambda: fc.conv2d(X, W, out=out),
        lambda: fc.conv_transpose2d(ones(2, 16, 5, 4), ones(16, 32, 3, 3), out=out),
        lambda: fc.max_pool2d(ones(2, 32, 7, 6), 1, out=out),
        lambda: fc.avg_pool2d(ones(2, 32, 7, 6), 1, out=out),
    ]
    before = np.array(out, copy=True)
    for call in calls:
        with pytest.raises(error, match=match):
            call()
        np.testing.assert_array_equal(out, before)


def test_out_is_untouched_when_another_argument_is_wrong():
    out = np.full((2, 32, 7, 6), -7.0, F32)
    for arguments, keywords in [
        ((X, W, ones(31)), {}),
        ((X, W), {"activation": "swish"}),
        ((X.astype(np.float64), W), {}),
        ((X, W), {"algorithm": "magic"}),
    ]:
        with pytest.raises((ValueError, TypeError)):
            fc.conv2d(*arguments, out=out, **keywords)
    assert (out == -7).all()


# ---------------------------------------------------------------- sizes


def broadcast(*shape: int, dtype: type = F32) -> np.ndarray:
    """Return an array of any size in the memory of one element."""
    return np.broadcast_to(np.ones((), dtype), shape)


TERA, EXA = 2**46, 2**59

TOO_LARGE = {
    "terabytes out": lambda: fc.conv1d(broadcast(1, 1, TERA), ones(8, 1, 1)),
    "overflow out": lambda: fc.conv1d(broadcast(1, 1, EXA), ones(64, 1, 1)),
    "terabytes of batch": lambda: fc.conv1d(broadcast(TERA, 1, 1), ones(8, 1, 1)),
    "terabytes of rows": lambda: fc.conv2d(broadcast(1, 1, 2**23, 2**23), ones(8, 1, 1, 1)),
    "transposed": lambda: fc.conv_transpose1d(broadcast(1, 1, TERA), ones(1, 8, 1)),
    "transposed stride": lambda: fc.conv_transpose1d(ones(1, 1, 2), ones(1, 1, 1), stride=HUGE),
    "transposed stride overflows": lambda: fc.conv_transpose1d(ones(1, 1, 9), ones(1, 1, 1), stride=HUGE),
    "padding": lambda: fc.conv1d(ones(1, 1, 4), ones(1, 1, 1), padding=HUGE),
    "padding beyond int64": lambda: fc.conv1d(ones(1, 1, 4), ones(1, 1, 1), padding=2**70),
    "pair sums overflow": lambda: fc.conv1d(ones(1, 1, 4), ones(1, 1, 1), padding=((2**63 - 1, 2**63 - 1),)),
    "stride beyond int64": lambda: fc.conv1d(ones(1, 1, 4), ones(1, 1, 1), stride=2**64),
    "dilation": lambda: fc.conv1d(ones(1, 1, 4), ones(1, 1, 3), dilation=HUGE),
    "full": lambda: fc.conv2d(ones(1, 1, 4, 4), ones(1, 1, 3, 3), dilation=2**40, padding="full"),
    "groups": lambda: fc.conv1d(ones(1, 4, 4), ones(4, 4, 3), groups=HUGE),
    "filters": lambda: fc.conv1d(ones(1, 1, 4), broadcast(EXA, 1, 1)),
    "weight gradient": lambda: fc.grad.conv1d(
        broadcast(1, 2**23, 4),
        broadcast(1, 2**23, 4),
        broadcast(2**23, 2**23, 1),
        needs=(False, True, False),
    ),
    "window": lambda: fc.max_pool1d(ones(1, 1, 4), HUGE, padding=HUGE - 1),
    "pool out": lambda: fc.max_pool1d(broadcast(1, 1, TERA), 1),
    "pool indices": lambda: fc.max_pool1d(broadcast(1, 1, TERA), 1, return_indices=True),
    "average": lambda: fc.avg_pool1d(broadcast(1, 1, TERA), 2, stride=1),
    "norm": lambda: fc.lp_pool1d(broadcast(1, 1, TERA), 2, 2, stride=1),
    "adaptive": lambda: fc.adaptive_avg_pool2d(ones(1, 1, 4, 4), 2**31),
    "adaptive max": lambda: fc.adaptive_max_pool1d(ones(1, 1, 4), TERA),
    "channels": lambda: fc.channel_max_pool(broadcast(1, TERA, 1), 1),
    "unpool": lambda: fc.max_unpool1d(ones(1, 1, 1), np.zeros((1, 1, 1), np.int64), 1, output_size=(TERA,)),
    "max gradient": lambda: fc.grad.max_pool1d(ones(1, 1, 1), np.zeros((1, 1, 1), np.int64), (1, 1, TERA)),
    "average gradient": lambda: fc.grad.avg_pool1d(ones(1, 1, 1), (1, 1, TERA), TERA),
    "global gradient": lambda: fc.grad.global_avg_pool(ones(1, 1), (1, 1, TERA)),
    "adaptive gradient": lambda: fc.grad.adaptive_avg_pool1d(ones(1, 1, 1), (1, 1, TERA)),
}


@pytest.mark.parametrize("call", TOO_LARGE.values(), ids=TOO_LARGE)
def test_sizes_that_overflow_or_do_not_fit(call):
    """Sizes are multiplied with checks, and memory that can't be had is an error that loses nothing."""
    before = fc.cache_info().bytes_in_use
    with pytest.raises((MemoryError, ValueError)):
        call()
    assert fc.cache_info().bytes_in_use == before


NAMED = {
    "conv1d": TOO_LARGE["terabytes out"],
    "conv_transpose1d": TOO_LARGE["transposed"],
    "max_pool1d": TOO_LARGE["pool out"],
    "adaptive_avg_pool2d": TOO_LARGE["adaptive"],
    "adaptive_max_pool1d": TOO_LARGE["adaptive max"],
    "channel_max_pool": TOO_LARGE["channels"],
    "grad.max_pool1d": TOO_LARGE["max gradient"],
    "grad.global_avg_pool": TOO_LARGE["global gradient"],
    "max_unpool1d": lambda: fc.max_unpool1d(ones(1, 1, 1), np.zeros((1, 1, 1), np.int64), TERA, stride=2),
    "softmax": lambda: _core.softmax(broadcast(8, TERA)),
}


@pytest.mark.parametrize(("function", "call"), NAMED.items(), ids=NAMED)
def test_sizes_that_do_not_fit_are_named(function, call):
    """By the function, with the shape of the result, and the bytes where they can be counted."""
    with pytest.raises(
        (MemoryError, ValueError), match=rf"^{function}: .*(the result|a copy of x) of shape \(.*\)"
    ) as caught:
        call()
    if caught.type is MemoryError:
        assert "could not get" in str(caught.value) and "bytes" in str(caught.value)


def test_a_convolution_reads_no_more_than_it_needs():
    """A view of 2⁴⁰ elements in four bytes, of which a call reads three."""
    x = broadcast(1, 1, 2**40)
    assert fc.conv1d(x, ones(1, 1, 3), stride=2**39 - 2).tolist() == [[[3, 3, 3]]]
