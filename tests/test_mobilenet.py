"""MobileNet v1: sizes and work of its paper, its PyTorch twin, training."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_same_gradients, give_state

from fastconv import nn
from fastconv.models import mobilenet_v1


@pytest.fixture
def undrawn(monkeypatch):
    """Leave all weights zero, which takes no time."""
    monkeypatch.setitem(nn.init.INITIALISERS, "he", nn.init.zeros)


@pytest.mark.parametrize(
    ("width", "side", "millions_of_multiply_adds", "millions_of_parameters"),
    [  # tables 6 and 7 of the paper
        (1.0, 224, 569, 4.2),
        (0.75, 224, 325, 2.6),
        (0.5, 224, 149, 1.3),
        (0.25, 224, 41, 0.5),
        (1.0, 192, 418, 4.2),
        (1.0, 160, 290, 4.2),
        (1.0, 128, 186, 4.2),
    ],
)
def test_work_of_the_papers_tables(width, side, millions_of_multiply_adds, millions_of_parameters, undrawn):
    summary = mobilenet_v1(width=width).summary((3, side, side))
    assert round(summary.multiply_adds / 1e6) == pytest.approx(millions_of_multiply_adds, abs=1)
    assert round(summary.parameters / 1e6, 1) == pytest.approx(millions_of_parameters, abs=0.01)


def test_sizes(undrawn):
    summary = mobilenet_v1().summary()
    assert summary.parameters == 4_231_976
    shapes = {row.name: row.output_shape for row in summary.rows}
    assert shapes["first.conv"] == (32, 112, 112)
    assert shapes["1.depthwise.conv"] == (64, 56, 56)
    assert shapes["10.pointwise.conv"] == (512, 14, 14)
    assert shapes["12.pointwise.conv"] == (1024, 7, 7)


def twin(torch):
    layers = torch.nn

    def conv(inputs, outputs, kernel, stride, groups=1):
        plain = layers.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [plain, layers.BatchNorm2d(outputs), layers.ReLU()]

    parts, channels = conv(3, 8, 3, 2), 8
    plan = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *5 * [(128, 1)], (256, 2), (256, 1)]
    for filters, stride in plan:
        parts += conv(channels, channels, 3, stride, channels) + conv(channels, filters, 1, 1)
        channels = filters
    return layers.Sequential(*parts, layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(256, 7))


def test_pytorch_gives_the_same():
    torch = pytest.importorskip("torch")
    mine, theirs = mobilenet_v1(0, classes=7, width=0.25, dtype=np.float64), twin(torch).double()
    give_state(torch, mine, theirs)
    x = np.random.default_rng(1).standard_normal((3, 3, 70, 66))
    scores, expected = mine(x), theirs(torch.from_numpy(x))
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-8, atol=1e-10)
    upstream = np.random.default_rng(2).standard_normal(scores.shape)
    expected.backward(torch.from_numpy(upstream))
    mine.backward(upstream)
    assert_same_gradients(mine, theirs)
