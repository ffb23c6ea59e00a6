"""The studies: their parts against independent calculations, and what a quick run of each must show."""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pytest
from finite_differences import assert_gradient
from scipy import ndimage

from fastconv import nn, signal
from fastconv.cli.study import add_parser
from fastconv.data import digits
from fastconv.studies import STUDIES, edges, hierarchy, learned_edge, optimisers, rotations


def quick(name, folder):
    """Run a study as its tests do; check that its pictures and figures are there."""
    pytest.importorskip("matplotlib", reason="the pictures of a study need the extra 'train'")
    figures = STUDIES[name](folder, quick=True)
    assert all(isinstance(value, float) and np.isfinite(value) for value in figures.values())
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
    return figures, sorted(path.stem for path in folder.iterdir())


# Edges


def test_gradients_are_those_of_scipy():
    image = np.random.default_rng(0).random((9, 12))
    found = edges.gradients(image)
    for axis, place in ((1, 0), (0, 1)):
        np.testing.assert_allclose(found["Sobel"][place], ndimage.sobel(image, axis, mode="nearest") / 4)
        np.testing.assert_allclose(found["Scharr"][place], signal.scharr(image, axis=axis), atol=1e-12)
        difference = ndimage.correlate1d(image, [-1.0, 0, 1], axis, mode="nearest")
        np.testing.assert_allclose(found["difference"][place], difference, atol=1e-12)


def test_direction_errors_follow_from_the_frequency_response():
    angle, w = np.deg2rad(20.0), 2 * np.pi / 6
    kx, ky = w * np.cos(angle), w * np.sin(angle)

    def smoothed(weights, k):
        return weights[1] + 2 * weights[0] * np.cos(k)

    for name, weights in edges.SMOOTHING.items():
        along_x = np.sin(kx) * smoothed(weights, ky)
        along_y = np.sin(ky) * smoothed(weights, kx)
        expected = np.rad2deg(np.arctan2(along_y, along_x)) - 20
        assert edges.direction_errors(np.array([20.0]))[name] == [pytest.approx(expected, abs=1e-9)]


def test_scharr_is_truer_than_sobel(tmp_path):
    figures, drawn = quick("edges", tmp_path)
    error = {name: figures[f"{name}: largest error of direction in degrees"] for name in edges.SMOOTHING}
    assert error["Scharr"] < error["Sobel"] / 4 < error["difference"] / 8
    assert figures["largest difference from fastconv.signal"] < 1e-12
    assert drawn == ["directions", "edge_filters", "edges"]


def test_a_photo_is_read_as_grey(tmp_path):
    image = pytest.importorskip("PIL.Image")
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[:, 3:] = 255
    image.fromarray(colours).save(tmp_path / "half.png")
    expected = np.repeat([[0.0, 1.0]], 3, axis=1) * np.ones((4, 1))
    np.testing.assert_array_equal(edges.photo(tmp_path / "half.png"), expected)
    with pytest.raises(FileNotFoundError):
        edges.photo(tmp_path / "none.png")


def test_without_pillow_or_the_sample_there_are_digits(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(edges, "portrait", lambda: None)
        scene = edges.photo()
    np.testing.assert_array_equal(scene[:28, :28], digits().images[0] / 255)
    np.testing.assert_array_equal(scene[28:56, 28:56], digits().images[9 * 500] / 255)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    np.testing.assert_array_equal(edges.photo(), scene)
    with pytest.raises(ModuleNotFoundError, match=r'needs Pillow: pip install "fastconv\[train\]"'):
        edges.photo("photo.png")


# A learnt edge filter


def test_crops_are_the_same_place_of_both():
    image = np.random.default_rng(0).random((40, 50))
    x, y = learned_edge.crops(image, signal.sobel(image, axis=1), 5, np.random.default_rng(1), side=8)
    assert x.dtype == y.dtype == np.float32
    for patch, wanted in zip(x[:, 0], y[:, 0], strict=True):
        np.testing.assert_allclose(signal.sobel(patch, axis=1)[1:-1, 1:-1], wanted, atol=1e-6)


def test_the_sobel_filter_is_learnt(tmp_path):
    figures, drawn = quick("learned_edge", tmp_path)
    assert figures["largest difference from Sobel's weights"] < 1e-2
    assert figures["fall of the filter's loss (times)"] > 1e4
    assert figures["fall of the length's loss (times)"] > 20
    assert figures["explained share of the length"] > 0.9
    assert drawn == ["learned_filter", "length", "length_filters", "losses"]


# Hierarchy


def test_field_of_view_is_what_the_gradient_reaches():
    layers = nn.Sequential(
        nn.Conv2d(1, 2, 5, padding=2, rng=0, dtype=np.float64),
        nn.AvgPool2d(2),
        nn.Conv2d(2, 1, 3, stride=2, padding=1, rng=1, dtype=np.float64),
    )
    size, step, start = hierarchy.field_of_view(layers)
    y, pullback = layers.vjp(np.ones((1, 1, 40, 40)))
    dy = np.zeros_like(y)
    dy[0, 0, 3, 4] = 1
    rows, columns = np.nonzero(pullback(dy)[0, 0])
    assert (rows.min(), rows.max() + 1) == (start + 3 * step, start + 3 * step + size)
    assert (columns.min(), columns.max() + 1) == (start + 4 * step, start + 4 * step + size)


def test_the_strongest_patch_alone_excites_the_channel_as_much():
    rng = np.random.default_rng(0)
    layers = nn.Sequential(nn.Conv2d(1, 3, 3, rng=rng), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, rng=rng))
    images = rng.standard_normal((6, 1, 16, 16), np.float32)
    patches = hierarchy.strongest_patches(layers, images, [1, 2], 4)[1]
    strongest = np.sort(layers(images)[:, 2].max((1, 2)))[::-1][:4]
    np.testing.assert_allclose(layers(patches[:, None])[:, 2, 0, 0], strongest, rtol=1e-5)


