"""Networks of the literature: sizes, and the same scores and gradients as their PyTorch twins."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fastconv import nn
from fastconv.models import NETWORKS, resnet50, vgg16

# Networks small enough for a test in float64: how they are made, and a batch they take.
SMALL = {
    "lenet5": ({}, (2, 1, 28, 28)),
    "fashion_net": ({}, (2, 1, 28, 28)),
    "alexnet": ({"image_size": 64, "filters": (8, 12, 16, 12, 8), "hidden": (24, 16)}, (2, 3, 64, 64)),
    "vgg16": ({"image_size": 32, "hidden": (24, 16)}, (2, 3, 32, 32)),
    "resnet50": ({"width": 8}, (4, 3, 64, 64)),
}


def small(name, **changes):
    """Make a small network in float64, images and labels for it."""
    keywords, shape = SMALL[name]
    model = NETWORKS[name](0, **(keywords | {"classes": 7, "dtype": np.float64} | changes))
    rng = np.random.default_rng(1)
    return model, rng.standard_normal(shape), rng.integers(7, size=shape[0])


@pytest.fixture
def undrawn(monkeypatch):
    """Leave all weights zero: pages of memory that nobody writes to are never there."""
    monkeypatch.setitem(nn.init.INITIALISERS, "he", nn.init.zeros)


def test_the_small_ones_are_all_there():
    assert set(SMALL) == set(NETWORKS)


@pytest.mark.parametrize(
    ("name", "keywords", "image", "parameters"),
    [
        ("fashion_net", {}, (1, 28, 28), 1_413_834),
        ("fashion_net", {"classes": 3}, (1, 28, 28), 1_413_379),
        ("alexnet", {}, (3, 224, 224), 62_378_344),
        ("alexnet", {"image_size": 227}, (3, 227, 227), 62_378_344),
        ("alexnet", {"filters": (64, 192, 384, 256, 256)}, (3, 224, 224), 61_100_840),
        ("vgg16", {}, (3, 224, 224), 138_357_544),
        ("vgg16", {"classes": 10}, (3, 224, 224), 134_301_514),
        ("resnet50", {}, (3, 224, 224), 25_557_032),
        ("resnet50", {"classes": 10}, (3, 192, 160), 23_528_522),
    ],
)
def test_parameters(name, keywords, image, parameters, undrawn):
    summary = NETWORKS[name](**keywords).summary(image)
    assert summary.parameters == parameters
    assert summary.rows[-1].output_shape == (keywords.get("classes", summary.rows[-1].output_shape[0]),)


def test_multiply_adds_of_the_literature(undrawn):
    assert vgg16().summary((3, 224, 224)).multiply_adds == 15_470_264_320
    assert resnet50().summary((3, 224, 224)).multiply_adds == 4_089_184_256


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_makes_the_network(name):
    first, again, other = (
        NETWORKS[name](seed, **SMALL[name][0]) for seed in (3, np.random.default_rng(3), 4)
    )
    for one, same, another in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, same.data)
        assert one.data.dtype == np.float32
        assert one.data.ndim == 1 or (one.data != another.data).any()


@pytest.mark.parametrize("name", ["fashion_net", "alexnet", "vgg16", "resnet50"])
def test_weights_follow_he(name):
    for parameter in small(name)[0].parameters():
        weight = parameter.data
        if weight.size > 10_000:
            assert weight.var() / (2 / nn.init.fans(weight.shape)[0]) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_goes_into_another_network(name):
    model, x, _ = small(name)
    model(x)  # running statistics move
    other = NETWORKS[name](9, **(SMALL[name][0] | {"classes": 7, "dtype": np.float64}))
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.eval()(x), model.eval()(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_in_evaluation_an_image_does_not_depend_on_the_others(name):
    model, x, _ = small(name)
    trained = model(x)
    scores = model.eval()(x)
    np.testing.assert_array_equal(model(x), scores)
    np.testing.assert_allclose(model(x[:1]), scores[:1], rtol=1e-9)
    moves = name != "lenet5"  # it has neither dropout nor batch normalisation
    assert (trained != scores).any() == moves


@pytest.mark.parametrize("name", ["fashion_net", "alexnet", "vgg16"])
def test_dropout_can_be_left_out(name):
    model, x, _ = small(name, dropout=0.0)
    np.testing.assert_array_equal(model(x), model.eval()(x))


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("alexnet", {"filters": (1, 2, 3)}, r"alexnet: filters must be five numbers, got \(1, 2, 3\)"),
        ("alexnet", {"image_size": 62}, r"images of shape \(3, 62, 62\) are too small"),
        ("vgg16", {"image_size": 31}, r"images of shape \(3, 31, 31\) are too small"),
        ("fashion_net", {"dropout": 2}, "p must be from 0 to 1, got 2"),
        ("resnet50", {"width": 0}, "out_channels must be at least 1, got 0"),
        ("vgg16", {"classes": 0}, "out_features must be at least 1, got 0"),
    ],
)
def test_nonsense_is_refused(name, keywords, message, undrawn):
    with pytest.raises(ValueError, match=message):
        NETWORKS[name](**keywords)


# Their twins in PyTorch, written from the papers


def twin(torch, name):
    """Make the PyTorch network that `small` makes here."""
    layers = torch.nn

    def conv(inputs, outputs, kernel, padding, stride=1):
        return [layers.Conv2d(inputs, outputs, kernel, stride, padding), layers.ReLU()]

    def dense(*sizes):
        hidden = [part for pair in pairwise(sizes) for part in (layers.Linear(*pair), layers.ReLU())]
        return [layers.Flatten(), *hidden, layers.Linear(sizes[-1], 7)]

    if name == "fashion_net":
        planes = [
            *conv(1, 64, 7, 3), layers.MaxPool2d(2),
            *conv(64, 128, 3, 1), *conv(128, 128, 3, 1), layers.MaxPool2d(2),
            *conv(128, 256, 3, 1), *conv(256, 256, 3, 1), layers.MaxPool2d(2),
        ]  # fmt: skip
        made = layers.Sequential(*planes, *dense(2304, 128, 64))
    elif name == "alexnet":
        planes = [
            *conv(3, 8, 11, 2, 4), layers.MaxPool2d(3, 2),
            *conv(8, 12, 5, 2), layers.MaxPool2d(3, 2),
            *conv(12, 16, 3, 1), *conv(16, 12, 3, 1), *conv(12, 8, 3, 1), layers.MaxPool2d(3, 2),
        ]  # fmt: skip
        made = layers.Sequential(*planes, *dense(8, 24, 16))
    elif name == "vgg16":
        planes, channels = [], 3
        for count, filters in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
            for _ in range(count):
                planes += conv(channels, filters, 3, 1)
                channels = filters
            planes.append(layers.MaxPool2d(2))
        made = layers.Sequential(*planes, *dense(512, 24, 16))
    else:
        made = residual_twin(torch)
    return made.double()


def residual_twin(torch):
    layers = torch.nn

    def conv(inputs, outputs, kernel, stride=1):
        plain = layers.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return [plain, layers.BatchNorm2d(outputs)]

    class Block(layers.Module):
        def __init__(self, inputs, filters, stride):
            super().__init__()
            self.main = layers.Sequential(
                *conv(inputs, filters, 1), layers.ReLU(), *conv(filters, filters, 3, stride), layers.ReLU(),
                *conv(filters, 4 * filters, 1),
            )  # fmt: skip
            self.shortcut = layers.Identity()
            if stride > 1 or inputs != 4 * filters:
                self.shortcut = layers.Sequential(*conv(inputs, 4 * filters, 1, stride))

        def forward(self, x):
            return torch.relu(self.main(x) + self.shortcut(x))

    blocks, channels = [], 8
    for filters, count in ((8, 3), (16, 4), (32, 6), (64, 3)):
        for index in range(count):
            blocks.append(Block(channels, filters, 2 if index == 0 and filters > 8 else 1))
            channels = 4 * filters
    return layers.Sequential(
        *conv(3, 8, 7, 2), layers.ReLU(), layers.MaxPool2d(3, 2, 1), *blocks,
        layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(channels, 7),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["fashion_net", "alexnet", "vgg16", "resnet50"])
def test_pytorch_gives_the_same(name):
    torch = pytest.importorskip("torch")
    mine, x, labels = small(name, **({} if name == "resnet50" else {"dropout": 0.0}))
    theirs = twin(torch, name)
    state = theirs.state_dict()
    with torch.no_grad():
        for array, tensor in zip(mine.state_dict().values(), state.values(), strict=True):
            tensor.copy_(torch.from_numpy(array))

    scores, expected = mine(x), theirs(torch.from_numpy(x))
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-8, atol=1e-10)
    loss, gradient = nn.losses.cross_entropy(scores, labels)
    expected_loss = torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels))
    assert loss == pytest.approx(expected_loss.item(), rel=1e-10)
    expected_loss.backward()
    mine.backward(gradient)
    for parameter, tensor in zip(mine.parameters(), theirs.parameters(), strict=True):
        want = tensor.grad.numpy()
        np.testing.assert_allclose(parameter.grad, want, rtol=1e-7, atol=1e-8 * np.abs(want).max())

    for name, array in mine.state_dict().items():  # running statistics among them
        np.testing.assert_allclose(array, dict(zip(mine.state_dict(), state.values(), strict=True))[name])
    np.testing.assert_allclose(
        mine.eval()(x), theirs.eval()(torch.from_numpy(x)).detach().numpy(), rtol=1e-8, atol=1e-10
    )
