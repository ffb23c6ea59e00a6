"""The oracle itself, against truths that share no code with it: plain loops, PyTorch, SciPy, differences."""

from __future__ import annotations

import inspect
import itertools
import math

import numpy as np
import pytest
from cases import (
    ACTIVATIONS,
    ADAPTIVE_CASES,
    CHANNEL_CASES,
    CONV_CASES,
    CONV_TRANSPOSE_CASES,
    POOL_CASES,
    AdaptiveCase,
    ChannelCase,
    ConvCase,
    ConvTransposeCase,
    PoolCase,
    generator,
)
from finite_differences import assert_gradient

from fastconv import reference

by_id = {"ids": lambda case: case.id}


@pytest.fixture(scope="module")
def torch():
    """PyTorch, in float64 on one thread."""
    module = pytest.importorskip("torch", reason="PyTorch is not installed: no second opinion from it")
    module.set_num_threads(1)
    return module


def operation(case, name, module=reference):
    return getattr(module, f"{name}{case.rank}d")


# ---------------------------------------------------------------- plain loops


def convolution_in_loops(x, w, b, stride, pads, dilation, groups):
    """Return a 2-D convolution, one multiplication at a time."""
    (n, _, height, width), (k, c, kernel_height, kernel_width) = x.shape, w.shape
    (top, bottom), (left, right) = pads
    rows = (height + top + bottom - dilation[0] * (kernel_height - 1) - 1) // stride[0] + 1
    columns = (width + left + right - dilation[1] * (kernel_width - 1) - 1) // stride[1] + 1
    y = np.zeros((n, k, rows, columns))
    for image, filter_, row, column in np.ndindex(*y.shape):
        total = b[filter_]
        first_channel = filter_ // (k // groups) * c
        for channel, i, j in np.ndindex(c, kernel_height, kernel_width):
            r = row * stride[0] - top + i * dilation[0]
            s = column * stride[1] - left + j * dilation[1]
            if 0 <= r < height and 0 <= s < width:
                total += x[image, first_channel + channel, r, s] * w[filter_, channel, i, j]
        y[image, filter_, row, column] = total
    return y


@pytest.mark.parametrize(
    ("stride", "pads", "dilation", "groups"),
    [
        ((1, 1), ((0, 0), (0, 0)), (1, 1), 1),
        ((2, 1), ((1, 2), (0, 3)), (1, 2), 2),
        ((1, 3), ((3, 0), (2, 2)), (2, 1), 4),
    ],
)
def test_convolution_equals_seven_loops(stride, pads, dilation, groups):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((4, 4 // groups, 3, 2))
    b = rng.standard_normal(4)
    expected = convolution_in_loops(x, w, b, stride, pads, dilation, groups)
    y = reference.conv2d(x, w, b, stride=stride, padding=pads, dilation=dilation, groups=groups)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


def test_max_pool_equals_loops_with_indices():
    x = np.random.default_rng(2).integers(0, 4, (2, 3, 7, 5)).astype(np.float64)
    y, indices = reference.max_pool2d(x, (3, 2), stride=2, padding=1, dilation=(1, 2), return_indices=True)
    for image, channel, row, column in np.ndindex(*y.shape):
        best, where = -math.inf, None
        for i, j in np.ndindex(3, 2):
            r, s = row * 2 - 1 + i, column * 2 - 1 + j * 2
            if 0 <= r < 7 and 0 <= s < 5 and x[image, channel, r, s] > best:
                best, where = x[image, channel, r, s], r * 5 + s
        assert (y[image, channel, row, column], indices[image, channel, row, column]) == (best, where)


def test_same_padding_is_tensorflows():
    """Output ceil(input / stride), the odd element after; pads worked out by hand."""
    x, w = np.ones((1, 1, 5)), np.ones((1, 1, 4))
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="same"), [[[3, 4, 4, 3, 2]]])
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="same", stride=2), [[[3, 4, 2]]])
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="same", stride=3), [[[3, 3]]])
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="causal"), [[[1, 2, 3, 4, 4]]])
    np.testing.assert_array_equal(reference.conv1d(x, w, padding="full"), [[[1, 2, 3, 4, 4, 3, 2, 1]]])


# ---------------------------------------------------------------- SciPy


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_full_convolution_is_scipys_correlate(rank):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(rank)
    x, w = rng.standard_normal((9, 8, 7)[:rank]), rng.standard_normal((4, 3, 5)[:rank])
    y = getattr(reference, f"conv{rank}d")(x[None, None], w[None, None], padding="full")
    np.testing.assert_allclose(y[0, 0], signal.correlate(x, w, mode="full", method="direct"), atol=1e-13)


