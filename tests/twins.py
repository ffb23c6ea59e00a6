"""A network and its twin in PyTorch: the same state, the same gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn


def give_state(torch: Any, mine: nn.Layer, theirs: Any) -> None:
    """Copy the state of `mine` into its twin, in order; names may differ."""
    with torch.no_grad():
        for array, tensor in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            tensor.copy_(torch.from_numpy(array))


def assert_same_gradients(mine: nn.Layer, theirs: Any) -> None:
    """Compare the gradients of all parameters, in order."""
    for parameter, tensor in zip(mine.parameters(), theirs.parameters(), strict=True):
        want = tensor.grad.numpy()
        np.testing.assert_allclose(parameter.grad, want, rtol=1e-7, atol=1e-8 * np.abs(want).max())
