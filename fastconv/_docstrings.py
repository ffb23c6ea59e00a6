"""How the docstrings of the functions are put together.

A function says the same for rank 1, 2 and 3, save for the names of the axes, and most arguments mean the same
in every function. So a function's own docstring holds its summary and its example, a *page* (one for each
operation, beside the functions it serves) holds the sections between them, and `documented` joins the two. In
a page `{n}`, `{spatial}` and their like stand for the rank and its axes, and the name of a shared
argument, such as `{stride}`, for its paragraph below.
"""

from collections.abc import Callable
from inspect import cleandoc
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_AXES = ("ints", "axes", "spatial", "kernel", "output")
_RANKS = {
    None: ("ints", "any number of spatial axes", "*spatial", "*kernel", "*output"),
    1: ("one int", "one spatial axis", "L", "kL", "Lo"),
    2: ("two ints", "two spatial axes", "H, W", "kH, kW", "Ho, Wo"),
    3: ("three ints", "three spatial axes", "D, H, W", "kD, kH, kW", "Do, Ho, Wo"),
}

_PADDING_FORMS = """one int for every side, one int per
    spatial axis, or one `(before, after)` pair per spatial axis."""
_PADDING_FORMS_1D = """one int for both sides, `(a,)`, or
    `((before, after),)`; a bare `(a, b)` could mean two things and is refused."""
_PADDING_WORDS = """"valid" adds none, "same" makes the
    output `ceil(input / stride)` long (the odd element goes after), "full" reaches every overlap of
    window and input"""
_CAUSAL = """, "causal" puts all of the padding before"""

