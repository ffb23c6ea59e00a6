"""Networks of the literature: sizes, and the same scores and gradients as their PyTorch twins."""

from __future__ import annotations

from itertools import chain, groupby, pairwise

import numpy as np
import pytest

from fastconv import nn, optim
from fastconv.models import NETWORKS, resnet50, smile_net, vgg16
from fastconv.models.resnet import PaddedShortcut

# Networks small enough for a test in float64: how they are made, and a batch they take.
SMALL = {
    "lenet5": ({}, (2, 1, 28, 28)),
    "fashion_net": ({}, (2, 1, 28, 28)),
    "smile_net": ({"filters": (4, 6, 8, 10)}, (3, 3, 32, 16)),
    "network_in_network": ({"width": 24}, (2, 3, 16, 32)),
    "alexnet": ({"image_size": 64, "filters": (8, 12, 16, 12, 8), "hidden": (24, 16)}, (2, 3, 64, 64)),
    "vgg16": ({"image_size": 32, "width": 16, "hidden": (24, 16)}, (2, 3, 32, 32)),
    "resnet18": ({"width": 8}, (4, 3, 64, 64)),
    "resnet20": ({"width": 4}, (4, 3, 32, 32)),
    "resnet34": ({"width": 4}, (4, 3, 64, 64)),
    "resnet50": ({"width": 8}, (4, 3, 64, 64)),
    "resnet101": ({"width": 2}, (4, 3, 64, 64)),
    "resnet152": ({"width": 2}, (4, 3, 64, 64)),
    "grid_detector": ({"width": 4}, (2, 1, 16, 24)),
    "unet": ({"width": 4, "depth": 2}, (2, 1, 16, 24)),
    "googlenet": ({"width": 0.1}, (2, 3, 48, 48)),
    "mobilenet_v1": ({"width": 0.1}, (4, 3, 64, 64)),
    "squeezenet1_1": ({}, (2, 3, 40, 40)),
}
TWINS_ELSEWHERE = ("googlenet", "mobilenet_v1", "squeezenet1_1")  # each has a test file of its own
DROPPING = (
    "fashion_net",
    "smile_net",
    "network_in_network",
    "alexnet",
    "vgg16",
    "googlenet",
    "squeezenet1_1",
)

CLASSIFIERS = [name for name in NETWORKS if name not in ("grid_detector", "unet")]
"""The others give planes of scores: test_detection.py and test_segmentation.py train them on their tasks."""

TWINS = [name for name in CLASSIFIERS if name not in (*TWINS_ELSEWHERE, "resnet101", "resnet152")]


def small(name, **changes):
    """Make a small network in float64, with parameters of which none are zero, images and labels for it."""
    keywords, shape = SMALL[name]
    model = NETWORKS[name](0, **(keywords | {"classes": 7, "dtype": np.float64} | changes))
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        if not parameter.data.any():
            parameter.data[...] = 0.1 * rng.standard_normal(parameter.data.shape)
    return model, rng.standard_normal(shape), rng.integers(7, size=shape[0])


