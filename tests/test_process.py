"""fastconv in a process: Python threads, fork, signals, memory that cannot be had, floating-point state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastconv as fc


def arrays(seed: int, batch: int = 2, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, 8, side, side), dtype=np.float32)
    return x, rng.standard_normal((16, 8, 3, 3), dtype=np.float32)


def run_python(source: str) -> str:
    """Run a program of its own and return what it printed; a hang is a failure."""
    command = [sys.executable, "-c", textwrap.dedent(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_sixteen_threads_call_at_once() -> None:
    def work(seed: int) -> bool:
        x, w = arrays(seed)
        y = fc.conv2d(x, w, padding=1)
        dx, dw, _ = fc.grad.conv2d(y, x, w, padding=1)
        pooled = fc.max_pool2d(y, 2)
        again = fc.conv2d(x, w, padding=1), *fc.grad.conv2d(y, x, w, padding=1)[:2], fc.max_pool2d(y, 2)
        return all(np.array_equal(a, b) for a, b in zip((y, dx, dw, pooled), again, strict=True))

    alone = [fc.conv2d(*arrays(seed), padding=1) for seed in range(16)]
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, list(range(16)) * 8))
        together = list(pool.map(lambda seed: fc.conv2d(*arrays(seed), padding=1), range(16)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_other_threads_run_during_a_kernel() -> None:
    x, w = arrays(0, batch=64, side=96)
    done = threading.Event()

    def work() -> None:
        fc.conv2d(x, w, padding=1)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not done.is_set():
        turns += 1
    thread.join()
    assert turns > 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_use_fork_use() -> None:
    printed = run_python("""
        import os, warnings
        import numpy as np
        import fastconv as fc
        warnings.simplefilter("ignore")
        fc.set_num_threads(3)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((4, 16, 40, 40), dtype=np.float32)
        w = rng.standard_normal((16, 16, 3, 3), dtype=np.float32)
        before = fc.conv2d(x, w)
        child = os.fork()
        after = fc.conv2d(x, w)
        pooled = fc.max_pool2d(after, 2)
        same = np.array_equal(before, after)
        if child == 0:
            os._exit(0 if same else 1)
        _, status = os.waitpid(child, 0)
        print(same, os.waitstatus_to_exitcode(status))
    """)
    assert printed == "True 0"


def test_interrupt_is_honoured_when_the_call_returns() -> None:
    printed = run_python("""
        import os, signal, threading
        import numpy as np
        import fastconv as fc
        x = np.ones((16, 32, 96, 96), np.float32)
        w = np.ones((32, 32, 3, 3), np.float32)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        calls = 0
        try:
            while calls < 10000:
                y = fc.conv2d(x, w)
                calls += 1
        except KeyboardInterrupt:
            print("interrupted", fc.conv2d(x[:1, :, :3, :3], w)[0, 0, 0, 0])
    """)
    assert printed == "interrupted 288.0"


def huge(shape: tuple[int, ...]) -> np.ndarray:
    """An array of any size that takes four bytes: every stride is zero."""
    return np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), shape, (0,) * len(shape))


def test_memory_that_cannot_be_had() -> None:
    w = np.zeros((64, 1, 1, 1), np.float32)
    before = fc.cache_info().bytes_in_use
    with pytest.raises(MemoryError):
        fc.conv2d(huge((1, 1, 1 << 19, 1 << 19)), w)
    with pytest.raises(MemoryError):
        fc.max_pool2d(huge((1, 64, 1 << 19, 1 << 19)), 1)
    assert fc.cache_info().bytes_in_use == before
    x, w = arrays(1)
    assert np.isfinite(fc.conv2d(x, w)).all()


def test_nothing_grows_over_ten_thousand_calls_of_changing_shapes() -> None:
    growth, cached, limit, kept, objects = map(
        int,
        run_python("""
        import gc, os, sys
        import numpy as np
        import fastconv as fc

        rng = np.random.default_rng(0)

        def call():
            rank, groups = rng.integers(1, 4), rng.integers(1, 4)
            n, c, k = rng.integers(1, 5, 3)
            sides, kernel = rng.integers(5, 14, rank), rng.integers(1, 4, rank)
            x = np.ones((n, groups * c, *sides), np.float32)
            w = np.ones((groups * k, c, *kernel), np.float32)
            stride, padding = map(int, rng.integers(0, 2, 2))
            options = {"groups": int(groups), "stride": 1 + stride, "padding": padding}
            y = getattr(fc, f"conv{rank}d")(x, w, **options)
            getattr(fc.grad, f"conv{rank}d")(y, x, w, **options)
            getattr(fc, f"max_pool{rank}d")(x, 2)

        def calls(count):
            for _ in range(count):
                call()
            gc.collect()
            pages = int(open("/proc/self/statm").read().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE"), fc.cache_info(), sys.getallocatedblocks()

        before, after = calls(500), calls(3_000)
        cached = after[1].bytes_cached - before[1].bytes_cached
        print(after[0] - before[0] - cached, after[1].bytes_cached, after[1].limit_bytes,
              after[1].calls_kept, after[2] - before[2])
        """).split(),
    )
    assert growth < 4 << 20
    assert cached <= limit
    assert kept <= 256
    assert objects < 1000


@pytest.mark.parametrize("side", [1 << 31, 1 << 40])
def test_sizes_that_overflow(side: int) -> None:
    with pytest.raises((ValueError, MemoryError)):
        fc.conv1d(huge((1, 1, side)), np.zeros((1 << 20, 1, 1), np.float32), padding=side)


def test_floating_point_state_is_left_alone() -> None:
    x, w = arrays(2)
    tiny = np.full(64, 1e-40, np.float32)
    before = tiny * np.float32(0.5)
    fc.conv2d(x * np.float32(1e-30), w * np.float32(1e-10))
    fc.avg_pool2d(x * np.float32(1e-38), 2)
    after = tiny * np.float32(0.5)
    assert (after > 0).all()
    assert np.array_equal(before, after)


def test_results_outlive_everything() -> None:
    x, w = arrays(3, batch=8, side=64)
    y = fc.conv2d(x, w)
    kept = y.copy()
    view = y[::2, 3]
    del y
    fc.clear_cache()
    for seed in range(4):
        fc.conv2d(*arrays(seed, batch=8, side=64))
    assert np.array_equal(view, kept[::2, 3])


def test_memory_pool_is_bounded() -> None:
    fc.clear_cache()
    for side in range(20, 120, 3):
        x, w = arrays(side, batch=4, side=side)
        fc.conv2d(x, w, padding=1)
    info = fc.cache_info()
    assert 0 < info.bytes_cached <= info.limit_bytes
    fc.clear_cache()
    assert fc.cache_info().bytes_cached == 0


def test_signals_stay_with_the_application() -> None:
    """The pool's threads block all signals, so that Python's main thread gets them."""
    fc.conv2d(*arrays(4, batch=8, side=64))
    status = [(task / "status").read_text() for task in Path("/proc/self/task").iterdir()]
    lines = [line for text in status for line in text.splitlines() if line.startswith("SigBlk")]
    interrupt = 1 << (signal.SIGINT - 1)
    assert any(int(line.split()[1], 16) & interrupt for line in lines) or fc.get_num_threads() == 1
