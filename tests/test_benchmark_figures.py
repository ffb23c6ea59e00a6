"""What the benchmark computes and prints: means, ratios, rounds (on a made-up clock), reports, charts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))  # at the end: an installed fastconv comes first

from benchmarks import machine, plots, report, results, runner, timing
from benchmarks.results import Outcome, Report, Row
from benchmarks.settings import Settings
from benchmarks.threads import available_cpus

# Statistics


def outcome(seconds: float | None, **more: Any) -> Outcome:
    return Outcome(results.TIMED if seconds else results.UNSUPPORTED, seconds=seconds, **more)


def row(
    shape: str, direction: str, seconds: dict[str, float | None], family: str = "tiny", pool: bool = False
) -> Row:
    return Row(
        shape=shape,
        family=family,
        operation="pool" if pool else "conv",
        direction=direction,
        flops=4_000_000_000,
        traffic_bytes=1_000_000_000,
        roof_seconds=0.5,
        outcomes={name: outcome(value) for name, value in seconds.items()},
    )


def sample_report() -> Report:
    return Report(
        machine=machine.describe(Settings(), {"fastconv": "1"}),
        settings=dataclasses.asdict(Settings()),
        roof={"flops_per_second": 2e11, "bytes_per_second": 1e10},
        peers=["numpy", "torch"],
        absent={"jax": "not installed"},
        rows=[
            row("one", "forward", {"fastconv": 1.0, "numpy": 8.0, "torch": 2.0}),
            row("two", "forward", {"fastconv": 2.0, "numpy": 4.0, "torch": None}, family="other"),
            row("two", "dx", {"fastconv": 2.0, "numpy": 1.0, "torch": 8.0}, family="other"),
            row(
                "pool", "forward", {"fastconv": 1.0, "numpy": 3.0, "torch": 9.0}, family="pooling", pool=True
            ),
        ],
    )


def test_geometric_mean() -> None:
    assert results.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert results.geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert results.geometric_mean([3.0]) == pytest.approx(3.0)


def test_row_figures() -> None:
    convolution = row("a", "dx", {"fastconv": 2.0, "numpy": 5.0, "torch": None})
    assert convolution.ratio("numpy") == 2.5
    assert convolution.ratio("torch") is None
    assert convolution.ratio("jax") is None
    assert convolution.rate == 2.0
    assert convolution.roof_share == 0.25
    assert row("p", "dx", {"fastconv": 2.0}, pool=True).rate == 0.5
    failed = row("f", "dx", {"fastconv": None, "numpy": 1.0})
    assert (failed.rate, failed.roof_share, failed.ratio("numpy")) == (None, None, None)


def test_groups() -> None:
    groups = {(group.name, group.peer): group for group in sample_report().groups()}
    everything = groups["all convolutions", "numpy"]
    assert everything.count == 3
    assert everything.mean == pytest.approx(2.0)  # of 8, 2 and 1/2
    assert (everything.worst, everything.worst_shape) == (0.5, "two dx")
    assert groups["all convolutions, forward", "numpy"].mean == pytest.approx(4.0)
    assert groups["all convolutions, forward", "torch"].count == 1
    assert groups["all pooling", "torch"].mean == pytest.approx(9.0)
    assert groups["other, dx", "torch"].worst == 4.0
    assert ("other, forward", "torch") not in groups
    assert {group.whole for (name, _), group in groups.items() if name.startswith("all")} == {True}


# Timing

Lasting = Callable[[float], Callable[[], None]]


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> Lasting:
    """Replace the clock, and return a maker of calls that move it by so many seconds."""
    clock = [0.0]
    fake = types.SimpleNamespace(
        perf_counter=lambda: clock[0], process_time=lambda: 0.0, sleep=lambda seconds: None
    )
    monkeypatch.setattr(timing, "time", fake)
    monkeypatch.setattr(timing, "others_run", lambda: False)

    def make(seconds: float) -> Callable[[], None]:
        def call() -> None:
            clock[0] += seconds

        return call

    return make


@pytest.mark.parametrize("there", [True, False])
def test_settle_waits_until_nobody_spins_any_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    if there and not timing.TASKS.is_dir():
        pytest.skip(f"{timing.TASKS} is Linux's")
    if not there:
        monkeypatch.setattr(timing, "TASKS", tmp_path / "absent")
    monkeypatch.setattr(timing, "MOST_SETTLE_SECONDS", 0.05)
    spinner = threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"", b"salt", 2_000_000))
    spinner.start()  # for some tenths of a second, without the interpreter's lock
    assert timing.others_run()
    start = time.perf_counter()
    timing.settle()
    assert time.perf_counter() - start >= timing.MOST_SETTLE_SECONDS
    spinner.join()
    assert not all(timing.others_run() for _ in range(20))


def test_race_samples_everyone_in_rotating_order(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(timing, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(timing, "MOST_ROUNDS", 3)
    racers = [timing.Contestant(name, lambda name=name: order.append(name)) for name in "abc"]
    timing.race(racers, budget=60.0)
    assert "".join(order) == "abcbcacab"
    assert all(len(racer.samples) == 3 and racer.median > 0 for racer in racers)


def test_a_slow_contestant_sits_out_but_is_sampled(lasting: Lasting) -> None:
    slow, quick = timing.Contestant("slow", lasting(10.0)), timing.Contestant("quick", lasting(0.01))
    timing.race([slow, quick], budget=1.0)
    assert slow.samples == [pytest.approx(10.0)]
    assert len(quick.samples) == timing.LEAST_ROUNDS
    assert quick.median == pytest.approx(0.01)


def test_fastest_takes_the_faster_way_and_repeats_short_calls(lasting: Lasting) -> None:
    variant, contestant = timing.fastest({"first": lasting(0.004), "last": lasting(0.0011)}, "torch")
    assert (variant, contestant.name) == ("last", "torch")
    assert contestant.repeats == math.ceil(timing.SAMPLE_SECONDS / 0.0011)
    assert contestant.sample() == pytest.approx(0.0011)


def test_a_long_call_is_not_repeated(lasting: Lasting) -> None:
    calls = {"first": lasting(3.0), "last": lasting(2.0)}
    variant, contestant = timing.fastest(calls, "jax")
    assert (variant, contestant.samples, contestant.repeats) == ("last", [2.0], 1)
    timing.race([contestant], budget=1.0)
    assert contestant.samples == [2.0]


def test_budget_shrinks_towards_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "time", types.SimpleNamespace(perf_counter=lambda: 10.0))
    budget = runner.Budget(per_row=3.0, rows_left=4, deadline=14.0)
    assert [budget.next_row() for _ in range(2)] == [0.5, 2.0 / 3]
    assert runner.Budget(per_row=3.0, rows_left=1, deadline=5.0).next_row() == 0.0
    assert runner.Budget(per_row=3.0, rows_left=9).next_row() == 3.0


# Reports


def test_table_is_aligned() -> None:
    text = report.table(["name", "x"], [["a", "1.5"], ["longer", "12.25"]])
    assert text.splitlines() == ["name        x", "------  -----", "a         1.5", "longer  12.25"]


def test_markdown_table() -> None:
    text = report.table(["name", "x"], [["a", "1.5"]], markdown=True)
    assert text.splitlines() == ["| name |   x |", "| ---- | --: |", "| a    | 1.5 |"]


def test_report_text() -> None:
    made = sample_report()
    first = made.rows[0].outcomes
    first["torch"] = dataclasses.replace(first["torch"], variant="channels_last")
    made.rows[2].outcomes["torch"] = Outcome(results.DISAGREES, "error 1e-1 is beyond 1e-5")
    made.rows[3].outcomes["torch"] = Outcome(results.FAILED, "RuntimeError: no luck")
    lines = report.render(made).splitlines()
    one = next(line for line in lines if line.startswith("one"))
    assert one.split() == ["one", "forward", "4.0", "8.00", "2.00*", "50"]
    two = next(line for line in lines if line.startswith("two") and "dx" in line)
    assert two.split() == ["two", "dx", "2.0", "0.50", "WRONG", "25"]
    assert "jax is left out: not installed" in lines
    assert "!!! DISAGREES: torch on two, dx: error 1e-1 is beyond 1e-5" in lines
    assert "!!! FAILED: torch on pool, forward: RuntimeError: no luck" in lines
    assert "#### Convolutions" in report.render(made, markdown=True)


def test_json_holds_everything() -> None:
    found = json.loads(json.dumps(sample_report().as_json()))
    assert found["schema"] == results.SCHEMA
    assert set(found["machine"]) >= {
        "cpu",
        "caches",
        "isa",
        "threads",
        "versions",
        "date",
        "python",
        "system",
    }
    assert found["absent"] == {"jax": "not installed"}
    assert found["rows"][0]["ratios"] == {"numpy": 8.0, "torch": 2.0}
    assert found["rows"][1]["ratios"]["torch"] is None
    assert found["rows"][0]["outcomes"]["numpy"]["seconds"] == 8.0
    assert found["summary"][0]["name"] == "all convolutions"


def test_charts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = plots.draw(sample_report(), tmp_path)
    assert [path.name for path in drawn] == ["ratios-forward.png", "ratios-dx.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


# Machine and threads


def test_caches_are_read(tmp_path: Path) -> None:
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M")]
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for entry, text in (("level", level), ("type", kind), ("size", size)):
            (folder / entry).write_text(text + "\n")
    assert machine.caches(tmp_path) == {"L1d": "48K", "L2": "2M"}
    assert machine.caches(tmp_path / "nothing") == {}


def test_a_quota_limits_the_cpus(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    cpus = available_cpus(tmp_path / "absent")
    quota.write_text("max 100000\n")
    assert available_cpus(quota) == cpus
    quota.write_text("50000 100000\n")
    assert available_cpus(quota) == 1
