"""Where windows lie: the axis arguments of convolutions and pools, turned into sizes, pads and slices.

Along one axis, with input size I, pads (p, q), kernel size k, dilation d and stride s, window number o
(counted from 0) covers the positions

    o * s - p + t * d        for t = 0 .. k - 1

of the input, and there are ``(I + p + q - (d * (k - 1) + 1)) // s + 1`` windows. Everything in this file
is that formula, axis by axis.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
PerAxis: TypeAlias = int | Sequence[int]
Padding: TypeAlias = str | int | Sequence[int] | Sequence[tuple[int, int]]
Index: TypeAlias = tuple[Any, ...]
Pads: TypeAlias = tuple[tuple[int, int], ...]

NUMPY_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@dataclass(frozen=True)
class Windows:
    """The windows of one call: one entry per spatial axis in every field."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads
    output: tuple[int, ...]

    def taps(self) -> Iterator[tuple[tuple[int, ...], Index]]:
        """Yield every kernel tap with the index that picks what lies under it, for all windows at once.

        The index applies to an array whose last axes are the *padded* spatial ones.
        """
        for tap in np.ndindex(self.kernel):
            slices = [
                slice(t * d, t * d + (o - 1) * s + 1, s)
                for t, d, o, s in zip(tap, self.dilation, self.output, self.stride, strict=True)
            ]
            yield tap, trailing(slices)


def trailing(index: Sequence[int | slice]) -> Index:
    """Return `index` as one for an array's last axes, all of the others being kept."""
    return (..., *index)


def is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    """Say whether a value has several entries: an array without axes has not."""
    return value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, Sequence)


def per_axis(name: str, value: PerAxis, rank: int, least: int = 1) -> tuple[int, ...]:
    """Return `value` as one int per spatial axis; each must be at least `least`."""
    entries: Sequence[Any] = list(value) if is_sequence(value) else [value] * rank
    if len(entries) != rank:
        raise ValueError(f"{name} has {len(entries)} entries, but there are {rank} spatial axes: {value!r}")
    numbers = tuple(operator.index(entry) for entry in entries)
    if min(numbers) < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    return numbers


def check_not_empty(sizes: Sequence[int]) -> None:
    """Check that the input has something to slide over."""
    if min(sizes) < 1:
        raise ValueError(f"x is empty: its spatial sizes are {tuple(sizes)}")


