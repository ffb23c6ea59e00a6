"""The benchmark itself: shapes, peers, statistics and files; nothing here depends on how fast a call is."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv as fc

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.append(str(CHECKOUT))  # at the end: an installed fastconv comes before the checkout's folder

from benchmarks import agreement, machine, peers, plots, report, results, roof, runner, timing  # noqa: E402
from benchmarks.cli import main  # noqa: E402
from benchmarks.problem import Problem  # noqa: E402
from benchmarks.results import Outcome, Report, Row  # noqa: E402
from benchmarks.settings import Settings  # noqa: E402
from benchmarks.shapes import SHAPES, ConvShape, PoolShape, Shape, select  # noqa: E402
from benchmarks.threads import available_cpus, limit_threads  # noqa: E402

ENVIRONMENT = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "PJRT_NPROC",
)


def conv_shape(name: str, input: tuple[int, ...], weight: tuple[int, ...], **changes: Any) -> ConvShape:
    rank = len(input) - 2
    plain = {"stride": (1,) * rank, "padding": ((0, 0),) * rank, "dilation": (1,) * rank, "groups": 1}
    return ConvShape(name=name, family="tiny", input=input, quick_batch=1, weight=weight, **(plain | changes))


def pool_shape(kind: str, input: tuple[int, ...], window: tuple[int, ...], **changes: Any) -> PoolShape:
    rank = len(input) - 2
    plain = {"stride": window, "padding": (0,) * rank}
    name = f"{kind}{rank}d"
    return PoolShape(
        name=name, family="pooling", input=input, quick_batch=1, kind=kind, window=window, **(plain | changes)
    )


UP = {"transposed": True, "stride": (2, 2), "padding": ((1, 1), (1, 1)), "output_padding": (1, 0)}

TINY: tuple[Shape, ...] = (
    conv_shape("plain", (3, 4, 7, 6), (5, 4, 3, 2)),
    conv_shape("strided", (2, 4, 9, 8), (6, 2, 3, 3), stride=(2, 3), padding=((1, 1), (2, 2)), groups=2),
    conv_shape("depthwise", (2, 6, 8, 8), (6, 1, 3, 3), padding=((1, 1), (1, 1)), groups=6),
    conv_shape("dilated", (2, 3, 9, 9), (4, 3, 3, 3), dilation=(2, 3)),
    conv_shape("causal", (2, 3, 20), (4, 3, 5), padding=((8, 0),), dilation=(2,)),
    conv_shape("volume", (2, 2, 4, 5, 6), (3, 2, 2, 3, 3), padding=((0, 0), (1, 1), (1, 1))),
    conv_shape("up", (2, 4, 5, 4), (4, 3, 3, 3), **UP),
    pool_shape("max", (2, 3, 8, 7), (3, 3), stride=(2, 2), padding=(1, 1)),
    pool_shape("max", (2, 3, 12), (4,)),
    pool_shape("avg", (2, 3, 8, 7), (3, 3), stride=(2, 2), padding=(1, 1)),
    pool_shape("avg", (2, 3, 4, 6, 8), (2, 2, 2)),
    pool_shape("lp", (2, 3, 8, 6), (2, 2)),
    pool_shape("adaptive_avg", (2, 3, 8, 6), (4, 3)),
    pool_shape("adaptive_max", (2, 3, 9, 7), (4, 3)),
    pool_shape("global_avg", (2, 3, 5, 4), (5, 4)),
)
TASKS = [(shape, direction) for shape in TINY for direction in shape.directions]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Copy little, and give back fastconv's settings, which a peer sets for the process."""
    monkeypatch.setattr(roof, "COPY_BYTES", 2**20)
    with fc.threads(1), fc.precision("highest"):
        yield


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, alone: None) -> None:
    """Give back the variables that the command line sets."""
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "1")


# Shapes