@pytest.mark.parametrize(
    ("mode", "scipys"), [("reflect", "mirror"), ("replicate", "nearest"), ("circular", "wrap")]
)
def test_padding_modes_are_scipys(mode, scipys):
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((9, 8)), rng.standard_normal((5, 3))
    y = reference.conv2d(x[None, None], w[None, None], padding=(2, 1), padding_mode=mode)
    np.testing.assert_allclose(y[0, 0], ndimage.correlate(x, w, mode=scipys), atol=1e-13)


# ---------------------------------------------------------------- PyTorch


def planes_to_torch(torch, x, case, requires_grad=True):
    """Return x as a channels-first, batched float64 tensor."""
    x = x if case.batched else x[None]
    x = np.moveaxis(x, -1, 1) if case.data_format == "channels_last" else x
    return torch.tensor(np.ascontiguousarray(x), dtype=torch.float64, requires_grad=requires_grad)


def planes_from_torch(tensor, case):
    x = tensor.detach().numpy()
    x = np.moveaxis(x, 1, -1) if case.data_format == "channels_last" else x
    return x if case.batched else x[0]


def each_axis(value, rank):
    return [value] * rank if isinstance(value, int) else list(value)


def numeric_pads(case, kernel, stride, dilation):
    """Return the (before, after) pads that a case's `padding` stands for."""
    padding, rank = case.padding, case.rank
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if padding == "valid":
        return [(0, 0)] * rank
    if padding == "full":
        return [(r, r) for r in reach]
    if padding == "causal":
        return [(reach[0], 0)]
    if padding == "same":
        needed = [
            max((math.ceil(size / s) - 1) * s + r + 1 - size, 0)
            for size, s, r in zip(case.x[2:], stride, reach, strict=True)
        ]
        return [(n // 2, n - n // 2) for n in needed]
    entries = each_axis(padding, rank)
    return [(e, e) if isinstance(e, int) else e for e in entries]


def torch_pads(pads):
    return [n for pair in reversed(pads) for n in pair]


def torch_activation(torch, z, name):
    return z if name is None else getattr(torch.nn.functional, name)(z)


@pytest.mark.parametrize("case", CONV_CASES, **by_id)
def test_convolution_and_gradients_are_torchs(torch, case: ConvCase):
    rank, functional = case.rank, torch.nn.functional
    x, w, b = case.arrays()
    tx, tw = planes_to_torch(torch, x, case), torch.tensor(w, requires_grad=True)
    tb = None if b is None else torch.tensor(b, requires_grad=True)
    stride, dilation = each_axis(case.stride, rank), each_axis(case.dilation, rank)
    pads = numeric_pads(case, case.w[2:], stride, dilation)
    padded = tx
    if any(map(any, pads)):
        mode = "constant" if case.padding_mode == "zeros" else case.padding_mode
        padded = functional.pad(tx, torch_pads(pads), mode=mode)
    ty = getattr(functional, f"conv{rank}d")(padded, tw, tb, stride, 0, dilation, case.groups)
    ty = torch_activation(torch, ty, case.activation)

    y = operation(case, "conv")(x, w, b, **case.keywords)
    np.testing.assert_allclose(y, planes_from_torch(ty, case), rtol=1e-10, atol=1e-11)

    dy = case.upstream(y)
    ty.backward(planes_to_torch(torch, dy, case, requires_grad=False))
    dx, dw, db = operation(case, "conv", reference.grad)(dy, x, w, b=b, y=y, **case.keywords)
    np.testing.assert_allclose(dx, planes_from_torch(tx.grad, case), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(dw, tw.grad.numpy(), rtol=1e-10, atol=1e-11)
    if tb is not None:
        np.testing.assert_allclose(db, tb.grad.numpy(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("case", CONV_TRANSPOSE_CASES, **by_id)
def test_transposed_convolution_and_gradients_are_torchs(torch, case: ConvTransposeCase):
    rank, functional = case.rank, torch.nn.functional
    x, w, b = case.arrays()
    tx, tw = planes_to_torch(torch, x, case), torch.tensor(w, requires_grad=True)
    stride, dilation = each_axis(case.stride, rank), each_axis(case.dilation, rank)
    extra = each_axis(case.output_padding, rank)
    reach = [d * (k - 1) for k, d in zip(case.w[2:], dilation, strict=True)]
    ty = getattr(functional, f"conv_transpose{rank}d")(
        tx, tw, None, stride, 0, 0, case.groups, dilation
    )  # then crop and extend by hand
    if case.padding == "same":
        pads = [
            (max(r + 1 - s, 0) // 2, (max(r + 1 - s, 0) + 1) // 2) for r, s in zip(reach, stride, strict=True)
        ]
        sizes = [size * s + e for size, s, e in zip(case.x[2:], stride, extra, strict=True)]
    else:
        pads = numeric_pads(case, case.w[2:], stride, dilation)
        sizes = [
            (size - 1) * s + r + 1 - before - after + e
            for size, s, r, (before, after), e in zip(case.x[2:], stride, reach, pads, extra, strict=True)
        ]
    ty = functional.pad(ty, torch_pads([(0, size) for size in sizes]))
    for axis, (size, (before, _)) in enumerate(zip(sizes, pads, strict=True), start=2):
        ty = ty.narrow(axis, before, size)
    tb = None if b is None else torch.tensor(b, requires_grad=True)
    if tb is not None:
        ty = ty + tb.reshape(-1, *[1] * rank)
    ty = torch_activation(torch, ty, case.activation)

    y = operation(case, "conv_transpose")(x, w, b, **case.keywords)
    np.testing.assert_allclose(y, planes_from_torch(ty, case), rtol=1e-10, atol=1e-11)

    dy = case.upstream(y)
    ty.backward(planes_to_torch(torch, dy, case, requires_grad=False))
    dx, dw, db = operation(case, "conv_transpose", reference.grad)(dy, x, w, b=b, y=y, **case.keywords)
    np.testing.assert_allclose(dx, planes_from_torch(tx.grad, case), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(dw, tw.grad.numpy(), rtol=1e-10, atol=1e-11)
    if tb is not None:
        np.testing.assert_allclose(db, tb.grad.numpy(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("output_padding", [0, 1])
def test_transposed_sizes_are_torchs(torch, output_padding):
    """Symmetric padding and output padding go straight to PyTorch, which counts the sizes itself."""
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((3, 2, 3, 4))
    expected = torch.nn.functional.conv_transpose2d(
        torch.tensor(x), torch.tensor(w), stride=2, padding=1, output_padding=output_padding
    )
    y = reference.conv_transpose2d(x, w, stride=2, padding=1, output_padding=output_padding)
    np.testing.assert_allclose(y, expected.numpy(), atol=1e-12)


def torch_pool_padding(case):
    """Return the padding as PyTorch's pools take it, or ``None`` where they can't."""
    kernel = each_axis(case.kernel_size, case.rank)
    stride = kernel if case.stride is None else each_axis(case.stride, case.rank)
    pads = numeric_pads(case, kernel, stride, each_axis(case.dilation, case.rank))
    if any(before != after or 2 * before > k for (before, after), k in zip(pads, kernel, strict=True)):
        return None
    return [before for before, _ in pads]


UNDILATED_POOL_CASES = [case for case in POOL_CASES if case.dilation == 1]
TORCH_POOL_CASES = [case for case in POOL_CASES if torch_pool_padding(case) is not None and case.x[0]]


@pytest.mark.parametrize("case", TORCH_POOL_CASES, **by_id)
def test_max_pool_and_gradient_are_torchs(torch, case: PoolCase):
    x = case.tied_image()
    tx = planes_to_torch(torch, x, case)
    pool = getattr(torch.nn.functional, f"max_pool{case.rank}d")
    ty, tindices = pool(
        tx,
        case.kernel_size,
        case.stride,
        torch_pool_padding(case),
        case.dilation,
        ceil_mode=case.ceil_mode,
        return_indices=True,
    )
    y, indices = operation(case, "max_pool")(x, case.kernel_size, return_indices=True, **case.keywords)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(y, planes_from_torch(ty, case))
    np.testing.assert_array_equal(indices, planes_from_torch(tindices, case))
    dy = case.upstream(y)
    ty.backward(planes_to_torch(torch, dy, case, requires_grad=False))
    gradient = operation(case, "max_pool", reference.grad)(dy, indices, x.shape, data_format=case.data_format)
    np.testing.assert_allclose(gradient, planes_from_torch(tx.grad, case), atol=1e-14)


@pytest.mark.parametrize("case", [c for c in TORCH_POOL_CASES if c.dilation == 1], **by_id)
def test_avg_pool_and_gradient_are_torchs(torch, case: PoolCase):
    x = case.image()
    pool = getattr(torch.nn.functional, f"avg_pool{case.rank}d")
    padding = torch_pool_padding(case)
    for options in ({}, {"count_include_pad": False}, {"divisor_override": 5}):
        if case.rank == 1 and "divisor_override" in options:
            continue  # PyTorch's avg_pool1d has none
        tx = planes_to_torch(torch, x, case)
        ty = pool(tx, case.kernel_size, case.stride, padding, ceil_mode=case.ceil_mode, **options)
        y = operation(case, "avg_pool")(x, case.kernel_size, **case.keywords, **options)
        np.testing.assert_allclose(y, planes_from_torch(ty, case), atol=1e-14)
        dy = case.upstream(y)
        ty.backward(planes_to_torch(torch, dy, case, requires_grad=False))
        gradient = operation(case, "avg_pool", reference.grad)
        dx = gradient(dy, x.shape, case.kernel_size, **case.keywords, **options)
        np.testing.assert_allclose(dx, planes_from_torch(tx.grad, case), atol=1e-14)


@pytest.mark.parametrize("case", UNDILATED_POOL_CASES, **by_id)
def test_lp_pool_is_a_root_of_the_powers_sum(case: PoolCase):
    keywords = {name: value for name, value in case.keywords.items() if name != "dilation"}
    x = case.image()
    for p in (1, 2.5):
        y = operation(case, "lp_pool")(x, p, case.kernel_size, **keywords)
        total = operation(case, "avg_pool")(np.abs(x) ** p, case.kernel_size, divisor_override=1, **keywords)
        np.testing.assert_allclose(y, total ** (1 / p), rtol=1e-13)


def test_lp_pool_is_the_norm():
    x = np.random.default_rng(5).standard_normal((2, 3, 9, 8))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(2, 3))[:, :, ::2, ::2]
    for p in (0.5, 1, 2.5):
        expected = (np.abs(windows) ** p).sum(axis=(-2, -1)) ** (1 / p)
        np.testing.assert_allclose(reference.lp_pool2d(x, p, (3, 2), stride=2), expected, rtol=1e-12)


@pytest.mark.parametrize("case", [c for c in ADAPTIVE_CASES if c.x[0]], **by_id)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_adaptive_pools_are_torchs(torch, case: AdaptiveCase, kind):
    x = case.tied_image()
    tx = planes_to_torch(torch, x, case)
    pool = getattr(torch.nn.functional, f"adaptive_{kind}_pool{case.rank}d")
    if kind == "max":
        ty, tindices = pool(tx, case.output_size, return_indices=True)
        y, indices = operation(case, "adaptive_max_pool")(
            x, case.output_size, return_indices=True, data_format=case.data_format
        )
        np.testing.assert_array_equal(indices, planes_from_torch(tindices, case))
    else:
        ty = pool(tx, case.output_size)
        y = operation(case, "adaptive_avg_pool")(x, case.output_size, data_format=case.data_format)
    np.testing.assert_allclose(y, planes_from_torch(ty, case), atol=1e-14)
    dy = case.upstream(y)
    ty.backward(planes_to_torch(torch, dy, case, requires_grad=False))
    gradient = operation(case, f"adaptive_{kind}_pool", reference.grad)
    dx = gradient(dy, *([indices] if kind == "max" else []), x.shape, data_format=case.data_format)
    np.testing.assert_allclose(dx, planes_from_torch(tx.grad, case), atol=1e-14)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("sizes", [None, "given"])
def test_max_unpool_is_torchs(torch, rank, sizes):
    spatial = (7, 9, 5)[:rank]
    x = np.random.default_rng(rank).standard_normal((2, 3, *spatial))
    y, indices = getattr(reference, f"max_pool{rank}d")(x, 2, return_indices=True)
    output_size = None if sizes is None else spatial
    if sizes is None:
        y, indices = getattr(reference, f"max_pool{rank}d")(
            x[(..., *[slice(s // 2 * 2) for s in spatial])], 2, return_indices=True
        )
    ty = torch.tensor(y, requires_grad=True)
    unpool = getattr(torch.nn.functional, f"max_unpool{rank}d")
    expected = unpool(ty, torch.tensor(indices), 2, output_size=output_size)
    actual = getattr(reference, f"max_unpool{rank}d")(y, indices, 2, output_size=output_size)
    np.testing.assert_array_equal(actual, expected.detach().numpy())
    dy = np.random.default_rng(9).standard_normal(actual.shape)
    expected.backward(torch.tensor(dy))
    gradient = getattr(reference.grad, f"max_unpool{rank}d")(dy, indices, y.shape)
    np.testing.assert_array_equal(gradient, ty.grad.numpy())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(torch, name):
    x = np.concatenate([np.linspace(-8, 8, 101), [0.0, 6.0, -30.0, 30.0]])
    tx = torch.tensor(x, requires_grad=True)
    ty = torch_activation(torch, tx, name)
    dy = np.linspace(-1, 1, x.size)
    ty.backward(torch.tensor(dy))
    y = reference.activation(x, name)
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-13, atol=1e-13)
    gradient = reference.activation_grad(dy, name, x=x, y=y)
    np.testing.assert_allclose(gradient, tx.grad.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_torchs(torch, training, affine):
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((4, 5, 3, 2)) * 2 + 1, rng.standard_normal((4, 5, 3, 2))
    weight, bias = (rng.standard_normal(5), rng.standard_normal(5)) if affine else (None, None)
    running = rng.standard_normal(5), rng.uniform(0.5, 2, 5)
    leaves = [None if a is None else torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    trunning = [torch.tensor(a) for a in running]
    ty = torch.nn.functional.batch_norm(leaves[0], *trunning, *leaves[1:], training, 0.1, 1e-5)
    ty.backward(torch.tensor(dy))
    y, mean, inv_std = reference.batch_norm(x, weight, bias, *running, 0.1, 1e-5, training, "channels_first")
    np.testing.assert_allclose(y, ty.detach().numpy(), atol=1e-12)
    for ours, theirs in zip(running, trunning, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)
    gradients = reference.batch_norm_grad(dy, x, weight, mean, inv_std, training, "channels_first")
    for ours, leaf in zip(gradients, leaves, strict=True):
        if leaf is not None:
            np.testing.assert_allclose(ours, leaf.grad.numpy(), atol=1e-12)
    last, _, _ = reference.batch_norm(
        np.moveaxis(x, 1, -1), weight, bias, mean, 1 / inv_std**2 - 1e-5, 0.1, 1e-5, False, "channels_last"
    )
    np.testing.assert_allclose(np.moveaxis(last, -1, 1), y, atol=1e-12)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_local_response_norm_is_torchs(torch, size):
    rng = np.random.default_rng(7)
    x, dy = rng.standard_normal((2, 9, 3, 4)), rng.standard_normal((2, 9, 3, 4))
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.nn.functional.local_response_norm(tx, size, alpha=0.3, beta=0.75, k=2.0)
    ty.backward(torch.tensor(dy))
    y, scale = reference.local_response_norm(x, size, 0.3, 0.75, 2.0, "channels_first")
    np.testing.assert_allclose(y, ty.detach().numpy(), atol=1e-12)
    dx = reference.local_response_norm_grad(dy, x, y, scale, size, 0.3, 0.75, "channels_first")
    np.testing.assert_allclose(dx, tx.grad.numpy(), atol=1e-12)


def test_losses_are_torchs(torch):
    rng = np.random.default_rng(8)
    logits, labels = rng.standard_normal((6, 4)) * 3, rng.integers(0, 4, 6)
    functional = torch.nn.functional
    for smoothing in (0.0, 0.1):
        tlogits = torch.tensor(logits, requires_grad=True)
        expected = functional.cross_entropy(tlogits, torch.tensor(labels), label_smoothing=smoothing)
        expected.backward()
        loss, gradient = reference.cross_entropy(logits, labels, smoothing)
        assert math.isclose(loss, expected.item(), rel_tol=1e-12)
        np.testing.assert_allclose(gradient, tlogits.grad.numpy(), atol=1e-14)
    targets = rng.uniform(0, 1, logits.shape)
    for ours, theirs in (
        (reference.binary_cross_entropy_with_logits, functional.binary_cross_entropy_with_logits),
        (reference.mse, functional.mse_loss),
    ):
        tlogits = torch.tensor(logits, requires_grad=True)
        expected = theirs(tlogits, torch.tensor(targets))
        expected.backward()
        loss, gradient = ours(logits, targets)
        assert math.isclose(loss, expected.item(), rel_tol=1e-12)
        np.testing.assert_allclose(gradient, tlogits.grad.numpy(), atol=1e-14)


def test_softmax_and_linear_are_torchs(torch):
    rng = np.random.default_rng(9)
    x, dy = rng.standard_normal((5, 3, 7)), rng.standard_normal((5, 3, 7))
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.softmax(tx, dim=-1)
    ty.backward(torch.tensor(dy))
    y = reference.softmax(x)
    np.testing.assert_allclose(y, ty.detach().numpy(), atol=1e-14)
    np.testing.assert_allclose(reference.softmax_grad(dy, y), tx.grad.numpy(), atol=1e-14)

    w, b = rng.standard_normal((4, 7)), rng.standard_normal(4)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    ty = torch.nn.functional.linear(*leaves)
    dy = rng.standard_normal(ty.shape)
    ty.backward(torch.tensor(dy))
    np.testing.assert_allclose(reference.linear(x, w, b), ty.detach().numpy(), atol=1e-13)
    np.testing.assert_array_equal(reference.linear(x, w, b, "relu"), np.maximum(reference.linear(x, w, b), 0))
    for ours, leaf in zip(reference.linear_grad(dy, x, w), leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad.numpy(), atol=1e-13)
    assert reference.linear_grad(dy, x, w, (False, True, False))[::2] == (None, None)


def _run_optimiser(torch, make, step):
    """Return PyTorch's and the reference's parameter after four steps on the same gradients."""
    rng = np.random.default_rng(10)
    start = rng.standard_normal(12)
    gradients = rng.standard_normal((4, 12))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = make([parameter])
    ours = start.copy()
    for number, gradient in enumerate(gradients, start=1):
        parameter.grad = torch.tensor(gradient)
        optimiser.step()
        step(ours, gradient, number)
    return parameter.detach().numpy(), ours


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_is_torchs(torch, momentum, nesterov):
    velocity = np.zeros(12) if momentum else None
    theirs, ours = _run_optimiser(
        torch,
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.01),
        lambda p, g, _: reference.sgd_step(p, g, velocity, 0.1, momentum, 0.01, nesterov),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop_is_torchs(torch, momentum):
    square_avg, velocity = np.zeros(12), np.zeros(12) if momentum else None
    theirs, ours = _run_optimiser(
        torch,
        lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.9, eps=1e-8, weight_decay=0.01, momentum=momentum),
        lambda p, g, _: reference.rmsprop_step(p, g, square_avg, velocity, 0.1, 0.9, 1e-8, 0.01, momentum),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_is_torchs(torch, decoupled):
    m, v = np.zeros(12), np.zeros(12)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    theirs, ours = _run_optimiser(
        torch,
        lambda p: kind(p, lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01),
        lambda p, g, n: reference.adam_step(p, g, m, v, 0.1, 0.9, 0.99, 1e-8, 0.01, decoupled, n),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


# ---------------------------------------------------------------- finite differences and definitions


SMALL_CONV_CASES = [case for case in CONV_CASES if math.prod(case.x) < 3000]


@pytest.mark.parametrize("case", SMALL_CONV_CASES[::4], **by_id)
def test_convolution_gradients_are_differences(case: ConvCase):
    x, w, b = case.arrays()
    conv = operation(case, "conv")
    y = conv(x, w, b, **case.keywords)
    dy = case.upstream(y)
    dx, dw, db = operation(case, "conv", reference.grad)(dy, x, w, b=b, y=y, **case.keywords)
    assert_gradient(lambda v: conv(v, w, b, **case.keywords), x, dx, dy)
    assert_gradient(lambda v: conv(x, v, b, **case.keywords), w, dw, dy)
    if b is not None:
        assert_gradient(lambda v: conv(x, w, v, **case.keywords), b, db, dy)


@pytest.mark.parametrize("case", CONV_TRANSPOSE_CASES[::4], **by_id)
def test_transposed_gradients_are_differences(case: ConvTransposeCase):
    x, w, b = case.arrays()
    conv = operation(case, "conv_transpose")
    y = conv(x, w, b, **case.keywords)
    dy = case.upstream(y)
    dx, dw, db = operation(case, "conv_transpose", reference.grad)(dy, x, w, b=b, y=y, **case.keywords)
    assert_gradient(lambda v: conv(v, w, b, **case.keywords), x, dx, dy)
    assert_gradient(lambda v: conv(x, v, b, **case.keywords), w, dw, dy)
    if b is not None:
        assert_gradient(lambda v: conv(x, w, v, **case.keywords), b, db, dy)


@pytest.mark.parametrize("case", POOL_CASES[::3], **by_id)
def test_pool_gradients_are_differences(case: PoolCase):
    x, window = case.image(), case.kernel_size
    maximum, mean = operation(case, "max_pool"), operation(case, "avg_pool")
    y, indices = maximum(x, window, return_indices=True, **case.keywords)
    dy = case.upstream(y)
    dx = operation(case, "max_pool", reference.grad)(dy, indices, x.shape, data_format=case.data_format)
    assert_gradient(lambda v: maximum(v, window, **case.keywords), x, dx, dy)
    for options in ({}, {"count_include_pad": False}, {"divisor_override": 3}):
        dx = operation(case, "avg_pool", reference.grad)(dy, x.shape, window, **case.keywords, **options)
        assert_gradient(lambda v, o=options: mean(v, window, **case.keywords, **o), x, dx, dy)
    if case.dilation == 1:
        keywords = {name: value for name, value in case.keywords.items() if name != "dilation"}
        norm = operation(case, "lp_pool")
        for p in (1.5, 2, 3):
            y = norm(x, p, window, **keywords)
            dx = operation(case, "lp_pool", reference.grad)(dy, x, y, p, window, **keywords)
            assert_gradient(lambda v, p=p: norm(v, p, window, **keywords), x, dx, dy)


@pytest.mark.parametrize("case", CHANNEL_CASES, **by_id)
def test_channel_and_global_pools(case: ChannelCase):
    """Values from NumPy's own reductions, gradients from differences."""
    x, layout = case.image(), {"data_format": case.data_format}
    channel = 1 if case.data_format == "channels_first" else x.ndim - 1
    spatial = tuple(axis for axis in range(1, x.ndim) if axis != channel)
    windows = np.lib.stride_tricks.sliding_window_view(x, case.pool_size, axis=channel)
    step = case.stride or case.pool_size
    windows = np.moveaxis(np.moveaxis(windows, channel, 0)[::step], 0, channel)
    keywords = {"stride": case.stride, **layout}
    grad = reference.grad

    y = reference.channel_max_pool(x, case.pool_size, **keywords)
    np.testing.assert_array_equal(y, windows.max(axis=-1))
    dy = case.upstream(y)
    dx = grad.channel_max_pool(dy, x, case.pool_size, **keywords)
    assert_gradient(lambda v: reference.channel_max_pool(v, case.pool_size, **keywords), x, dx, dy)

    y = reference.channel_avg_pool(x, case.pool_size, **keywords)
    np.testing.assert_allclose(y, windows.mean(axis=-1), atol=1e-15)
    dx = grad.channel_avg_pool(dy, x.shape, case.pool_size, **keywords)
    assert_gradient(lambda v: reference.channel_avg_pool(v, case.pool_size, **keywords), x, dx, dy)

    for keepdims in (False, True):
        keywords = {"keepdims": keepdims, **layout}
        y = reference.global_max_pool(x, **keywords)
        np.testing.assert_array_equal(y, x.max(axis=spatial, keepdims=keepdims))
        dy = generator(case.id).standard_normal(y.shape)
        dx = grad.global_max_pool(dy, x, **keywords)
        assert_gradient(lambda v, k=keywords: reference.global_max_pool(v, **k), x, dx, dy)
        y = reference.global_avg_pool(x, **keywords)
        np.testing.assert_allclose(y, x.mean(axis=spatial, keepdims=keepdims), atol=1e-15)
        dx = grad.global_avg_pool(dy, x.shape, **keywords)
        assert_gradient(lambda v, k=keywords: reference.global_avg_pool(v, **k), x, dx, dy)


def test_first_of_equal_maxima_wins():
    x = np.ones((1, 2, 4))
    assert reference.max_pool1d(x, 2, return_indices=True)[1].tolist() == [[[0, 2], [0, 2]]]
    assert reference.grad.global_max_pool(np.ones((1, 2)), x).tolist() == [[[1, 0, 0, 0]] * 2]
    assert reference.grad.channel_max_pool(np.ones((1, 1, 4)), x, 2).tolist() == [[[1] * 4, [0] * 4]]


def test_nan_wins_every_maximum():
    x = np.array([[[1.0, np.nan, 3.0, -np.inf, -np.inf, 2.0]]])
    y, indices = reference.max_pool1d(x, 2, stride=1, return_indices=True)
    np.testing.assert_array_equal(y, [[[np.nan, np.nan, 3, -np.inf, 2]]])
    assert indices.tolist() == [[[1, 1, 2, 3, 5]]]
    y, indices = reference.adaptive_max_pool1d(x, 3, return_indices=True)
    np.testing.assert_array_equal(y, [[[np.nan, 3, 2]]])
    assert indices.tolist() == [[[1, 2, 5]]]
    assert np.isnan(reference.global_max_pool(x)).all()


# ---------------------------------------------------------------- the frame: dtypes, out, im2col


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_results_have_the_inputs_dtype_and_are_rounded_once(dtype):
    rng = np.random.default_rng(11)
    x, w = rng.standard_normal((1, 30, 9)).astype(dtype), rng.standard_normal((4, 30, 3)).astype(dtype)
    y = reference.conv1d(x, w)
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y, reference.conv1d(x.astype(float), w.astype(float)).astype(dtype))


def test_out_is_filled_and_returned():
    x, w = np.ones((1, 2, 5)), np.ones((3, 2, 2))
    out = np.full((1, 3, 4), np.nan)
    assert reference.conv1d(x, w, out=out) is out
    np.testing.assert_array_equal(out, 4.0)
    with pytest.raises(ValueError, match="shape"):
        reference.conv1d(x, w, out=np.zeros((1, 3, 5)))
    with pytest.raises(TypeError, match="float32"):
        reference.conv1d(x, w, out=out.astype(np.float32))


def test_functions_show_explicit_signatures():
    parameters = inspect.signature(reference.conv2d).parameters
    assert list(parameters)[:4] == ["x", "w", "b", "stride"]
    assert parameters["stride"].kind is inspect.Parameter.KEYWORD_ONLY
    assert list(inspect.signature(reference.grad.max_pool3d).parameters)[:3] == [
        "dy",
        "indices",
        "input_shape",
    ]
    assert reference.avg_pool1d.__name__ == "avg_pool1d"


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in CONV_CASES
        if (c.padding_mode, c.data_format, c.batched) == ("zeros", "channels_first", True)
    ],
    **by_id,
)
def test_im2col_equals_the_reference(case: ConvCase):
    x, w, b = case.arrays()
    keywords = {name: case.keywords[name] for name in ("stride", "padding", "dilation", "groups")}
    y = operation(case, "conv")(x, w, b, **keywords)
    np.testing.assert_allclose(reference.im2col_conv(x, w, b, **keywords), y, atol=1e-11)
    dy = case.upstream(y)
    expected = operation(case, "conv", reference.grad)(dy, x, w, **keywords)
    for form in ("auto", "col2im", "im2col"):
        actual = reference.im2col_conv_grad(dy, x, w, input_form=form, **keywords)
        for ours, exact in zip(actual, expected, strict=True):
            assert ours.flags.c_contiguous
            np.testing.assert_allclose(ours, exact, atol=1e-11)


def test_im2col_computes_in_the_inputs_dtype():
    rng = np.random.default_rng(12)
    x, w = rng.standard_normal((2, 3, 9, 8), np.float32), rng.standard_normal((4, 3, 3, 3), np.float32)
    y = reference.im2col_conv2d(x, w)
    gradients = reference.im2col_conv2d_grad(y, x, w, needs=(True, False, True))
    assert y.dtype == gradients[0].dtype == gradients[2].dtype == np.float32
    assert gradients[1] is None


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x, w: reference.conv2d(x.astype(int), w), TypeError, "astype"),
        (lambda x, w: reference.conv2d(x, w.astype(np.float32)), TypeError, "float32"),
        (lambda x, w: reference.conv2d(x.tolist(), w), TypeError, "list"),
        (lambda x, w: reference.conv2d(x[0, 0], w), ValueError, "axes"),
        (lambda x, w: reference.conv2d(x, w[0]), ValueError, "axes"),
        (lambda x, w: reference.conv2d(x, w, groups=2), ValueError, "channels"),
        (lambda x, w: reference.conv2d(x, w, groups=0), ValueError, "groups"),
        (lambda x, w: reference.conv2d(x, w, x[0, 0, 0]), ValueError, "b must"),
        (lambda x, w: reference.conv2d(x, w, stride=0), ValueError, "stride"),
        (lambda x, w: reference.conv2d(x, w, stride=(1, 2, 3)), ValueError, "stride"),
        (lambda x, w: reference.conv2d(x, w, padding="causal"), ValueError, "causal"),
        (lambda x, w: reference.conv2d(x, w, padding=((1, 2), 3)), ValueError, "pair"),
        (lambda x, w: reference.conv1d(x[0, :, :3], w[0], padding=(1, 2)), ValueError, "1-D"),
        (lambda x, w: reference.conv2d(x, w, dilation=9), ValueError, "larger"),
        (lambda x, w: reference.conv2d(x, w, padding_mode="mirror"), ValueError, "padding_mode"),
        (lambda x, w: reference.conv2d(x, w, padding=7, padding_mode="reflect"), ValueError, "reflect"),
        (lambda x, w: reference.conv2d(x, w, data_format="NCHW"), ValueError, "data_format"),
        (lambda x, w: reference.conv2d(x, w, activation="swish"), ValueError, "activation"),
        (lambda x, w: reference.conv2d(x[:, :, :0], w), ValueError, "empty"),
        (lambda x, w: reference.conv_transpose2d(x, w, output_padding=1), ValueError, "output_padding"),
        (lambda x, w: reference.conv_transpose2d(x, w, padding="full"), ValueError, "padding"),
        (lambda x, w: reference.conv_transpose2d(x, w, padding=9), ValueError, "nothing"),
        (lambda x, w: reference.max_pool2d(x, 2, padding=2), ValueError, "padding"),
        (lambda x, w: reference.max_pool2d(x, 9), ValueError, "larger"),
        (lambda x, w: reference.avg_pool2d(x, 2, divisor_override=0), ValueError, "divisor"),
        (lambda x, w: reference.lp_pool2d(x, 0, 2), ValueError, "p must"),
        (lambda x, w: reference.adaptive_avg_pool2d(x, (1, 2, 3)), ValueError, "output_size"),
        (lambda x, w: reference.channel_max_pool(x, 9), ValueError, "pool_size"),
        (lambda x, w: reference.global_avg_pool(x[0, 0]), ValueError, "batch"),
        (lambda x, w: reference.max_unpool2d(x, np.zeros(x.shape), 2), TypeError, "int64"),
        (lambda x, w: reference.max_unpool2d(x, np.full(x.shape, 999), 2), ValueError, "indices"),
        (
            lambda x, w: reference.max_unpool2d(x, np.zeros(x.shape, int), 2, padding="same"),
            ValueError,
            "output_size",
        ),
        (lambda x, w: reference.grad.conv2d(x, x, w), ValueError, "dy"),
        (lambda x, w: reference.grad.conv2d(x, x, w, activation="relu"), ValueError, "needs y"),
        (lambda x, w: reference.activation(x, "swish"), ValueError, "activation"),
        (lambda x, w: reference.activation_grad(x, "swish"), ValueError, "activation"),
        (lambda x, w: reference.im2col_conv_grad(x, x, w), ValueError, "dy"),
    ],
)
def test_bad_arguments_are_errors(call, error, match):
    x, w = np.ones((2, 3, 7, 6)), np.ones((3, 3, 3, 3))
    with pytest.raises(error, match=match):
        call(x, w)


def test_every_public_operation_has_a_reference():
    """What the contract lists, by name; gradients carry the names of their functions."""
    ranked = ["conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool"]
    ranked += ["adaptive_max_pool", "adaptive_avg_pool", "max_unpool"]
    names = [f"{name}{rank}d" for name, rank in itertools.product(ranked, (1, 2, 3))]
    names += ["global_max_pool", "global_avg_pool", "channel_max_pool", "channel_avg_pool"]
    for name in names:
        assert callable(getattr(reference, name))
        assert callable(getattr(reference.grad, name))