def small_without_dropout(name, **changes):
    """Make the same without what is random in training."""
    return small(name, **({"dropout": 0.0} if name in DROPPING else {}), **changes)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave all weights zero: pages of memory that nobody writes to are never there."""
    monkeypatch.setitem(nn.init.INITIALISERS, "he", nn.init.zeros)


def test_the_small_ones_are_all_there():
    assert set(SMALL) == set(NETWORKS)


# Sizes


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    ("name", "keywords", "image", "parameters"),
    [
        ("lenet5", {}, (1, 28, 28), 61_706),
        ("fashion_net", {}, (1, 28, 28), 1_413_834),
        ("fashion_net", {"classes": 3}, (1, 28, 28), 1_413_379),
        ("smile_net", {}, (3, 64, 64), 388_673),
        ("smile_net", {"channels": 1, "image_size": 32}, (1, 32, 32), 388_673 - 2 * 32 * 9),
        ("network_in_network", {}, (3, 32, 32), 966_986),
        ("network_in_network", {"classes": 100}, (3, 32, 32), 966_986 + 90 * 193),
        ("alexnet", {}, (3, 227, 227), 62_378_344),
        ("alexnet", {"local_response_norm": True}, (3, 227, 227), 62_378_344),
        ("alexnet", {"image_size": 224}, (3, 224, 224), 62_378_344),
        ("alexnet", {"filters": (64, 192, 384, 256, 256)}, (3, 227, 227), 61_100_840),
        ("vgg16", {}, (3, 224, 224), 138_357_544),
        ("vgg16", {"classes": 10}, (3, 224, 224), 134_301_514),
        ("resnet18", {}, (3, 224, 224), 11_689_512),
        ("resnet20", {}, (3, 32, 32), 269_722),
        ("resnet34", {}, (3, 224, 224), 21_797_672),
        ("resnet50", {}, (3, 224, 224), 25_557_032),
        ("resnet50", {"classes": 10}, (3, 224, 224), 23_528_522),
        ("resnet101", {}, (3, 224, 224), 44_549_160),
        ("resnet152", {}, (3, 224, 224), 60_192_808),
    ],
)
def test_parameters(name, keywords, image, parameters, data_format, undrawn):
    model = NETWORKS[name](**keywords, data_format=data_format)
    assert model.input_shape == (image if data_format == "channels_first" else (*image[1:], image[0]))
    summary = model.summary()
    assert summary.parameters == parameters
    assert str(summary).splitlines()[-1].split()[:2] == ["total", f"{parameters:,}"]
    assert summary.rows[-1].output_shape == (keywords.get("classes", summary.rows[-1].output_shape[0]),)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    ("name", "keywords", "sizes"),
    [
        ("lenet5", {}, [28, 14, 10, 5]),
        ("smile_net", {}, [64, 32, 16, 8, 4]),
        ("network_in_network", {}, [32, 16, 8]),
        ("alexnet", {}, [55, 27, 13, 6]),
        *[("alexnet", {"image_size": size}, [55, 27, 13, 6]) for size in (224, 225, 226)],
        ("alexnet", {"local_response_norm": True}, [55, 27, 13, 6]),
        ("vgg16", {}, [224, 112, 56, 28, 14, 7]),
        *[(f"resnet{depth}", {}, [112, 56, 28, 14, 7]) for depth in (18, 34, 50)],
        ("resnet20", {}, [32, 16, 8]),
    ],
)
def test_feature_maps(name, keywords, sizes, data_format, undrawn):
    rows = NETWORKS[name](**keywords, data_format=data_format).summary().rows
    planes = [row.output_shape for row in rows if len(row.output_shape) == 3]
    heights, widths = zip(
        *((shape[1:] if data_format == "channels_first" else shape[:2]) for shape in planes), strict=True
    )
    assert heights == widths
    assert [size for size, _ in groupby(heights)] == sizes


def test_multiply_adds_of_the_literature(undrawn):
    assert vgg16().summary().multiply_adds == 15_470_264_320
    assert resnet50().summary().multiply_adds == 4_089_184_256


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_states_are_named_as_published_ones(depth, undrawn):
    names = list(NETWORKS[f"resnet{depth}"](width=2).state_dict())
    expected = [*_names_of_conv("conv1", "bn1")]
    convolutions = 2 if depth < 50 else 3
    for stage, count in enumerate(residual_blocks(depth), 1):
        for index in range(count):
            block = f"layer{stage}.{index}"
            for number in range(1, convolutions + 1):
                expected += _names_of_conv(f"{block}.conv{number}", f"{block}.bn{number}")
            if index == 0 and (stage > 1 or depth >= 50):
                expected += _names_of_conv(f"{block}.downsample.0", f"{block}.downsample.1")
    assert names == [*expected, "fc.weight", "fc.bias"]


def _names_of_conv(conv, norm):
    arrays = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [f"{conv}.weight", *(f"{norm}.{array}" for array in arrays)]


# Draws, states, modes


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_makes_the_network(name):
    first, again, other = (
        NETWORKS[name](seed, **SMALL[name][0]) for seed in (3, np.random.default_rng(3), 4)
    )
    for one, same, another in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, same.data)
        assert one.data.dtype == np.float32
        assert one.data.ndim == 1 or (one.data != another.data).any() == one.data.any()


@pytest.mark.parametrize("name", ["fashion_net", "network_in_network", "alexnet", "vgg16", "resnet50"])
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


@pytest.mark.parametrize("name", DROPPING)
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
        ("vgg16", {"data_format": "NHWC"}, "data_format must be one of channels_first, channels_last, got"),
        ("smile_net", {"filters": (8, 0)}, "out_channels must be at least 1, got 0"),
        ("network_in_network", {"width": 1}, "out_channels must be at least 1, got 0"),
        ("resnet20", {"classes": 0}, "out_features must be at least 1, got 0"),
        ("resnet50", {"width": 0}, "out_channels must be at least 1, got 0"),
        ("vgg16", {"classes": 0}, "out_features must be at least 1, got 0"),
    ],
)
def test_nonsense_is_refused(name, keywords, message, undrawn):
    with pytest.raises(ValueError, match=message):
        NETWORKS[name](**keywords)


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_may_come_last(name):
    first, x, _ = small_without_dropout(name)
    last = small_without_dropout(name, data_format="channels_last")[0]
    last.load_state_dict(first.state_dict())
    scores, expected = last(np.moveaxis(x, 1, -1)), first(x)
    np.testing.assert_allclose(scores, np.moveaxis(expected, 1, -1), rtol=1e-8, atol=1e-10)
    gradient = np.random.default_rng(2).standard_normal(expected.shape)
    dx = first.backward(gradient)
    np.testing.assert_allclose(
        np.moveaxis(last.backward(np.moveaxis(gradient, 1, -1)), -1, 1), dx, rtol=1e-6, atol=1e-8 * peak(dx)
    )
    for (path, one), other in zip(first.named_parameters(), last.parameters(), strict=True):
        np.testing.assert_allclose(other.grad, one.grad, rtol=1e-6, atol=1e-8 * peak(one.grad), err_msg=path)


def peak(array):
    return np.abs(array).max()


# Training


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *[(name, {}) for name in CLASSIFIERS if name not in ("resnet34", "resnet101", "resnet152")],
        ("alexnet", {"local_response_norm": True}),
    ],
)
def test_the_loss_of_a_batch_falls_to_a_third(name, changes):
    model, x, labels = small_without_dropout(name, dtype=np.float32, **changes)
    x = x.astype(np.float32)
    optimizer = optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss, gradient = nn.losses.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        model.backward(gradient, input_gradient=False)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < losses[0] / 3, losses


def test_smiles_are_learnt_from_one_score():
    rng = np.random.default_rng(0)
    model = smile_net(0, filters=(8, 8, 16, 16), dropout=0.1)
    smiles = np.tile(np.float32([0, 1]), 16)[:, None]
    x = rng.random((32, 3, 32, 32), np.float32) * 0.5
    x[:, :, 20:24, 8:24] += 0.5 * smiles[:, :, None, None]  # a bright mouth
    optimizer = optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        _, gradient = nn.losses.binary_cross_entropy_with_logits(model(x), smiles)
        optimizer.zero_grad()
        model.backward(gradient, input_gradient=False)
        optimizer.step()
    probabilities = nn.Sigmoid()(model.eval()(x))
    assert probabilities.shape == (32, 1)
    np.testing.assert_array_equal(probabilities > 0.5, smiles > 0.5)


# The shortcut without parameters


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_padded_shortcut_leaves_pixels_out_and_adds_zeros(data_format):
    shortcut = PaddedShortcut(2, 5, 3, data_format=data_format)
    x = np.random.default_rng(0).standard_normal((2, 2, 7, 6))
    y = np.zeros((2, 5, 3, 2))
    for i, j in np.ndindex(3, 2):
        y[:, :2, i, j] = x[:, :, 3 * i, 3 * j]
    dy = np.random.default_rng(1).standard_normal(y.shape)
    if data_format == "channels_last":
        x, y, dy = (np.moveaxis(array, 1, -1) for array in (x, y, dy))
    np.testing.assert_array_equal(shortcut(x), y)
    dx = shortcut.backward(dy)
    assert dx.shape == x.shape
    direction = np.random.default_rng(2).standard_normal(x.shape)
    assert np.vdot(dx, direction) == pytest.approx(np.vdot(dy, shortcut.forward(direction)))


# Their twins in PyTorch, written from the papers


def twin(torch, name, local_response_norm=False):
    """Make the PyTorch network that `small` makes here."""
    layers = torch.nn

    def conv(inputs, outputs, kernel, padding, stride=1):
        return [layers.Conv2d(inputs, outputs, kernel, stride, padding), layers.ReLU()]

    def dense(*sizes):
        hidden = [part for pair in pairwise(sizes) for part in (layers.Linear(*pair), layers.ReLU())]
        return [layers.Flatten(), *hidden, layers.Linear(sizes[-1], 7)]

    def mean():
        return [layers.AdaptiveAvgPool2d(1), layers.Flatten()]

    norm = [layers.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2)] if local_response_norm else []
    if name == "lenet5":
        parts = [
            layers.Conv2d(1, 6, 5, padding=2), layers.Tanh(), layers.AvgPool2d(2),
            layers.Conv2d(6, 16, 5), layers.Tanh(), layers.AvgPool2d(2), layers.Flatten(),
            layers.Linear(400, 120), layers.Tanh(), layers.Linear(120, 84), layers.Tanh(),
            layers.Linear(84, 7),
        ]  # fmt: skip
    elif name == "fashion_net":
        parts = [
            *conv(1, 64, 7, 3), layers.MaxPool2d(2),
            *conv(64, 128, 3, 1), *conv(128, 128, 3, 1), layers.MaxPool2d(2),
            *conv(128, 256, 3, 1), *conv(256, 256, 3, 1), layers.MaxPool2d(2),
            *dense(2304, 128, 64),
        ]  # fmt: skip
    elif name == "smile_net":
        pairs = pairwise([3, 4, 6, 8, 10])
        stages = [[*conv(*pair, 3, 1), layers.MaxPool2d(2)] for pair in pairs]
        parts = [*chain(*stages), *mean(), layers.Linear(10, 7)]
    elif name == "network_in_network":
        parts = [
            *conv(3, 24, 5, 2), *conv(24, 20, 1, 0), *conv(20, 12, 1, 0),
            layers.MaxPool2d(3, 2, ceil_mode=True),
            *conv(12, 24, 5, 2), *conv(24, 24, 1, 0), *conv(24, 24, 1, 0),
            layers.AvgPool2d(3, 2, ceil_mode=True),
            *conv(24, 24, 3, 1), *conv(24, 24, 1, 0), layers.Conv2d(24, 7, 1), *mean(),
        ]  # fmt: skip
    elif name == "alexnet":
        parts = [
            *conv(3, 8, 11, 2, 4), *norm, layers.MaxPool2d(3, 2),
            *conv(8, 12, 5, 2), *norm, layers.MaxPool2d(3, 2),
            *conv(12, 16, 3, 1), *conv(16, 12, 3, 1), *conv(12, 8, 3, 1), layers.MaxPool2d(3, 2),
            *dense(8, 24, 16),
        ]  # fmt: skip
    elif name == "vgg16":
        parts, channels = [], 3
        for count, filters in ((2, 16), (2, 32), (3, 64), (3, 128), (3, 128)):
            for _ in range(count):
                parts += conv(channels, filters, 3, 1)
                channels = filters
            parts.append(layers.MaxPool2d(2))
        parts += dense(128, 24, 16)
    else:
        parts = residual_twin(torch, int(name.removeprefix("resnet")), SMALL[name][0]["width"])
    return layers.Sequential(*parts).double()


def residual_blocks(depth):
    """Blocks of each stage, table 1 and section 4.2 of the paper."""
    counts = {18: (2, 2, 2, 2), 20: (3, 3, 3), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
    return counts.get(depth, (3, 8, 36, 3))


def residual_twin(torch, depth, width):
    layers = torch.nn

    def conv(inputs, outputs, kernel, stride=1):
        plain = layers.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return [plain, layers.BatchNorm2d(outputs)]

    class Padded(layers.Module):
        def forward(self, x):
            return torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))

    class Block(layers.Module):
        def __init__(self, inputs, filters, outputs, stride):
            super().__init__()
            if outputs == filters:
                path = [*conv(inputs, filters, 3, stride), layers.ReLU(), *conv(filters, filters, 3)]
            else:
                path = [
                    *conv(inputs, filters, 1), layers.ReLU(), *conv(filters, filters, 3, stride),
                    layers.ReLU(), *conv(filters, outputs, 1),
                ]  # fmt: skip
            self.main, self.shortcut = layers.Sequential(*path), layers.Identity()
            if stride > 1 or inputs != outputs:
                projection = Padded() if depth == 20 else layers.Sequential(*conv(inputs, outputs, 1, stride))
                self.shortcut = projection

        def forward(self, x):
            return torch.relu(self.main(x) + self.shortcut(x))

    stem = [*conv(3, width, 7, 2), layers.ReLU(), layers.MaxPool2d(3, 2, 1)]
    if depth == 20:
        stem = [*conv(3, width, 3), layers.ReLU()]
    blocks, channels = [], width
    for stage, count in enumerate(residual_blocks(depth)):
        filters = width * 2**stage
        outputs = filters if depth < 50 else 4 * filters
        for index in range(count):
            blocks.append(Block(channels, filters, outputs, 2 if index == 0 and stage > 0 else 1))
            channels = outputs
    return [*stem, *blocks, layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(channels, 7)]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *[(name, {}) for name in TWINS],
        ("alexnet", {"local_response_norm": True}),
    ],
)
def test_pytorch_gives_the_same(name, changes):
    torch = pytest.importorskip("torch")
    mine, x, labels = small_without_dropout(name, **changes)
    theirs = twin(torch, name, **changes)
    state = theirs.state_dict()
    with torch.no_grad():
        for array, tensor in zip(mine.state_dict().values(), state.values(), strict=True):
            tensor.copy_(torch.from_numpy(array))

    images = torch.from_numpy(x).requires_grad_()
    scores, expected = mine(x), theirs(images)
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-8, atol=1e-10)
    loss, gradient = nn.losses.cross_entropy(scores, labels)
    expected_loss = torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels))
    assert loss == pytest.approx(expected_loss.item(), rel=1e-10)
    expected_loss.backward()
    want = images.grad.numpy()
    np.testing.assert_allclose(mine.backward(gradient), want, rtol=1e-7, atol=1e-8 * peak(want))
    for parameter, tensor in zip(mine.parameters(), theirs.parameters(), strict=True):
        want = tensor.grad.numpy()
        np.testing.assert_allclose(parameter.grad, want, rtol=1e-7, atol=1e-8 * peak(want))

    for array, tensor in zip(mine.state_dict().values(), state.values(), strict=True):
        np.testing.assert_allclose(array, tensor)  # running statistics among them
    np.testing.assert_allclose(
        mine.eval()(x), theirs.eval()(torch.from_numpy(x)).detach().numpy(), rtol=1e-8, atol=1e-10
    )