def test_names_are_unique_and_every_family_is_there() -> None:
    names = [shape.name for shape in SHAPES]
    assert len(names) == len(set(names))
    families = {shape.family for shape in SHAPES}
    for family in (
        "LeNet-5",
        "Fashion-MNIST net",
        "AlexNet",
        "VGG-16",
        "ResNet-50",
        "GoogLeNet",
        "depthwise",
    ):
        assert family in families
    for family in ("groups", "1-D", "dilated", "3-D", "transposed", "batch 1", "odd channels", "pooling"):
        assert family in families
    assert {shape.rank for shape in SHAPES} == {1, 2, 3}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shape_is_well_formed(shape: Shape) -> None:
    assert all(size > 0 for size in (*shape.input, *shape.output))
    assert shape.output[0] == shape.input[0]
    assert shape.flops > 0
    assert shape.elements_moved > math.prod(shape.input)
    if isinstance(shape, ConvShape):
        per_axis = (shape.kernel, shape.stride, shape.padding, shape.dilation)
        assert {len(values) for values in per_axis} == {shape.rank}
        channels = shape.weight[0] if shape.transposed else shape.weight[1] * shape.groups
        assert channels == shape.input[1]
        assert shape.weight[0] % shape.groups == 0
        assert len(shape.output_padding) == (shape.rank if shape.transposed else 0)
    else:
        assert isinstance(shape, PoolShape)
        assert shape.output[1] == shape.input[1]


@pytest.mark.parametrize(("shape", "direction"), TASKS, ids=lambda value: getattr(value, "name", value))
def test_output_is_what_the_reference_gives(shape: Shape, direction: str) -> None:
    problem = Problem.draw(shape, Settings()).towards(direction)
    want = {"forward": shape.output, "dx": shape.input, "dw": getattr(shape, "weight", ())}[direction]
    assert agreement.expected(problem).values.shape[1:] == want[1:]


def test_flops_count_every_multiply_add_twice() -> None:
    assert conv_shape("a", (2, 3, 5, 5), (4, 3, 3, 3)).flops == 2 * (2 * 4 * 3 * 3) * (3 * 3 * 3)
    up = conv_shape("b", (1, 2, 4), (2, 3, 2), transposed=True, stride=(2,), output_padding=(0,))
    assert up.output == (1, 3, 8)
    assert up.flops == 2 * 4 * 2 * 3 * 2


def test_ceil_mode_drops_a_window_that_starts_in_the_padding() -> None:
    assert pool_shape("max", (1, 1, 6), (2,), stride=(3,), padding=(1,), ceil_mode=True).output == (1, 1, 3)
    assert pool_shape("max", (1, 1, 5), (2,), stride=(3,), padding=(1,), ceil_mode=True).output == (1, 1, 2)
    assert pool_shape("max", (1, 1, 6), (3,), stride=(2,), ceil_mode=True).output == (1, 1, 3)
    assert pool_shape("max", (1, 1, 6), (3,), stride=(2,)).output == (1, 1, 2)


def test_select() -> None:
    assert list(select()) == list(SHAPES)
    assert {shape.family for shape in select("vgg-16")} == {"VGG-16"}
    assert [shape.name for shape in select("LENET5-C?")] == ["lenet5-c1", "lenet5-c3"]
    assert [shape.name for shape in select("lenet5-c1, lenet5-c3")] == ["lenet5-c1", "lenet5-c3"]
    assert not list(select("no such shape"))
    quick = list(select(quick=True))
    assert 8 <= len(quick) <= 16
    assert all(shape.input[0] == shape.quick_batch for shape in quick)
    assert {shape.operation for shape in quick} == {"conv", "conv_transpose", "pool"}


# Peers and agreement


def test_problems_are_the_same_in_every_run() -> None:
    first, second = (Problem.draw(TINY[0], Settings()) for _ in range(2))
    assert np.array_equal(first.x, second.x)
    assert first.w is not None
    assert not np.array_equal(first.x.ravel()[:20], first.w.ravel()[:20])
    assert Problem.draw(TINY[0], Settings(dtype="float64")).x.dtype == np.float64


@pytest.mark.parametrize("name", list(peers.MODULES))
def test_every_peer_computes_what_the_reference_does(name: str, alone: None) -> None:
    library = {"torch-bf16": "torch"}.get(name, name)
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    settings = Settings()
    peer = peers.load(name, settings)
    supported = 0
    for shape, direction in TASKS:
        problem = Problem.draw(shape, settings).towards(direction)
        outcome, contestant = runner.prepare(peer, problem, agreement.expected(problem))
        assert outcome.status in (results.TIMED, results.UNSUPPORTED), (shape.name, direction, outcome)
        supported += contestant is not None
    assert supported >= sum(isinstance(shape, ConvShape) for shape, _ in TASKS)


