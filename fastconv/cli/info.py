"""``python -m fastconv info``: versions, instruction sets, caches and threads."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastconv import runtime


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Register the sub-command ``info``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "info", help="show versions, instruction sets, caches and threads"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print what there is."""
    if arguments.json:
        print(json.dumps(runtime.config(), indent=2))
    else:
        runtime.show_config()
    return 0
