"""The types in the public signatures, for readers and type checkers; the compiled core does the checking."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

from numpy.typing import NDArray


class SupportsDLPack(Protocol):
    """An array of another library that hands its memory over by the DLPack protocol."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, int]: ...


class SupportsCudaArrayInterface(Protocol):
    """An array on a CUDA device whose library does not speak DLPack."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


Array: TypeAlias = NDArray[Any] | SupportsDLPack | SupportsCudaArrayInterface

# `X | Any` is a union whose second half a caller need not rule out: an argument's value decides which it is.
MaxPoolResult: TypeAlias = NDArray[Any] | Any  # (y, indices) with return_indices=True
Gradient: TypeAlias = NDArray[Any] | Any  # None where `needs` leaves it out

Shape: TypeAlias = Sequence[int]
Sizes: TypeAlias = int | Sequence[int]
OutputSize: TypeAlias = int | Sequence[int | None] | None

# `| str` lets a variable in: editors offer the words, and the core checks them.
Padding: TypeAlias = (
    int | Sequence[int] | Sequence[Sequence[int]] | Literal["valid", "same", "full", "causal"] | str
)
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"] | str
DataFormat: TypeAlias = Literal["channels_first", "channels_last"] | str
Activation: TypeAlias = Literal["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"] | str
Precision: TypeAlias = Literal["highest", "high", "medium"] | str
