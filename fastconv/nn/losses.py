"""Losses: how far a prediction is from its target, as a number, with the gradient by the prediction.

Each takes ``(prediction, target)`` and returns ``(loss, gradient)``; both are computed in one pass over
memory. Start the way back with ``model.backward(gradient)``.
"""

from __future__ import annotations

from fastconv import _core
from fastconv.nn.parameter import Array


def cross_entropy(prediction: Array, target: Array, *, label_smoothing: float = 0.0) -> tuple[float, Array]:
    """Mean negative log-probability of the right classes, after a softmax over the last axis.

    ``-log(exp(x[t]) / sum(exp(x)))`` for a row x of class t, averaged over the rows; with weights of the
    classes each has its part in the sum. No softmax layer stands before it.

    Parameters
    ----------
    prediction : ndarray (N, C)
        Scores of C classes before any softmax (logits).
    target : ndarray of int (N,), or ndarray (N, C)
        The right classes, 0 to C - 1; or weights of all classes, such as probabilities, of the prediction's
        dtype.
    label_smoothing : float
        Share of the target's weight that is spread evenly over all classes, from 0 up to 1.

    Returns
    -------
    loss : float
        The mean.
    gradient : ndarray (N, C)
        Its gradient by `prediction`.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, classes out of range, targets that are neither integers nor of the
        prediction's dtype.

    References
    ----------
    Label smoothing: C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> loss, gradient = nn.losses.cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(loss, 4), gradient
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]]))
    """
    return _core.cross_entropy(prediction, target, label_smoothing)


def binary_cross_entropy_with_logits(prediction: Array, target: Array) -> tuple[float, Array]:
    """Mean negative log-probability of yes-or-no targets, after a sigmoid.

    ``-(t * log(s) + (1 - t) * log(1 - s))`` with ``s = sigmoid(prediction)``, in a form that does not
    overflow.

    Parameters
    ----------
    prediction : ndarray
        Scores before any sigmoid (logits), any shape.
    target : ndarray
        Probabilities from 0 to 1, of the same shape and dtype.

    Returns
    -------
    loss : float
        The mean over all elements.
    gradient : ndarray
        Its gradient by `prediction`.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> loss, gradient = nn.losses.binary_cross_entropy_with_logits(np.zeros(2), np.array([0.0, 1.0]))
    >>> round(loss, 4), gradient
    (0.6931, array([ 0.25, -0.25]))
    """
    return _core.binary_cross_entropy_with_logits(prediction, target)


def mse(prediction: Array, target: Array) -> tuple[float, Array]:
    """Mean squared error, ``mean((prediction - target) ** 2)``.

    Parameters
    ----------
    prediction, target : ndarray
        Of one shape and dtype.

    Returns
    -------
    loss : float
        The mean over all elements.
    gradient : ndarray
        Its gradient by `prediction`.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.losses.mse(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    (2.0, array([0., 2.]))
    """
    return _core.mse(prediction, target)
