"""A benchmark run in a process of its own, and its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from benchmarks.results import Report

_GRACE_SECONDS = 60.0
"""A run that was interrupted has so long to write what it has."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM leave the block as an exception, so that no run is left behind."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(
    name: str,
    options: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    take: Callable[[Report], None],
    fail: Callable[[str], None],
) -> None:
    """Run the benchmark once, and hand its report on to `take`, or a line about what went wrong to `fail`.

    The run has a process group of its own: Ctrl-C reaches this process alone, which hands it on, once, and
    waits for what the run has done so far.

    Parameters
    ----------
    name : str
        What tells this run from others of the same command.
    options : sequence of str
        Its command line, without ``--out``.
    folder : Path
        Where it writes its files.
    environment : mapping
        Variables that it gets beside those of this process.

    """
    print(f"{name}:", file=sys.stderr)
    figures = folder / "results.json"
    figures.unlink(missing_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *options, "--out", str(folder)],
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    interrupted = False
    try:
        child.wait()
    except KeyboardInterrupt:
        interrupted = True
        child.send_signal(signal.SIGINT)
        child.wait(_GRACE_SECONDS)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        if figures.exists():
            take(Report.from_json(json.loads(figures.read_text(encoding="utf-8"))))
        elif not interrupted:
            fail(f"{name}: the run ended with status {child.returncode} and without results")
    if interrupted:
        raise KeyboardInterrupt