def test_the_nearest_mean_is_the_nearest():
    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((60, 2, 3)), rng.standard_normal((40, 2, 3))
    labels, test_labels = np.arange(60) % 4, np.arange(40) % 4
    means = np.stack([train[labels == k].mean(0).ravel() for k in range(4)])
    distances = np.linalg.norm(test.reshape(40, 1, 6) - means, axis=2)
    expected = (distances.argmin(1) == test_labels).mean()
    assert hierarchy.nearest_mean_accuracy(train, labels, test, test_labels) == pytest.approx(expected)


def test_classes_move_apart_from_layer_to_layer(tmp_path):
    figures, drawn = quick("hierarchy", tmp_path)
    assert figures["fall of the loss (times)"] > 5
    assert figures["accuracy on the test digits (%)"] > 85
    share = [figures[f"nearest class mean, {name} (%)"] for name in ("pixels", "conv 2", "conv 3", "scores")]
    assert share[0] + 2 < share[1] < share[2] and share[3] > share[0] + 5
    assert {"filters", "feature_maps", "excited_by_1", "excited_by_3", "mistakes"} <= set(drawn)


# Optimisers


def test_all_rules_start_alike():
    split = digits().split(test=4900)
    losses = {
        name: optimisers.train(name, 1e-12, split, epochs=1, seed=3)[0][0] for name in ("momentum", "Adam")
    }
    assert losses["momentum"] == pytest.approx(losses["Adam"], rel=1e-5)
    first = optimisers.train("RMSprop", 1e-3, split, epochs=2, seed=3)
    assert optimisers.train("RMSprop", 1e-3, split, epochs=2, seed=3) == first


def test_every_optimiser_lowers_the_loss(tmp_path):
    figures, drawn = quick("optimisers", tmp_path)
    for name in optimisers.OPTIMISERS:
        assert figures[f"{name}: fall of the loss (times)"] > 2.5
        assert figures[f"{name}: accuracy on the test digits (%)"] > 80
    assert (
        figures["momentum: fall of the loss (times)"] > figures["gradient descent: fall of the loss (times)"]
    )
    assert drawn == ["optimisers"]


# Rotations


@pytest.mark.parametrize("quarters", range(5))
@pytest.mark.parametrize("side", [4, 5])
def test_quarter_turns_only_reorder_pixels(quarters, side):
    image = np.random.default_rng(0).standard_normal((side, side))
    turned = rotations.rotation(side, 90 * quarters) @ image.ravel()
    np.testing.assert_array_equal(turned.reshape(side, side), np.rot90(image, quarters))


@pytest.mark.parametrize("degrees", [17.0, 45.0, 200.0])
def test_turns_are_those_of_scipy(degrees):
    image = np.zeros((2, 1, 15, 15))
    image[..., 4:11, 3:12] = np.random.default_rng(0).random((2, 1, 7, 9))
    expected = ndimage.rotate(image, degrees, axes=(2, 3), reshape=False, order=1)
    np.testing.assert_allclose(rotations.rotated(image, degrees), expected, atol=1e-9)


