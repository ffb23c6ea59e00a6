"""Weights in files: safetensors, NumPy's ``.npz``, PyTorch's ``.pt`` and ``.pth``, Keras's ``.h5`` and
``.keras``.

``model.load_state_dict(path)`` and ``model.save_state_dict(path)`` are the usual way here. No reader runs the
code that a file may bring along: a stranger's file is read or refused.
"""

from fastconv.weights.files import read, write
from fastconv.weights.keras import read_for, read_keras
from fastconv.weights.pickles import read_pickle

__all__ = ["read", "read_for", "read_keras", "read_pickle", "write"]
