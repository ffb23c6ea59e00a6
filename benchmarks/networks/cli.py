"""``python -m benchmarks --networks``: whole networks instead of single layers.

As in `benchmarks.cli`, nothing that reads its number of threads is imported before that is set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks import cli
from benchmarks.networks.entries import DIRECTIONS, Network, select
from benchmarks.networks.peers import MODULES, default_peers
from benchmarks.settings import Settings

if TYPE_CHECKING:
    from benchmarks.results import Report


def main(options: argparse.Namespace, arguments: argparse.ArgumentParser, start: float) -> int:
    """Do what the parsed command line asks for, and return the exit status."""
    networks = list(select(options.only, quick=options.quick))
    if not networks:
        cli.nothing_matches("network", options, arguments)
    if options.list:
        print(network_list(networks))
        return 0
    directions = cli.directions_of(options, DIRECTIONS, arguments)
    if options.dtype != "float32":
        arguments.error(f"--networks: the dtype is float32, got {options.dtype}")
    settings = cli.settings_of(options, arguments)
    peers = cli.peers_of(options, MODULES, default_peers(settings, quick=options.quick), arguments)
    cli.prepare(settings, arguments)
    if len(peers) > 1:
        from benchmarks import kinds

        report = kinds.apart(peers, directions, settings, options, cli.seconds_of(options))
        return cli.deliver(report, options)
    return cli.deliver(_race(networks, directions, peers, settings, options, start), options)


def network_list(networks: Sequence[Network]) -> str:
    """Return a table of networks, for ``--list``."""
    from benchmarks.report import table

    cells = [
        [network.title, network.name, "×".join(map(str, network.image)), str(network.batch)]
        for network in networks
    ]
    return table(["network", "in fastconv.models", "image", "batch"], cells, text_columns=3)


def _race(
    networks: Sequence[Network],
    directions: Sequence[str],
    peers: Sequence[str],
    settings: Settings,
    options: argparse.Namespace,
    start: float,
) -> Report:
    from benchmarks.networks.runner import run
    from benchmarks.progress import Progress

    with Progress(len(networks) * len(directions)) as progress:
        return run(
            networks,
            directions,
            peers,
            settings,
            seconds_per_row=options.budget,
            deadline=cli.deadline(options, start),
            progress=progress.begin,
        )
