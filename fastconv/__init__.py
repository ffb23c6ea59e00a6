"""Hand-optimised convolution, pooling and their gradients for NumPy arrays.

The functions (`conv2d`, `max_pool2d`, ...) and the run-time controls (`threads`, `precision`, `explain`, ...)
are here, the gradients of the functions in `fastconv.grad`. Around them: `fastconv.signal` (convolution as
signal processing means it); `fastconv.nn` and `fastconv.optim` (layers and optimisers); `fastconv.models`,
`fastconv.weights` (files of weights), `fastconv.data`, `fastconv.augment` and `fastconv.training`, with
`fastconv.detection` and `fastconv.segmentation` for what is more than one class an image; `fastconv.pictures`
and `fastconv.studies`; and `fastconv.reference`, every operation again in readable NumPy.

>>> import numpy as np
>>> import fastconv as fc
>>> x = np.ones((1, 3, 32, 32), np.float32)
>>> w = np.ones((8, 3, 5, 5), np.float32)
>>> fc.conv2d(x, w, padding="same", activation="relu").shape
(1, 8, 32, 32)
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from fastconv import grad
from fastconv._core import __version__
from fastconv.functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    channel_avg_pool,
    channel_max_pool,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    global_avg_pool,
    global_max_pool,
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
from fastconv.runtime import (
    CacheInfo,
    Explanation,
    cache_info,
    clear_cache,
    config,
    explain,
    get_num_threads,
    get_precision,
    precision,
    set_num_threads,
    set_precision,
    show_config,
    threads,
)

if TYPE_CHECKING:
    from fastconv import (
        augment,
        data,
        detection,
        models,
        nn,
        optim,
        pictures,
        reference,
        segmentation,
        signal,
        studies,
        training,
        weights,
    )

__all__ = [
    "CacheInfo",
    "Explanation",
    "__version__",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "augment",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "cache_info",
    "channel_avg_pool",
    "channel_max_pool",
    "clear_cache",
    "config",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "data",
    "detection",
    "explain",
    "get_num_threads",
    "get_precision",
    "global_avg_pool",
    "global_max_pool",
    "grad",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "models",
    "nn",
    "optim",
    "pictures",
    "precision",
    "reference",
    "segmentation",
    "set_num_threads",
    "set_precision",
    "show_config",
    "signal",
    "studies",
    "threads",
    "training",
    "weights",
]

_IMPORTED_ON_USE = frozenset(
    (
        "augment",
        "data",
        "detection",
        "models",
        "nn",
        "optim",
        "pictures",
        "reference",
        "segmentation",
        "signal",
        "studies",
        "training",
        "weights",
    )
)


def __getattr__(name: str) -> ModuleType:
    if name in _IMPORTED_ON_USE:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_IMPORTED_ON_USE})
