"""``python -m benchmarks --device cuda`` without a device: PyTorch and its device are stand-ins."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv as fc

sys.path.append(str(Path(__file__).resolve().parents[1]))  # at the end: an installed fastconv comes first

from test_benchmarks import TASKS

from benchmarks import agreement, cuda, goals, machine, peers, report, results, runner, timing
from benchmarks.cli import main
from benchmarks.problem import Problem
from benchmarks.results import TIMED, Outcome, Report, Row
from benchmarks.settings import Settings
from benchmarks.shapes import LEAST_CUDA_BATCH, Shape, select

# A device


class Device:
    """What ``torch.cuda`` has: a call takes no time on the host, its work takes some on the device."""

    def __init__(self) -> None:
        self.through = 0.0
        self.waits = 0

    def lasting(self, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.through += seconds

        return call

    def synchronize(self) -> None:
        self.waits += 1

    def is_available(self) -> bool:
        return True

    def get_device_name(self) -> str:
        return "a stand-in"

    def Event(self, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)


class Event:
    """The moment at which the device is through with what came before."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.seen = False

    def record(self) -> None:
        self.moment = self.device.through

    def synchronize(self) -> None:
        self.seen = True

    def elapsed_time(self, end: Event) -> float:
        assert end.seen, "the device may still be at it"
        return 1e3 * (end.moment - self.moment)


class Tensor(np.ndarray):
    """An array with the methods of a tensor that the peers use."""

    def movedim(self, source: int, destination: int) -> Any:
        return np.moveaxis(self, source, destination)

    def contiguous(self) -> Any:
        return np.ascontiguousarray(self).view(Tensor)

    def detach(self) -> Any:
        return self

    cpu = detach

    def numpy(self) -> Any:
        return self.view(np.ndarray)


