"""What is running right now, on standard error: a bar given tqdm and a terminal, else a line per row."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Progress:
    """Progress over `rows` rows, as a context manager; `begin` names the one that starts."""

    def __init__(self, rows: int) -> None:
        self._rows, self._begun = rows, 0
        self._bar = _bar(rows) if sys.stderr.isatty() else None

    def begin(self, text: str) -> None:
        """Say that the row called `text` starts, and the one before is done."""
        if self._bar is None:
            print(f"[{self._begun + 1}/{self._rows}] {text}", file=sys.stderr)
        else:
            self._bar.update(1 if self._begun else 0)
            self._bar.set_postfix_str(text)
        self._begun += 1

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _bar(rows: int) -> Any:
    """Return a bar, or None where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        print(
            'No progress bar: tqdm is not installed; pip install "fastconv[bench]" brings it.',
            file=sys.stderr,
        )
        return None
    return tqdm(total=rows, unit="row", leave=False)