def test_copies_are_exactly_invariant_to_quarter_turns_where_sums_are_exact():
    layer = rotations.RotatedConv2d(1, 3, 5, copies=4, rng=0)
    rng = np.random.default_rng(0)
    layer.turns = np.stack([rotations.rotation(5, angle) for angle in (0, 90, 180, 270)]).astype(np.float32)
    layer.weight.data[...] = rng.integers(-9, 10, layer.weight.data.shape)
    model = nn.Sequential(layer, nn.ChannelMaxPool(4), nn.GlobalMaxPool())
    images = digits().images[::700, None].astype(np.float32)
    features = model(images)
    assert len(np.unique(features)) > 5
    for quarters in (1, 2, 3):
        turned = np.ascontiguousarray(np.rot90(images, quarters, axes=(2, 3)))
        np.testing.assert_array_equal(model(turned), features)


@pytest.mark.parametrize("copies", [4, 8])
def test_whole_networks_are_invariant_to_quarter_turns(copies):
    model = rotations.network(copies, 0, np.float64).eval()
    images = np.random.default_rng(1).random((2, 1, 28, 28))
    upright = model(images)
    plain = rotations.network(1, 0, np.float64).eval()
    for quarters in (1, 2, 3):
        turned = np.rot90(images, quarters, axes=(2, 3))
        np.testing.assert_allclose(model(turned), upright, rtol=1e-10, atol=1e-12)
        assert np.abs(plain(turned) - plain(images)).max() > 1e-3


def test_gradients_of_turned_filters():
    rng = np.random.default_rng(0)
    layer = rotations.RotatedConv2d(2, 2, 3, copies=8, rng=rng, dtype=np.float64)
    x = rng.standard_normal((2, 2, 5, 5))
    y, pullback = layer.vjp(x)
    dy = rng.standard_normal(y.shape)
    dx = pullback(dy)
    assert_gradient(lambda x: layer.vjp(x)[0], x, dx, dy)
    for parameter in layer.parameters():

        def result(data, parameter=parameter):
            parameter.data, kept = data, parameter.data
            y = layer.vjp(x)[0]
            parameter.data = kept
            return y

        assert_gradient(result, parameter.data, parameter.grad, dy)


def test_even_filters_are_refused():
    with pytest.raises(ValueError, match="RotatedConv2d: kernel_size must be odd, got 4"):
        rotations.RotatedConv2d(1, 1, 4, copies=4)


def test_copies_are_invariant_where_a_plain_network_is_not(tmp_path):
    figures, drawn = quick("rotations", tmp_path)
    assert figures["plain: accuracy upright (%)"] > 75
    assert figures["4 copies: accuracy upright (%)"] > 65
    assert figures["4 copies: feature distance at 90 degrees"] < 1e-5
    assert figures["plain: feature distance at 90 degrees"] > 0.1
    over_all = "accuracy over all angles (%)"
    assert figures[f"4 copies: {over_all}"] > figures[f"plain: {over_all}"] + 10
    distance = "feature distance over all angles"
    assert figures[f"4 copies: {distance}"] < 0.8 * figures[f"plain: {distance}"]
    assert drawn == ["invariance", "turned_digits", "turned_filters"]


# The command


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["study", *map(str, arguments)])
    return parsed.func(parsed)


def test_the_command_prints_figures_and_pictures(tmp_path, capsys, monkeypatch):
    def study(out, *, quick, seed):
        (out / "new.png").write_bytes(b"")
        return {"a figure": 1 / 3, "quick": float(quick), "seed": float(seed)}

    monkeypatch.setitem(STUDIES, "edges", study)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "study" / "edges"
    folder.mkdir(parents=True)
    (folder / "old.png").write_bytes(b"")
    assert run("edges", "--quick", "--seed", 7) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a figure  0.3333", "quick     1", "seed      7", "picture: runs/study/edges/new.png"
    ]  # fmt: skip


def test_the_command_names_what_is_missing(tmp_path, capsys, monkeypatch):
    assert run("optimisers", "--image", "x.png", "--out", tmp_path) == 2
    assert "study optimisers: takes no --image" in capsys.readouterr().err
    pytest.importorskip("matplotlib")
    assert run("edges", "--image", tmp_path / "no.png", "--out", tmp_path) == 1
    assert "study edges: " in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("edges", "--out", tmp_path) == 1
    assert 'study edges: pictures need matplotlib: pip install "fastconv[train]"' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("nothing")
    assert not list(tmp_path.iterdir())
