"""Parameters: arrays that training changes, each with its gradient."""

from __future__ import annotations

import threading
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

_accumulating = threading.Lock()


class Parameter:
    """An array that training changes, and the gradient of the loss by it.

    Parameters
    ----------
    data : ndarray
        The value. Optimisers write into it in place.
    name : str
        What it is in its layer, such as ``"weight"``; dotted names within a model come from
        ``named_parameters()``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import Parameter
    >>> p = Parameter(np.ones(2, np.float32), "scale")
    >>> p.grad
    array([0., 0.], dtype=float32)
    >>> p.data -= 0.5 * np.array([1, 2], np.float32)
    >>> p
    Parameter(scale, shape=(2,), float32)
    """

    def __init__(self, data: Array, name: str = "") -> None:
        self.data = data
        self.name = name
        self._grad: Array | None = None

    @property
    def grad(self) -> Array:
        """Sum of the gradients since the last ``zero_grad()``; an array like ``data``, zeros at first."""
        if self._grad is None:
            self._grad = np.zeros_like(self.data)
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        self._grad = value

    def accumulate(self, gradient: Array) -> None:
        """Add `gradient` to ``grad``; safe in several threads.

        The first one after ``zero_grad()`` is kept as it is, without a copy: hand over an array nobody else
        writes to.
        """
        if gradient.shape != self.data.shape:
            raise ValueError(
                f"gradient of parameter {self.name!r} has shape {gradient.shape}, expected {self.data.shape}"
            )
        with _accumulating:
            if self._grad is None:
                self._grad = gradient
            else:
                self._grad += gradient

    def zero_grad(self) -> None:
        """Start a new sum: ``grad`` is zeros again. Its memory goes back until the next gradient comes."""
        self._grad = None

    def __repr__(self) -> str:
        return f"Parameter({self.name}, shape={self.data.shape}, {self.data.dtype})"
