"""``python -m fastconv summary``: the layers of a network, their output shapes, parameters, multiply-adds."""

from __future__ import annotations

import argparse
from typing import Any

from fastconv.cli.arguments import positive_int
from fastconv.models import NETWORKS


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Register the sub-command ``summary``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "summary",
        help="show the layers of a network",
        description="Show the layers of a network: output shapes, parameters, multiply-adds for one image.",
    )
    parser.add_argument("network", choices=sorted(NETWORKS), help="which network")
    parser.add_argument(
        "--input",
        nargs=3,
        type=positive_int,
        metavar=("C", "H", "W"),
        help="channels, height and width of an image (default: those the network is made for)",
    )
    parser.set_defaults(func=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    print(NETWORKS[arguments.network](0).summary(arguments.input))
    return 0
