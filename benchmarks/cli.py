"""The command line of ``python -m benchmarks``; it sets the threads before NumPy or a peer is imported."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmarks.networks.peers import MODULES as NETWORK_PEERS
from benchmarks.peers import MODULES, PYTORCH, default_peers
from benchmarks.settings import CAPS, DEVICES, DTYPES, PRECISIONS, Settings
from benchmarks.shapes import DIRECTIONS, LEAST_CUDA_BATCH, ConvShape, Shape, select
from benchmarks.sweeps import LARGE, SMALL
from benchmarks.threads import available_cpus, limit_threads

if TYPE_CHECKING:
    from benchmarks.results import Report

_QUICK_SECONDS = 35.0
"""A ``--quick`` run plans to be over by then, start-up included."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    peers, network_peers = (
        ", ".join(name for name in modules if name != "fastconv") for modules in (MODULES, NETWORK_PEERS)
    )
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Race fastconv against its peers on layers of well-known networks: results are compared "
        "first, then timed in interleaved rounds, each peer in a process of its own. Exits with 1 if a "
        "result was wrong or a call failed.",
    )
    add = arguments.add_argument
    add("--quick", action="store_true", help="a small subset with small batches, under a minute")
    add("--list", action="store_true", help="print the shapes and leave")
    add(
        "--device",
        choices=DEVICES,
        default="cpu",
        help="where the arrays lie: 'cuda' races PyTorch and cuDNN on the first CUDA device, with larger "
        "batches (default: %(default)s)",
    )
    kinds = arguments.add_mutually_exclusive_group()
    kinds.add_argument(
        "--regret",
        action="store_true",
        help="race fastconv's routes against each other: what does the choice of 'auto' lose?",
    )
    kinds.add_argument(
        "--scaling",
        action="store_true",
        help="time a few layers over threads, batch, channels and side, beside PyTorch",
    )
    kinds.add_argument(
        "--isa",
        metavar="A,B",
        help=f"run once per instruction set, PyTorch held to the same: of {', '.join(CAPS)}",
    )
    kinds.add_argument(
        "--networks",
        action="store_true",
        help="race whole networks: inference, and training steps with SGD; --only and --list then name them",
    )
    add(
        "--only",
        metavar="PATTERN",
        help="shapes whose name or family matches, such as 'vgg' or 'resnet50-1x1*,pooling'",
    )
    add(
        "--peers",
        metavar="A,B",
        help=f"of {peers}, or with --networks of {network_peers}; 'none' for fastconv alone "
        "(default: those installed)",
    )
    add(
        "--directions",
        metavar="A,B",
        help="of forward, dx, dw, or with --networks of inference, training (default: all; with --scaling: "
        "forward)",
    )
    add(
        "--threads",
        type=int,
        metavar="N",
        help="for everyone alike (default: every CPU this process may use)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default="highest",
        help="fastconv's precision (default: %(default)s)",
    )
    add("--dtype", choices=DTYPES, default="float32", help="of every array (default: %(default)s)")
    add("--budget", type=float, metavar="SECONDS", default=3.0, help="timing of a row (default: %(default)s)")
    add(
        "--within",
        type=float,
        metavar="SECONDS",
        help="time rows for less, to be over by then where checking every result (which is not cut short) "
        f"leaves the time (default: {_QUICK_SECONDS:g} with --quick)",
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("runs/benchmarks"),
        help="for files (default: %(default)s)",
    )
    add("--markdown", action="store_true", help="print Markdown tables")
    return arguments


