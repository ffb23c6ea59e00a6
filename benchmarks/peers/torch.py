"""PyTorch, eager: the faster of its two memory formats, each direction alone.

``torch-bf16`` is the same with every tensor in bfloat16: the peer of convolutions in ``medium`` precision.

On a CUDA device cuDNN tries its algorithms for each shape and keeps the fastest (``cudnn.benchmark``); its
float32 products round their factors to TF32 in ``high`` precision alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.cuda import in_turn
from benchmarks.peers.interface import Call, Unsupported
from benchmarks.problem import Array, Problem
from benchmarks.settings import Settings
from benchmarks.shapes import ConvShape, PoolShape

_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def to_tensor(array: Array, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Return a tensor with the values of a NumPy array, through float32 where PyTorch needs that."""
    if array.dtype.name == "bfloat16":
        array = array.astype("float32")
    return torch.tensor(array, dtype=dtype, device=device)


def to_numpy(tensor: torch.Tensor) -> Array:
    """Return the values of a tensor, in float32 where NumPy has no such dtype."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array: Array = tensor.contiguous().numpy()
    return array


class TorchPeer:
    """`torch.nn.functional` forward, `aten.convolution_backward` with one output for each gradient."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.version = str(torch.__version__)
        dtype = "bfloat16" if name == "torch-bf16" else settings.dtype
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._device = settings.device
        self.set_threads(settings.threads)
        tf32 = settings.device == "cuda" and settings.precision == "high"
        self.arithmetic = (dtype, "tf32" if tf32 else "highest")
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32

    def set_threads(self, count: int) -> None:
        """Set the number of threads for the calls that follow."""
        torch.set_num_threads(count)

    def calls(self, problem: Problem) -> dict[str, Call]:
        """Return a call per memory format; 1-D tensors have but one."""
        formats = {"channels_first": torch.contiguous_format}
        if problem.shape.rank in _CHANNELS_LAST:
            formats["channels_last"] = _CHANNELS_LAST[problem.shape.rank]
        return {
            name: in_turn(problem, self._device, partial(self._call, problem, layout))
            for name, layout in formats.items()
        }

    def to_numpy(self, result: Any) -> Array:
        """Return the values, through float32 where NumPy has no such dtype."""
        return to_numpy(result)

    def _tensor(self, array: Array, layout: torch.memory_format) -> torch.Tensor:
        return to_tensor(array, self._dtype, self._device).contiguous(memory_format=layout)

    def _call(self, problem: Problem, layout: torch.memory_format) -> Call:
        if isinstance(problem.shape, ConvShape):
            return self._conv_call(problem, problem.shape, layout)
        if isinstance(problem.shape, PoolShape):
            if self.name == "torch-bf16":
                raise Unsupported("pooling has no products to round")
            return self._pool_call(problem, problem.shape, layout)
        raise Unsupported(problem.shape.name)

    def _conv_call(self, problem: Problem, shape: ConvShape, layout: torch.memory_format) -> Call:
        """Uneven padding goes through `F.pad`: part of the forward's time, kept from it for the gradients."""
        assert problem.w is not None
        x, w = self._tensor(problem.x, layout), self._tensor(problem.w, layout)
        symmetric = all(before == after for before, after in shape.padding)
        padding = [before if symmetric else 0 for before, _ in shape.padding]
        widths = [width for pair in reversed(shape.padding) for width in pair]
        if problem.direction == "forward":
            keywords: dict[str, Any] = {"output_padding": shape.output_padding} if shape.transposed else {}
            function = partial(
                getattr(F, f"{shape.operation}{shape.rank}d"),
                weight=w,
                stride=shape.stride,
                padding=padding,
                dilation=shape.dilation,
                groups=shape.groups,
                **keywords,
            )
            return partial(function, x) if symmetric else lambda: function(F.pad(x, widths))

        dy = self._tensor(problem.dy, layout)
        padded = x if symmetric else F.pad(x, widths)
        output_padding = shape.output_padding or (0,) * shape.rank
        wanted = [problem.direction == "dx", problem.direction == "dw", False]
        backward = partial(
            torch.ops.aten.convolution_backward, dy, padded, w, None,
            shape.stride, padding, shape.dilation, shape.transposed, output_padding, shape.groups, wanted,
        )  # fmt: skip
        if problem.direction == "dw":
            return lambda: backward()[1]
        sizes = zip(shape.padding, shape.input[2:], strict=True)
        inside = (..., *(slice(before, before + size) for (before, _), size in sizes))
        return (lambda: backward()[0]) if symmetric else (lambda: backward()[0][inside])

    def _pool_call(self, problem: Problem, shape: PoolShape, layout: torch.memory_format) -> Call:
        x = self._tensor(problem.x, layout)
        forward = _pool(shape)
        if problem.direction == "forward":
            return partial(forward, x)
        x.requires_grad_()
        y = forward(x)
        dy = self._tensor(problem.dy, layout if problem.dy.ndim == x.ndim else torch.contiguous_format)
        return lambda: torch.autograd.grad(y, x, dy, retain_graph=True)[0]


def _pool(shape: PoolShape) -> Any:
    """Return the function of one tensor that pools it."""
    if shape.kind == "global_avg":
        return partial(torch.mean, dim=tuple(range(2, shape.rank + 2)))
    function = getattr(F, f"{shape.kind}_pool{shape.rank}d")
    if shape.kind.startswith("adaptive"):
        return partial(function, output_size=shape.window)
    if shape.kind == "lp":
        if any(shape.padding):
            raise Unsupported("lp_pool with padding")
        return lambda x: function(x, shape.norm, shape.window, shape.stride, shape.ceil_mode)
    return partial(
        function,
        kernel_size=shape.window,
        stride=shape.stride,
        padding=shape.padding,
        ceil_mode=shape.ceil_mode,
    )


def create(name: str, settings: Settings) -> TorchPeer:
    """Return the peer; see `benchmarks.peers.interface`."""
    return TorchPeer(name, settings)
