"""What all optimisers share: parameters, arrays kept beside them, settings, saving and loading."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypedDict

import numpy as np

from fastconv import _core
from fastconv._typing import Array as AnyArray
from fastconv.nn import checkpoint
from fastconv.nn.arguments import read_int, read_number, require_writable
from fastconv.nn.parameter import Array, Parameter


class OptimizerState(TypedDict):
    """What an optimiser remembers: its settings, the steps made, its arrays for each parameter."""

    settings: dict[str, Any]
    steps: int
    arrays: list[dict[str, Array]]


class Optimizer(ABC):
    """What all optimisers share: the parameters, the arrays kept beside them, the learning rate.

    Parameters that appear twice count once. A parameter whose gradient is zero takes part in each step as one
    with that gradient; to leave one as it is, leave it out.
    """

    settings: ClassVar[tuple[str, ...]]
    flags: ClassVar[tuple[str, ...]] = ()  # settings that are True or False
    lr: float

    def __init__(self, parameters: Iterable[Parameter], **settings: Any) -> None:
        kind = type(self).__name__
        wanted = "parameters must be Parameter objects, such as model.parameters() gives"
        if not isinstance(parameters, Iterable):
            raise TypeError(f"{kind}: {wanted}, got {type(parameters).__name__}")
        self.parameters = list({id(parameter): parameter for parameter in parameters}.values())
        if not self.parameters:
            raise ValueError(f"{kind}: there are no parameters")
        for place, parameter in enumerate(self.parameters):
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{kind}: {wanted}, got {type(parameter).__name__}")
            self._check_data(place, parameter)
        vars(self).update(self._read_settings(settings))
        self.steps = 0
        names = self._array_names()
        self._arrays = [{name: np.zeros_like(p.data) for name in names} for p in self.parameters]

    @abstractmethod
    def _array_names(self) -> tuple[str, ...]:
        """Name the arrays that are kept beside each parameter."""

    @abstractmethod
    def _step(self, parameter: Parameter, arrays: dict[str, Array]) -> None:
        """Change one parameter and its arrays in place."""

    def step(self) -> None:
        """Change every parameter in place, by its ``.grad``. An error changes nothing.

        Raises
        ------
        ValueError
            A setting out of range; a parameter that is read-only or not C-contiguous, or has another shape
            than its gradient or than at the start.
        TypeError
            A setting that is no number; a parameter that is no float32 or float64 array, or has another dtype
            than its gradient or than at the start.
        """
        self._read_settings({name: getattr(self, name) for name in self.settings})
        names = self._array_names()
        for place, (parameter, arrays) in enumerate(zip(self.parameters, self._arrays, strict=True)):
            self._check_data(place, parameter)
            self._check_like(f"the gradient of {self._label(place)}", parameter.grad, parameter.data)
            for name in names:
                if name not in arrays:  # a momentum that was zero until now
                    arrays[name] = np.zeros_like(parameter.data)
                self._check_like(self._label(place), parameter.data, arrays[name])
        self.steps += 1
        for parameter, arrays in zip(self.parameters, self._arrays, strict=True):
            self._step(parameter, arrays)

    def _read_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Check settings, one by one and together; give them as they are kept."""
        read = {}
        for name, value in settings.items():
            if name in self.flags:
                read[name] = _read_flag(type(self).__name__, name, value)
            else:
                read[name] = _read_setting(type(self).__name__, name, value)
        return read

    def _label(self, place: int) -> str:
        name = self.parameters[place].name
        return f"parameter {name!r} (number {place})" if name else f"parameter number {place}"

    def _check_data(self, place: int, parameter: Parameter) -> None:
        """Raise unless a kernel can change the parameter in place."""
        where, data = f"{type(self).__name__}: {self._label(place)}", parameter.data
        require_writable(where, data)
        if data.dtype not in (np.float32, np.float64) or not data.dtype.isnative:
            raise TypeError(f"{where} must be float32 or float64, got {data.dtype}")
        if not (data.flags.c_contiguous and data.flags.aligned):
            raise ValueError(f"{where} is changed in place and must be C-contiguous and aligned")

    def _check_like(self, what: str, array: AnyArray, like: Array) -> None:
        where = f"{type(self).__name__}: {what}"
        array = _core.as_array(type(self).__name__, what, array)
        if array.shape != like.shape:
            raise ValueError(f"{where} has shape {array.shape}, expected {like.shape}")
        if array.dtype != like.dtype:
            raise TypeError(f"{where} has dtype {array.dtype}, expected {like.dtype}")

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self) -> OptimizerState:
        """Copy all that the optimiser remembers, to go on later just as if it had never stopped."""
        return {
            "settings": {name: getattr(self, name) for name in self.settings},
            "steps": self.steps,
            "arrays": [{name: array.copy() for name, array in arrays.items()} for arrays in self._arrays],
        }

    def load_state_dict(self, state: OptimizerState) -> None:
        """Take over what ``state_dict()`` of an optimiser of this kind gave. An error changes nothing.

        Raises
        ------
        ValueError
            Another kind of optimiser, parts that are missing, settings out of range, parameters of another
            number or other shapes, numbers that do not fit into the parameter's dtype.
        TypeError
            Parts of another type.
        """
        kind = type(self).__name__
        parts = _mapping(f"{kind}: the state", state)
        missing = [part for part in OptimizerState.__annotations__ if part not in parts]
        if missing:
            raise ValueError(f"{kind}: the state has no {', '.join(missing)}")
        given = _mapping(f"{kind}: the state's settings", parts["settings"])
        if set(given) != set(self.settings):
            raise ValueError(
                f"{kind}: the state has settings {sorted(map(str, given))}, expected {sorted(self.settings)}"
            )
        settings = self._read_settings(given)
        steps = read_int(kind, "the state's steps", parts["steps"], 0)
        if not isinstance(parts["arrays"], list | tuple):
            raise TypeError(
                f"{kind}: the state's arrays must be a list, got {type(parts['arrays']).__name__}"
            )
        if len(parts["arrays"]) != len(self.parameters):
            raise ValueError(
                f"{kind}: the state is for {len(parts['arrays'])} parameters, not {len(self.parameters)}"
            )
        arrays = [self._read_arrays(place, given) for place, given in enumerate(parts["arrays"])]
        vars(self).update(settings)
        self.steps = steps
        self._arrays = arrays

    def _read_arrays(self, place: int, arrays: Any) -> dict[str, Array]:
        """Copy what a state has for one parameter, checked against it."""
        kind, label, names = type(self).__name__, self._label(place), self._array_names()
        given = _mapping(f"{kind}: the state's arrays for {label}", arrays)
        if set(given) != set(names):
            raise ValueError(
                f"{kind}: the state has arrays {sorted(map(str, given))}, expected {sorted(names)}"
            )
        data, copies = self.parameters[place].data, {}
        for name in names:
            what = f"{kind}: {name} of {label}"
            array = checkpoint.as_array(what, given[name])
            if array.shape != data.shape:
                raise ValueError(f"{what} has shape {array.shape}, expected {data.shape}")
            copies[name] = np.array(checkpoint.convert(what, array, data.dtype), order="C")
        return copies

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)}" for name in self.settings)
        return f"{type(self).__name__}({len(self.parameters)} parameters, {settings})"


def _mapping(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a mapping, got {type(value).__name__}")
    return value


def _read_flag(kind: str, name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{kind}: {name} must be True or False, got {value!r}")
    return bool(value)


def _read_setting(kind: str, name: str, value: Any) -> Any:
    if name == "betas":
        try:
            value = tuple(value)
        except TypeError:
            raise TypeError(f"{kind}: betas must be two numbers, got {value!r}") from None
        if len(value) != 2:
            raise ValueError(f"{kind}: betas must be two numbers, got {value}")
    below_one = name in ("betas", "alpha", "momentum")
    for number in value if name == "betas" else (value,):
        expected = "from 0 up to 1" if below_one else "finite and not negative"
        if not 0 <= read_number(kind, name, number, finite=False) < (1 if below_one else math.inf):
            raise ValueError(f"{kind}: {name} must be {expected}, got {value}")
    return value
