"""What all optimisers share: parameters, arrays kept beside them, settings, saving and loading."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, TypedDict

import numpy as np

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
    lr: float

    def __init__(self, parameters: Iterable[Parameter], **settings: Any) -> None:
        kind = type(self).__name__
        self.parameters = list({id(parameter): parameter for parameter in parameters}.values())
        if not self.parameters:
            raise ValueError(f"{kind}: there are no parameters")
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"{kind}: parameters must be Parameter objects, such as model.parameters() gives, "
                    f"got {type(parameter).__name__}"
                )
            if parameter.data.dtype not in (np.float32, np.float64):
                raise TypeError(
                    f"{kind}: parameter {parameter.name!r} must be float32 or float64, "
                    f"got {parameter.data.dtype}"
                )
        for name, value in settings.items():
            if not isinstance(value, bool):
                _check_setting(kind, name, value)
            setattr(self, name, value)
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
        """Change every parameter in place, by its ``.grad``."""
        self.steps += 1
        for parameter, arrays in zip(self.parameters, self._arrays, strict=True):
            self._step(parameter, arrays)

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
            Another kind of optimiser, or parameters of another number or other shapes.
        """
        kind = type(self).__name__
        if set(state["settings"]) != set(self.settings):
            raise ValueError(
                f"{kind}: the state has settings {sorted(state['settings'])}, "
                f"expected {sorted(self.settings)}"
            )
        if len(state["arrays"]) != len(self.parameters):
            raise ValueError(
                f"{kind}: the state is for {len(state['arrays'])} parameters, not {len(self.parameters)}"
            )
        names = self._array_names()
        for parameter, arrays in zip(self.parameters, state["arrays"], strict=True):
            if set(arrays) != set(names):
                raise ValueError(f"{kind}: the state has arrays {sorted(arrays)}, expected {sorted(names)}")
            for name, array in arrays.items():
                if array.shape != parameter.data.shape:
                    raise ValueError(
                        f"{kind}: {name} of parameter {parameter.name!r} has shape {array.shape}, "
                        f"expected {parameter.data.shape}"
                    )
        for name, value in state["settings"].items():
            setattr(self, name, value)
        self.steps = state["steps"]
        self._arrays = [
            {name: arrays[name].astype(parameter.data.dtype) for name in names}
            for parameter, arrays in zip(self.parameters, state["arrays"], strict=True)
        ]

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)}" for name in self.settings)
        return f"{type(self).__name__}({len(self.parameters)} parameters, {settings})"


def _check_setting(kind: str, name: str, value: Any) -> None:
    values = value if isinstance(value, tuple) else (value,)
    below_one = name in ("betas", "alpha", "momentum")
    for number in values:
        if not (0 <= number < (1 if below_one else math.inf)):
            expected = "from 0 up to 1" if below_one else "finite and not negative"
            raise ValueError(f"{kind}: {name} must be {expected}, got {value}")
    if name == "betas" and len(values) != 2:
        raise ValueError(f"{kind}: betas must be two numbers, got {value}")
