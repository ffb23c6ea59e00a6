"""The oracle against PyTorch: convolutions, transposed ones and pools, with PyTorch's own gradients."""

from __future__ import annotations

import numpy as np
import pytest
from cases import (
    ADAPTIVE_CASES,
    CONV_CASES,
    CONV_TRANSPOSE_CASES,
    POOL_CASES,
    AdaptiveCase,
    ConvCase,
    ConvTransposeCase,
    PoolCase,
)
from plain_loops import each_axis, numeric_pads

import fastconv
from fastconv import reference

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no second opinion from it")
torch.set_num_threads(1)
by_id = {"ids": lambda case: case.id}


def operation(case, name, module=reference):
    return getattr(module, f"{name}{case.rank}d")


def planes_to_torch(x, case, requires_grad=True):
    """Return x as a channels-first, batched float64 tensor."""
    x = x if case.batched else x[None]
    x = np.moveaxis(x, -1, 1) if case.data_format == "channels_last" else x
    return torch.tensor(np.ascontiguousarray(x), dtype=torch.float64, requires_grad=requires_grad)


def planes_from_torch(tensor, case):
    x = tensor.detach().numpy()
    x = np.moveaxis(x, 1, -1) if case.data_format == "channels_last" else x
    return x if case.batched else x[0]


def torch_pads(pads):
    return [n for pair in reversed(pads) for n in pair]


def torch_activation(z, name):
    return z if name is None else getattr(torch.nn.functional, name)(z)


def assert_same_with_gradients(case, name, inputs, ty, torch_inputs):
    """Check result and gradients against PyTorch's, which `ty` still has to compute."""
    (x, w, b), (tx, tw, tb) = inputs, torch_inputs
    y = operation(case, name)(x, w, b, **case.keywords)
    np.testing.assert_allclose(y, planes_from_torch(ty, case), rtol=1e-10, atol=1e-11)

    dy = case.upstream(y)
    ty.backward(planes_to_torch(dy, case, requires_grad=False))
    dx, dw, db = operation(case, name, reference.grad)(dy, x, w, b=b, y=y, **case.keywords)
    np.testing.assert_allclose(dx, planes_from_torch(tx.grad, case), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(dw, tw.grad.numpy(), rtol=1e-10, atol=1e-11)
    if tb is not None:
        np.testing.assert_allclose(db, tb.grad.numpy(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("case", CONV_CASES, **by_id)
def test_convolution_and_gradients_are_torchs(case: ConvCase):
    rank, functional = case.rank, torch.nn.functional
    x, w, b = case.arrays()
    tx, tw = planes_to_torch(x, case), torch.tensor(w, requires_grad=True)
    tb = None if b is None else torch.tensor(b, requires_grad=True)
    stride, dilation = each_axis(case.stride, rank), each_axis(case.dilation, rank)
    pads = numeric_pads(case, case.w[2:], stride, dilation)
    padded = tx
    if any(map(any, pads)):
        mode = "constant" if case.padding_mode == "zeros" else case.padding_mode
        padded = functional.pad(tx, torch_pads(pads), mode=mode)
    ty = getattr(functional, f"conv{rank}d")(padded, tw, tb, stride, 0, dilation, case.groups)
    ty = torch_activation(ty, case.activation)

    assert_same_with_gradients(case, "conv", (x, w, b), ty, (tx, tw, tb))


@pytest.mark.parametrize("case", CONV_TRANSPOSE_CASES, **by_id)
def test_transposed_convolution_and_gradients_are_torchs(case: ConvTransposeCase):
    rank, functional = case.rank, torch.nn.functional
    x, w, b = case.arrays()
    tx, tw = planes_to_torch(x, case), torch.tensor(w, requires_grad=True)
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
    ty = torch_activation(ty, case.activation)

    assert_same_with_gradients(case, "conv_transpose", (x, w, b), ty, (tx, tw, tb))


@pytest.mark.parametrize("output_padding", [0, 1])
def test_transposed_sizes_are_torchs(output_padding):
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


TORCH_POOL_CASES = [case for case in POOL_CASES if torch_pool_padding(case) is not None and case.x[0]]


@pytest.mark.parametrize("case", TORCH_POOL_CASES, **by_id)
def test_max_pool_and_gradient_are_torchs(case: PoolCase):
    x = case.tied_image()
    tx = planes_to_torch(x, case)
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
    ty.backward(planes_to_torch(dy, case, requires_grad=False))
    gradient = operation(case, "max_pool", reference.grad)(dy, indices, x.shape, data_format=case.data_format)
    np.testing.assert_allclose(gradient, planes_from_torch(tx.grad, case), atol=1e-14)


@pytest.mark.parametrize("case", [c for c in TORCH_POOL_CASES if c.dilation == 1], **by_id)
def test_avg_pool_and_gradient_are_torchs(case: PoolCase):
    x = case.image()
    pool = getattr(torch.nn.functional, f"avg_pool{case.rank}d")
    padding = torch_pool_padding(case)
    for options in ({}, {"count_include_pad": False}, {"divisor_override": 5}):
        if case.rank == 1 and "divisor_override" in options:
            continue  # PyTorch's avg_pool1d has none
        tx = planes_to_torch(x, case)
        ty = pool(tx, case.kernel_size, case.stride, padding, ceil_mode=case.ceil_mode, **options)
        y = operation(case, "avg_pool")(x, case.kernel_size, **case.keywords, **options)
        np.testing.assert_allclose(y, planes_from_torch(ty, case), atol=1e-14)
        dy = case.upstream(y)
        ty.backward(planes_to_torch(dy, case, requires_grad=False))
        gradient = operation(case, "avg_pool", reference.grad)
        dx = gradient(dy, x.shape, case.kernel_size, **case.keywords, **options)
        np.testing.assert_allclose(dx, planes_from_torch(tx.grad, case), atol=1e-14)


@pytest.mark.parametrize("case", [c for c in ADAPTIVE_CASES if c.x[0]], **by_id)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_adaptive_pools_are_torchs(case: AdaptiveCase, kind):
    x = case.tied_image()
    tx = planes_to_torch(x, case)
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
    ty.backward(planes_to_torch(dy, case, requires_grad=False))
    gradient = operation(case, f"adaptive_{kind}_pool", reference.grad)
    dx = gradient(dy, *([indices] if kind == "max" else []), x.shape, data_format=case.data_format)
    np.testing.assert_allclose(dx, planes_from_torch(tx.grad, case), atol=1e-14)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("size", range(1, 18))
def test_sizes_of_max_unpool_are_torchs(size, padding):
    """Both refuse the same ones, and so does the function that is built on them."""
    y, indices = np.ones((1, 1, 4)), np.zeros((1, 1, 4), np.int64)
    keywords = {"stride": 3, "padding": padding, "output_size": (size,)}
    try:
        torch.nn.functional.max_unpool1d(torch.tensor(y), torch.tensor(indices), 4, **keywords)
    except ValueError:
        for module in (reference, fastconv):
            with pytest.raises(ValueError, match="output_size"):
                module.max_unpool1d(y, indices, 4, **keywords)
    else:
        for module in (reference, fastconv):
            assert module.max_unpool1d(y, indices, 4, **keywords).shape == (1, 1, size)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("sizes", [None, "given"])
def test_max_unpool_is_torchs(rank, sizes):
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
