"""The command line: ``python -m fastconv``, with the sub-commands of ``fastconv.cli``."""

import argparse
import sys
from collections.abc import Sequence

from fastconv import __version__
from fastconv.cli import info, predict, show, study, summary, train

COMMANDS = (info, summary, train, predict, show, study)


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run one sub-command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; `None` takes those of the process.

    Returns
    -------
    int or None
        Exit status; `None` is success.
    """
    parser = argparse.ArgumentParser(
        prog="python -m fastconv",
        description="Hand-optimised convolution, pooling and their gradients for NumPy arrays.",
    )
    parser.add_argument("--version", action="version", version=f"fastconv {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for command in COMMANDS:
        command.add_parser(subparsers)

    arguments = parser.parse_args(argv)
    status: int | None = arguments.func(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
