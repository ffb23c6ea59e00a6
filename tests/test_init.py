"""First values of weights: variance, bounds, seeds."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn


def test_initialisers_have_the_stated_variance():
    shape = (64, 48, 5, 3)
    fan_in, fan_out = nn.init.fans(shape)
    assert (fan_in, fan_out) == (48 * 15, 64 * 15)
    he, glorot = 2 / fan_in, 2 / (fan_in + fan_out)
    for name, variance in {"he": he, "he_uniform": he, "glorot": glorot, "glorot_normal": glorot}.items():
        weight = nn.init.initialiser(name)(shape, rng=0, dtype=np.float64)
        assert abs(weight.var() / variance - 1) < 0.02
        assert abs(weight.mean()) < 4 * np.sqrt(variance / weight.size)
    for draw, variance in ((nn.init.he_uniform, he), (nn.init.glorot, glorot)):
        bound = np.sqrt(3 * variance)
        assert 0.99 * bound < np.abs(draw(shape, rng=0)).max() <= bound * (1 + 1e-6)
    assert np.abs(nn.init.he_normal(shape, rng=0)).max() > 3.5 * np.sqrt(he)
    assert not nn.init.zeros(shape).any()
    with pytest.raises(ValueError, match="at least two axes"):
        nn.init.fans((3,))


def test_layers_draw_by_their_own_fans():
    grouped = nn.Conv2d(64, 128, 3, groups=4, rng=0).weight.data
    assert abs(grouped.var() / (2 / (16 * 9)) - 1) < 0.05
    transposed = nn.ConvTranspose2d(64, 32, 3, rng=0).weight.data
    assert transposed.shape == (64, 32, 3, 3)
    assert abs(transposed.var() / (2 / (64 * 9)) - 1) < 0.05
    assert not nn.Conv2d(1, 2, 3, init="zeros").weight.data.any()


def test_seeds_make_the_same_weights_in_every_dtype():
    make = [lambda **k: nn.Conv2d(2, 3, 3, **k), lambda **k: nn.Linear(4, 3, **k)]
    for layer in make:
        first = layer(rng=5).weight.data
        np.testing.assert_array_equal(first, layer(rng=np.random.default_rng(5)).weight.data)
        np.testing.assert_array_equal(first, layer(rng=5, dtype=np.float64).weight.data.astype(np.float32))
        assert (first != layer(rng=6).weight.data).all()


def test_a_large_weight_is_drawn_as_in_one_go():
    shape = (3, 2**15)
    normal = np.random.default_rng(5).normal(0, np.sqrt(2 / 2**15), shape)
    np.testing.assert_array_equal(nn.init.he_normal(shape, rng=5, dtype=np.float64), normal)
    bound = np.sqrt(3 * 2 / sum(shape))
    uniform = np.random.default_rng(5).uniform(-bound, bound, shape).astype(np.float32)
    np.testing.assert_array_equal(nn.init.glorot_uniform(shape, rng=5), uniform)
