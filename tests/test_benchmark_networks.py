"""The benchmark of whole networks: its list, every peer's translation, what is compared, the command line."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import models, nn
from fastconv.models.resnet import ResidualBlock

sys.path.append(str(Path(__file__).resolve().parents[1]))  # at the end: an installed fastconv comes first

from benchmarks import agreement as single_layers
from benchmarks import report, results, runner
from benchmarks.cli import main
from benchmarks.networks import agreement, entries, peers
from benchmarks.networks.entries import Network, select
from benchmarks.networks.peers.fastconv import FastconvNetworks
from benchmarks.networks.problem import NetworkProblem
from benchmarks.networks.translation import Translator, padding_of
from benchmarks.peers import Unsupported
from benchmarks.results import Outcome, Report, Row
from benchmarks.settings import Settings

LIBRARIES = {
    "torch": ("torch",),
    "jax": ("jax",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
}
"""What must be installed for a peer."""


def every_layer(rng: Any, *, classes: int) -> nn.Sequential:
    """Make a small network with every layer, and every argument, that is translated."""
    main = nn.Sequential(
        nn.Conv2d(6, 4, 1, bias=False, rng=rng),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Conv2d(4, 12, (3, 1), 2, (1, 0), groups=2, rng=rng),
    )
    shortcut = nn.Sequential({"conv": nn.Conv2d(6, 12, 1, stride=2, bias=False, rng=rng)})
    same = nn.Sequential(
        nn.Conv2d(12, 12, 3, padding="same", dilation=2, rng=rng), nn.BatchNorm2d(12, eps=1e-2)
    )
    path = nn.Sequential({"conv1": nn.Conv2d(12, 12, 3, padding=1, rng=rng), "bn1": nn.BatchNorm2d(12)})
    projection = nn.Sequential(nn.Conv2d(12, 12, 1, rng=rng))
    blocks = (ResidualBlock(path, projection), ResidualBlock(nn.Sequential(nn.Conv2d(12, 12, 1, rng=rng))))
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=(1, 2), padding=1, activation="relu", rng=rng),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Residual(main, shortcut),
        nn.ReLU(),
        nn.Sequential(nn.Residual(same), *blocks),
        nn.AvgPool2d((1, 2)),
        nn.Dropout(0.0),
        nn.Flatten(),
        nn.Linear(12 * 4, 9, activation="tanh", rng=rng),
        nn.Linear(9, classes, bias=False, rng=rng),
    )


def pooled(rng: Any, *, classes: int) -> nn.Sequential:
    """Make a network that ends in a global mean."""
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, rng=rng), nn.BatchNorm2d(5), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(5, classes)
    )


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> tuple[Network, ...]:
    """Enter two small networks where networks are looked up."""
    monkeypatch.setitem(models.NETWORKS, "every_layer", every_layer)
    monkeypatch.setitem(models.NETWORKS, "pooled", pooled)
    made = (
        Network("Every layer", "every_layer", (2, 16, 16), 3, quick_batch=2, classes=4),
        Network("Pooled", "pooled", (2, 9, 8), 4, classes=3),
    )
    monkeypatch.setattr(entries, "NETWORKS", made)
    return made


# The list


def test_the_networks_are_those_of_fastconv() -> None:
    assert {network.name for network in entries.NETWORKS} <= set(models.NETWORKS)
    batches = {network.title: network.batch for network in entries.NETWORKS}
    assert batches == {"LeNet-5": 64, "Fashion-MNIST net": 32, "AlexNet": 8, "VGG-16": 4, "ResNet-50": 8}


def test_select() -> None:
    assert tuple(select()) == entries.NETWORKS
    assert [network.label for network in select("VGG")] == ["VGG-16 (4)"]
    assert [network.name for network in select("alex*, resnet50")] == ["alexnet", "resnet50"]
    assert not list(select("vgg", quick=True))
    quick = list(select(quick=True))
    assert 0 < len(quick) < len(entries.NETWORKS)
    (small,) = select("resnet", quick=True)
    assert (small.label, small.image) == ("ResNet-50@96 (2)", (3, 96, 96))


# Problems


def test_problems_are_the_same_in_every_run(tiny: tuple[Network, ...]) -> None:
    first, second = (NetworkProblem.draw(tiny[0]) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    state = second.model.state_dict()
    for name, array in first.model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
        if "running" in name or ".bias" in name:
            assert len(np.unique(array)) > 1 or not array.any()
    assert (first.model.state_dict()["2.main.1.running_var"] > 0).all()
    assert first.images.shape == (3, 2, 16, 16) and first.labels.max() < 4


def test_the_watched_gradients_are_of_weights(tiny: tuple[Network, ...]) -> None:
    problem = NetworkProblem.draw(tiny[0])
    names = [name for name, _ in problem.model.named_parameters()]
    watched = [names[place] for place in problem.watched]
    assert watched[0] == "0.weight" and watched[-1] == "9.weight" and len(set(watched)) == 3


def test_work_is_counted(tiny: tuple[Network, ...]) -> None:
    problem = NetworkProblem.draw(tiny[1])
    assert problem.flops == 2 * 4 * (5 * 7 * 6 * 2 * 9 + 5 * 3)
    assert problem.towards("training").flops == 3 * problem.flops
    parameters = 5 * 2 * 9 + 5 + 10 + 15 + 3
    assert problem.traffic_bytes == 4 * (4 * 2 * 9 * 8 + parameters)


# Peers and agreement


@pytest.mark.parametrize("name", ["fastconv", *LIBRARIES])
@pytest.mark.parametrize("direction", entries.DIRECTIONS)
def test_every_peer_computes_the_same(
    name: str, direction: str, tiny: tuple[Network, ...], alone: None
) -> None:
    for library in LIBRARIES.get(name, ()):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    peer = peers.load(name, Settings())
    for network in tiny:
        problem = NetworkProblem.draw(network).towards(direction)
        outcome, contestant = runner.prepare(peer, problem, agreement.expected(problem), agreement)
        if direction == "training" and name in ("onnxruntime", "openvino"):
            assert (outcome.status, outcome.note) == (results.UNSUPPORTED, "it only infers")
        else:
            assert outcome.status == results.TIMED and contestant is not None, outcome
            assert outcome.error is not None and outcome.error < 1e-5


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_steps_go_on_alike(name: str, tiny: tuple[Network, ...], alone: None) -> None:
    """Momentum and running statistics count from the second step on."""
    pytest.importorskip(name)
    problem = NetworkProblem.draw(tiny[0]).towards("training")
    losses = []
    for each in ("fastconv", name):
        peer = peers.load(each, Settings())
        (call, *_) = peer.calls(problem).values()
        losses.append([float(peer.to_numpy(call())[0][0]) for _ in range(30)])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_compiling_is_left_out_where_it_fails(
    tiny: tuple[Network, ...], alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    peer = peers.load("torch-compile", Settings())
    problem = NetworkProblem.draw(tiny[1])

    def outcome() -> Outcome:
        return runner.prepare(peer, problem, agreement.expected(problem), agreement)[0]

    monkeypatch.setattr(torch, "compile", lambda module: module)
    assert (outcome().status, outcome().variant) == (results.TIMED, "compiled")

    class NoCompiler(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            raise RuntimeError("no g++\nat all")

    monkeypatch.setattr(torch, "compile", lambda module: NoCompiler())
    assert outcome() == Outcome(results.UNSUPPORTED, "it did not compile: RuntimeError: no g++")


def test_bfloat16_is_left_out_where_there_is_none(
    tiny: tuple[Network, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in LIBRARIES["openvino"]:
        pytest.importorskip(library)
    peer = peers.load("openvino-bf16", Settings(precision="medium"))
    assert peer.arithmetic == ("bfloat16", "highest")
    monkeypatch.setattr(peer, "_abilities", lambda: ["FP32"])
    with pytest.raises(Unsupported, match="no bfloat16 products"):
        peer.calls(NetworkProblem.draw(tiny[1]))


def test_a_layer_without_translation_is_said() -> None:
    class Nothing(Translator[None]):
        """Makes nothing."""

    Nothing.__abstractmethods__ = frozenset()
    for layer in (nn.Sequential(nn.Softmax()), nn.Dropout(0.5)):
        with pytest.raises(Unsupported, match=r"no translation of (Softmax|Dropout)"):
            Nothing().translate(layer)


def test_padding_is_the_same_on_both_sides() -> None:
    assert padding_of(nn.Conv2d(1, 1, (5, 3), padding="same", dilation=(1, 2))) == (2, 2)
    assert padding_of(nn.Conv2d(1, 1, 3, padding="valid")) == (0, 0)
    assert padding_of(nn.Conv2d(1, 1, 3, padding=(1, 2))) == (1, 2)
    with pytest.raises(Unsupported, match="more on one side"):
        padding_of(nn.Conv2d(1, 1, (3, 2), padding="same"))


@pytest.mark.parametrize("network", list(select(quick=True)), ids=lambda network: network.name)
def test_the_real_networks_have_a_translation(network: Network, alone: None) -> None:
    pytest.importorskip("torch")
    problem = NetworkProblem.draw(network).towards("inference")
    expected = agreement.expected(problem)
    outcome, _ = runner.prepare(peers.load("torch", Settings()), problem, expected, agreement)
    assert outcome.status == results.TIMED, outcome


def test_default_peers() -> None:
    assert peers.default_peers(Settings()) == ("torch", "torch-compile", "jax", "onnxruntime", "openvino")
    assert peers.default_peers(Settings(), quick=True) == ("torch", "onnxruntime", "openvino")
    assert "openvino-bf16" in peers.default_peers(Settings(precision="medium"))


def test_errors_of_gradients_count_by_what_explains_them() -> None:
    gradient = np.array([3.0, 4.0])
    right = agreement.Expected(single_layers.Expected(np.array([2.0]), None), [gradient])
    assert right.error_of([np.array([2.0]), gradient]) == 0
    assert right.error_of([np.array([2.5]), gradient]) == 0.25
    assert right.error_of([np.array([2.0]), gradient * 1.1]) == pytest.approx((0.1 / 5) ** 2)
    assert right.error_of([np.array([2.0]), gradient[:1]]) == math.inf
    assert right.error_of([np.array([2.0]), gradient * np.nan]) == math.inf
    assert right.error_of([np.array([np.nan]), gradient]) == math.inf


def test_a_changed_weight_is_a_disagreement(tiny: tuple[Network, ...], alone: None) -> None:
    peer = FastconvNetworks("fastconv", Settings())
    for direction in entries.DIRECTIONS:
        problem = NetworkProblem.draw(tiny[0]).towards(direction)
        expected = agreement.expected(problem)
        next(problem.model.parameters()).data[0] *= 1.3
        outcome, contestant = runner.prepare(peer, problem, expected, agreement)
        assert (outcome.status, contestant) == (results.DISAGREES, None)


def test_the_race_leaves_the_network_as_it_was(tiny: tuple[Network, ...], alone: None) -> None:
    problem = NetworkProblem.draw(tiny[0]).towards("training")
    before = problem.model.state_dict()
    peer = FastconvNetworks("fastconv", Settings())
    peer.calls(problem)["default"]()
    agreement.expected(problem)
    for name, array in problem.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# Reports and the command line


def sample_row(direction: str, **outcomes: Outcome) -> Row:
    return Row("Tiny (2)", "Tiny", "network", direction, 4 * 10**9, 10**9, 0.5, outcomes)


def test_networks_have_their_own_table_and_means() -> None:
    two, one = (Outcome(results.TIMED, seconds=seconds) for seconds in (2.0, 1.0))
    sitting = Outcome(results.UNSUPPORTED, "it only infers")
    made = Report(
        machine={"cpu": "", "caches": {}, "isa": "", "system": "", "date": "", "versions": {}},
        settings={"threads": 1, "dtype": "", "precision": ""},
        roof={"flops_per_second": 1.0, "bytes_per_second": 1.0},
        peers=["torch", "onnxruntime"],
        rows=[
            sample_row("inference", fastconv=one, torch=two, onnxruntime=one),
            sample_row("training", fastconv=two, torch=one, onnxruntime=sitting),
        ],
    )
    lines = report.render(made).splitlines()
    assert "Networks" in lines and "Convolutions" not in lines
    row = next(line for line in lines if line.startswith("Tiny (2)"))
    assert row.split()[2:] == ["inference", "1000.0", "4.0", "2.00", "1.00", "50"]
    assert "onnxruntime sits out 1: it only infers" in lines
    means = {(group.name, group.peer): group.mean for group in made.groups()}
    assert means["all networks", "torch"] == pytest.approx(1.0)
    assert means["all networks, inference", "torch"] == 2.0
    assert not any(name.startswith("Tiny") for name, _ in means)


def run_main(tmp_path: Path, *options: str) -> int:
    common = ("--networks", "--budget", "0", "--threads", "1", "--out", str(tmp_path))
    return main([*common, *options])


def test_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], environment: None, tiny: tuple[Network, ...]
) -> None:
    assert run_main(tmp_path, "--peers", "none") == 0
    printed = capsys.readouterr()
    assert "Every layer (3)" in printed.out and "[4/4] Pooled (4) training" in printed.err
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [(row["shape"], row["direction"]) for row in found["rows"]] == [
        ("Every layer (3)", "inference"),
        ("Every layer (3)", "training"),
        ("Pooled (4)", "inference"),
        ("Pooled (4)", "training"),
    ]
    assert all(row["outcomes"]["fastconv"]["status"] == "timed" for row in found["rows"])


def test_a_peer_is_raced_and_drawn(tmp_path: Path, environment: None, tiny: tuple[Network, ...]) -> None:
    pytest.importorskip("torch")
    assert run_main(tmp_path, "--quick", "--peers", "torch", "--precision", "medium") == 0
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [row["shape"] for row in found["rows"]] == ["Every layer (2)"] * 2
    assert all(row["ratios"]["torch"] > 0 for row in found["rows"])
    charts = importlib.util.find_spec("matplotlib") is not None
    assert (tmp_path / "ratios-training.png").exists() == charts


def test_a_wrong_peer_makes_the_exit_status_1(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    environment: None,
    tiny: tuple[Network, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Wrong(FastconvNetworks):
        def to_numpy(self, result: Any) -> Any:
            return [value * 1.5 for value in super().to_numpy(result)]

    module = types.ModuleType("another_network_peer")
    module.create = Wrong  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "another_network_peer", module)
    monkeypatch.setitem(peers.MODULES, "wrong", "another_network_peer")
    assert run_main(tmp_path, "--peers", "wrong", "--only", "pooled", "--directions", "inference") == 1
    assert "!!! DISAGREES: wrong on Pooled (4), inference" in capsys.readouterr().out


def test_an_absent_peer_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    environment: None,
    tiny: tuple[Network, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(peers.MODULES, "openvino", "no_such_library")
    assert run_main(tmp_path, "--peers", "openvino", "--only", "pooled", "--directions", "inference") == 0
    assert "openvino is left out: not installed" in capsys.readouterr().out


def test_interruption_keeps_the_rows_that_are_done(tiny: tuple[Network, ...], alone: None) -> None:
    from benchmarks.networks.runner import run

    def interrupt(text: str) -> None:
        if text.endswith("training"):
            raise KeyboardInterrupt

    made = run(tiny, entries.DIRECTIONS, (), Settings(), seconds_per_row=0.0, progress=interrupt)
    assert [row.direction for row in made.rows] == ["inference"]
    assert made.absent == {"the rest": "interrupted"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "vgg", "--quick"], "no network matches 'vgg' in the --quick subset"),
        (["--peers", "numpy"], "'numpy' is none of torch, torch-compile, jax, onnxruntime, openvino"),
        (["--directions", "forward"], "'forward' is none of inference, training"),
        (["--dtype", "float64"], "--networks: the dtype is float32, got float64"),
        (["--threads", "0"], "expected 1 to"),
    ],
)
def test_argument_errors_are_clear(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], environment: None
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--networks", *options])
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--networks", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(entries.NETWORKS) + 2
    assert lines[2].split() == ["LeNet-5", "lenet5", "1×28×28", "64"]
