"""The machine and the software a run was made on, for the record."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.settings import Settings
from benchmarks.threads import available_cpus

_SWITCHES = ("FASTCONV_ISA", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "XLA_FLAGS", "OPENBLAS_CORETYPE")
"""Environment variables that change what a contestant runs; noted where set."""


def cpu_model() -> str:
    """Return the CPU's name as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, str]:
    """Return the first core's caches, such as ``{"L1d": "32K", "L2": "512K"}``, as far as they are known."""
    found = {}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((index / entry).read_text().strip() for entry in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}" + ("d" if kind == "Data" else "")] = size
    return found


def title(machine: Mapping[str, Any]) -> str:
    """Return what a description is one of: the GPU, else the CPU and its instruction set."""
    name: str = machine["gpu"]["name"] if "gpu" in machine else f"{machine['cpu']}, {machine['isa']}"
    return name


def describe(settings: Settings, versions: dict[str, str]) -> dict[str, Any]:
    """Return the description that goes into the report: plain values only."""
    from fastconv import _core

    device = {}
    if settings.device == "cuda":
        from benchmarks import cuda

        device = {"gpu": cuda.describe()}
    return device | {
        "cpu": cpu_model(),
        "caches": caches(),
        "cpus": available_cpus(),
        "isa": _core.isa(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "threads": settings.threads,
        "environment": {name: os.environ[name] for name in _SWITCHES if name in os.environ},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
