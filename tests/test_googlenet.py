"""GoogLeNet: the sizes of its paper, its PyTorch twin, and the heads that take part in training alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from finite_differences import assert_gradient
from twins import assert_same_gradients, give_state

from fastconv import nn, optim
from fastconv.models import auxiliary_cross_entropy, googlenet
from fastconv.models.googlenet import HeadedSequential

# Table 1 of the paper: filters of each branch (1 × 1; 3 × 3 and before it; 5 × 5 and before it; behind the
# pool), channels and side of the planes.
TABLE = {
    "3a": ((64, (96, 128), (16, 32), 32), 256, 28),
    "3b": ((128, (128, 192), (32, 96), 64), 480, 28),
    "4a": ((192, (96, 208), (16, 48), 64), 512, 14),
    "4b": ((160, (112, 224), (24, 64), 64), 512, 14),
    "4c": ((128, (128, 256), (24, 64), 64), 512, 14),
    "4d": ((112, (144, 288), (32, 64), 64), 528, 14),
    "4e": ((256, (160, 320), (32, 128), 128), 832, 14),
    "5a": ((256, (160, 320), (32, 128), 128), 832, 7),
    "5b": ((384, (192, 384), (48, 128), 128), 1024, 7),
}


@pytest.fixture
def undrawn(monkeypatch):
    """Leave all weights zero, which takes no time."""
    monkeypatch.setitem(nn.init.INITIALISERS, "he", nn.init.zeros)


def test_sizes_of_the_papers_table(undrawn):
    shapes = {row.name: row.output_shape for row in googlenet().summary().rows}
    for name, ((plain, three, five, pooled), channels, side) in TABLE.items():
        module = f"inception_{name}"
        branches = {".0": plain, ".1.0": three[0], ".1.1": three[1], ".2.0": five[0], ".2.1": five[1]}
        for branch, filters in {**branches, ".3.1": pooled}.items():
            assert shapes[f"{module}{branch}"] == (filters, side, side)
        assert plain + three[1] + five[1] + pooled == channels
    for before, after in pairwise(TABLE):
        assert shapes[f"inception_{after}.3.0"][0] == TABLE[before][1]  # its pool sees the whole input
    stem = {"conv1": (64, 112), "pool1": (64, 56), "conv2_reduce": (64, 56), "conv2": (192, 56)}
    for name, (channels, side) in {**stem, "pool2": (192, 28), "pool3": (480, 14), "pool4": (832, 7)}.items():
        assert shapes[name] == (channels, side, side)
    assert shapes["avgpool"] == (1024,)


@pytest.mark.parametrize(
    ("keywords", "parameters"),
    [
        ({}, 6_998_552),
        ({"auxiliary": True}, 13_378_280),
        # each of the 57 convolutions: two numbers for each channel instead of one, 7,280 channels in all
        ({"batch_norm": True}, 6_998_552 + 7_280),
        ({"auxiliary": True, "classes": 10}, 13_378_280 - 990 * (1025 + 2 * 1025)),
    ],
)
def test_parameters(keywords, parameters, undrawn):
    assert googlenet(**keywords).summary().parameters == parameters


def small(**keywords):
    defaults = {"classes": 3, "width": 0.08, "image_size": 40, "dropout": 0.0, "dtype": np.float64}
    model = googlenet(0, **(defaults | keywords))
    for _, layer in model.named_layers():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model


@pytest.mark.parametrize("batch_norm", [False, True])
def test_heads_take_part_in_training_alone(batch_norm):
    model = small(auxiliary=True, batch_norm=batch_norm)
    x = np.random.default_rng(1).standard_normal((4, 3, 40, 40))
    predictions = model(x)
    assert [scores.shape for scores in predictions] == [(4, 3)] * 3
    np.testing.assert_array_equal(model.forward(x)[1], predictions[1])
    evaluated = model.eval()(x)
    assert evaluated.shape == (4, 3)
    y, pullback = model.vjp(x)  # in which no normalisation is folded into its convolution
    np.testing.assert_allclose(y, evaluated, rtol=1e-9)
    assert pullback(np.ones_like(y)).shape == x.shape

    alone = small(batch_norm=batch_norm)
    missing, unexpected = alone.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    assert all(name.startswith("auxiliary.inception_4") for name in unexpected)
    np.testing.assert_array_equal(alone.eval()(x), evaluated)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradient_through_three_losses(batch_norm):
    model = small(auxiliary=True, batch_norm=batch_norm)
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((4, 3, 40, 40)), np.array([0, 1, 2, 1])

    def loss_at(x):
        return np.array(auxiliary_cross_entropy(model.forward(x), labels)[0])

    predictions, pullback = model.vjp(x)
    loss, gradients = auxiliary_cross_entropy(predictions, labels)
    singly = [nn.losses.cross_entropy(scores, labels)[0] for scores in predictions]
    assert loss == pytest.approx(singly[0] + 0.3 * (singly[1] + singly[2]))
    dx = pullback(gradients)
    assert_gradient(loss_at, x, dx, np.array(1.0), step=1e-7)

    parameters = dict(model.named_parameters())
    for name in parameters:  # a few in front of, between and behind the heads, and in both of them
        if not name.endswith("weight") or not name.startswith(
            ("conv2.", "inception_3b.1.1", "inception_4c.2.0", "inception_5b.3.1", "auxiliary", "fc")
        ):
            continue
        parameter = parameters[name]
        before = parameter.data

        def loss_with(data, parameter=parameter):
            parameter.data = data
            return loss_at(x)

        assert_gradient(loss_with, before, parameter.grad, np.array(1.0), step=1e-7, directions=1)
        parameter.data = before


def test_without_the_input_gradient_parameters_get_the_same():
    model = small(auxiliary=True)
    x = np.random.default_rng(1).standard_normal((2, 3, 40, 40))
    _, gradients = auxiliary_cross_entropy(model(x), np.array([0, 2]))
    model.backward(gradients)
    expected = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    model(x)
    assert model.backward(gradients, input_gradient=False) is None
    for parameter, want in zip(model.parameters(), expected, strict=True):
        np.testing.assert_array_equal(parameter.grad, want)


def test_the_loss_of_scores_alone_is_cross_entropy():
    scores, labels = np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 1, 2, 1])
    loss, gradient = auxiliary_cross_entropy(scores, labels, label_smoothing=0.1)
    want, expected = nn.losses.cross_entropy(scores, labels, label_smoothing=0.1)
    assert loss == want
    np.testing.assert_array_equal(gradient, expected)


def test_one_gradient_for_each_result():
    model = small(auxiliary=True)
    y = model(np.zeros((1, 3, 40, 40)))
    with pytest.raises(ValueError, match="dy must be a tuple of 3 gradients, one for each result"):
        model.vjp(np.zeros((1, 3, 40, 40)))[1](y[0])
    with pytest.raises(ValueError, match="there is no layer 'second' for a head to stand behind"):
        HeadedSequential({"first": nn.ReLU()}, {"second": nn.ReLU()})


def test_a_state_of_one_layout_fits_the_other():
    x = np.random.default_rng(1).standard_normal((2, 3, 130, 130))
    first = small(auxiliary=True, image_size=130)
    last = small(auxiliary=True, image_size=130, data_format="channels_last")
    assert (first.input_shape, last.input_shape) == ((3, 130, 130), (130, 130, 3))
    last.load_state_dict(first.state_dict())
    for one, other in zip(first(x), last(x.transpose(0, 2, 3, 1)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12)


def test_planes_smaller_than_the_heads_windows_are_pooled_whole(undrawn):
    for image_size, windows in ((224, 4), (112, 1), (96, 1), (32, 1)):
        model = googlenet(auxiliary=True, image_size=image_size, width=0.1)
        model(np.zeros((1, 3, image_size, image_size), np.float32))
        assert dict(model.named_parameters())["auxiliary.inception_4a.fc1.weight"].data.shape[1] == (
            round(0.1 * 128) * windows**2
        )


@pytest.mark.parametrize("batch_norm", [False, True])
def test_it_trains(batch_norm):
    """Eight images of noise are learnt by heart."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((8, 3, 48, 48), dtype=np.float32), np.arange(8) % 4
    model = small(
        classes=4, width=0.25, image_size=48, auxiliary=True, batch_norm=batch_norm, dtype=np.float32
    )
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(25):
        loss, gradients = auxiliary_cross_entropy(model(x), labels)
        optimizer.zero_grad()
        model.backward(gradients, input_gradient=False)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < 0.1 * losses[0]


