"""The run itself: as that of single layers, with networks in the place of shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import roof
from benchmarks.networks import agreement
from benchmarks.networks.entries import Network
from benchmarks.networks.peers import load
from benchmarks.networks.peers.interface import NetworkPeer
from benchmarks.networks.problem import NetworkProblem
from benchmarks.results import Report, Row
from benchmarks.runner import Budget, contest, interruptible, load_peers, new_report
from benchmarks.settings import Settings


def run_row(problem: NetworkProblem, peers: Sequence[NetworkPeer], limits: roof.Roof, budget: float) -> Row:
    """Check and race one network in one direction."""
    return Row(
        shape=problem.network.label,
        family=problem.network.title,
        operation="network",
        direction=problem.direction,
        flops=problem.flops,
        traffic_bytes=problem.traffic_bytes,
        roof_seconds=problem.flops / limits.flops_per_second,
        outcomes=contest(problem, peers, budget, agreement),
    )


def run(
    networks: Sequence[Network],
    directions: Sequence[str],
    peer_names: Sequence[str],
    settings: Settings,
    *,
    seconds_per_row: float,
    deadline: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Report:
    """Run everything and return the report; parameters are those of `benchmarks.runner.run`."""
    peers, absent = load_peers(peer_names, settings, load)
    limits = roof.measure(settings, seconds=min(0.5, max(0.02, seconds_per_row)))
    report = new_report(peers, absent, settings, limits)
    budget = Budget(seconds_per_row, len(networks) * len(directions), deadline)
    with interruptible(report.absent):
        for network in networks:
            drawn = NetworkProblem.draw(network)
            for direction in directions:
                progress(f"{network.label} {direction}")
                report.rows.append(run_row(drawn.towards(direction), peers, limits, budget.next_row()))
    return report
