"""The command line: `python -m fastconv info` and `python -m fastconv train`."""

import argparse
import json
import sys
from collections.abc import Sequence

from fastconv import __version__, runtime, training


def _info(arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(runtime.config(), indent=2))
    else:
        runtime.show_config()


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

    info = subparsers.add_parser("info", help="show versions, instruction sets, caches and threads")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(func=_info)
    training.add_train_parser(subparsers)

    arguments = parser.parse_args(argv)
    status: int | None = arguments.func(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
