"""The definition of *correct*: every operation in readable NumPy, with the signatures of the public API.

Everything is computed in float64 and rounded once, at the end, to the dtype of the input, so the results are
as exact as NumPy can cheaply make them: tests compare with them. `precision` and `algorithm` are accepted and
change nothing; every other argument means what it means in `fastconv`. `fastconv.reference.grad` holds the
gradients, with the names of `fastconv.grad`.

`im2col_conv` and `im2col_conv_grad` are something else: the same convolution as fast as NumPy can do it, in
the input's own dtype, for benchmarks to race.
"""

from . import grad
from .channel_pooling import channel_avg_pool, channel_max_pool, global_avg_pool, global_max_pool
from .convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from .elementwise import activation, activation_grad, linear, linear_grad, scale_mask, softmax, softmax_grad
from .im2col import im2col_conv, im2col_conv_grad
from .pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from .training import (
    adam_step,
    batch_norm,
    batch_norm_grad,
    binary_cross_entropy_with_logits,
    cross_entropy,
    local_response_norm,
    local_response_norm_grad,
    mse,
    rmsprop_step,
    sgd_step,
)

im2col_conv1d = im2col_conv2d = im2col_conv3d = im2col_conv
im2col_conv1d_grad = im2col_conv2d_grad = im2col_conv3d_grad = im2col_conv_grad

__all__ = [
    "activation",
    "activation_grad",
    "adam_step",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "batch_norm_grad",
    "binary_cross_entropy_with_logits",
    "channel_avg_pool",
    "channel_max_pool",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "global_avg_pool",
    "global_max_pool",
    "grad",
    "im2col_conv",
    "im2col_conv1d",
    "im2col_conv1d_grad",
    "im2col_conv2d",
    "im2col_conv2d_grad",
    "im2col_conv3d",
    "im2col_conv3d_grad",
    "im2col_conv_grad",
    "linear",
    "linear_grad",
    "local_response_norm",
    "local_response_norm_grad",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mse",
    "rmsprop_step",
    "scale_mask",
    "sgd_step",
    "softmax",
    "softmax_grad",
]