def names_in(text: str, known: Sequence[str], option: str, arguments: argparse.ArgumentParser) -> list[str]:
    """Return the comma-separated names in `text`, each once; leave with an error at an unknown one."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in known:
            arguments.error(f"{option}: {name!r} is none of {', '.join(known)}")
    if not names:
        arguments.error(f"{option}: expected some of {', '.join(known)}")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    start = time.perf_counter()
    arguments = parser()
    options = arguments.parse_args(argv)
    if options.device == "cuda" and (options.networks or options.regret or options.scaling or options.isa):
        arguments.error("--device cuda: --networks, --regret, --scaling and --isa run on the CPU alone")
    if options.networks:
        from benchmarks.networks import cli as networks

        return networks.main(options, arguments, start)
    varied = ",".join(LARGE + SMALL) if options.scaling else None
    least_batch = LEAST_CUDA_BATCH if options.device == "cuda" else None
    shapes = list(select(options.only or varied, quick=options.quick, least_batch=least_batch))
    if not shapes:
        nothing_matches("shape", options, arguments)
    if options.list:
        from benchmarks.report import shape_list

        print(shape_list(shapes))
        return 0

    if options.scaling and options.directions is None:
        options.directions = DIRECTIONS[0]
    directions = directions_of(options, DIRECTIONS, arguments)
    shapes = [shape for shape in shapes if any(name in directions for name in shape.directions)]
    if not shapes:
        arguments.error(f"--directions: pooling has no {options.directions}")
    convolutions = [shape for shape in shapes if isinstance(shape, ConvShape)]
    if (options.regret or options.scaling) and not convolutions:
        kind = "--regret" if options.regret else "--scaling"
        arguments.error(f"{kind} is about convolutions: {options.only!r} matches pooling alone")
    if options.regret and options.peers is not None:
        arguments.error("--regret races fastconv's own routes: it takes no --peers")
    isas = [] if options.isa is None else names_in(options.isa, list(CAPS), "--isa", arguments)
    settings = settings_of(options, arguments)
    modules = PYTORCH if options.scaling or isas or options.device == "cuda" else tuple(MODULES)
    default = [name for name in default_peers(settings, quick=options.quick) if name in modules]
    peers = peers_of(options, modules, default, arguments)
    prepare(settings, arguments)
    from benchmarks import kinds

    if options.regret:
        return kinds.regret(convolutions, directions, settings, options, deadline(options, start))
    if options.scaling:
        return kinds.scaling(convolutions, directions, peers, settings, options, deadline(options, start))
    if isas:
        return kinds.isa(isas, directions, peers, settings, options, seconds_of(options))
    if len(peers) > 1 and options.device == "cpu":
        return deliver(kinds.apart(peers, directions, settings, options, seconds_of(options)), options)
    return deliver(_race(shapes, directions, peers, settings, options, start), options)


def nothing_matches(what: str, options: argparse.Namespace, arguments: argparse.ArgumentParser) -> NoReturn:
    """Leave: ``--only`` found nothing."""
    among = " in the --quick subset" if options.quick else ""
    arguments.error(f"--only: no {what} matches {options.only!r}{among}; --list prints them all")


def directions_of(
    options: argparse.Namespace, known: Sequence[str], arguments: argparse.ArgumentParser
) -> Sequence[str]:
    """Return the directions of a run, all that are known by default."""
    if options.directions is None:
        return known
    return names_in(options.directions, known, "--directions", arguments)


def settings_of(options: argparse.Namespace, arguments: argparse.ArgumentParser) -> Settings:
    """Return the settings of a run; leave with an error at numbers out of range."""
    cpus = available_cpus()
    threads = cpus if options.threads is None else options.threads
    if not 1 <= threads <= cpus:
        arguments.error(f"--threads: expected 1 to {cpus}, the CPUs this process may use, got {threads}")
    if options.budget < 0:
        arguments.error(f"--budget: expected seconds, got {options.budget}")
    if options.within is not None and not options.within > 0:
        arguments.error(f"--within: expected seconds above 0, got {options.within}")
    return Settings(options.dtype, options.precision, threads, options.device)


def peers_of(
    options: argparse.Namespace,
    modules: Iterable[str],
    default: Sequence[str],
    arguments: argparse.ArgumentParser,
) -> Sequence[str]:
    """Return the names of the peers, some of `modules`."""
    if options.peers is None:
        return default
    if options.peers == "none":
        return ()
    return names_in(options.peers, [name for name in modules if name != "fastconv"], "--peers", arguments)


def prepare(settings: Settings, arguments: argparse.ArgumentParser) -> None:
    """Set the threads of everything that is imported from now on; leave with an error without fastconv."""
    limit_threads(settings.threads)
    if reason := _missing(settings):
        arguments.error(reason)


def seconds_of(options: argparse.Namespace) -> float | None:
    """Return the seconds that the whole run should take at most."""
    return _QUICK_SECONDS if options.within is None and options.quick else options.within


def deadline(options: argparse.Namespace, start: float) -> float | None:
    """Return the reading of the clock by which the run should be over."""
    seconds = seconds_of(options)
    return None if seconds is None else start + seconds


def _missing(settings: Settings) -> str:
    """Return what stands in the way of a run, empty if nothing does."""
    try:
        from fastconv import _core  # noqa: F401
    except ImportError as error:
        return f"fastconv is not built ({error}); build it first: pip install ."
    if settings.dtype == "bfloat16":
        try:
            import ml_dtypes  # noqa: F401
        except ImportError:
            return '--dtype bfloat16 needs ml_dtypes: pip install "fastconv[test]"'
    if settings.device == "cuda":
        from benchmarks import cuda

        return cuda.missing()
    return ""


def _race(
    shapes: Sequence[Shape],
    directions: Sequence[str],
    peers: Sequence[str],
    settings: Settings,
    options: argparse.Namespace,
    start: float,
) -> Report:
    from benchmarks.progress import Progress
    from benchmarks.runner import run, tasks

    with Progress(len(tasks(shapes, directions))) as progress:
        return run(
            shapes,
            directions,
            peers,
            settings,
            seconds_per_row=options.budget,
            deadline=deadline(options, start),
            progress=progress.begin,
        )


def deliver(report: Report, options: argparse.Namespace) -> int:
    """Print the report, write its files, and return the exit status."""
    from benchmarks import delivery, plots, roofline
    from benchmarks.report import render

    def charts(folder: Path) -> list[Path]:
        return [*plots.draw(report, folder), *roofline.draw(report, folder)]

    text = render(report, markdown=options.markdown)
    delivery.deliver("results", text, report.as_json(), charts, options.out, markdown=options.markdown)
    return 1 if report.troubles() else 0
