"""The benchmark itself: its shapes, its peers and its command line; no test depends on how fast a call is."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.append(str(CHECKOUT))  # at the end: an installed fastconv comes before the checkout's folder

from benchmarks import agreement, apart, peers, results, roof, runner  # noqa: E402
from benchmarks.cli import main  # noqa: E402
from benchmarks.problem import Problem  # noqa: E402
from benchmarks.progress import Progress  # noqa: E402
from benchmarks.results import TIMED, Outcome, Report, Row  # noqa: E402
from benchmarks.settings import Settings  # noqa: E402
from benchmarks.shapes import SHAPES, ConvShape, PoolShape, Shape, select  # noqa: E402
from benchmarks.threads import VARIABLES, limit_threads  # noqa: E402


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


# Roof and threads


def test_roof_is_the_later_of_arithmetic_and_memory() -> None:
    shape = conv_shape("a", (1, 1, 10), (1, 1, 1))
    assert (shape.flops, shape.elements_moved) == (20, 21)
    assert roof.Roof(10.0, 1e9).seconds(shape, 4) == 2.0
    assert roof.Roof(1e9, 42.0).seconds(shape, 4) == 2.0


def test_measured_roof_is_positive(alone: None) -> None:
    measured = roof.measure(Settings(threads=1), 0.01)
    assert measured.flops_per_second > 0
    assert measured.bytes_per_second > 0


def test_threads_are_set_for_every_library(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_threads(3)
    assert {os.environ[name] for name in VARIABLES} == {"3"}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} < set(VARIABLES)


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
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(peers.MODULES, "wrong", "no_such_library")
    assert run_main(tmp_path, "--peers", "wrong", "--directions", "forward") == 0
    printed = capsys.readouterr()
    assert "wrong is left out: not installed" in printed.out
    assert "No charts: matplotlib is not installed" in printed.err
    assert "No progress bar: tqdm is not installed" in printed.err
    assert printed.err.count('pip install "fastconv[bench]"') == 2
    assert "[1/1] lenet5-c3 forward" in printed.err


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(2) as progress:
        progress.begin("first")
        progress.begin("second")
    printed = capsys.readouterr().err
    assert "second" in printed
    assert "1/2" in printed


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
        (["--regret", "--scaling"], "--scaling: not allowed with argument --regret"),
        (["--scaling", "--isa", "avx2"], "--isa: not allowed with argument --scaling"),
        (["--networks", "--regret"], "--regret: not allowed with argument --networks"),
        (["--regret", "--peers", "torch"], "--regret races fastconv's own routes: it takes no --peers"),
        (
            ["--regret", "--only", "pooling"],
            "--regret is about convolutions: 'pooling' matches pooling alone",
        ),
        (["--scaling", "--only", "pooling"], "--scaling is about convolutions"),
        (["--scaling", "--peers", "jax"], "'jax' is none of torch, torch-bf16"),
        (["--isa", "avx2", "--peers", "numpy"], "'numpy' is none of torch, torch-bf16"),
        (["--isa", "sse"], "--isa: 'sse' is none of scalar, neon, avx2, avx512, amx"),
        (["--isa", ""], "--isa: expected some of scalar"),
        (["--within", "0"], "--within: expected seconds above 0, got 0.0"),
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


# One process for each peer


def a_report(peer: str, fastconv: float, seconds: float) -> Report:
    outcomes = {"fastconv": Outcome(TIMED, seconds=fastconv), peer: Outcome(TIMED, seconds=seconds)}
    row = Row("layer", "family", "conv", "forward", 1, 1, 1.0, outcomes)
    return Report({"versions": {peer: "1"}}, {}, {}, [peer], rows=[row])


def test_a_peer_keeps_its_ratio_against_its_own_process() -> None:
    joined = apart.join([a_report("numpy", 1.0, 3.0), a_report("torch", 2.0, 3.0)])
    assert joined.peers == ["numpy", "torch"]
    assert joined.machine["versions"] == {"numpy": "1", "torch": "1"}
    (row,) = joined.rows
    assert (row.seconds, row.ratio("numpy"), row.ratio("torch")) == (1.0, 3.0, 1.5)
    assert Report.from_json(json.loads(json.dumps(joined.as_json()))).rows == joined.rows


def test_several_peers_are_raced_apart(tmp_path: Path, environment: None) -> None:
    pytest.importorskip("torch")
    assert run_main(tmp_path, "--peers", "numpy,torch", "--directions", "forward") == 0
    found = Report.from_json(json.loads((tmp_path / "results.json").read_text(encoding="utf-8")))
    assert found.peers == ["numpy", "torch"]
    (row,) = found.rows
    assert row.outcomes["numpy"].against is None
    assert row.outcomes["torch"].against not in (None, row.seconds)


def test_a_process_that_breaks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks:
        """A process for the peer that ends without results, a report for the others."""

        def run(self, name: str, *rest: Any, take: Any, fail: Any) -> None:
            fail(f"{name} broke") if name == "torch" else take(a_report(name, 1.0, 2.0))

    monkeypatch.setattr(apart, "find_spec", lambda name: name)  # every peer counts as installed
    monkeypatch.setattr(apart.child, "run", Breaks().run)
    made = apart.run(["numpy", "torch"], [], None)
    assert (made.peers, made.troubles()) == (["numpy"], ["torch broke"])
    with pytest.raises(SystemExit, match="torch broke"):
        apart.run(["torch"], [], None)
