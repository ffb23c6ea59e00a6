"""Batch normalisation folded into the convolution before it: the same results as the two apart."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fastconv import nn

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
EDGE = {1: 60, 2: 12, 3: 7}


def trained_norm(rank=2, channels=6, seed=0, dtype=np.float32, **keywords):
    """Make a normalisation with weights and statistics as a training leaves them."""
    rng = np.random.default_rng(seed)
    norm = NORMS[rank](channels, dtype=dtype, **keywords)
    if norm.affine:
        norm.weight.data[:] = rng.uniform(-2, 2, channels)
        norm.bias.data[:] = rng.standard_normal(channels)
    norm.running_mean[:] = rng.standard_normal(channels)
    norm.running_var[:] = rng.uniform(0.1, 4, channels)
    return norm


def images(rank=2, data_format="channels_first", dtype=np.float32, channels=4, batch=3):
    x = np.random.default_rng(1).standard_normal((batch, channels, *[EDGE[rank]] * rank))
    if data_format == "channels_last":
        x = np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(x.astype(dtype))


def passes(model):
    """Count the layers that a call in evaluation mode runs."""
    return len(model.eval()._steps(differentiable=False))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_folded_is_one_after_the_other(rank, data_format, bias, affine):
    conv = CONVS[rank](4, 6, 3, 2, 1, groups=2, bias=bias, data_format=data_format, rng=0, dtype=np.float64)
    if bias:
        conv.bias.data[:] = np.random.default_rng(2).standard_normal(6)
    norm = trained_norm(rank, dtype=np.float64, affine=affine, data_format=data_format)
    model = nn.Sequential(conv, norm)
    x = images(rank, data_format, np.float64)
    assert passes(model) == 1
    np.testing.assert_allclose(model(x), norm(conv(x)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Tanh])
def test_the_activation_behind_joins(activation):
    conv, norm = nn.Conv2d(4, 6, 3, bias=False, rng=0), trained_norm()
    model = nn.Sequential(conv, norm, activation())
    assert passes(model) == 1
    y = model(images())
    np.testing.assert_allclose(y, activation()(norm(conv(images()))), rtol=2e-5, atol=2e-6)
    assert conv.activation is None and norm.activation is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_shorter_dtypes(dtype):
    conv, norm = nn.Conv2d(4, 6, 3, rng=0, dtype=dtype), trained_norm(dtype=dtype)
    y = nn.Sequential(conv, norm).eval()(images(dtype=dtype))
    assert y.dtype == dtype
    exact = norm(conv(images(dtype=dtype))).astype(np.float64)
    assert np.abs(y - exact).max() < 4 * np.finfo(dtype).eps * np.abs(exact).max()


def test_filters_larger_than_the_images_stay_as_they_are():
    conv, norm = nn.Conv2d(32, 64, 3, padding=1, rng=0), trained_norm(channels=64)
    x = images(channels=32)[:1, :, :3, :3]
    np.testing.assert_array_equal(nn.Sequential(conv, norm, nn.ReLU()).eval()(x), nn.ReLU()(norm(conv(x))))


def test_an_image_without_a_batch_is_refused_as_before():
    model = nn.Sequential(nn.Conv2d(4, 6, 3, rng=0), trained_norm()).eval()
    with pytest.raises(ValueError, match="BatchNorm2d: x must have 4 axes"):
        model(images()[0])


def test_parameters_may_change_between_calls():
    conv, norm = nn.Conv2d(4, 6, 3, rng=0), trained_norm()
    model = nn.Sequential(conv, norm).eval()
    before = model.state_dict()
    model(images())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    conv.weight.data *= -1
    norm.running_mean += 1
    np.testing.assert_allclose(model(images()), norm(conv(images())), rtol=2e-5, atol=2e-6)


def test_statistics_of_the_batch_are_not_folded():
    conv, norm = nn.Conv2d(4, 6, 3, rng=0), trained_norm()
    model = nn.Sequential(conv, norm)
    assert len(model.train()._steps(differentiable=False)) == 2
    other = copy.deepcopy(norm)
    np.testing.assert_array_equal(model(images()), other(conv(images())))
    untracked = nn.BatchNorm2d(6, track_running_stats=False)
    assert passes(nn.Sequential(conv, untracked)) == 2


def test_frozen_statistics_have_a_derivative():
    conv, norm = nn.Conv2d(4, 6, 3, rng=0, dtype=np.float64), trained_norm(dtype=np.float64)
    model = nn.Sequential(conv, norm).eval()
    x = images(dtype=np.float64)
    y, pullback = model.vjp(x)
    z, back_through_norm = norm.vjp(conv(x))
    np.testing.assert_array_equal(y, z)
    dy = np.random.default_rng(3).standard_normal(y.shape)
    dx = pullback(dy)
    np.testing.assert_array_equal(dx, conv.vjp(x)[1](back_through_norm(dy)))


def test_what_stays_apart():
    norm = trained_norm()
    assert passes(nn.Sequential(nn.ConvTranspose2d(4, 6, 3, rng=0), norm)) == 2
    assert passes(nn.Sequential(nn.Conv2d(4, 6, 3, activation="relu", rng=0), norm)) == 2
    assert passes(nn.Sequential(nn.ReLU(), norm)) == 2
    with pytest.raises(ValueError, match="channels, expected 6"):
        nn.Sequential(nn.Conv2d(4, 5, 3, rng=0), norm).eval()(images())

    class Louder(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    loud = Louder(4, 6, 3, rng=0)
    np.testing.assert_array_equal(nn.Sequential(loud, norm).eval()(images()), norm(loud(images())))
