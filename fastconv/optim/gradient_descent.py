"""Gradient descent with momentum, plain (SGD) or scaled by the size of past gradients (RMSprop)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastconv import _core
from fastconv.nn.parameter import Array, Parameter
from fastconv.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum in its classical or in Nesterov's form.

    Parameters
    ----------
    parameters : iterable of Parameter
        What to change.
    lr : float
        Learning rate; the attribute of that name may be changed between steps.
    momentum : float
        Share of the last step that is kept, from 0 up to 1.
    nesterov : bool
        Whether the gradient is added once more after the momentum; needs a `momentum`.
    weight_decay : float
        This many times the parameter is added to its gradient.

    Raises
    ------
    ValueError
        Numbers out of range, `nesterov` without `momentum`, no parameters, one that is read-only or not
        C-contiguous.
    TypeError
        Something that is no Parameter or, where it is asked for, no number; parameters of another dtype than
        float32 and float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn, optim
    >>> p = nn.Parameter(np.array([1.0]))
    >>> optimizer = optim.SGD([p], lr=0.1)
    >>> p.grad += 2 * p.data
    >>> optimizer.step()
    >>> p.data
    array([0.8])
    """

    settings = ("lr", "momentum", "nesterov", "weight_decay")
    flags = ("nesterov",)
    momentum: float
    nesterov: bool
    weight_decay: float

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)

    def _read_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        read = super()._read_settings(settings)
        if read["nesterov"] and read["momentum"] == 0:
            raise ValueError("SGD: nesterov=True needs a momentum above 0")
        return read

    def _array_names(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def _step(self, parameter: Parameter, arrays: dict[str, Array]) -> None:
        _core.sgd_step(
            parameter.data,
            parameter.grad,
            arrays.get("velocity"),
            self.lr,
            self.momentum,
            self.weight_decay,
            self.nesterov,
        )


class RMSprop(Optimizer):
    """Gradient descent scaled by a running root mean square of each gradient element.

    Parameters
    ----------
    parameters : iterable of Parameter
        What to change.
    lr : float
        Learning rate; the attribute of that name may be changed between steps.
    alpha : float
        Share of the old mean square that is kept, from 0 up to 1.
    eps : float
        Added to the root.
    weight_decay : float
        This many times the parameter is added to its gradient.
    momentum : float
        Share of the last step that is kept, from 0 up to 1.

    Raises
    ------
    ValueError, TypeError
        As in `SGD`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn, optim
    >>> p = nn.Parameter(np.array([1.0]))
    >>> optimizer = optim.RMSprop([p], lr=0.1, alpha=0.75)
    >>> p.grad += 2 * p.data
    >>> optimizer.step()
    >>> p.data.round(6)
    array([0.8])
    """

    settings = ("lr", "alpha", "eps", "weight_decay", "momentum")
    alpha: float
    eps: float
    weight_decay: float
    momentum: float

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(
            parameters, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum
        )

    def _array_names(self) -> tuple[str, ...]:
        return ("square_avg", "velocity") if self.momentum else ("square_avg",)

    def _step(self, parameter: Parameter, arrays: dict[str, Array]) -> None:
        _core.rmsprop_step(
            parameter.data,
            parameter.grad,
            arrays["square_avg"],
            arrays.get("velocity"),
            self.lr,
            self.alpha,
            self.eps,
            self.weight_decay,
            self.momentum,
        )
