"""The run-time controls: threads, precision, plans, configuration, memory pool, logging, command line."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv as fc
from fastconv.__main__ import main

X_SHAPE, W_SHAPE = (8, 64, 56, 56), (128, 64, 3, 3)


@pytest.fixture(autouse=True)
def _same_settings_afterwards():
    threads, precision = fc.get_num_threads(), fc.get_precision()
    yield
    fc.set_num_threads(threads)
    fc.set_precision(precision)


# Threads and precision


def test_threads_are_restored_after_an_exception():
    before = fc.get_num_threads()
    with pytest.raises(ZeroDivisionError), fc.threads(before + 1):
        assert fc.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert fc.get_num_threads() == before


def test_precision_is_restored_after_an_exception():
    fc.set_precision("high")
    with pytest.raises(ZeroDivisionError), fc.precision("medium"):
        assert fc.get_precision() == "medium"
        raise ZeroDivisionError
    assert fc.get_precision() == "high"


def test_blocks_nest():
    fc.set_num_threads(1)
    with fc.threads(2), fc.precision("high"):
        with fc.threads(3), fc.precision("medium"):
            assert (fc.get_num_threads(), fc.get_precision()) == (3, "medium")
        assert (fc.get_num_threads(), fc.get_precision()) == (2, "high")
    assert (fc.get_num_threads(), fc.get_precision()) == (1, "highest")


BLOCKS = [
    (fc.threads, fc.get_num_threads, fc.set_num_threads, (5, 6, 7)),
    (fc.precision, fc.get_precision, fc.set_precision, ("high", "medium", "highest")),
]


@pytest.mark.parametrize(("block", "get", "set_default", "words"), BLOCKS)
def test_blocks_hold_in_their_own_thread(block, get, set_default, words):
    set_default(words[2])
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        one, other = block(words[0]), block(words[1])

        def told():
            return first.submit(get).result(), second.submit(get).result(), get()

        first.submit(one.__enter__).result()
        assert told() == (words[0], words[2], words[2])
        second.submit(other.__enter__).result()
        assert told() == (words[0], words[1], words[2])
        first.submit(one.__exit__, None, None, None).result()
        assert told() == (words[2], words[1], words[2])
        second.submit(other.__exit__, None, None, None).result()
        assert told() == (words[2],) * 3


@pytest.mark.parametrize(("block", "get", "set_default", "words"), BLOCKS)
def test_blocks_may_be_left_in_any_order(block, get, set_default, words):
    set_default(words[2])
    one, other = block(words[0]), block(words[1])
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert get() == words[1]
    other.__exit__(None, None, None)
    assert get() == words[2]


@pytest.mark.parametrize(("block", "get", "set_default", "words"), BLOCKS)
def test_what_is_set_within_a_block_holds_after_it(block, get, set_default, words):
    with block(words[0]):
        set_default(words[1])
        assert get() == words[0]
    assert get() == words[1]


def test_calls_follow_the_block_of_their_thread():
    with ThreadPoolExecutor(1) as other, fc.threads(3), fc.precision("high"):
        here = fc.explain("conv2d", X_SHAPE, W_SHAPE)
        there = other.submit(fc.explain, "conv2d", X_SHAPE, W_SHAPE).result()
    assert (here.threads, here.precision) == (3, "high")
    assert (there.threads, there.precision) == (fc.get_num_threads(), "highest")


@pytest.mark.parametrize("wrong", [0, -1, -(2**32) + 2, 2**32 + 2])
def test_number_of_threads_is_positive(wrong):
    before = fc.get_num_threads()
    with pytest.raises(ValueError, match="thread"):
        fc.set_num_threads(wrong)
    with pytest.raises(ValueError, match="thread"), fc.threads(wrong):
        pytest.fail("the block ran")
    assert fc.get_num_threads() == before


@pytest.mark.parametrize("wrong", [0, 1025, 2**40])
def test_wrong_number_of_threads_is_told(wrong):
    with pytest.raises(ValueError, match=f"set_num_threads: n is {wrong}, expected .* 1 to 1024"):
        fc.set_num_threads(wrong)


def test_number_of_threads_is_an_integer():
    with pytest.raises(TypeError):
        fc.set_num_threads("many")
    with pytest.raises(TypeError, match="threads: n must be"), fc.threads(1.5):
        pytest.fail("the block ran")


def test_precision_is_one_of_three_words():
    with pytest.raises(ValueError, match=r"set_precision: p is 'best', .*highest"):
        fc.set_precision("best")
    with pytest.raises(ValueError, match=r"precision: p is 'best', .*highest"), fc.precision("best"):
        pytest.fail("the block ran")
    assert fc.get_precision() == "highest"


# Plans


def test_explanation_holds_what_the_call_would_do():
    plan = fc.explain("conv2d", X_SHAPE, W_SHAPE, stride=2, padding=1, activation="relu")
    assert plan.operation == "conv2d"
    assert plan.output_shape == (8, 128, 28, 28)
    assert plan.dtype == "float32"
    assert plan.precision == "highest"
    assert plan.threads == fc.get_num_threads()
    assert plan.flops == 2 * 64 * 3 * 3 * 8 * 128 * 28 * 28
    assert all(isinstance(size, int) for size in plan.blocking.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.algorithm = "other"


def test_explanation_can_be_read():
    plan = fc.Explanation(
        operation="conv2d",
        algorithm="implicit_gemm",
        isa="avx512",
        dtype="float32",
        precision="highest",
        threads=2,
        tile=(14, 32),
        blocking={"mc": 112, "kc": 256},
        workspace_bytes=3 << 20,
        flops=1_500_000_000,
        bytes=5 << 19,
        output_shape=(8, 128, 28, 28),
        reasons=("winograd: the stride is 2", "direct: the input has 64 channels"),
    )
    assert str(plan).splitlines() == [
        "conv2d -> float32 (8, 128, 28, 28)",
        "  algorithm  implicit_gemm",
        "  isa        avx512",
        "  threads    2",
        "  precision  highest",
        "  tile       14 x 32",
        "  blocking   mc 112, kc 256",
        "  work       1.5 GFLOP on 2.5 MiB of arrays",
        "  workspace  3 MiB",
        "  why not a faster route:",
        "    winograd: the stride is 2",
        "    direct: the input has 64 channels",
    ]
    assert "faster" not in str(dataclasses.replace(plan, reasons=()))


def test_explain_takes_the_keywords_of_each_operation():
    w_shape = (64, 128, 3, 3)
    plan = fc.explain("conv_transpose2d", X_SHAPE, w_shape, stride=2, padding=1, output_padding=1)
    assert plan.output_shape == (8, 128, 112, 112)
    plan = fc.explain("grad.conv2d", X_SHAPE, W_SHAPE, dtype="float64", data_format="channels_first")
    assert (plan.operation, plan.dtype) == ("grad.conv2d", "float64")


def test_explain_refuses_what_the_call_would_refuse():
    with pytest.raises(ValueError, match="groups"):
        fc.explain("conv2d", X_SHAPE, W_SHAPE, groups=3)
    with pytest.raises(ValueError, match="conv4d"):
        fc.explain("conv4d", X_SHAPE, W_SHAPE)


X, W = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)

REFUSED = {
    "activation": ("conv2d", {"activation": "foo"}),
    "output_padding": ("conv2d", {"output_padding": 5}),
    "needs of a function": ("conv2d", {"needs": (True, True, True)}),
    "out of a gradient": ("grad.conv2d", {"out": X}),
    "needs": ("grad.conv2d", {"needs": "abc"}),
    "padding_mode": ("conv_transpose2d", {"padding_mode": "reflect"}),
    "padding": ("conv_transpose2d", {"padding": "full"}),
    "same": ("conv_transpose2d", {"padding": "same", "stride": 2, "output_padding": 1}),
    "precision": ("grad.conv2d", {"precision": "float32"}),
    "bias": ("conv2d", {"b": X}),
    "bias dtype": ("grad.conv2d", {"b": np.ones(3)}),
    "y": ("grad.conv2d", {"activation": "relu", "y": X}),
    "out": ("conv2d", {"out": X}),
    "no such keyword": ("conv2d", {"strides": 2}),
}


@pytest.mark.parametrize(("operation", "keywords"), REFUSED.values(), ids=REFUSED)
def test_explain_raises_what_the_call_raises(operation, keywords):
    function = getattr(fc.grad if operation.startswith("grad.") else fc, operation.removeprefix("grad."))
    w = W.swapaxes(0, 1) if "transpose" in operation else W
    dy = [np.ones((1, 3, 3, 3), np.float32)] if operation.startswith("grad.") else []
    with pytest.raises((TypeError, ValueError)) as of_the_call:
        function(*dy, X, w, **keywords)
    with pytest.raises(of_the_call.type, match=list(keywords)[-1]):
        fc.explain(operation, X.shape, w.shape, **keywords)


def test_explain_takes_what_the_call_takes():
    out = np.empty((1, 3, 3, 3), np.float32)
    assert fc.explain("conv2d", X.shape, W.shape, b=W[:, 0, 0, 0], out=out).output_shape == out.shape
    keywords = {"activation": "relu", "y": out, "b": None}
    whole = fc.explain("grad.conv2d", X.shape, W.shape, needs=(True, True, True), **keywords)
    assert whole == fc.explain("grad.conv2d", X.shape, W.shape, activation="relu")
    parts = [
        fc.explain("grad.conv2d", X.shape, W.shape, needs=needs, **keywords)
        for needs in ((True, False, True), (False, True, False), (False, False, True))
    ]
    assert whole.flops == parts[0].flops + parts[1].flops
    assert whole.reasons == parts[0].reasons + parts[1].reasons
    assert whole.bytes + parts[2].bytes == parts[0].bytes + parts[1].bytes
    assert (parts[2].algorithm, parts[2].flops, parts[2].workspace_bytes) == ("no product", 0, 0)


@pytest.mark.parametrize(("wrong", "error"), [(None, TypeError), ("max_pool2d", ValueError), (5, TypeError)])
def test_explain_names_the_operations_it_knows(wrong, error):
    with pytest.raises(error, match=f"explain: operation .*{wrong}"):
        fc.explain(wrong, X.shape, W.shape)


def test_explanation_of_a_gradient_says_whose_shape_it_has():
    plan = fc.explain("grad.conv2d", X.shape, W.shape)
    assert str(plan).splitlines()[0] == "grad.conv2d of dy float32 (1, 3, 3, 3)"


# Configuration and memory


def test_config_is_json():
    config = fc.config()
    assert config["version"] == fc.__version__
    assert config["isa"] in config["isas"]
    assert json.loads(json.dumps(config)).keys() == config.keys()


def test_show_config_has_a_line_per_entry(capsys):
    fc.show_config()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(fc.config())


def test_clear_cache_empties_the_pool():
    fc.clear_cache()
    info = fc.cache_info()
    assert (info.bytes_cached, info.blocks_cached) == (0, 0)
    assert info.limit_bytes > 0


# Logging and the command line


def _run(*arguments, **environment):
    process = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return process.stdout, process.stderr


CALL = """
import numpy as np, fastconv as fc
fc.conv2d(np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float32))
"""


def test_verbose_calls_are_logged_to_stderr():
    assert "conv2d" in _run("-c", CALL, FASTCONV_VERBOSE="1")[1]
    assert _run("-c", CALL, FASTCONV_VERBOSE="0") == ("", "")


VERBOSE = """
import numpy as np, fastconv as fc
from fastconv import nn
x = np.ones((1, 4, 6, 6), np.float32)
y, indices = fc.max_pool2d(x, 2, return_indices=True)
fc.avg_pool2d(x, 2), fc.lp_pool2d(x, 2, 2), fc.adaptive_max_pool2d(x, 3), fc.adaptive_avg_pool2d(x, 3)
fc.global_max_pool(x), fc.global_avg_pool(x), fc.channel_max_pool(x, 2), fc.channel_avg_pool(x, 2)
fc.max_unpool2d(y, indices, 2)
fc.grad.max_pool2d(y, indices, x.shape), fc.grad.adaptive_max_pool2d(y, indices, x.shape)
fc.grad.avg_pool2d(y, x.shape, 2), fc.grad.lp_pool2d(y, x, y, 2, 2), fc.grad.adaptive_avg_pool2d(y, x.shape)
pixel = np.ones((1, 4), np.float32)
fc.grad.global_max_pool(pixel, x), fc.grad.global_avg_pool(pixel, x.shape)
fc.grad.channel_max_pool(x[:, :2], x, 2), fc.grad.channel_avg_pool(x[:, :2], x.shape, 2)
fc.grad.max_unpool2d(x, indices, y.shape)
layer = nn.Linear(4, 2, precision="medium", rng=0)
layer.backward(layer(pixel))
"""

POOL_LINES = """
max_pool2d x=(1, 4, 6, 6) float32 to (1, 4, 3, 3)
avg_pool2d x=(1, 4, 6, 6) float32 to (1, 4, 3, 3)
lp_pool2d x=(1, 4, 6, 6) float32 to (1, 4, 3, 3)
adaptive_max_pool2d x=(1, 4, 6, 6) float32 to (1, 4, 3, 3)
adaptive_avg_pool2d x=(1, 4, 6, 6) float32 to (1, 4, 3, 3)
global_max_pool x=(1, 4, 6, 6) float32 to (1, 4)
global_avg_pool x=(1, 4, 6, 6) float32 to (1, 4)
channel_max_pool x=(1, 4, 6, 6) float32 to (1, 2, 6, 6)
channel_avg_pool x=(1, 4, 6, 6) float32 to (1, 2, 6, 6)
max_unpool2d x=(1, 4, 3, 3) float32 to (1, 4, 6, 6)
grad.max_pool2d dy=(1, 4, 3, 3) float32 to (1, 4, 6, 6)
grad.adaptive_max_pool2d dy=(1, 4, 3, 3) float32 to (1, 4, 6, 6)
grad.avg_pool2d dy=(1, 4, 3, 3) float32 to (1, 4, 6, 6)
grad.lp_pool2d dy=(1, 4, 3, 3) float32 to (1, 4, 6, 6)
grad.adaptive_avg_pool2d dy=(1, 4, 3, 3) float32 to (1, 4, 6, 6)
grad.global_max_pool dy=(1, 4) float32 to (1, 4, 6, 6)
grad.global_avg_pool dy=(1, 4) float32 to (1, 4, 6, 6)
grad.channel_max_pool dy=(1, 2, 6, 6) float32 to (1, 4, 6, 6)
grad.channel_avg_pool dy=(1, 2, 6, 6) float32 to (1, 4, 6, 6)
grad.max_unpool2d dy=(1, 4, 6, 6) float32 to (1, 4, 3, 3)
linear x=(1, 4) w=(2, 4) float32 medium: implicit_gemm
grad.linear x=(1, 4) w=(2, 4) float32 medium: implicit_gemm
"""


def test_verbose_lines_tell_what_each_call_was():
    lines = _run("-c", VERBOSE, FASTCONV_VERBOSE="1")[1].splitlines()
    assert [line.partition(" on ")[0] for line in lines] == POOL_LINES.strip().splitlines()
    assert all(re.search(r" on \w+, \d+ threads, \d+\.\d+ ms$", line) for line in lines)


def test_verbose_calls_go_to_the_logging_of_the_program():
    setup = "import logging\nlogging.basicConfig(level=logging.INFO, format='%(name)s: %(message)s')\n"
    lines = _run("-c", setup + CALL, FASTCONV_VERBOSE="1")[1].splitlines()
    assert lines
    assert all(line.startswith("fastconv: ") for line in lines)


def test_info_command(capsys):
    assert main(["info"]) == 0
    assert fc.__version__ in capsys.readouterr().out


def test_info_command_in_json(capsys):
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == fc.config()


def test_package_runs_as_a_program():
    assert _run("-m", "fastconv", "--version")[0] == f"fastconv {fc.__version__}\n"


def test_command_line_lists_its_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    page = capsys.readouterr().out
    assert "info" in page and "train" in page


@pytest.mark.parametrize("arguments", [[], ["fly"], ["info", "--xml"]])
def test_wrong_command_line_ends_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m fastconv" in capsys.readouterr().err
