"""What only a GPU can show: streams, graphs and devices of a library whose work is queued, not done.

Nothing here runs in emulation; each test skips with what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from devices import Gpu, why_no_gpu

import fastconv as fc
from fastconv import _core

A_WHILE = 2_000_000_000
"""Cycles of the device: about a second, far longer than any call here."""


@pytest.fixture
def torch() -> ModuleType:
    why = why_no_gpu()
    if why:
        pytest.skip(f"needs a GPU: {why}")
    found: ModuleType = Gpu().torch
    return found


def tensors(torch: Any, seed: int, device: int = 0) -> dict[str, Any]:
    """Return the arrays of all calls below, with values that depend on `seed`."""
    rng = np.random.default_rng(seed)
    shapes = {"x": (4, 16, 20, 20), "w": (32, 16, 3, 3), "dy": (4, 32, 20, 20), "small": (4, 16, 10, 10)}
    host = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: torch.from_numpy(array).to(f"cuda:{device}") for name, array in host.items()}


def max_pool_and_gradient(a: dict[str, Any]) -> tuple[Any, ...]:
    y, indices = fc.max_pool2d(a["x"], 2, return_indices=True)
    return y, indices, fc.grad.max_pool2d(a["small"], indices, tuple(a["x"].shape))


CALLS: dict[str, Callable[[dict[str, Any]], tuple[Any, ...]]] = {
    "convolution": lambda a: (fc.conv2d(a["x"], a["w"], padding=1, activation="relu"),),
    "gradients": lambda a: fc.grad.conv2d(a["dy"], a["x"], a["w"], padding=1),
    "folded gradient": lambda a: fc.grad.conv2d(a["dy"], a["x"], a["w"], padding=1, padding_mode="reflect"),
    "max pool": max_pool_and_gradient,
    "avg pool": lambda a: (
        fc.avg_pool2d(a["x"], 2),
        fc.grad.avg_pool2d(a["small"], tuple(a["x"].shape), 2),
    ),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def assert_same(torch: Any, actual: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        assert torch.equal(ours.cpu(), theirs.cpu())


@calls
def test_a_captured_call_is_replayed_on_other_values(call, torch):
    arrays, others = tensors(torch, 0), tensors(torch, 1)
    expected = call(others)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call(arrays)  # loads the kernels, which a capture may not
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = call(arrays)
    for name, array in arrays.items():
        array.copy_(others[name])
    for _ in range(2):
        for result in results:
            result.zero_()
        graph.replay()
        assert_same(torch, results, expected)


@calls
def test_a_call_waits_for_its_stream_and_nobody_for_the_call(call, torch):
    """The stream is busy when the call comes, and its arrays get their values only then."""
    arrays, values = tensors(torch, 0), tensors(torch, 1)
    expected = call(values)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        call(arrays)  # leaves memory for results on this stream
        side.synchronize()
        torch.cuda._sleep(A_WHILE)
        for name, array in arrays.items():
            array.copy_(values[name])
        results = call(arrays)
        assert not side.query(), "the call waited for the device"
    side.synchronize()
    assert_same(torch, results, expected)


def test_a_logged_call_tells_of_the_device(torch):
    arrays = tensors(torch, 0)
    lines: list[str] = []
    _core.set_verbose_callback(lines.append)
    try:
        fc.conv2d(arrays["x"], arrays["w"], padding=1)
        fc.max_pool2d(arrays["x"], 2)
    finally:
        _core.set_verbose_callback(None)
    convolution, pool = lines
    assert convolution.startswith("conv2d x=(4, 16, 20, 20) w=(32, 16, 3, 3)")
    assert pool.startswith("max_pool2d x=(4, 16, 20, 20)")
    assert all("on CUDA device 0, " in line for line in lines)


@calls
def test_a_call_runs_where_its_arrays_lie(call, torch):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs several GPUs: there is one")
    expected = call(tensors(torch, 0))
    last = torch.cuda.device_count() - 1
    results = call(tensors(torch, 0, last))
    assert {result.device.index for result in results} == {last}
    assert torch.cuda.current_device() == 0
    assert_same(torch, results, expected)


def test_arrays_on_two_devices_are_an_error(torch):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs several GPUs: there is one")
    with pytest.raises(ValueError, match="w lies on CUDA device 1, but x lies on CUDA device 0"):
        fc.conv2d(tensors(torch, 0)["x"], tensors(torch, 0, 1)["w"])
