"""What a run finds: one row per shape and direction, one outcome per contestant in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, TypeVar

SCHEMA = 1
"""Version of the JSON's layout."""

HOUSE = "fastconv"

TIMED, UNSUPPORTED, DISAGREES, FAILED = "timed", "unsupported", "disagrees", "failed"


@dataclass(frozen=True)
class Outcome:
    """How one contestant fared; only the timed ones have `seconds`."""

    status: str
    note: str = ""
    variant: str = ""
    error: float | None = None
    tolerance: float | None = None
    seconds: float | None = None
    samples: int = 0
    repeats: int = 0
    against: float | None = None
    """fastconv's seconds, where this was timed in another process than the row's."""


KINDS = {"conv": "convolutions", "conv_transpose": "convolutions", "pool": "pooling", "network": "networks"}
"""Kinds of rows by their operation: each has its own table and its own means."""


class Entry(Protocol):
    """What every kind of run has entries of: a shape in a direction, and how each contestant fared in it."""

    @property
    def shape(self) -> str: ...

    @property
    def family(self) -> str: ...

    @property
    def operation(self) -> str: ...

    @property
    def direction(self) -> str: ...

    @property
    def outcomes(self) -> Mapping[str, Outcome]: ...


AnEntry = TypeVar("AnEntry", bound=Entry)


def troubles(entries: Iterable[Entry]) -> list[str]:
    """Return a line for every result that was wrong and every call that failed."""
    return [
        f"{outcome.status.upper()}: {name} on {entry.shape}, {entry.direction}: {outcome.note}"
        for entry in entries
        for name, outcome in entry.outcomes.items()
        if outcome.status in (DISAGREES, FAILED)
    ]


@dataclass(frozen=True)
class Row:
    """One shape, or one network, in one direction."""

    shape: str
    family: str
    operation: str
    direction: str
    flops: int
    traffic_bytes: int
    roof_seconds: float
    outcomes: dict[str, Outcome]

    @property
    def kind(self) -> str:
        """``"convolutions"``, ``"pooling"`` or ``"networks"``."""
        return KINDS[self.operation]

    @property
    def seconds(self) -> float | None:
        """Median seconds of fastconv's call, None where it was not timed."""
        return self.outcomes[HOUSE].seconds

    @property
    def milliseconds(self) -> float | None:
        """The same in milliseconds."""
        return None if self.seconds is None else 1e3 * self.seconds

    def ratio(self, peer: str) -> float | None:
        """Return how many times as long as fastconv `peer` takes, None where either was not timed."""
        outcome = self.outcomes.get(peer)
        ours = self.seconds if outcome is None or outcome.against is None else outcome.against
        return None if outcome is None or outcome.seconds is None or ours is None else outcome.seconds / ours

    @property
    def roof_share(self) -> float | None:
        """Roof time over fastconv's time."""
        return None if self.seconds is None else self.roof_seconds / self.seconds

    @property
    def rate(self) -> float | None:
        """GFLOP/s of a convolution or a network, GB/s of a pool."""
        work = self.traffic_bytes if self.operation == "pool" else self.flops
        return None if self.seconds is None else work / self.seconds / 1e9


@dataclass(frozen=True)
class Group:
    """The ratios against one peer over some rows: their geometric mean, and the worst with its shape."""

    name: str
    peer: str
    whole: bool
    """True for all convolutions and all pools, false for a family of shapes."""
    count: int
    mean: float
    worst: float
    worst_shape: str


@dataclass
class Report:
    """A whole run."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    roof: dict[str, float]
    peers: list[str]
    """Everyone but fastconv, in the order of the table's columns."""
    absent: dict[str, str] = field(default_factory=dict)
    """Peers that were left out, and why."""
    rows: list[Row] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """A line for every process that broke."""

    def troubles(self) -> list[str]:
        """Return a line for every process that broke, every wrong result and every call that failed."""
        return self.failed + troubles(self.rows)

    def sitting_out(self) -> list[str]:
        """Return a line for each reason why a peer could not run something."""
        reasons: dict[tuple[str, str], int] = {}
        for row in self.rows:
            for name, outcome in row.outcomes.items():
                if outcome.status == UNSUPPORTED:
                    reasons[name, outcome.note] = reasons.get((name, outcome.note), 0) + 1
        return [f"{name} sits out {count}: {note}" for (name, note), count in reasons.items()]

    def groups(self) -> list[Group]:
        """Return means and worst ratios against each peer: of everything, by direction, by family."""
        return [
            group
            for peer in self.peers
            for name, whole, rows in partitions(self.rows)
            if (group := summarise(name, peer, rows, whole=whole)) is not None
        ]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Report:
        """Return the report that `as_json` wrote down."""
        parts = {part.name: found[part.name] for part in fields(cls) if part.name != "rows"}
        rows = [
            Row(
                **{part.name: row[part.name] for part in fields(Row) if part.name != "outcomes"},
                outcomes={name: Outcome(**outcome) for name, outcome in row["outcomes"].items()},
            )
            for row in found["rows"]
        ]
        return cls(**parts, rows=rows)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values, derived figures included."""
        rows = [
            asdict(row)
            | {
                "rate": row.rate,
                "roof_share": row.roof_share,
                "ratios": {peer: row.ratio(peer) for peer in self.peers},
            }
            for row in self.rows
        ]
        return {
            "schema": SCHEMA,
            "machine": self.machine,
            "settings": self.settings,
            "roof": self.roof,
            "peers": self.peers,
            "absent": self.absent,
            "rows": rows,
            "failed": self.failed,
            "summary": [asdict(group) for group in self.groups()],
        }


def geometric_mean(values: Iterable[float]) -> float:
    """Return ``exp(mean(log(values)))``, the mean that treats twice and half alike."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms))


def summarise(name: str, peer: str, rows: Iterable[Row], *, whole: bool = False) -> Group | None:
    """Return mean and worst of the ratios that `rows` have against `peer`, None where they have none."""
    ratios = [
        (ratio, f"{row.shape} {row.direction}") for row in rows if (ratio := row.ratio(peer)) is not None
    ]
    if not ratios:
        return None
    worst, shape = min(ratios)
    return Group(name, peer, whole, len(ratios), geometric_mean(ratio for ratio, _ in ratios), worst, shape)


def partitions(rows: Sequence[AnEntry]) -> Iterator[tuple[str, bool, list[AnEntry]]]:
    """Yield (name, is it a whole?, rows): each kind, each by direction too; then families of convolutions."""
    kinds = {kind: [row for row in rows if KINDS[row.operation] == kind] for kind in KINDS.values()}
    for kind, chosen in kinds.items():
        yield f"all {kind}", True, chosen
        for direction in dict.fromkeys(row.direction for row in chosen):
            yield f"all {kind}, {direction}", True, [row for row in chosen if row.direction == direction]
    convolutions = kinds["convolutions"]
    for family in dict.fromkeys(row.family for row in convolutions):
        members = [row for row in convolutions if row.family == family]
        for direction in dict.fromkeys(row.direction for row in members):
            yield f"{family}, {direction}", False, [row for row in members if row.direction == direction]