_ARGUMENTS = {
    "x": """x : array of shape (N, C, {spatial})
    The input, or (N, {spatial}, C) with `data_format="channels_last"`, of dtype float32, float64,
    float16 or bfloat16. `N` may be left out, and is then left out of the result.""",
    "batch": """x : array of shape (N, C, *spatial)
    The input, or (N, *spatial, C) with `data_format="channels_last"`, of dtype float32, float64,
    float16 or bfloat16, with any number of spatial axes.""",
    "b": """b : array of shape (K,), optional
    Added to every element of output channel `k`.""",
    "kernel_size": """kernel_size : int or sequence of {ints}
    Size of the window along each spatial axis, in elements.""",
    "stride": """stride : int or sequence of {ints}, default 1
    Step of the filter along each spatial axis, in elements.""",
    "pool_stride": """stride : int or sequence of {ints}, optional
    Step of the window along each spatial axis, in elements. `None` takes `kernel_size`: windows
    then lie side by side.""",
    "padding": """padding : int, sequence of int, sequence of pairs, or str, default 0
    Elements added around the input, or a word: {padding_words}.
    As numbers: {padding_forms}""",
    "pool_padding": """padding : int, sequence of int, sequence of pairs, or str, default 0
    Elements added around the input, or a word: {padding_words}.
    As numbers, each smaller than the (dilated) window: {padding_forms}""",
    "transpose_padding": """padding : int, sequence of int, sequence of pairs, or str, default 0
    Elements cut off around the result, or a word: "valid" cuts none, "same" makes the output
    `input * stride` long. As numbers: {padding_forms}""",
    "output_padding": """output_padding : int or sequence of {ints}, default 0
    Elements added to the output at the end of each spatial axis, since a strided convolution maps
    several input sizes to one output size. With `padding="same"`, which names the size, 0 alone.""",
    "dilation": """dilation : int or sequence of {ints}, default 1
    Distance between neighbouring elements of the window along each spatial axis.""",
    "groups": """groups : int, default 1
    Number of blocks the input and output channels are cut into; an output channel sees the input
    channels of its own block only. `groups=C` is the depthwise case.""",
    "padding_mode": """padding_mode : {{"zeros", "reflect", "replicate", "circular"}}, default "zeros"
    What the padding holds: zeros, the input mirrored at its border elements, its border elements,
    or its other end.""",
    "ceil_mode": """ceil_mode : bool, default False
    Round the output size up instead of down, so that a last, partly filled window counts, unless it
    would start in the padding after the input.""",
    "count_include_pad": """count_include_pad : bool, default True
    Count the padding among the elements a window's sum is divided by.""",
    "divisor_override": """divisor_override : int, optional
    Divide every window's sum by this instead of by the number of its elements.""",
    "p": """p : float
    Exponent of the norm: 1 sums magnitudes, 2 is the Euclidean norm.""",
    "output_size": """output_size : int, None, or sequence of these
    Size of the result along each spatial axis; `None` keeps the input's.""",
    "pool_size": """pool_size : int
    Number of neighbouring channels in a window.""",
    "channel_stride": """stride : int, optional
    Step of the window along the channels. `None` takes `pool_size`.""",
    "keepdims": """keepdims : bool, default False
    Keep the spatial axes, each of length 1.""",
    "data_format": """data_format : {{"channels_first", "channels_last"}}, default "channels_first"
    Whether channels come right after the batch axis or last, in inputs and results alike.""",
    "activation": """activation : str, optional
    Applied to each element before it is stored: "relu", "relu6", "leaky_relu" (of slope 0.01),
    "sigmoid", "tanh", "gelu" (the exact one) or "silu".""",
    "precision": """precision : {{"highest", "high", "medium"}}, optional
    Least accuracy wanted of sums of float32 products; `None` takes `fastconv.get_precision()`. It
    changes nothing on float64.""",
    "algorithm": """algorithm : str, default "auto"
    The route to take: "implicit_gemm", "winograd", "tile_gemm" (on processors with AMX) or "direct";
    `fastconv.explain` tells which one "auto" takes, and why.""",
    "out": """out : ndarray, optional
    Array of the result's shape and dtype to write the result to. Each of its elements has its own
    memory.""",
    "dy": """dy : array of shape (N, C, {output})
    Gradient of the loss with respect to the result, or (N, {output}, C) with
    `data_format="channels_last"`. `N` may be left out where the forward call left it out.""",
    "conv_dy": """dy : array of shape (N, K, {output})
    Gradient of the loss with respect to the result, or (N, {output}, K) with
    `data_format="channels_last"`. `N` may be left out where the forward call left it out.""",
    "batch_dy": """dy : array of the shape of the forward function's result
    Gradient of the loss with respect to that result.""",
    "input_shape": """input_shape : sequence of int
    Shape of the forward function's input, with its batch and channel axes.""",
    "grad_b": """b : array of shape (K,), optional
    Bias of the forward call; of use with the activations "gelu" and "silu" only.""",
    "grad_y": """y : array of the shape of `dy`, optional
    Result of the forward call, wanted with every activation but "gelu" and "silu".""",
    "grad_activation": """activation : str, optional
    That of the forward call. The gradients of "gelu" and "silu" need what came before them, and compute
    it again from `x`, `w` and `b`; those of the others need `y`.""",
    "pool_indices": """indices : int64 array of the shape of `dy`
    What the forward function returned beside its result.""",
    "needs": """needs : sequence of 3 bool, default (True, True, True)
    Which of `dx`, `dw` and `db` to compute.""",
    "conv_gradients": """dx, dw, db : ndarray or None
    Gradients of the loss with respect to `x`, `w` and the bias, of their shapes and of the dtype of
    `dy`; `None` in the place of what `needs` leaves out.""",
    "dx": """dx : ndarray
    Gradient of the loss with respect to the forward function's input, of that input's shape and of
    the dtype of `dy`.""",
    "raises": """TypeError
    If an array has no floating dtype, if dtypes differ, or if an argument is of a wrong type.
ValueError
    If shapes and arguments do not fit each other, or a word is none of those listed.
MemoryError
    If memory for the result or for the work on it cannot be had.""",
}


def _words(rank: int | None) -> dict[str, str]:
    words = dict(zip(_AXES, _RANKS[rank], strict=True)) | {
        "n": str(rank),
        "padding_forms": _PADDING_FORMS_1D if rank == 1 else _PADDING_FORMS,
        "padding_words": _PADDING_WORDS + _CAUSAL if rank == 1 else _PADDING_WORDS,
    }
    return words | {name: paragraph.format_map(words) for name, paragraph in _ARGUMENTS.items()}


_WORDS = {rank: _words(rank) for rank in _RANKS}

_EXAMPLES = """Examples
--------
>>> import numpy as np
>>> import fastconv as fc
"""


def documented(page: str, rank: int | None = None) -> Callable[[Function], Function]:
    """Put the sections of `page`, written out for `rank`, between a function's summary and its example."""

    def complete(function: Function) -> Function:
        if function.__doc__:  # python -OO drops docstrings
            summary, _, example = cleandoc(function.__doc__).partition("\n\n")
            sections = page.strip().format_map(_WORDS[rank])
            function.__doc__ = f"{summary}\n\n{sections}\n\n{_EXAMPLES}{example}\n"
        return function

    return complete
