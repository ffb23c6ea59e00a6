"""The compiled core. It parses and checks every argument; the Python layer hands them over unchanged."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from numpy.typing import DTypeLike, NDArray

from fastconv._typing import Array, Gradient, MaxPoolResult, OutputSize, Padding, Shape, Sizes

__version__: str

# Convolution
def conv(
    rank: int,
    x: Array,
    w: Array,
    b: Array | None,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
    padding_mode: str,
    data_format: str,
    activation: str | None,
    precision: str | None,
    algorithm: str,
    out: NDArray[Any] | None,
) -> NDArray[Any]: ...
def conv_max_pool(
    rank: int,
    x: Array,
    w: Array,
    b: Array | None,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
    padding_mode: str,
    data_format: str,
    activation: str | None,
    precision: str | None,
    kernel_size: Sizes,
    pool_stride: Sizes | None,
    pool_padding: Padding,
    pool_dilation: Sizes,
    ceil_mode: bool,
    with_index: bool,
) -> tuple[NDArray[Any], PoolIndex | Any]: ...
def conv_grad(
    rank: int,
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None,
    y: Array | None,
    needs: Sequence[bool],
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
    padding_mode: str,
    data_format: str,
    activation: str | None,
    precision: str | None,
    algorithm: str,
) -> tuple[Gradient, Gradient, Gradient]: ...
def conv_transpose(
    rank: int,
    x: Array,
    w: Array,
    b: Array | None,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
    data_format: str,
    activation: str | None,
    precision: str | None,
    algorithm: str,
    out: NDArray[Any] | None,
) -> NDArray[Any]: ...
def conv_transpose_grad(
    rank: int,
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None,
    y: Array | None,
    needs: Sequence[bool],
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
    data_format: str,
    activation: str | None,
    precision: str | None,
    algorithm: str,
) -> tuple[Gradient, Gradient, Gradient]: ...

# Pooling
def max_pool(
    rank: int,
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
    data_format: str,
    out: NDArray[Any] | None,
) -> MaxPoolResult: ...

class PoolIndex:
    def gradient(self, dy: Array) -> NDArray[Any]: ...

def max_pool_with_index(
    rank: int,
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
    ceil_mode: bool,
    data_format: str,
) -> tuple[NDArray[Any], PoolIndex]: ...
def avg_pool(
    rank: int,
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    data_format: str,
    out: NDArray[Any] | None,
) -> NDArray[Any]: ...
def lp_pool(
    rank: int,
    x: Array,
    p: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    ceil_mode: bool,
    data_format: str,
) -> NDArray[Any]: ...
def adaptive_max_pool(
    rank: int, x: Array, output_size: OutputSize, return_indices: bool, data_format: str
) -> MaxPoolResult: ...
def adaptive_avg_pool(rank: int, x: Array, output_size: OutputSize, data_format: str) -> NDArray[Any]: ...
def global_max_pool(x: Array, keepdims: bool, data_format: str) -> NDArray[Any]: ...
def global_avg_pool(x: Array, keepdims: bool, data_format: str) -> NDArray[Any]: ...
def channel_max_pool(x: Array, pool_size: int, stride: int | None, data_format: str) -> NDArray[Any]: ...
def channel_avg_pool(x: Array, pool_size: int, stride: int | None, data_format: str) -> NDArray[Any]: ...
def max_unpool(
    rank: int,
    x: Array,
    indices: Array,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    output_size: Shape | None,
    data_format: str,
) -> NDArray[Any]: ...
def max_pool_grad(
    rank: int, dy: Array, indices: Array, input_shape: Shape, data_format: str
) -> NDArray[Any]: ...
def adaptive_max_pool_grad(
    rank: int, dy: Array, indices: Array, input_shape: Shape, data_format: str
) -> NDArray[Any]: ...
def avg_pool_grad(
    rank: int,
    dy: Array,
    input_shape: Shape,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    data_format: str,
) -> NDArray[Any]: ...
def lp_pool_grad(
    rank: int,
    dy: Array,
    x: Array,
    y: Array,
    p: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    ceil_mode: bool,
    data_format: str,
) -> NDArray[Any]: ...
def adaptive_avg_pool_grad(rank: int, dy: Array, input_shape: Shape, data_format: str) -> NDArray[Any]: ...
def global_max_pool_grad(dy: Array, x: Array, keepdims: bool, data_format: str) -> NDArray[Any]: ...
def global_avg_pool_grad(dy: Array, input_shape: Shape, keepdims: bool, data_format: str) -> NDArray[Any]: ...
def channel_max_pool_grad(
    dy: Array, x: Array, pool_size: int, stride: int | None, data_format: str
) -> NDArray[Any]: ...
def channel_avg_pool_grad(
    dy: Array, input_shape: Shape, pool_size: int, stride: int | None, data_format: str
) -> NDArray[Any]: ...
def max_unpool_grad(
    rank: int, dy: Array, indices: Array, input_shape: Shape, data_format: str
) -> NDArray[Any]: ...

# Elementwise, normalisation, losses, optimisers
def activation(x: Array, name: str, out: NDArray[Any] | None = None) -> NDArray[Any]: ...
def activation_grad(
    dy: Array, name: str, x: Array | None = None, y: Array | None = None, out: NDArray[Any] | None = None
) -> NDArray[Any]: ...
def add(
    a: Array, b: Array, activation: str | None = None, out: NDArray[Any] | None = None
) -> NDArray[Any]: ...
def softmax(x: Array) -> NDArray[Any]: ...
def softmax_grad(dy: Array, y: Array) -> NDArray[Any]: ...
def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: NDArray[Any] | None,
    running_var: NDArray[Any] | None,
    momentum: float,
    eps: float,
    training: bool,
    data_format: str,
    activation: str | None = None,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
def batch_norm_grad(
    dy: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    inv_std: Array,
    training: bool,
    data_format: str,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
def local_response_norm(
    x: Array, size: int, alpha: float, beta: float, k: float, data_format: str
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def local_response_norm_grad(
    dy: Array, x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float, data_format: str
) -> NDArray[Any]: ...
def cross_entropy(prediction: Array, target: Array, label_smoothing: float) -> tuple[float, NDArray[Any]]: ...
def binary_cross_entropy_with_logits(prediction: Array, target: Array) -> tuple[float, NDArray[Any]]: ...
def mse(prediction: Array, target: Array) -> tuple[float, NDArray[Any]]: ...
def scale_mask(x: Array, mask: Array, scale: float) -> NDArray[Any]: ...
def sgd_step(
    param: NDArray[Any],
    grad: Array,
    velocity: NDArray[Any] | None,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> None: ...
def rmsprop_step(
    param: NDArray[Any],
    grad: Array,
    square_avg: NDArray[Any],
    velocity: NDArray[Any] | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> None: ...
def adam_step(
    param: NDArray[Any],
    grad: Array,
    m: NDArray[Any],
    v: NDArray[Any],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None: ...
def linear(
    x: Array,
    w: Array,
    b: Array | None,
    activation: str | None,
    precision: str | None,
    out: NDArray[Any] | None,
) -> NDArray[Any]: ...
def linear_grad(
    dy: Array, x: Array, w: Array, needs: Sequence[bool], precision: str | None
) -> tuple[Gradient, Gradient, Gradient]: ...

# Run time
def as_array(function: str, name: str, value: Array) -> NDArray[Any]: ...
def set_num_threads(n: int) -> None: ...
def hold_num_threads(n: int | None) -> None: ...
def get_num_threads() -> int: ...
def set_precision(p: str) -> None: ...
def hold_precision(p: str | None) -> None: ...
def get_precision() -> str: ...
def isa() -> str: ...
def available_isas() -> tuple[str, ...]: ...
def set_isa(name: str) -> None: ...
def explain(
    operation: str,
    rank: int,
    transposed: bool,
    gradient: bool,
    x_shape: Shape,
    w_shape: Shape,
    dtype: DTypeLike,
    *,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
    padding_mode: str,
    data_format: str,
    activation: str | None,
    precision: str | None,
    algorithm: str,
    output_padding: Sizes,
    needs: Sequence[bool],
    b: Array | None,
    y: Array | None,
    out: NDArray[Any] | None,
) -> dict[str, Any]: ...
def config() -> dict[str, Any]: ...
def use_cuda_module(module: ModuleType | None) -> None: ...
def clear_cache() -> None: ...
def cache_info() -> dict[str, int]: ...
def measure_fma_rate(dtype_name: str, seconds: float) -> float: ...
def measure_copy_rate(bytes: int, seconds: float) -> float: ...
def set_verbose_callback(callback: Callable[[str], object] | None) -> None: ...
