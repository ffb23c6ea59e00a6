"""The problem cases that every test goes through: one list per kind of operation.

A case holds shapes and keywords, channels first and with a batch axis; `arrays` draws its data from a
generator seeded with the case's id, in the layout that its keywords ask for. Sizes are small, so that a whole
list runs in seconds, except for the few cases that cross the blocks of a matrix product.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

FORMATS = ("channels_first", "channels_last")
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "silu")


def generator(case_id: str) -> np.random.Generator:
    """Return the random numbers of a case: the same ones in every run."""
    return np.random.default_rng(zlib.crc32(case_id.encode()))


def in_layout(planes: np.ndarray, data_format: str, batched: bool) -> np.ndarray:
    """Return (N, C, *spatial) as a C-contiguous array in the layout asked for."""
    x = np.moveaxis(planes, 1, -1) if data_format == "channels_last" else planes
    return np.ascontiguousarray(x if batched else x[0])


@dataclass(frozen=True, kw_only=True)
class ImageCase:
    """What all cases share: an input x of shape (N, C, *spatial)."""

    x: tuple[int, ...]
    data_format: str = "channels_first"
    batched: bool = True
    note: str = ""

    @property
    def rank(self) -> int:
        return len(self.x) - 2

    @property
    def id(self) -> str:
        """All that differs from the defaults, in words."""
        words = [f"{self.rank}d", self.note, "x" + "x".join(map(str, self.x))]
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("x", "note", "batched") or value == f.default:
                continue
            words.append(value if f.name == "data_format" else f"{f.name}{_compact(value)}")
        return "-".join(filter(None, [*words, "" if self.batched else "unbatched"]))

    def image(self, dtype: Any = np.float64) -> np.ndarray:
        """Return x: uniform numbers in (-1, 1)."""
        planes = generator(self.id).uniform(-1, 1, self.x)
        return in_layout(planes, self.data_format, self.batched).astype(dtype)

    def upstream(self, y: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
        """Return an upstream gradient for the result `y`, the same numbers in both layouts."""
        shape = y.shape
        if self.data_format == "channels_last":
            shape = (*shape[: self.batched], shape[-1], *shape[self.batched : -1])
        dy = generator(self.id + "dy").uniform(-1, 1, shape)
        if self.data_format == "channels_last":
            dy = np.moveaxis(dy, int(self.batched), -1)
        return np.ascontiguousarray(dy).astype(dtype)


def _compact(value: Any) -> str:
    return str(value).replace(" ", "").replace("'", "")


@dataclass(frozen=True, kw_only=True)
class ConvCase(ImageCase):
    """A convolution; w is (K, C // groups, *kernel)."""

    w: tuple[int, ...]
    bias: bool = True
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    padding_mode: str = "zeros"
    activation: str | None = None

    @property
    def filters(self) -> int:
        return self.w[0]

    @property
    def keywords(self) -> dict[str, Any]:
        names = ("stride", "padding", "dilation", "groups", "padding_mode", "data_format", "activation")
        return {name: getattr(self, name) for name in names}

    def arrays(self, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return x, w and b (``None`` without bias)."""
        rng = generator(self.id + "w")
        w = rng.uniform(-1, 1, self.w).astype(dtype)
        b = rng.uniform(-1, 1, self.filters).astype(dtype)
        return self.image(dtype), w, b if self.bias else None


@dataclass(frozen=True, kw_only=True)
class ConvTransposeCase(ConvCase):
    """A transposed convolution; w is (C, K // groups, *kernel)."""

    output_padding: Any = 0
    padding_mode: str = field(default="zeros", init=False)

    @property
    def filters(self) -> int:
        return self.w[1] * self.groups

    @property
    def keywords(self) -> dict[str, Any]:
        names = ("stride", "padding", "output_padding", "dilation", "groups", "data_format", "activation")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class PoolCase(ImageCase):
    """A pool with windows: maximum, mean or norm."""

    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False

    @property
    def keywords(self) -> dict[str, Any]:
        names = ("stride", "padding", "dilation", "ceil_mode", "data_format")
        return {name: getattr(self, name) for name in names}

    def tied_image(self, dtype: Any = np.float64) -> np.ndarray:
        """Return an x of few different values, none of them -0: windows hold their maximum several times."""
        return (np.round(self.image() * 3) + 0.0).astype(dtype)


@dataclass(frozen=True, kw_only=True)
class AdaptiveCase(ImageCase):
    """An adaptive pool."""

    output_size: Any

    tied_image = PoolCase.tied_image


@dataclass(frozen=True, kw_only=True)
class ChannelCase(ImageCase):
    """A pool over channels, and (with the whole plane as the window) a global one."""

    pool_size: int
    stride: int | None = None

    tied_image = PoolCase.tied_image


# Per rank: an input with prime and odd sizes, a kernel of unequal sides, and the forms of each argument.
IMAGE = {1: (2, 3, 13), 2: (2, 3, 11, 7), 3: (2, 3, 7, 5, 6)}
KERNEL = {1: (4,), 2: (3, 2), 3: (2, 3, 2)}
STRIDES = {1: [1, 2, (3,)], 2: [1, 2, (3, 1)], 3: [1, 2, (1, 2, 3)]}
DILATIONS = {1: [1, (2,)], 2: [1, (2, 3)], 3: [1, (2, 1, 2)]}
PADDINGS: dict[int, list[Any]] = {
    1: [0, 2, (1,), ((2, 1),), ((0, 3),), "valid", "same", "full", "causal"],
    2: [0, 2, (2, 1), ((2, 1), (0, 3)), "valid", "same", "full"],
    3: [0, 2, (2, 1, 0), ((2, 1), (0, 2), (1, 1)), "valid", "same", "full"],
}
MODE_PADDINGS: dict[int, list[Any]] = {
    1: [3, ((2, 5),), "same", "causal"],
    2: [2, ((3, 1), (0, 4)), "same"],
    3: [1, ((3, 1), (0, 2), (2, 3)), "same"],
}


def _window_sweep() -> list[ConvCase]:
    """Every padding form with every stride and dilation; layout, bias and activation take turns."""
    cases = []
    turn = itertools.count()
    for rank in (1, 2, 3):
        for stride, dilation, padding in itertools.product(STRIDES[rank], DILATIONS[rank], PADDINGS[rank]):
            number = next(turn)
            cases.append(
                ConvCase(
                    x=IMAGE[rank],
                    w=(5, 3, *KERNEL[rank]),
                    bias=number % 3 > 0,
                    stride=stride,
                    padding=padding,
                    dilation=dilation,
                    data_format=FORMATS[number % 2],
                    activation=(None, None, None, *ACTIVATIONS)[number % 10],
                )
            )
    return cases


def _mode_sweep() -> list[ConvCase]:
    """Every padding mode with every rank, form and layout; strides and dilations take turns."""
    cases = []
    turn = itertools.count()
    for rank, mode in itertools.product((1, 2, 3), ("reflect", "replicate", "circular")):
        for padding, data_format in itertools.product(MODE_PADDINGS[rank], FORMATS):
            number = next(turn)
            cases.append(
                ConvCase(
                    x=IMAGE[rank],
                    w=(5, 3, *KERNEL[rank]),
                    padding=padding,
                    padding_mode=mode,
                    stride=STRIDES[rank][number % 3],
                    dilation=DILATIONS[rank][number // 3 % 2],
                    data_format=data_format,
                )
            )
    return cases


def _group_sweep() -> list[ConvCase]:
    """Channels of all kinds: groups, depthwise, multipliers, one channel, many."""
    channels = [
        # (C, K, groups)
        (1, 1, 1),
        (1, 6, 1),
        (4, 6, 2),
        (5, 5, 5),  # depthwise
        (3, 9, 3),  # depthwise with a multiplier
        (30, 30, 30),
        (30, 12, 3),
        (6, 30, 6),
        (64, 32, 32),
        (32, 64, 32),
        (17, 16, 1),
        (16, 33, 1),
    ]
    cases = []
    turn = itertools.count()
    for (c, k, groups), data_format in itertools.product(channels, FORMATS):
        number = next(turn)
        for rank in (1, 2, 3) if c < 10 else (2, 1 + number // 2 % 2 * 2):
            spatial, kernel = ((17,), (9, 11), (5, 4, 7))[rank - 1], ((5,), (3, 3), (3, 2, 3))[rank - 1]
            cases.append(
                ConvCase(
                    x=(2, c, *spatial),
                    w=(k, c // groups, *kernel),
                    groups=groups,
                    padding=number % 3,
                    stride=1 + number // 2 % 2,
                    data_format=data_format,
                )
            )
    return cases


SPECIAL_CONV_CASES = [
    ConvCase(note="one element", x=(1, 1, 1), w=(1, 1, 1)),
    ConvCase(note="one element", x=(1, 1, 1, 1), w=(1, 1, 1, 1)),
    ConvCase(note="one element", x=(1, 1, 1, 1, 1), w=(1, 1, 1, 1, 1)),
    ConvCase(note="one pixel", x=(3, 5, 1, 1), w=(7, 5, 3, 3), padding=1),
    ConvCase(note="one row", x=(2, 3, 1, 19), w=(4, 3, 1, 5), padding=(0, 2)),
    ConvCase(note="one column", x=(2, 3, 19, 1), w=(4, 3, 5, 1), padding=(2, 0), data_format="channels_last"),
    ConvCase(note="kernel larger than the input", x=(2, 3, 2), w=(4, 3, 7), padding=3),
    ConvCase(note="kernel larger than the input", x=(2, 3, 3, 2), w=(4, 3, 7, 6), padding=((4, 2), (2, 5))),
    ConvCase(note="kernel larger than the input", x=(1, 2, 2, 1, 3), w=(3, 2, 5, 3, 4), padding="full"),
    ConvCase(note="pads larger than the kernel", x=(2, 3, 4, 5), w=(4, 3, 2, 2), padding=5, stride=2),
    ConvCase(note="all padding", x=(1, 2, 3, 3), w=(3, 2, 2, 2), padding=4, stride=3, dilation=2),
    ConvCase(note="kernel is the input", x=(3, 4, 5, 6), w=(7, 4, 5, 6)),
    ConvCase(note="stride larger than the kernel", x=(2, 3, 17, 13), w=(4, 3, 2, 1), stride=(5, 4)),
    ConvCase(note="stride larger than the input", x=(2, 3, 3, 4), w=(4, 3, 2, 2), stride=9),
    ConvCase(note="wide dilation", x=(1, 3, 40), w=(4, 3, 3), dilation=13, padding="same"),
    ConvCase(note="unbatched", x=(1, 3, 13), w=(4, 3, 3), batched=False, padding="causal"),
    ConvCase(note="unbatched", x=(1, 3, 7, 9), w=(4, 3, 3, 3), batched=False, data_format="channels_last"),
    ConvCase(note="unbatched", x=(1, 3, 5, 4, 6), w=(4, 3, 3, 3, 3), batched=False, padding=1),
    ConvCase(note="empty batch", x=(0, 3, 13), w=(4, 3, 3)),
    ConvCase(note="empty batch", x=(0, 4, 7, 9), w=(4, 2, 3, 3), groups=2, data_format="channels_last"),
    ConvCase(note="empty batch", x=(0, 3, 5, 4, 6), w=(4, 3, 3, 3, 3), padding="same", activation="relu"),
    ConvCase(note="1x1", x=(3, 17, 9, 7), w=(19, 17, 1, 1)),
    ConvCase(note="1x1", x=(3, 17, 9, 7), w=(19, 17, 1, 1), data_format="channels_last"),
    ConvCase(note="1x1 strided", x=(2, 8, 9, 7), w=(6, 8, 1, 1), stride=2),
    ConvCase(note="1x1 padded", x=(2, 8, 5, 6), w=(6, 4, 1, 1), padding=1, groups=2),
    ConvCase(note="1x1", x=(2, 5, 31), w=(3, 5, 1), activation="silu"),
    ConvCase(note="large kernel", x=(1, 1, 29, 31), w=(3, 1, 11, 13), padding=6),
    ConvCase(note="three channels stride four", x=(2, 3, 35, 33), w=(16, 3, 11, 11), stride=4, padding=2),
    ConvCase(note="depthwise stride two", x=(1, 30, 15, 14), w=(30, 1, 3, 3), groups=30, stride=2, padding=1),
    ConvCase(
        note="depthwise dilated reflect",
        x=(2, 7, 12, 13),
        w=(14, 1, 3, 5),
        groups=7,
        dilation=2,
        padding=2,
        padding_mode="reflect",
    ),
    ConvCase(note="depthwise large", x=(1, 37, 33, 35), w=(37, 1, 5, 5), groups=37, padding="same"),
    # Rows long enough to be filtered one channel at a time: whole tiles and what is left of them, rows in
    # several blocks and in several pieces, phases that take turns or don't, chains of taps, padding by list.
    ConvCase(note="depthwise rows", x=(2, 3, 45, 57), w=(3, 1, 3, 3), groups=3, padding=1),
    ConvCase(
        note="depthwise rows", x=(1, 3, 90, 112), w=(3, 1, 3, 3), groups=3, padding=1, activation="relu6"
    ),
    ConvCase(note="depthwise rows", x=(1, 3, 11, 85), w=(3, 1, 3, 3), groups=3, padding=1, stride=2),
    ConvCase(note="depthwise rows", x=(1, 3, 12, 84), w=(3, 1, 2, 5), groups=3, padding=(0, 2), stride=2),
    ConvCase(note="depthwise rows", x=(1, 4, 9, 124), w=(8, 1, 4, 4), groups=4, padding=2, stride=(1, 2)),
    ConvCase(note="depthwise rows", x=(1, 2, 10, 130), w=(2, 1, 3, 3), groups=2, padding=1, stride=3),
    ConvCase(note="depthwise rows", x=(1, 2, 31, 70), w=(2, 1, 9, 7), groups=2, padding=(4, 3)),
    ConvCase(note="depthwise rows", x=(1, 2, 30, 60), w=(2, 1, 3, 3), groups=2, padding=4, dilation=(2, 4)),
    ConvCase(note="depthwise rows", x=(1, 2, 4, 4000), w=(2, 1, 3, 5), groups=2, padding=(1, 2)),
    ConvCase(
        note="depthwise rows",
        x=(1, 2, 9, 50),
        w=(4, 1, 3, 3),
        groups=2,
        padding=1,
        padding_mode="circular",
        activation="silu",
    ),
    ConvCase(note="depthwise rows", x=(1, 2, 5, 6, 44), w=(2, 1, 2, 3, 3), groups=2, padding=1),
    ConvCase(note="depthwise rows", x=(1, 2, 5, 7, 90), w=(2, 1, 3, 3, 3), groups=2, padding=1, stride=2),
    # Gradients of few filters: rows in pieces, images in slices, channels in chunks, phases of a stride.
    ConvCase(note="few filters", x=(1, 3, 5, 2100), w=(5, 3, 3, 3), padding=1),
    ConvCase(note="few filters", x=(40, 3, 14, 14), w=(7, 3, 5, 5), padding=2),
    ConvCase(note="few filters", x=(1, 200, 26, 30), w=(3, 200, 3, 3), padding=1),
    ConvCase(note="few filters", x=(2, 24, 20, 29), w=(24, 8, 3, 3), groups=3, stride=2, padding=1),
    ConvCase(note="few filters", x=(9, 5, 11, 10), w=(6, 5, 1, 1)),
    ConvCase(note="few filters", x=(2, 4, 6, 7, 20), w=(4, 4, 3, 3, 3), padding=1, dilation=(1, 1, 2)),
    # Of the phases of the input gradient, some read every pixel through one tap, others don't.
    ConvCase(
        note="depthwise one column", x=(2, 8, 14, 1), w=(8, 1, 3, 1), groups=8, padding=(1, 0), stride=2
    ),
    ConvCase(note="depthwise one column", x=(2, 3, 9, 1), w=(3, 1, 3, 3), groups=3, padding=(0, 1), stride=2),
    ConvCase(
        note="depthwise one row", x=(2, 16, 1, 40), w=(16, 1, 1, 4), groups=16, padding=(0, 1), stride=3
    ),
    ConvCase(
        note="depthwise large",
        x=(1, 67, 21, 20),
        w=(67, 1, 3, 3),
        groups=67,
        padding=1,
        data_format="channels_last",
    ),
    ConvCase(note="largest reflect pad", x=(1, 2, 4), w=(3, 2, 3), padding=3, padding_mode="reflect"),
    ConvCase(note="largest circular pad", x=(1, 2, 4), w=(3, 2, 3), padding=4, padding_mode="circular"),
    ConvCase(note="wide replicate pad", x=(1, 2, 2, 3), w=(3, 2, 3, 3), padding=6, padding_mode="replicate"),
]

# Beyond the edges of blocks: reductions over 600, more than 300 pixels, more than 150 filters.
BLOCKED_CONV_CASES = [
    ConvCase(note="blocks", x=(2, 70, 19, 17), w=(157, 70, 3, 3), padding=1),
    ConvCase(note="blocks", x=(1, 70, 20, 19), w=(157, 70, 3, 3), stride=2, data_format="channels_last"),
    ConvCase(note="blocks", x=(1, 613, 19, 17), w=(151, 613, 1, 1), activation="relu"),
    ConvCase(note="blocks", x=(2, 80, 331), w=(163, 80, 9), dilation=3, padding="causal"),
    ConvCase(note="blocks", x=(1, 24, 7, 9, 8), w=(155, 24, 3, 3, 3), padding="same"),
    ConvCase(note="blocks", x=(2, 140, 18, 18), w=(310, 70, 3, 3), groups=2, padding=1),
    ConvCase(note="long", x=(2, 3, 5003), w=(5, 3, 7), padding=3, padding_mode="circular"),
    ConvCase(note="tall", x=(1, 5, 203, 67), w=(9, 5, 3, 3), padding=1, padding_mode="replicate"),
]

CONV_CASES = [*_window_sweep(), *_mode_sweep(), *_group_sweep(), *SPECIAL_CONV_CASES, *BLOCKED_CONV_CASES]


def _transpose_sweep() -> list[ConvTransposeCase]:
    """Every padding form with every stride, dilation and output padding; layout and groups take turns."""
    cases = []
    turn = itertools.count()
    paddings: dict[int, list[Any]] = {
        1: [0, 1, ((0, 2),), "valid", "same"],
        2: [0, 1, ((2, 0), (1, 1)), "valid", "same"],
        3: [0, 1, ((1, 0), (1, 2), (0, 1)), "same"],
    }
    images = {1: (2, 4, 11), 2: (2, 4, 5, 7), 3: (2, 4, 4, 3, 5)}
    for rank in (1, 2, 3):
        for stride, dilation, padding in itertools.product(STRIDES[rank], DILATIONS[rank], paddings[rank]):
            for output_padding in (0, 1) if stride == 2 and padding != "same" else (0,):
                number = next(turn)
                groups = (1, 2, 4)[number % 3]
                cases.append(
                    ConvTransposeCase(
                        x=images[rank],
                        w=(4, 3, *KERNEL[rank]),
                        bias=number % 4 > 0,
                        stride=stride,
                        padding=padding,
                        output_padding=output_padding,
                        dilation=dilation,
                        groups=groups,
                        data_format=FORMATS[number % 2],
                        activation=(None, None, None, *ACTIVATIONS)[number % 10],
                    )
                )
    return cases


CONV_TRANSPOSE_CASES = [
    *_transpose_sweep(),
    ConvTransposeCase(note="one element", x=(1, 1, 1), w=(1, 1, 1)),
    ConvTransposeCase(note="one pixel", x=(2, 5, 1, 1), w=(5, 7, 4, 3)),
    ConvTransposeCase(note="stride larger than the kernel", x=(2, 3, 4, 5), w=(3, 4, 2, 1), stride=(3, 4)),
    ConvTransposeCase(
        note="stride larger than the kernel",
        x=(2, 3, 4, 5),
        w=(3, 4, 2, 1),
        stride=3,
        padding="same",
    ),
    ConvTransposeCase(note="crops more than it overlaps", x=(1, 3, 9, 8), w=(3, 4, 3, 3), padding=(4, 3)),
    ConvTransposeCase(note="depthwise", x=(2, 30, 6, 5), w=(30, 1, 4, 4), groups=30, stride=2, padding=1),
    ConvTransposeCase(note="unbatched", x=(1, 3, 5, 6), w=(3, 4, 3, 3), batched=False, stride=2),
    ConvTransposeCase(
        note="unbatched", x=(1, 3, 9), w=(3, 4, 3), batched=False, data_format="channels_last", stride=2
    ),
    ConvTransposeCase(note="empty batch", x=(0, 3, 5, 6), w=(3, 4, 3, 3), stride=2),
    ConvTransposeCase(
        note="output padding below the dilation", x=(1, 2, 6), w=(2, 3, 3), dilation=3, output_padding=2
    ),
    ConvTransposeCase(note="blocks", x=(1, 160, 19, 17), w=(160, 70, 4, 4), stride=2, padding=1),
    ConvTransposeCase(
        note="blocks", x=(2, 610, 9, 8), w=(610, 21, 2, 2), data_format="channels_last", stride=2
    ),
]


def _pool_sweep() -> list[PoolCase]:
    """Every padding form, stride, dilation and rounding of the output size; layouts take turns."""
    paddings: dict[int, list[Any]] = {
        1: [0, 1, ((0, 2),), "same", "full", "causal"],
        2: [0, 1, ((1, 0), (0, 1)), "same", "full"],
        3: [0, 1, ((1, 0), (0, 2), (1, 1)), "same"],
    }
    cases = []
    turn = itertools.count()
    for rank in (1, 2, 3):
        strides: list[Any] = [None, *STRIDES[rank]]
        kernel = (3, (3, 2), (2, 3, 2))[rank - 1]
        for stride, dilation, padding, ceil_mode in itertools.product(
            strides, DILATIONS[rank], paddings[rank], (False, True)
        ):
            number = next(turn)
            cases.append(
                PoolCase(
                    x=IMAGE[rank],
                    kernel_size=kernel,
                    stride=stride,
                    padding=padding,
                    dilation=dilation,
                    ceil_mode=ceil_mode,
                    data_format=FORMATS[(number + number // 2) % 2],
                )
            )
    return cases


POOL_CASES = [
    *_pool_sweep(),
    PoolCase(note="one element", x=(1, 1, 1, 1), kernel_size=1),
    PoolCase(note="window is the input", x=(3, 5, 4, 6), kernel_size=(4, 6)),
    PoolCase(note="window larger than the input", x=(2, 3, 3, 2), kernel_size=5, padding=((4, 2), (1, 3))),
    PoolCase(
        note="stride larger than the window", x=(2, 3, 17, 13), kernel_size=2, stride=(5, 4), ceil_mode=True
    ),
    PoolCase(note="stride larger than the input", x=(2, 3, 3, 4), kernel_size=2, stride=9),
    PoolCase(note="ceil drops a window", x=(1, 2, 5), kernel_size=2, stride=3, padding=1, ceil_mode=True),
    PoolCase(note="ceil reaches beyond a small input", x=(1, 2, 2, 5), kernel_size=3, ceil_mode=True),
    PoolCase(note="empty batch", x=(0, 3, 6, 8), kernel_size=2),
    PoolCase(note="unbatched", x=(1, 3, 6, 8), kernel_size=2, batched=False),
    PoolCase(note="unbatched", x=(1, 3, 9), kernel_size=2, batched=False, data_format="channels_last"),
    PoolCase(note="many channels", x=(2, 67, 9, 8), kernel_size=3, stride=2, padding=1),
    PoolCase(
        note="many channels", x=(2, 67, 9, 8), kernel_size=3, stride=2, padding=1, data_format="channels_last"
    ),
    PoolCase(note="long rows", x=(1, 3, 5, 211), kernel_size=(2, 3), stride=(2, 1)),
    PoolCase(note="long rows", x=(2, 2, 1009), kernel_size=4, stride=2, padding=2),
    PoolCase(note="large", x=(2, 16, 65, 67), kernel_size=2),
]

ADAPTIVE_CASES = [
    AdaptiveCase(x=(2, 3, 13), output_size=5),
    AdaptiveCase(x=(2, 3, 5), output_size=(8,), data_format="channels_last"),
    AdaptiveCase(x=(2, 3, 11, 7), output_size=(4, 3)),
    AdaptiveCase(x=(2, 3, 11, 7), output_size=(4, 3), data_format="channels_last"),
    AdaptiveCase(x=(2, 3, 11, 7), output_size=1),
    AdaptiveCase(x=(2, 3, 11, 7), output_size=(None, 3)),
    AdaptiveCase(x=(2, 3, 3, 2), output_size=7),
    AdaptiveCase(x=(2, 3, 8, 6), output_size=(4, 3)),
    AdaptiveCase(x=(2, 3, 7, 5, 6), output_size=(3, 2, 4)),
    AdaptiveCase(x=(2, 3, 7, 5, 6), output_size=(3, None, 4), data_format="channels_last"),
    AdaptiveCase(x=(1, 3, 11, 7), output_size=(4, 3), batched=False),
    AdaptiveCase(x=(0, 3, 11, 7), output_size=(4, 3)),
    AdaptiveCase(note="many channels", x=(2, 67, 14, 13), output_size=6, data_format="channels_last"),
]

CHANNEL_CASES = [
    ChannelCase(x=(2, 6, 5), pool_size=2),
    ChannelCase(x=(2, 6, 5, 7), pool_size=3),
    ChannelCase(x=(2, 7, 5, 7), pool_size=3, data_format="channels_last"),
    ChannelCase(x=(2, 7, 5, 7), pool_size=3, stride=1),
    ChannelCase(x=(2, 7, 3, 4, 5), pool_size=2, stride=3, data_format="channels_last"),
    ChannelCase(x=(2, 5, 4, 4), pool_size=5),
    ChannelCase(x=(1, 1, 1, 1), pool_size=1),
    ChannelCase(x=(0, 6, 5, 7), pool_size=2),
    ChannelCase(note="many channels", x=(2, 131, 9, 8), pool_size=3, stride=2),
    ChannelCase(note="many channels", x=(2, 131, 9, 8), pool_size=3, stride=2, data_format="channels_last"),
]
