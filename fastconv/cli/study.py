"""``python -m fastconv study``: run a small study, print its figures and where its pictures are."""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import Any

from fastconv.studies import STUDIES


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Register the sub-command ``study``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "study",
        help="run a small study and draw its pictures",
        description="Run a small study: train or compute something, draw it, print its figures.",
    )
    parser.add_argument("name", choices=STUDIES, help="which study")
    parser.add_argument("--out", type=Path, help="folder for the pictures (default runs/study/NAME)")
    parser.add_argument("--quick", action="store_true", help="take seconds: fewer images, steps and angles")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    parser.add_argument("--image", type=Path, help="a photograph, for the studies that take one")
    parser.set_defaults(func=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the study the command line names: print figures and pictures, return the exit status."""
    study = STUDIES[arguments.name]
    keywords = {} if arguments.image is None else {"image": arguments.image}
    if not keywords.keys() <= inspect.signature(study).parameters.keys():
        print(f"study {arguments.name}: takes no --image", file=sys.stderr)
        return 2
    out: Path = arguments.out or Path("runs", "study", arguments.name)
    out.mkdir(parents=True, exist_ok=True)
    before = _pictures(out)
    try:
        figures = study(out, quick=arguments.quick, seed=arguments.seed, **keywords)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        print(f"study {arguments.name}: {error}", file=sys.stderr)
        return 1
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:.4g}")
    for path, written in _pictures(out).items():
        if before.get(path) != written:
            print(f"picture: {path}")
    return 0


def _pictures(folder: Path) -> dict[Path, int]:
    """Return the pictures in a folder, each with the time it was written."""
    return {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*.png"))}
