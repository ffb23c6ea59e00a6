"""What a run on a CUDA device should reach against PyTorch and cuDNN, and what it reached.

The peer works with the same precision: TF32 beside ``high``, bfloat16 tensors beside ``medium``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.results import Report, summarise

WORST = 0.6
"""No row should be below."""


def goals(settings: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Return the mean ratio that is wanted of each kind of layer, and the peer that it is against."""
    exact = settings["dtype"] == "float32" and settings["precision"] == "highest"
    medium = settings["dtype"] == "float32" and settings["precision"] == "medium"
    peer = "torch-bf16" if medium else "torch"
    return {
        "convolutions": (peer, 1.5 if exact else 0.9),
        "depthwise": (peer, 1.5),
        "pooling": ("torch", 1.2),
    }


def cuda_goals(report: Report) -> list[list[str]]:
    """Return a row of cells for each goal of a run on a CUDA device; none on the CPU."""
    if report.settings.get("device") != "cuda":
        return []
    cells = []
    for name, (peer, mean) in goals(report.settings).items():
        rows = [row for row in report.rows if name in (row.kind, row.family)]
        found = summarise(name, peer, rows)
        if found is not None:
            word = "reached" if found.mean >= mean and found.worst >= WORST else "missed"
            cells.append([name, peer, f"{found.mean:.2f}", f"{mean}", f"{found.worst:.2f}", f"{WORST}", word])
    return cells
