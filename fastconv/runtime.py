"""Run-time controls: threads, precision, the memory pool, and what the library says about itself."""

import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import DTypeLike

from fastconv import _core, functional, grad
from fastconv._typing import Precision, Shape


class _Blocks(threading.local):
    """The `with` blocks that each thread is in, the innermost last, and what they say.

    They need not be left in the order they were entered in (generators and tasks may not): what holds is
    the word of the innermost that is still open.
    """

    def __init__(self, hold: Callable[[Any], None]) -> None:
        self._hold = hold
        self._open: dict[object, Any] = {}

    @contextmanager
    def entered(self, word: Any) -> Iterator[None]:
        self._hold(word)
        block = object()
        self._open[block] = word
        try:
            yield
        finally:
            self._open.pop(block, None)
            self._hold(next(reversed(self._open.values()), None))


_thread_blocks = _Blocks(_core.hold_num_threads)
_precision_blocks = _Blocks(_core.hold_precision)


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use.

    It holds for the whole process, but not within a `with fastconv.threads(...)` block. Results are the same,
    bit for bit, with any number.

    Parameters
    ----------
    n : int
        Number of threads, from 1 to 1024.

    Raises
    ------
    TypeError
        If `n` is no integer.
    ValueError
        If `n` is smaller than 1 or larger than 1024.

    Examples
    --------
    >>> import fastconv as fc
    >>> before = fc.get_num_threads()
    >>> fc.set_num_threads(1)
    >>> fc.get_num_threads()
    1
    >>> fc.set_num_threads(before)
    """
    _core.set_num_threads(n)


def get_num_threads() -> int:
    """Tell how many threads a call made now, in this thread, may use.

    Returns
    -------
    int
        What the innermost `with fastconv.threads(...)` block of this thread says; outside of all of them what
        was set, or at the start `OMP_NUM_THREADS`, or the number of CPUs that affinity and control group
        leave to this process.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Set how many threads a call may use, for the length of a `with` block.

    It holds in the Python thread that enters the block and in no other; blocks nest.

    Parameters
    ----------
    n : int
        Number of threads, from 1 to 1024.

    Raises
    ------
    TypeError
        If `n` is no integer.
    ValueError
        If `n` is smaller than 1 or larger than 1024.

    Examples
    --------
    >>> import fastconv as fc
    >>> with fc.threads(1):
    ...     fc.get_num_threads()
    1
    """
    with _thread_blocks.entered(n):
        yield


def set_precision(p: Precision) -> None:
    """Set the least accuracy that calls without a `precision` of their own promise.

    It holds for the whole process, but not within a `with fastconv.precision(...)` block, and for sums of
    float32 products alone.

    Parameters
    ----------
    p : {"highest", "high", "medium"}
        "highest" is as accurate as a float32 matrix product, "high" promises a relative error of at most
        1e-5, "medium" (bfloat16 products, float32 sums) of at most 5e-3.

    Raises
    ------
    ValueError
        If `p` is none of these words.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.set_precision("high")
    >>> fc.get_precision()
    'high'
    >>> fc.set_precision("highest")
    """
    _core.set_precision(p)


def get_precision() -> str:
    """Tell the least accuracy that calls made now, in this thread, promise without their own `precision`.

    Returns
    -------
    str
        "highest", "high" or "medium": what the innermost `with fastconv.precision(...)` block of this thread
        says; outside of all of them what was set, at the start "highest".

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.get_precision()
    'highest'
    """
    return _core.get_precision()


@contextmanager
def precision(p: Precision) -> Iterator[None]:
    """Set the precision for the length of a `with` block.

    It holds in the Python thread that enters the block and in no other; blocks nest. The argument `precision`
    of a function concerns its own call only.

    Parameters
    ----------
    p : {"highest", "high", "medium"}
        As in `set_precision`.

    Raises
    ------
    ValueError
        If `p` is none of these words.

    Examples
    --------
    >>> import fastconv as fc
    >>> with fc.precision("medium"):
    ...     fc.get_precision()
    'medium'
    >>> fc.get_precision()
    'highest'
    """
    with _precision_blocks.entered(p):
        yield


@dataclass(frozen=True)
class Explanation:
    """How a call would be computed; `str` of it is a readable page.

    Attributes
    ----------
    operation : str
        Name of the function, such as "conv2d" or "grad.conv2d".
    algorithm : str
        Route taken, a value for the argument `algorithm`; of a gradient whose two products take
        different ones, both, as in "winograd (dx), implicit_gemm (dw)".
    isa : str
        Instruction set of the kernels.
    dtype, precision : str
        Element type and accuracy that the plan is for.
    threads : int
        Threads that share the work.
    tile : tuple of int
        Rows and columns of the matrix tile that a micro-kernel keeps in registers.
    blocking : mapping of str to int
        Sizes of the blocks that loops cut the problem into.
    workspace_bytes : int
        Memory needed beside inputs and results.
    flops, bytes : int
        Multiplications and additions; bytes of inputs and results.
    output_shape : tuple of int
        Shape of the result; for a gradient that of `dy`, the result of the forward call. The gradients
        themselves have the shapes of input and filters.
    reasons : tuple of str
        Why each faster route does not serve this call.
    """

    operation: str
    algorithm: str
    isa: str
    dtype: str
    precision: str
    threads: int
    tile: tuple[int, int]
    blocking: Mapping[str, int]
    workspace_bytes: int
    flops: int
    bytes: int
    output_shape: tuple[int, ...]
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        direction = "of dy" if self.operation.startswith("grad.") else "->"
        rows, columns = self.tile
        lines = [
            f"{self.operation} {direction} {self.dtype} {self.output_shape}",
            f"  algorithm  {self.algorithm}",
            f"  isa        {self.isa}",
            f"  threads    {self.threads}",
            f"  precision  {self.precision}",
            f"  tile       {rows} x {columns}",
            f"  blocking   {', '.join(f'{name} {size}' for name, size in self.blocking.items())}",
            f"  work       {self.flops / 1e9:.6g} GFLOP on {self.bytes / 2**20:.6g} MiB of arrays",
            f"  workspace  {self.workspace_bytes / 2**20:.6g} MiB",
        ]
        if self.reasons:
            lines += ["  why not a faster route:", *(f"    {reason}" for reason in self.reasons)]
        return "\n".join(lines)


_EXPLAINED = {
    f"{prefix}{name}": getattr(module, name)
    for prefix, module in (("", functional), ("grad.", grad))
    for kind in ("conv", "conv_transpose")
    for name in (f"{kind}1d", f"{kind}2d", f"{kind}3d")
}
_KEYWORDS_OF_SOME = {
    "padding_mode": "zeros",
    "output_padding": 0,
    "needs": (True, True, True),
    "y": None,
    "out": None,
}


def explain(
    operation: str, x_shape: Shape, w_shape: Shape, *, dtype: DTypeLike = "float32", **keywords: Any
) -> Explanation:
    """Tell how a convolution would be computed, without computing it.

    Parameters
    ----------
    operation : str
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", ..., or a gradient's name such as "grad.conv2d".
    x_shape, w_shape : sequence of int
        Shapes of the input and of the filters.
    dtype : dtype, default "float32"
        Element type of the arrays.
    **keywords
        Those of the call, as in `conv2d`, `conv_transpose2d` and their gradients. Arrays among them (`b`,
        `y`, `out`) may be left out, even where the call wants them; they are checked and change no plan. An
        activation is fused into every route, and changes none either.

    Returns
    -------
    Explanation
        Algorithm, instruction set, blocking, memory and work, and why no faster route serves; its `str` is a
        readable page.

    Raises
    ------
    TypeError, ValueError
        Where the call itself would raise them.

    Examples
    --------
    >>> import fastconv as fc
    >>> plan = fc.explain("conv2d", (8, 64, 56, 56), (128, 64, 3, 3), stride=2, padding=1)
    >>> plan.output_shape
    (8, 128, 28, 28)
    >>> plan.flops == 2 * 64 * 3 * 3 * 8 * 128 * 28 * 28
    True
    """
    if not isinstance(operation, str):
        raise TypeError(f"explain: operation must be a str, got {operation!r}")
    if operation not in _EXPLAINED:
        raise ValueError(f"explain: operation is {operation!r}, expected one of {', '.join(_EXPLAINED)}")
    taken: dict[str, Any] = {
        name: parameter.default
        for name, parameter in inspect.signature(_EXPLAINED[operation]).parameters.items()
        if parameter.default is not parameter.empty
    }
    for name in keywords:
        if name not in taken:
            raise TypeError(f"explain: {operation} takes no keyword {name!r}, only {', '.join(taken)}")
    arguments: dict[str, Any] = _KEYWORDS_OF_SOME | taken | keywords
    plan = _core.explain(
        operation,
        int(operation[-2]),
        "transpose" in operation,
        operation.startswith("grad."),
        x_shape,
        w_shape,
        dtype,
        **arguments,
    )
    plan |= {name: tuple(plan[name]) for name in ("tile", "output_shape", "reasons")}
    return Explanation(**plan)


def config() -> dict[str, Any]:
    """Tell what the library was built with and what it found on this machine.

    Returns
    -------
    dict
        Versions, compiler, instruction sets (those this machine can run, and the one in use), caches,
        threads, precision and CUDA: strings, numbers, lists and dicts, so that JSON can hold it. The CUDA
        back end is "absent", "installed", or, once an array on a device was met, what it says of itself.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.config()["version"] == fc.__version__
    True
    """
    import platform

    import numpy

    return {
        **_core.config(),
        "cuda": _cuda_state(),
        "isa": _core.isa(),
        "precision": _core.get_precision(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "platform": platform.platform(),
    }


def _cuda_state() -> str:
    """Tell of the CUDA back end without loading it."""
    from importlib.util import find_spec

    module = sys.modules.get("fastconv._cuda")
    if module is not None:
        description: str = module.description()
        return description
    return "installed" if find_spec("fastconv._cuda") else "absent"


def show_config() -> None:
    """Print `config()`, one line per entry.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.show_config()  # doctest: +ELLIPSIS
    version ...
    """
    entries = config()
    width = max(map(len, entries))
    for name, value in entries.items():
        print(f"{name:{width}}  {_readable(value)}")


def _readable(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_readable(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)


def clear_cache() -> None:
    """Give the memory that the pool keeps for later results and workspace back to the system.

    Arrays in use are not touched. Convolutions that are kept prepared are forgotten too, and so are filters.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.clear_cache()
    >>> fc.cache_info().bytes_cached
    0
    """
    _core.clear_cache()


class CacheInfo(NamedTuple):
    """State of what is kept for later calls.

    Attributes
    ----------
    bytes_in_use, blocks_in_use : int
        Memory that results and running calls hold.
    bytes_cached, blocks_cached : int
        Memory kept for later calls.
    limit_bytes : int
        Most memory that is kept.
    hits, misses : int
        Requests served from the kept memory, and those for which the system was asked.
    calls_kept : int
        Convolutions whose blocking and tables are kept for calls of the same shapes, at most 256.
    filter_bytes_kept : int
        Memory of filters kept in the form that the arithmetic reads, at most a sixteenth of the machine's;
        part of `bytes_in_use`.
    """

    bytes_in_use: int
    bytes_cached: int
    blocks_in_use: int
    blocks_cached: int
    limit_bytes: int
    hits: int
    misses: int
    calls_kept: int
    filter_bytes_kept: int


def cache_info() -> CacheInfo:
    """Tell what is kept for later calls: memory, prepared convolutions, and filters that came again.

    A convolution packs its filters, or maps them, before it computes. Where that takes a good part of a call,
    with few or small images, filters that come a second time are kept so, and later calls find them by their
    content: whoever changes them, in whatever way, gets what the new filters give.

    Returns
    -------
    CacheInfo
        A named tuple of numbers of bytes, blocks, requests and calls.

    Examples
    --------
    >>> import fastconv as fc
    >>> info = fc.cache_info()
    >>> info.bytes_cached <= info.limit_bytes
    True
    """
    return CacheInfo(**_core.cache_info())


def _log_calls() -> None:
    """Log a line per call; it goes to stderr unless the program has set up logging of its own."""
    import logging

    logger = logging.getLogger("fastconv")
    logger.setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: not logging.getLogger().handlers)
    logger.addHandler(handler)
    _core.set_verbose_callback(logger.info)


if os.environ.get("FASTCONV_VERBOSE", "0") not in ("", "0"):
    _log_calls()