def span(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Return the input positions that a dilated kernel reaches over, per axis."""
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))


def explicit_pads(padding: int | Sequence[Any], rank: int) -> Pads:
    """Return a `padding` given in numbers as one (before, after) pair per axis."""
    if not is_sequence(padding):
        return tuple((n, n) for n in per_axis("padding", padding, rank, least=0))
    padding = list(padding)
    pairs = [entry if is_sequence(entry) else (entry, entry) for entry in padding]
    if rank == 1 and len(padding) == 2 and padding[0] is not pairs[0]:
        raise ValueError(f"padding={padding!r} is ambiguous in 1-D; write padding=({tuple(padding)!r},)")
    if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"padding must hold an int or a (before, after) pair per spatial axis, got {padding!r}"
        )
    befores, afters = zip(*pairs, strict=True)
    return tuple(
        zip(per_axis("padding", befores, rank, 0), per_axis("padding", afters, rank, 0), strict=True)
    )


def window_pads(padding: Padding, sizes: Sequence[int], spans: Sequence[int], stride: Sequence[int]) -> Pads:
    """Return the (before, after) pads of windows that slide over an input of `sizes`."""
    if not isinstance(padding, str):
        return explicit_pads(padding, len(sizes))
    if padding == "valid":
        return tuple((0, 0) for _ in sizes)
    if padding == "full":
        return tuple((extent - 1, extent - 1) for extent in spans)
    if padding == "causal" and len(sizes) == 1:
        return ((spans[0] - 1, 0),)
    if padding == "same":
        pairs = []
        for size, extent, step in zip(sizes, spans, stride, strict=True):
            windows = -(-size // step)
            total = max((windows - 1) * step + extent - size, 0)
            pairs.append((total // 2, total - total // 2))
        return tuple(pairs)
    raise ValueError(f'padding must be numbers, "valid", "same", "full" or (1-D) "causal", got {padding!r}')


def conv_windows(
    sizes: Sequence[int], kernel: Sequence[int], stride: PerAxis, padding: Padding, dilation: PerAxis
) -> Windows:
    """Return the windows of a convolution over an input of `sizes`."""
    check_not_empty(sizes)
    rank = len(sizes)
    stride, dilation = per_axis("stride", stride, rank), per_axis("dilation", dilation, rank)
    spans = span(kernel, dilation)
    pads = window_pads(padding, sizes, spans, stride)
    output = tuple(
        (size + before + after - extent) // step + 1
        for size, (before, after), extent, step in zip(sizes, pads, spans, stride, strict=True)
    )
    if min(output) < 1:
        raise ValueError(
            f"the dilated kernel {spans} is larger than the padded input: {tuple(sizes)} + {pads}"
        )
    return Windows(tuple(kernel), stride, dilation, pads, output)


def transposed_windows(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: PerAxis,
    padding: Padding,
    output_padding: PerAxis,
    dilation: PerAxis,
) -> tuple[Windows, tuple[int, ...]]:
    """Return the windows of the convolution that is transposed, and the transposed result's spatial sizes.

    The windows' own `output` is the transposed convolution's input.
    """
    check_not_empty(sizes)
    rank = len(sizes)
    stride, dilation = per_axis("stride", stride, rank), per_axis("dilation", dilation, rank)
    extra = per_axis("output_padding", output_padding, rank, least=0)
    spans = span(kernel, dilation)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ValueError(
            f"output_padding {extra} must be smaller than stride {stride} or dilation {dilation}"
        )
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ValueError(
                f'padding of a transposed convolution must be numbers, "valid" or "same", got {padding!r}'
            )
        if padding == "same" and any(extra):
            raise ValueError(f'output_padding {extra} changes the sizes that padding="same" promises')
        # "same": a kernel longer than its stride overlaps its neighbour, a shorter one leaves a gap after it.
        overlaps = [s - t if padding == "same" else 0 for s, t in zip(spans, stride, strict=True)]
        pads: Pads = tuple((max(n, 0) // 2, max(n, 0) - max(n, 0) // 2) for n in overlaps)
        extra = tuple(e + max(-n, 0) for e, n in zip(extra, overlaps, strict=True))
    else:
        pads = explicit_pads(padding, rank)
    result = tuple(
        (size - 1) * step + extent - before - after + more
        for size, step, extent, (before, after), more in zip(sizes, stride, spans, pads, extra, strict=True)
    )
    if min(result) < 1:
        raise ValueError(f"padding {pads} leaves nothing of the result: its sizes would be {result}")
    return Windows(tuple(kernel), stride, dilation, pads, tuple(sizes)), result


def pool_windows(
    sizes: Sequence[int],
    kernel_size: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    dilation: PerAxis,
    ceil_mode: bool,
) -> Windows:
    """Return the windows of a pool; with `ceil_mode` the last ones may reach beyond the padded input."""
    check_not_empty(sizes)
    rank = len(sizes)
    kernel = per_axis("kernel_size", kernel_size, rank)
    stride = kernel if stride is None else per_axis("stride", stride, rank)
    dilation = per_axis("dilation", dilation, rank)
    spans = span(kernel, dilation)
    pads = window_pads(padding, sizes, spans, stride)
    output = []
    for size, (before, after), extent, step in zip(sizes, pads, spans, stride, strict=True):
        if max(before, after) >= extent:
            raise ValueError(f"padding {pads} must be smaller than the dilated window {spans}")
        room = size + before + after - extent
        steps = -(-room // step) if ceil_mode else room // step
        if ceil_mode and steps * step >= size + before:  # would start in the right padding
            steps -= 1
        if steps < 0:
            raise ValueError(
                f"the dilated window {spans} is larger than the padded input: {tuple(sizes)} + {pads}"
            )
        output.append(steps + 1)
    return Windows(kernel, stride, dilation, pads, tuple(output))


def pad(planes: Array, pads: Pads, padding_mode: str = "zeros") -> Array:
    """Return `planes` with its last axes padded."""
    if padding_mode not in NUMPY_PAD_MODES:
        raise ValueError(f"padding_mode must be one of {list(NUMPY_PAD_MODES)}, got {padding_mode!r}")
    for size, (before, after) in zip(planes.shape[-len(pads) :], pads, strict=True):
        limit = {"reflect": size - 1, "circular": size}.get(padding_mode, before + after)
        if max(before, after) > limit:
            raise ValueError(
                f"padding_mode={padding_mode!r} can't pad {size} elements by {before} and {after}"
            )
    if not any(map(any, pads)):
        return planes
    lead = [(0, 0)] * (planes.ndim - len(pads))
    return np.pad(planes, [*lead, *pads], mode=NUMPY_PAD_MODES[padding_mode])  # type: ignore[call-overload, no-any-return]


def unpad(padded: Array, pads: Pads, padding_mode: str = "zeros") -> Array:
    """Apply the adjoint of `pad`: every padded element is added to the input element it was a copy of."""
    for axis, (before, after) in enumerate(pads, start=padded.ndim - len(pads)):
        size = padded.shape[axis] - before - after
        moved = np.moveaxis(padded, axis, 0)
        if padding_mode == "zeros":
            planes = moved[before : before + size]
        else:
            source = pad(np.arange(size), ((before, after),), padding_mode)
            planes = np.zeros((size, *moved.shape[1:]))
            np.add.at(planes, source, moved)
        padded = np.moveaxis(planes, 0, axis)
    return padded
