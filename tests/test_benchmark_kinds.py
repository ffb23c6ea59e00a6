"""The other kinds of benchmark run: --regret, --scaling, --isa, and the roofline of an ordinary one."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import fastconv as fc

sys.path.append(str(Path(__file__).resolve().parents[1]))  # at the end: an installed fastconv comes first

from benchmarks import (
    child,
    isa,
    isa_report,
    machine,
    regret,
    regret_report,
    results,
    roofline,
    scaling,
    scaling_report,
)
from benchmarks.cli import main
from benchmarks.regret import Choice
from benchmarks.results import Outcome, Report, Row
from benchmarks.scaling import Curve, Point
from benchmarks.settings import CAPS, Settings
from benchmarks.shapes import ConvShape, select
from benchmarks.sweeps import LARGE, MOST_ELEMENTS, MOST_FLOPS, SMALL, SWEEPS, thread_counts


def timed(**seconds: float | None) -> dict[str, Outcome]:
    return {
        name: Outcome(results.TIMED, seconds=value) if value else Outcome(results.DISAGREES, "error 1")
        for name, value in seconds.items()
    }


def conv(name: str, *, quick: bool = False) -> ConvShape:
    (shape,) = select(name, quick=quick)
    assert isinstance(shape, ConvShape)
    return shape


HEAD: dict[str, Any] = {
    "machine": machine.describe(Settings(), {"fastconv": "1"}),
    "settings": dataclasses.asdict(Settings()),
}


def run_main(folder: Path, *options: str) -> int:
    return main(["--budget", "0.001", "--threads", "1", "--out", str(folder), *options])


def charts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


DRAWS = importlib.util.find_spec("matplotlib") is not None

# Regret


def test_every_route_is_asked() -> None:
    with pytest.raises(ValueError, match="expected 'auto'") as raised:
        fc.explain("conv1d", (1, 1, 4), (1, 1, 2), algorithm="none")
    assert set(re.findall(r"'(\w+)'", str(raised.value).split("expected")[1])) == {"auto", *regret.ROUTES}


def choice(shape: str, direction: str, chosen: str, **seconds: float | None) -> Choice:
    return Choice(shape, "tiny", "conv", direction, chosen, tuple(seconds), {}, timed(**seconds))


def regret_sample() -> regret.RegretReport:
    rows = [
        choice("one", "forward", "winograd", implicit_gemm=1.0, winograd=2.0),
        choice("two", "forward", "winograd", implicit_gemm=1.0, winograd=0.5),
        choice("two", "dx", "implicit_gemm", implicit_gemm=1.04, winograd=1.0),
        choice("two", "dw", "direct", implicit_gemm=1.0, direct=None),
    ]
    return regret.RegretReport(**HEAD, without_choice=7, rows=rows)


def test_loss_is_what_the_fastest_route_would_have_saved() -> None:
    one, two, close, wrong = regret_sample().rows
    assert (one.best, one.rival, one.ratio, one.loss) == ("implicit_gemm", "implicit_gemm", 0.5, 100.0)
    assert (two.best, two.rival, two.ratio, two.loss) == ("winograd", "implicit_gemm", 2.0, 0.0)
    assert close.loss == pytest.approx(4.0)
    assert (wrong.best, wrong.loss) == ("implicit_gemm", None)
    assert choice("none", "dx", "direct").best is None


def test_losses_are_summed_up_by_direction() -> None:
    summary = {losses.name: losses for losses in regret_sample().summary()}
    everything = summary["all convolutions"]
    assert (everything.count, everything.missed) == (3, 1)
    assert everything.mean == pytest.approx(100 * ((2.0 * 1.0 * 1.04) ** (1 / 3) - 1))
    assert (everything.worst, everything.worst_shape) == (100.0, "one forward")
    assert summary["tiny, dx"].missed == 0
    assert "all convolutions, dw" not in summary


def test_regret_text_marks_the_choice_and_names_the_worst() -> None:
    report = regret_sample()
    lines = [line.split() for line in regret_report.render(report).splitlines()]
    assert ["one", "forward", "1000.000", "-", "2000.000*", "100.0"] in lines
    assert ["one", "forward", "winograd", "implicit_gemm", "100.0"] in lines
    assert ["two", "forward", "winograd", "winograd", "0.0"] not in lines
    assert "!!! DISAGREES: direct on two, dw: error 1" in regret_report.render(report)
    assert json.loads(json.dumps(report.as_json()))["rows"][0]["loss"] == 100.0


@pytest.mark.usefixtures("without_tiles")
@pytest.mark.parametrize("direction", ["forward", "dx", "dw"])
def test_auto_is_one_of_the_routes_that_serve(direction: str) -> None:
    asked = regret.ask(conv("resnet50-3x3-64-64@56"), direction, Settings())
    assert asked.chosen in asked.serving
    assert asked.serving == ("implicit_gemm", "winograd")
    assert "one input channel" in asked.refused["direct"]
    double = regret.ask(conv("resnet50-3x3-64-64@56"), direction, Settings(dtype="float64"))
    assert double.serving == (double.chosen,)


@pytest.mark.usefixtures("without_tiles")
def test_regret_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], environment: None) -> None:
    assert run_main(tmp_path, "--regret", "--quick", "--only", "fashion,resnet50-1x1*,pooling") == 0
    printed = capsys.readouterr()
    assert "One route alone can serve 3 calls" in printed.out
    assert "[3/3] fashion-3x3-64-128 dw" in printed.err
    found = json.loads((tmp_path / "regret.json").read_text(encoding="utf-8"))
    assert [row["direction"] for row in found["rows"]] == ["forward", "dx", "dw"]
    for row in found["rows"]:
        assert set(row["outcomes"]) == {"implicit_gemm", "winograd"}
        assert all(outcome["error"] <= outcome["tolerance"] for outcome in row["outcomes"].values())
        assert row["loss"] >= 0
    assert charts(tmp_path) == (["regret.png"] if DRAWS else [])


# Scaling


def test_thread_counts() -> None:
    assert thread_counts(1) == (1,)
    assert thread_counts(2) == (1, 2)
    assert thread_counts(8) == (1, 2, 3, 4, 5, 6, 7, 8)
    assert thread_counts(48) == (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 48)


@pytest.mark.parametrize("name", [*LARGE, *SMALL, "causal-17tap-d4", "vnet-2x2x2-64-32@16", "g32@56"])
def test_sweeps_change_one_size(name: str) -> None:
    layer = conv(name)
    for sweep in SWEEPS:
        varied = dict(sweep.layers(layer, "forward"))
        assert len(varied) >= 3
        assert dict(sweep.layers(layer, "dw", quick=True)).keys() < varied.keys()
        for value, shape in varied.items():
            assert shape.flops <= MOST_FLOPS
            assert shape.elements_moved <= MOST_ELEMENTS
            batch, channels, *sides = shape.input
            assert value == {"batch": batch, "channels": channels, "side": sides[-1]}[sweep.name]
            if sweep.name != "channels":
                assert (shape.weight, shape.groups) == (layer.weight, layer.groups)
            if sweep.name != "side":
                assert shape.input[2:] == layer.input[2:]


def test_sweeps_reach_far_and_hold_odd_channels() -> None:
    batch, channels, _ = (dict(sweep.layers(conv("lenet5-c3"), "forward")) for sweep in SWEEPS)
    assert list(batch) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert {30, 100} < set(channels)
    assert channels[30].weight == (30, 30, 5, 5)
    depthwise = dict(SWEEPS[1].layers(conv("mobilenet-dw-s1-256@28"), "forward"))[100]
    assert (depthwise.weight, depthwise.groups) == ((100, 1, 3, 3), 100)


def point(sweep: str, value: int, flops: int = 4_000_000_000, **seconds: float | None) -> Point:
    return Point("layer", "tiny", "conv", "forward", sweep, value, flops, timed(**seconds))


def scaling_sample() -> scaling.ScalingReport:
    points = [
        point("threads", 1, fastconv=3.0, torch=8.0),
        point("threads", 2, fastconv=2.0, torch=4.0),
        point("batch", 1, 1_000_000_000, fastconv=1.0, torch=2.0),
        point("batch", 4, fastconv=2.0, torch=None),
    ]
    return scaling.ScalingReport(**HEAD, peers=["torch"], points=points)


def test_curve_figures() -> None:
    threads, batch = scaling_sample().curves()
    assert threads.speedup("fastconv", 2) == 1.5
    assert threads.speedup("torch", 2) == 2.0
    assert threads.speedup("fastconv", 4) is None
    assert threads.straight() == [(1, 3.0), (2, 1.5)]
    assert batch.line("torch") == [(1, 2.0)]
    assert [point.rate("fastconv") for point in batch.points] == [1.0, 2.0]
    assert batch.straight() == [(1, 0.5), (4, 2.0)]
    assert Curve("layer", "dw", "batch", [point("batch", 1, fastconv=None)]).straight() == []


def test_scaling_text_states_the_speed_up() -> None:
    report = scaling_sample()
    lines = [line.split() for line in scaling_report.render(report).splitlines()]
    assert ["layer", "forward", "2", "2000.000", "2.0", "2.00", "1.50", "2.00"] in lines
    assert ["layer", "forward", "4", "2000.000", "2.0", "-"] in lines
    assert ["fastconv", "1", "->", "2", "1.50", "1.50", "layer", "forward"] in lines
    assert "!!! DISAGREES: torch on layer, batch 4, forward: error 1" in scaling_report.render(report)
    found = json.loads(json.dumps(report.as_json()))
    assert found["speedups"][1]["speedups"] == {"fastconv": 1.5, "torch": 2.0}
    assert found["points"][2]["rates"] == {"fastconv": 1.0, "torch": 0.5}


def test_scaling_charts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    scaling_report.draw(scaling_sample(), tmp_path)
    assert charts(tmp_path) == ["scaling-batch-forward.png", "scaling-threads-forward.png"]


def test_threads_are_set_once_a_sample_and_given_back(alone: None) -> None:
    calls: list[Any] = []

    class Counting:
        name, version, arithmetic = "counting", "1", ("float32", "highest")

        def calls(self, problem: Any) -> dict[str, Any]:
            return {"default": lambda: calls.append("call")}

        def set_threads(self, count: int) -> None:
            calls.append(count)

    now: dict[str, int] = {}
    one, two = (scaling.AtThreads(Counting(), count, now).calls(None)["default"] for count in (1, 2))  # type: ignore[arg-type]
    for call in (one, one, two, one):
        call()
    assert calls == [1, "call", "call", 2, "call", 1, "call"]


def test_scaling_end_to_end(tmp_path: Path, environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.cli.available_cpus", lambda: 2)
    run_main(tmp_path, "--scaling", "--quick", "--only", "lenet5-c3", "--peers", "none", "--threads", "2")
    found = json.loads((tmp_path / "scaling.json").read_text(encoding="utf-8"))
    sweeps = {
        name: [entry["value"] for entry in found["points"] if entry["sweep"] == name]
        for name in ("threads", "batch", "channels", "side")
    }
    assert sweeps["threads"] == [1, 2]
    assert sweeps["batch"] == [1, 4, 16, 64, 256]
    assert {30, 100} < set(sweeps["channels"])
    assert {entry["direction"] for entry in found["points"]} == {"forward"}
    assert all(entry["outcomes"]["fastconv"]["status"] == "timed" for entry in found["points"])
    assert found["speedups"][1]["speedups"]["fastconv"] > 0
    assert len(charts(tmp_path)) == (4 if DRAWS else 0)


@pytest.mark.parametrize("kind", ["regret", "scaling"])
def test_interruption_keeps_what_is_done(kind: str, alone: None) -> None:
    begun: list[str] = []

    def interrupt(text: str) -> None:
        begun.append(text)
        if len(begun) == 2:
            raise KeyboardInterrupt

    layer = conv("fashion-3x3-64-128", quick=True)
    if kind == "regret":
        planned = regret.plan([layer], ("forward", "dx"), Settings())
        made: Any = regret.run(planned, Settings(), seconds_per_row=0.0, progress=interrupt)
        done = made.rows
    else:
        tasks = scaling.plan([layer], ("forward",), quick=True)
        made = scaling.run(tasks, (), Settings(), seconds_per_row=0.0, progress=interrupt)
        done = made.points
    assert [entry.direction for entry in done] == ["forward"]
    assert made.absent == {"the rest": "interrupted"}


# Instruction sets


def row(shape: str, direction: str, **seconds: float | None) -> Row:
    return Row(shape, "tiny", "conv", direction, 4_000_000_000, 1_000_000_000, 0.5, timed(**seconds))


def report_of(*rows: Row) -> Report:
    return Report(
        **HEAD, roof={"flops_per_second": 2e10, "bytes_per_second": 1e9}, peers=["torch"], rows=list(rows)
    )


def isa_sample() -> isa.IsaReport:
    slow = report_of(row("a", "forward", fastconv=4.0, torch=2.0), row("a", "dx", fastconv=9.0, torch=9.0))
    quick = report_of(row("a", "forward", fastconv=1.0, torch=2.0), row("a", "dx", fastconv=1.0, torch=None))
    return isa.IsaReport({"scalar": slow, "avx2": quick}, absent={"amx": "not here"})


def test_a_report_comes_back_from_json() -> None:
    made = report_of(row("a", "forward", fastconv=4.0, torch=2.0))
    assert Report.from_json(json.loads(json.dumps(made.as_json()))) == made


def test_joined_lines() -> None:
    lines = {(line.name, line.isa): line for line in isa_sample().lines()}
    first, second = lines["all convolutions", "scalar"], lines["all convolutions", "avx2"]
    assert (first.gain, second.gain) == (1.0, pytest.approx(6.0))  # of 4 and 9
    assert first.groups["torch"].mean == pytest.approx(0.5**0.5)
    assert (second.groups["torch"].mean, second.groups["torch"].count) == (2.0, 1)
    assert lines["all convolutions, dx", "avx2"].groups == {}


def test_joined_text() -> None:
    text = isa_report.render(isa_sample())
    lines = [line.split() for line in text.splitlines()]
    assert ["all", "convolutions,", "dx", "avx2", "1", "9.00", "-", "-", "-"] in lines
    assert "avx2: ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2" in text
    assert "amx is left out: not here" in text
    assert "!!! avx2: DISAGREES: torch on a, dx: error 1" in text
    assert isa_report.render(isa.IsaReport(absent={"amx": "not here"})) == "amx is left out: not here\n"


def test_isa_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], environment: None) -> None:
    here = fc.config()["isas"]
    missing = next(name for name in CAPS if name not in here)
    options = ["--quick", "--only", "lenet5-c3", "--directions", "dw", "--peers", "none"]
    assert run_main(tmp_path, "--isa", f"{here[0]},{missing}", *options) == 0
    printed = capsys.readouterr().out
    assert f"{missing} is left out: fastconv runs {', '.join(here)} on this machine" in printed
    found = json.loads((tmp_path / "isa.json").read_text(encoding="utf-8"))["reports"]
    assert list(found) == [here[0]]
    assert found[here[0]]["machine"]["isa"] == here[0]
    assert found[here[0]]["machine"]["environment"] == {"FASTCONV_ISA": here[0], **CAPS[here[0]]}
    assert (tmp_path / here[0] / "results.txt").exists()


def test_isa_with_no_set_of_this_machine_is_status_1(tmp_path: Path, environment: None) -> None:
    missing = next(name for name in CAPS if name not in fc.config()["isas"])
    assert run_main(tmp_path, "--isa", missing, "--only", "lenet5-c3", "--peers", "none") == 1


class Child:
    """A process that is interrupted while it is waited for, and then ends with the status 3."""

    signals: list[int]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.returncode: int | None = None
        Child.signals = []

    def wait(self, timeout: float | None = None) -> int:
        if not Child.signals and self.interrupts:
            raise KeyboardInterrupt
        self.returncode = 3
        return 3

    interrupts = True

    def send_signal(self, number: int) -> None:
        Child.signals.append(number)

    def poll(self) -> int | None:
        return self.returncode


def test_an_interruption_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child.subprocess, "Popen", Child)
    made = isa.run(fc.config()["isas"], [], tmp_path, None)
    assert Child.signals == [signal.SIGINT]
    assert (made.reports, made.absent, made.failed) == ({}, {"the rest": "interrupted"}, [])


def test_a_terminated_comparison_leaves_no_run_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[bool] = []

    class Terminated(Child):
        def wait(self, timeout: float | None = None) -> int:
            if not killed:
                signal.raise_signal(signal.SIGTERM)
            return super().wait(timeout)

        def kill(self) -> None:
            killed.append(True)

    monkeypatch.setattr(child.subprocess, "Popen", Terminated)
    monkeypatch.setattr(Child, "interrupts", False)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        isa.run(fc.config()["isas"][:1], [], tmp_path, None)
    assert killed == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_broken_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child.subprocess, "Popen", Child)
    monkeypatch.setattr(Child, "interrupts", False)
    (name, *_) = fc.config()["isas"]
    assert isa.run([name], [], tmp_path, None).troubles() == [
        f"{name}: the run ended with status 3 and without results"
    ]


# Roofline


def test_intensity() -> None:
    assert roofline.intensity(row("a", "dx", fastconv=1.0)) == 4.0


def test_roofline_is_drawn_of_convolutions(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = report_of(row("a", "forward", fastconv=4.0), row("a", "dx", fastconv=9.0))
    assert roofline.draw(made, tmp_path) == [tmp_path / "roofline.png"]
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")
    pools = report_of(dataclasses.replace(made.rows[0], operation="pool"))
    assert roofline.draw(pools, tmp_path) == []