class Wrong:
    """A peer whose results are off by one in a single element."""

    name, version, arithmetic = "wrong", "1", ("float32", "highest")

    def __init__(self, name: str, settings: Settings) -> None:
        self.inner = peers.load("numpy", settings)

    def calls(self, problem: Problem) -> dict[str, Any]:
        (call,) = self.inner.calls(problem).values()
        return {"wrong": call}

    def to_numpy(self, result: Any) -> Any:
        changed = result.copy()
        changed.flat[-1] += 1
        return changed


class Broken(Wrong):
    """A peer that raises."""

    def calls(self, problem: Problem) -> dict[str, Any]:
        raise RuntimeError("no luck")


def as_module(monkeypatch: pytest.MonkeyPatch, peer: type[Wrong]) -> None:
    module = types.ModuleType("another_peer")
    module.create = peer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "another_peer", module)
    monkeypatch.setitem(peers.MODULES, "wrong", "another_peer")


@pytest.mark.parametrize(("shape", "direction"), TASKS[:3], ids=lambda value: getattr(value, "name", value))
def test_one_wrong_element_is_a_disagreement(shape: Shape, direction: str, alone: None) -> None:
    problem = Problem.draw(shape, Settings()).towards(direction)
    outcome, contestant = runner.prepare(Wrong("wrong", Settings()), problem, agreement.expected(problem))
    assert (outcome.status, contestant) == (results.DISAGREES, None)
    assert outcome.error is not None
    assert outcome.tolerance is not None
    assert outcome.error > 1e-3 > outcome.tolerance


def test_error_is_infinite_for_a_wrong_shape_and_for_nan() -> None:
    expected = agreement.Expected(np.array([1.0, -4.0]), None)
    assert expected.error_of(np.array([1.0, -3.0], np.float32)) == 0.25
    assert expected.error_of(np.array([1.0, np.nan])) == math.inf
    assert expected.error_of(np.array([1.0])) == math.inf
    first_and_last = agreement.Expected(np.array([1.0, 3.0]), [0, 2])
    assert first_and_last.error_of(np.array([1.0, 99.0, 3.0])) == 0


def test_tolerance_grows_with_long_sums_and_coarse_arithmetic() -> None:
    problem = Problem.draw(TINY[0], Settings())
    order = [("float64", "highest"), ("float32", "highest"), ("float32", "high"), ("float32", "medium")]
    found = [agreement.tolerance(arithmetic, problem) for arithmetic in order]
    assert found == sorted(found)
    assert agreement.tolerance(("float64", "medium"), problem) == found[0]
    wide = Problem.draw(conv_shape("long", (1, 1, 128, 130), (1, 1, 1, 3)), Settings()).towards("dw")
    assert agreement.tolerance(("float32", "highest"), wide) == pytest.approx(2e-5)


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


def test_roof_is_the_later_of_arithmetic_and_memory() -> None:
    shape = conv_shape("a", (1, 1, 10), (1, 1, 1))
    assert (shape.flops, shape.elements_moved) == (20, 21)
    assert roof.Roof(10.0, 1e9).seconds(shape, 4) == 2.0
    assert roof.Roof(1e9, 42.0).seconds(shape, 4) == 2.0


def test_measured_roof_is_positive(alone: None) -> None:
    measured = roof.measure(Settings(threads=1), 0.01)
    assert measured.flops_per_second > 0
    assert measured.bytes_per_second > 0


# Timing


