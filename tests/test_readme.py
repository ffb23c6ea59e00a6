"""README's Python runs as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_explains_its_convolution(tmp_path):
    (block,) = [block for block in BLOCKS if "fc.explain(" in block]
    output = run(block, tmp_path)
    assert "conv2d -> float32 (8, 128, 56, 56)" in output
    assert "algorithm" in output


def test_the_training_loop_learns_the_digits(tmp_path):
    (block,) = [block for block in BLOCKS if "optimizer.step()" in block]
    lines = run(block, tmp_path).splitlines()
    assert len(lines) == 15
    assert (
        float(re.fullmatch(r"epoch 15: loss [\d.]+, accuracy on the test digits ([\d.]+)%", lines[-1])[1])
        >= 97
    )


def test_every_block_of_python_is_one_of_these():
    assert len(BLOCKS) == 2
