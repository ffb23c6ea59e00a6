"""What every kind of run ends with: its report is printed and written, as text, as JSON and as charts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Charts = Callable[[Path], list[Path]]
"""Draws into a folder and returns the files; ImportError without matplotlib."""


def deliver(
    name: str, text: str, figures: dict[str, Any], charts: Charts, folder: Path, *, markdown: bool = False
) -> None:
    """Print `text`, write it and the `figures` into `folder` under `name`, and draw the charts there."""
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.{'md' if markdown else 'txt'}", folder / f"{name}.json"]
    written[0].write_text(text, encoding="utf-8")
    written[1].write_text(json.dumps(figures, indent=1), encoding="utf-8")
    try:
        written += charts(folder)
    except ImportError:
        print(
            'No charts: matplotlib is not installed; pip install "fastconv[bench]" brings it.',
            file=sys.stderr,
        )
    print("Written: " + ", ".join(map(str, written)))