# Its twin in PyTorch, written from the paper


def twin(torch, width, side, batch_norm):
    layers = torch.nn

    def of(number):
        return max(1, round(width * number))

    class Conv(layers.Module):
        def __init__(self, inputs, outputs, kernel, stride=1):
            super().__init__()
            self.conv = layers.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not batch_norm)
            self.bn = layers.BatchNorm2d(outputs) if batch_norm else layers.Identity()

        def forward(self, x):
            return self.bn(self.conv(x)).relu()

    class Inception(layers.Module):
        def __init__(self, inputs, plain, three, five, pooled):
            super().__init__()
            self.branches = layers.ModuleList(
                [
                    Conv(inputs, of(plain), 1),
                    layers.Sequential(Conv(inputs, of(three[0]), 1), Conv(of(three[0]), of(three[1]), 3)),
                    layers.Sequential(Conv(inputs, of(five[0]), 1), Conv(of(five[0]), of(five[1]), 5)),
                    layers.Sequential(layers.MaxPool2d(3, 1, 1), Conv(inputs, of(pooled), 1)),
                ]
            )

        def forward(self, x):
            return torch.cat([branch(x) for branch in self.branches], 1)

    def norm():
        return layers.Identity() if batch_norm else layers.LocalResponseNorm(5)

    def pool():
        return layers.MaxPool2d(3, 2, ceil_mode=True)

    def head(inputs):
        return layers.Sequential(
            layers.AvgPool2d(5, 3), Conv(inputs, of(128), 1), layers.Flatten(),
            layers.Linear(of(128) * side**2, of(1024)), layers.ReLU(), layers.Linear(of(1024), 3),
        )  # fmt: skip

    class GoogLeNet(layers.Module):
        def __init__(self):
            super().__init__()
            stem = [Conv(3, of(64), 7, 2), pool(), norm(), Conv(of(64), of(64), 1), Conv(of(64), of(192), 3)]
            self.stem = layers.Sequential(*stem, norm(), pool())
            self.modules_, channels = layers.ModuleDict(), of(192)
            heads = []
            for name, ((plain, three, five, pooled), _, _) in TABLE.items():
                self.modules_[name] = Inception(channels, plain, three, five, pooled)
                channels = of(plain) + of(three[1]) + of(five[1]) + of(pooled)
                if name in ("4a", "4d"):
                    heads.append(head(channels))
            self.fc = layers.Linear(channels, 3)
            self.heads = layers.ModuleList(heads)

        def forward(self, x):
            x, aside, heads = self.stem(x), [], iter(self.heads)
            for name, module in self.modules_.items():
                if name in ("4a", "5a"):
                    x = pool()(x)
                x = module(x)
                if name in ("4a", "4d"):
                    aside.append(next(heads)(x))
            return [self.fc(x.mean((2, 3))), *aside]

    return GoogLeNet().double()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_pytorch_gives_the_same(batch_norm):
    torch = pytest.importorskip("torch")
    mine = small(auxiliary=True, width=0.1, image_size=130, batch_norm=batch_norm)
    theirs = twin(torch, 0.1, 2, batch_norm)
    give_state(torch, mine, theirs)
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((3, 3, 130, 130)), np.array([0, 1, 2])
    predictions, expected = mine(x), theirs(torch.from_numpy(x))
    for scores, want in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(scores, want.detach().numpy(), rtol=1e-8, atol=1e-10)
    loss, gradients = auxiliary_cross_entropy(predictions, labels)
    entropies = [torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels)) for scores in expected]
    expected_loss = entropies[0] + 0.3 * entropies[1] + 0.3 * entropies[2]
    assert loss == pytest.approx(expected_loss.item(), rel=1e-10)
    expected_loss.backward()
    mine.backward(gradients)
    assert_same_gradients(mine, theirs)