class Library:
    """fastconv, with tensors for results, as it gives them back on a device."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        if name == "grad":
            return Library(fc.grad)
        function = getattr(self.module, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords)
            if isinstance(result, tuple):
                return tuple(None if each is None else each.view(Tensor) for each in result)
            return result.view(Tensor)

        return call


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, alone: None) -> Iterator[Device]:
    """Put a stand-in in PyTorch's place, and give back its device."""
    found = Device()
    cudnn = types.SimpleNamespace(benchmark=False, allow_tf32=None, version=lambda: 91002)
    matmul = types.SimpleNamespace(allow_tf32=None)
    names: dict[str, Any] = {name: np.dtype(name) for name in ("float32", "float64", "float16", "int64")}
    names |= {name: name for name in ("bfloat16", "channels_last", "channels_last_3d", "contiguous_format")}
    names |= dict.fromkeys(("memory_format", "dtype", "Tensor"), type("Unused", (), {}))

    def tensor(array: Any, dtype: Any, device: str) -> Tensor:
        assert device == "cuda"
        return np.array(array, dtype).view(Tensor)

    torch = types.ModuleType("torch")
    vars(torch).update(
        names,
        __version__="stand-in",
        version=types.SimpleNamespace(cuda="13.0"),
        backends=types.SimpleNamespace(cudnn=cudnn, cuda=types.SimpleNamespace(matmul=matmul)),
        cuda=found,
        nn=types.ModuleType("torch.nn"),
        set_num_threads=lambda count: None,
        tensor=tensor,
    )
    vars(torch.nn)["functional"] = types.ModuleType("torch.nn.functional")
    for name, module in (("", torch), (".nn", torch.nn), (".nn.functional", torch.nn.functional)):
        monkeypatch.setitem(sys.modules, f"torch{name}", module)
    for name in ("benchmarks.peers.torch", "benchmarks.peers.fastconv_cuda"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(importlib.import_module("benchmarks.peers.fastconv_cuda"), "fc", Library(fc))
    yield found
    for name in ("benchmarks.peers.torch", "benchmarks.peers.fastconv_cuda"):
        sys.modules.pop(name, None)


# Timing


def test_the_clock_is_the_devices() -> None:
    device = Device()
    clock = cuda.EventClock(device)
    assert clock.seconds(device.lasting(0.25), 3) == pytest.approx(0.75)
    clock.settle()
    assert device.waits == 1


def test_the_faster_on_the_device_is_raced() -> None:
    device = Device()
    calls = {"channels_first": device.lasting(0.004), "channels_last": device.lasting(0.001)}
    variant, contestant = timing.fastest(calls, "torch", cuda.EventClock(device))
    assert (variant, contestant.repeats) == ("channels_last", 5)
    timing.race([contestant], budget=0.0)
    assert contestant.samples == pytest.approx([0.001] * timing.LEAST_ROUNDS)


def test_a_rate_is_work_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    assert cuda.rate(cuda.EventClock(device), device.lasting(0.125), 10.0, 1.0) == pytest.approx(80.0)


@pytest.mark.parametrize(("megabytes", "sets"), [(1, cuda.MOST_SETS), (100, 3), (1000, 1)])
def test_arrays_take_turns_until_none_waits_in_the_cache(megabytes: int, sets: int) -> None:
    (shape,) = select("lenet5-c1")
    x = np.broadcast_to(np.float32(0), (megabytes, 2**18))
    problem = Problem(shape, "forward", x, None, np.empty(0, np.float32))
    made: list[int] = []
    used: list[int] = []

    def make() -> Callable[[], None]:
        number = len(made)
        made.append(number)
        return lambda: used.append(number)

    call = cuda.in_turn(problem, "cuda", make)
    for _ in range(2 * sets):
        call()
    assert used == [*range(sets), *range(sets)]
    assert len(made) == sets
    cuda.in_turn(problem, "cpu", make)
    assert len(made) == sets + 1


# Shapes and peers


def test_batches_are_large_but_for_single_images() -> None:
    for shape, grown in zip(select(), select(least_batch=LEAST_CUDA_BATCH), strict=True):
        batch = shape.input[0]
        assert grown.input == (1 if batch == 1 else max(batch, LEAST_CUDA_BATCH), *shape.input[1:])
    quick = list(select(quick=True, least_batch=LEAST_CUDA_BATCH))
    assert [shape.name for shape in quick] == [shape.name for shape in select(quick=True)]
    assert min(shape.input[0] for shape in quick) == LEAST_CUDA_BATCH


def test_pytorch_alone_runs_on_a_device() -> None:
    assert peers.default_peers(Settings(device="cuda")) == ("torch",)
    assert peers.default_peers(Settings(device="cuda", precision="medium")) == ("torch", "torch-bf16")
    assert peers.default_peers(Settings(device="cuda", dtype="bfloat16", precision="medium")) == ("torch",)


@pytest.mark.parametrize(("precision", "rounds"), [("highest", False), ("high", True), ("medium", False)])
def test_pytorch_rounds_to_tf32_in_high_precision_alone(precision: str, rounds: bool, device: Device) -> None:
    peer = peers.load("torch", Settings(device="cuda", precision=precision))
    backends = sys.modules["torch"].backends
    assert backends.cudnn.benchmark
    assert backends.cudnn.allow_tf32 == backends.cuda.matmul.allow_tf32 == rounds
    assert peer.arithmetic == ("float32", "tf32" if rounds else "highest")
    assert agreement.tolerance(peer.arithmetic, Problem.draw(TASKS[0][0], Settings())) < 1e-2


@pytest.mark.parametrize(("shape", "direction"), TASKS, ids=lambda value: getattr(value, "name", value))
def test_fastconv_computes_what_the_reference_does_in_both_layouts(
    shape: Shape, direction: str, device: Device
) -> None:
    settings = Settings(device="cuda")
    problem = Problem.draw(shape, settings).towards(direction)
    peer = peers.load("fastconv", settings)
    expected = agreement.expected(problem)
    calls = peer.calls(problem)
    assert list(calls) == ["channels_first", "channels_last"]
    for call in calls.values():
        error = expected.error_of(peer.to_numpy(call()))
        assert error <= agreement.tolerance(peer.arithmetic, problem)


# Reports


def on_device(peer: str = "torch", **settings: Any) -> Report:
    def row(family: str, operation: str, seconds: float) -> Row:
        outcomes = {"fastconv": Outcome(TIMED, seconds=1.0), peer: Outcome(TIMED, seconds=seconds)}
        return Row(family, family, operation, "forward", 1, 1, 1.0, outcomes)

    gpu = {"name": "a device", "driver": "580.1", "CUDA": "13.0", "cuDNN": "9.10.2"}
    return Report(
        machine=machine.describe(Settings(), {"fastconv": "1"}) | {"gpu": gpu},
        settings=dataclasses.asdict(Settings(device="cuda", **settings)),
        roof={"flops_per_second": 2e11, "bytes_per_second": 1e10},
        peers=[peer],
        rows=[row("VGG-16", "conv", 2.0), row("depthwise", "conv", 1.2), row("pooling", "pool", 0.5)],
    )


def test_goals_are_those_of_the_precision() -> None:
    exact = {cells[0]: (cells[3], cells[-1]) for cells in goals.cuda_goals(on_device())}
    assert exact == {
        "convolutions": ("1.5", "reached"),
        "depthwise": ("1.5", "missed"),
        "pooling": ("1.2", "missed"),
    }
    medium = goals.cuda_goals(on_device("torch-bf16", precision="medium"))
    assert [cells[:2] for cells in medium] == [["convolutions", "torch-bf16"], ["depthwise", "torch-bf16"]]
    assert medium[0][3] == "0.9"
    assert goals.cuda_goals(dataclasses.replace(on_device(), settings={})) == []


def test_a_report_tells_of_the_device() -> None:
    text = report.render(on_device())
    assert text.startswith("a device, driver 580.1, CUDA 13.0, cuDNN 9.10.2\n")
    assert "GB/s copied, the whole device" in text
    assert "Goals\n" in text
    assert machine.title(on_device().machine) == "a device"


# The command line


def test_what_is_missing_is_told_before_anything_runs(
    capsys: pytest.CaptureFixture[str], environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = cuda.missing()
    if not lacks:
        pytest.skip("nothing is missing here: there is a GPU")
    monkeypatch.setattr(runner, "run", lambda *arguments, **keywords: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as left:
        main(["--device", "cuda", "--quick"])
    assert left.value.code == 2
    assert lacks in capsys.readouterr().err


def test_everything_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    assert "no CUDA back end in this fastconv" in cuda.missing()
    assert "no PyTorch, whose tensors" in cuda.missing()
    monkeypatch.setattr(cuda, "find_spec", lambda name: name)
    assert cuda.missing() == ""
    monkeypatch.setattr(device, "is_available", lambda: False)
    assert cuda.missing() == "--device cuda: there is no CUDA device that PyTorch stand-in finds"


@pytest.mark.parametrize("kind", ["--regret", "--scaling", "--networks", "--isa=avx2"])
def test_other_kinds_of_run_are_the_cpus(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--device", "cuda", kind])
    assert left.value.code == 2
    assert "--scaling and --isa run on the CPU alone" in capsys.readouterr().err


def test_peers_without_a_device_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--device", "cuda", "--peers", "numpy"])
    assert "'numpy' is none of torch, torch-bf16" in capsys.readouterr().err


def test_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: None, device: Device
) -> None:
    monkeypatch.setattr(cuda, "find_spec", lambda name: name)
    monkeypatch.setattr(cuda, "rates", lambda settings, seconds: (1e12, 1e11))
    monkeypatch.setattr(cuda, "MOST_SETS", 2)
    monkeypatch.setattr(Event, "elapsed_time", lambda begin, end: 0.125)
    options = ["--only", "lenet5-c3,batch1-1x1*", "--peers", "none", "--budget", "0", "--out", str(tmp_path)]
    assert main(["--device", "cuda", "--threads", "1", *options]) == 0
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert found["machine"]["gpu"]["name"] == "a stand-in"
    assert found["machine"]["gpu"]["cuDNN"] == "9.10.2"
    assert found["roof"] == {"flops_per_second": 1e12, "bytes_per_second": 1e11}
    assert len(found["rows"]) == 6
    for row in found["rows"]:
        outcome = row["outcomes"][results.HOUSE]
        assert outcome["status"] == TIMED
        assert outcome["seconds"] == pytest.approx(0.125e-3 / outcome["repeats"])
        assert outcome["variant"] in ("channels_first", "channels_last")