def test_race_samples_everyone_in_rotating_order(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(timing, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(timing, "MOST_ROUNDS", 3)
    racers = [timing.Contestant(name, lambda name=name: order.append(name)) for name in "abc"]
    timing.race(racers, budget=60.0)
    assert "".join(order) == "abcbcacab"
    assert all(len(racer.samples) == 3 and racer.median > 0 for racer in racers)


def test_a_slow_contestant_sits_out_but_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def lasting(seconds: float) -> Any:
        def call() -> None:
            clock[0] += seconds

        return call

    fake = types.SimpleNamespace(perf_counter=lambda: clock[0], sleep=lambda seconds: None)
    monkeypatch.setattr(timing, "time", fake)
    slow, quick = timing.Contestant("slow", lasting(10.0)), timing.Contestant("quick", lasting(0.01))
    timing.race([slow, quick], budget=1.0)
    assert slow.samples == [pytest.approx(10.0)]
    assert len(quick.samples) == timing.LEAST_ROUNDS
    assert quick.median == pytest.approx(0.01)


def test_fastest_takes_the_faster_way_and_repeats_short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def lasting(seconds: float) -> Any:
        def call() -> None:
            clock[0] += seconds

        return call

    fake = types.SimpleNamespace(perf_counter=lambda: clock[0], sleep=lambda seconds: None)
    monkeypatch.setattr(timing, "time", fake)
    variant, contestant = timing.fastest({"first": lasting(0.004), "last": lasting(0.0011)}, "torch")
    assert (variant, contestant.name) == ("last", "torch")
    assert contestant.repeats == math.ceil(timing.SAMPLE_SECONDS / 0.0011)
    assert contestant.sample() == pytest.approx(0.0011)


def test_budget_shrinks_towards_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "time", types.SimpleNamespace(perf_counter=lambda: 10.0))
    budget = runner.Budget(per_row=3.0, rows_left=4, deadline=14.0)
    assert [budget.next_row() for _ in range(2)] == [1.0, 4.0 / 3]
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


def test_threads_are_set_for_every_library(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_threads(3)
    import os

    assert {os.environ[name] for name in ENVIRONMENT} == {"3"}


# The command line


def run_main(tmp_path: Path, *options: str) -> int:
    return main(
        [
            "--only",
            "lenet5-c3",
            "--quick",
            "--budget",
            "0",
            "--threads",
            "1",
            "--out",
            str(tmp_path),
            *options,
        ]
    )


def test_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], environment: None) -> None:
    assert run_main(tmp_path, "--peers", "numpy") == 0
    printed = capsys.readouterr().out
    assert "lenet5-c3" in printed
    assert "× numpy" in printed
    assert (tmp_path / "results.txt").read_text(encoding="utf-8") in printed
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [found_row["direction"] for found_row in found["rows"]] == ["forward", "dx", "dw"]
    for found_row in found["rows"]:
        assert {entry["status"] for entry in found_row["outcomes"].values()} == {"timed"}
        assert all(entry["error"] <= entry["tolerance"] for entry in found_row["outcomes"].values())
    charts = importlib.util.find_spec("matplotlib") is not None
    assert (tmp_path / "ratios-dw.png").exists() == charts


def test_markdown_goes_to_its_own_file(tmp_path: Path, environment: None) -> None:
    assert run_main(tmp_path, "--peers", "none", "--directions", "dw", "--markdown") == 0
    assert "| lenet5-c3 | dw" in (tmp_path / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("peer", "mark"), [(Wrong, "DISAGREES"), (Broken, "FAILED")])
def test_a_wrong_or_broken_peer_makes_the_exit_status_1(
    peer: type[Wrong],
    mark: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    environment: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_module(monkeypatch, peer)
    assert run_main(tmp_path, "--peers", "wrong", "--directions", "forward") == 1
    assert f"!!! {mark}: wrong on lenet5-c3, forward" in capsys.readouterr().out


def test_what_is_not_installed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(peers.MODULES, "wrong", "no_such_library")
    assert run_main(tmp_path, "--peers", "wrong", "--directions", "forward") == 0
    printed = capsys.readouterr()
    assert "wrong is left out: not installed" in printed.out
    assert "matplotlib" in printed.err
    assert "tqdm" in printed.err
    assert printed.err.count('pip install "fastconv[bench]"') == 2
    assert "[1/1] lenet5-c3 forward" in printed.err


def test_interruption_keeps_the_rows_that_are_done(alone: None) -> None:
    def interrupt(text: str) -> None:
        if text.endswith("dx"):
            raise KeyboardInterrupt

    made = runner.run(TINY[:1], ("forward", "dx"), (), Settings(), seconds_per_row=0.0, progress=interrupt)
    assert [done.direction for done in made.rows] == ["forward"]
    assert made.absent == {"the rest": "interrupted"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nothing"], "no shape matches 'nothing'"),
        (["--peers", "tensorflow"], "'tensorflow' is none of numpy, torch, torch-bf16, jax"),
        (["--directions", "up"], "'up' is none of forward, dx, dw"),
        (["--directions", ","], "expected some of forward, dx, dw"),
        (["--only", "pooling", "--directions", "dw"], "pooling has no dw"),
        (["--threads", "0"], "expected 1 to"),
        (["--threads", "100000"], "got 100000"),
        (["--budget", "-1"], "expected seconds, got -1.0"),
        (["--precision", "low"], "invalid choice: 'low'"),
    ],
)
def test_argument_errors_are_clear(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], environment: None
) -> None:
    with pytest.raises(SystemExit) as left:
        main(options)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_list_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--list"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(SHAPES) + 2
    assert lines[2].startswith("lenet5-c1")
