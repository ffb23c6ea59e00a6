"""Summaries: shapes, counts, and a model left as it was."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn


def test_summary_of_one_layer():
    summary = nn.Conv3d(1, 10, 3, rng=0).summary((1, 8, 8, 8))
    assert summary.parameters == 280
    assert summary.multiply_adds == 10 * 6**3 * 27
    assert summary.rows == (nn.SummaryRow("", "Conv3d", (10, 6, 6, 6), 280, 10 * 6**3 * 27),)


def test_summary_takes_a_batch_axis_too_and_counts_one_sample():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, rng=0), nn.GlobalAvgPool(), nn.Linear(8, 2, rng=0))
    assert str(model.summary((5, 3, 6, 7))) == str(model.summary((3, 6, 7)))
    for shape in ((4, 6, 7), (1, 2, 3, 4, 5, 6), (), (3, 0, 4)):
        with pytest.raises(ValueError):
            model.summary(shape)


def test_a_layer_may_know_its_input_shape():
    model = nn.Sequential(nn.Linear(3, 2, rng=0))
    message = r"summary: this Sequential has no input_shape of its own, and none was given; give that of one"
    with pytest.raises(TypeError, match=message):
        model.summary()
    model.input_shape = (5, 3)
    assert model.summary().rows[0].output_shape == (5, 2)
    assert model.summary((3,)).rows[0].output_shape == (2,)


@pytest.mark.parametrize("shape", [5, 2.0])
def test_an_input_shape_is_a_sequence(shape):
    with pytest.raises(TypeError, match="summary: input_shape must be a sequence of integers, got"):
        nn.ReLU().summary(shape)
    with pytest.raises(TypeError, match="summary: input_shape must be an integer, got"):
        nn.ReLU().summary((1, "2"))


def test_summary_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(rng=0).eval(), nn.Linear(4, 2, rng=0))
    before = model.state_dict()
    rows = model.summary((4,)).rows
    assert [row.name for row in rows] == ["0", "1", "2"]
    assert [layer.training for layer in model] == [True, False, True] and model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(ValueError):
        model.summary((3,))
    assert model.training
    assert model(np.ones((2, 4), np.float32)).shape == (2, 2)


def test_summary_shows_layers_within_blocks():
    block = nn.Residual(nn.Conv2d(4, 4, 3, padding=1, rng=0), nn.ConvTranspose2d(4, 4, 1, rng=0))
    model = nn.Sequential(block, nn.Concat(nn.MaxPool2d(2, return_indices=False), nn.AvgPool2d(2)))
    rows = model.summary((4, 6, 6)).rows
    assert [row.name for row in rows] == ["0.main", "0.shortcut", "1.0", "1.1"]
    assert [row.multiply_adds for row in rows] == [4 * 36 * 36, 4 * 36 * 4, 0, 0]
    pair = nn.MaxPool2d(2, return_indices=True).summary((1, 4, 6))
    assert pair.rows[0].output_shape == (1, 2, 3)
