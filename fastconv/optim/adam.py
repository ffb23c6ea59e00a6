"""Adam and AdamW: steps from running means of the gradient and of its square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from fastconv import _core
from fastconv.nn.parameter import Array, Parameter
from fastconv.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Steps of the gradient's running mean over the root of its square's, both free of their start.

    Parameters
    ----------
    parameters : iterable of Parameter
        What to change.
    lr : float
        Learning rate; the attribute of that name may be changed between steps.
    betas : (float, float)
        Shares of the old means of gradient and square that are kept, from 0 up to 1.
    eps : float
        Added to the root.
    weight_decay : float
        This many times the parameter is added to its gradient.

    Raises
    ------
    ValueError, TypeError
        As in `SGD`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn, optim
    >>> p = nn.Parameter(np.array([1.0]))
    >>> optimizer = optim.Adam([p], lr=0.1)
    >>> p.grad += 2 * p.data
    >>> optimizer.step()
    >>> p.data.round(6)
    array([0.9])
    """

    settings = ("lr", "betas", "eps", "weight_decay")
    decoupled: ClassVar[bool] = False
    betas: tuple[float, float]
    eps: float
    weight_decay: float

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _array_names(self) -> tuple[str, ...]:
        return ("mean", "square_avg")

    def _step(self, parameter: Parameter, arrays: dict[str, Array]) -> None:
        _core.adam_step(
            parameter.data,
            parameter.grad,
            arrays["mean"],
            arrays["square_avg"],
            self.lr,
            *self.betas,
            self.eps,
            self.weight_decay,
            self.decoupled,
            self.steps,
        )


class AdamW(Adam):
    """Adam with the weight decay kept apart from the gradient.

    Each step first multiplies the parameter by 1 - lr * weight_decay.

    Parameters, errors and use are those of `Adam`; `weight_decay` is 0.01 by default.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn, optim
    >>> p = nn.Parameter(np.array([1.0]))
    >>> optim.AdamW([p], lr=0.1, weight_decay=0.5).step()
    >>> p.data
    array([0.95])
    """

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)
