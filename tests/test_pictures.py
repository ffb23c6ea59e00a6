"""Pictures: what is drawn where, in which tones, and what is refused."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from fastconv import models, nn, pictures
from fastconv.nn.watching import watched
from fastconv.pictures import networks, tones

pytest.importorskip("matplotlib", reason="pictures are drawn by matplotlib, of the extra 'train'")


@pytest.fixture
def figures(monkeypatch):
    """Collect the figures instead of writing them; they are drawn all the same."""
    kept = []

    def keep(figure, path):
        figure.savefig(io.BytesIO(), format="png", dpi=30)
        kept.append(figure)

    for module in (pictures.grids, pictures.networks, pictures.charts):
        monkeypatch.setattr(module, "save", keep)
    return kept


def pixels(path):
    image = pytest.importorskip("PIL.Image").open(path)
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


# Tones


def test_bytes_and_floats_of_the_unit_interval_keep_their_tones():
    dark = np.full((2, 2), 30, np.uint8)
    assert tones.common_limits([dark, dark + 9]) == (0, 255)
    assert tones.common_limits([dark / 255]) == (0, 1)
    assert tones.common_limits([dark > 0]) == (0, 1)


def test_other_values_spread_over_all_images_together():
    assert tones.common_limits([np.array([[-2.0, 0.5]]), np.array([[1.0, 7.0]])]) == (-2, 7)
    assert tones.common_limits([np.array([[3.0, np.nan, np.inf]])]) == (2.5, 3.5)


def test_colour_is_mapped_into_the_unit_interval():
    plane = np.array([[[-1.0, 0.0, 3.0], [1.0, np.nan, 9.0]]])
    np.testing.assert_array_equal(tones.toned(plane, (-1, 3)), [[[0, 0.25, 1], [0.5, 0, 1]]])


def test_standardising_changes_no_picture_of_grey():
    rng = np.random.default_rng(0)
    image = rng.random((6, 6))
    image.flat[:2] = 0, 1
    moved = (image - 0.3) / 0.7
    low, high = tones.common_limits([moved])
    np.testing.assert_allclose((moved - low) / (high - low), image, atol=1e-12)


def test_a_mosaic_has_gaps_and_its_tiles_in_order():
    sheet = tones.mosaic(np.arange(3.0)[:, None, None] * np.ones((3, 2, 2)), columns=2)
    n = np.nan
    expected = [[0, 0, n, 1, 1], [0, 0, n, 1, 1], [n] * 5, [2, 2, n, n, n], [2, 2, n, n, n]]
    np.testing.assert_array_equal(sheet, expected)


# Grids


def test_an_image_grid_is_a_png_with_the_images_in_it(tmp_path):
    red = np.zeros((3, 4, 4), np.uint8)
    red[0] = 255
    pictures.image_grid([red, np.zeros((4, 4), np.uint8)], tmp_path / "grid.png", columns=2)
    drawn = pixels(tmp_path / "grid.png")
    middle, width = drawn[drawn.shape[0] // 2], drawn.shape[1]
    assert tuple(middle[width // 4]) == (255, 0, 0)
    assert tuple(middle[3 * width // 4]) == (0, 0, 0)
    assert tuple(middle[0]) == (255, 255, 255)


def test_a_grid_shows_what_it_is_given(figures):
    rng = np.random.default_rng(0)
    first = rng.standard_normal((3, 5, 7))
    images = [first, rng.standard_normal((1, 5, 7)), rng.standard_normal((5, 7))]
    pictures.image_grid(images, "", titles=["a", 2, ""], columns=2, title="all")
    (figure,) = figures
    assert [axes.get_title() for axes in figure.axes] == ["a", "2", ""]
    low, high = min(map(np.min, images)), max(map(np.max, images))
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_allclose(shown[0], (np.moveaxis(first, 0, -1) - low) / (high - low))
    np.testing.assert_array_equal(shown[1], images[1][0])
    assert figure.axes[2].images[0].get_clim() == (low, high)
    assert figure.axes[0].get_position().y0 == figure.axes[1].get_position().y0
    assert figure.axes[2].get_position().y1 < figure.axes[0].get_position().y0


def test_channels_last_is_the_same_picture(figures):
    images = np.random.default_rng(0).random((2, 3, 5, 7))
    pictures.image_grid(images, "")
    pictures.image_grid(np.moveaxis(images, 1, -1), "", data_format="channels_last")
    for one, other in zip(*(figure.axes for figure in figures), strict=True):
        np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())


def test_numbers_are_written_into_the_pixels(figures):
    pictures.image_grid([np.array([[0.25, -0.5]])], "", numbers=True, limits=(-1, 1), colours="RdBu_r")
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["0.25", "-0.50"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([],), ValueError, "image_grid: there are no images"),
        ((np.zeros((1, 2, 4, 4)),), ValueError, r"image 0 has shape \(2, 4, 4\), expected \(H, W\), \(1,"),
        ((np.zeros((1, 0, 4)),), ValueError, r"image 0 has shape \(0, 4\)"),
        (([np.zeros((4, 4)), "cat"],), TypeError, "image_grid: image 1 has dtype <U3, expected numbers"),
        ((np.zeros((2, 4, 4)), ["one"]), ValueError, "there are 1 titles for 2 images"),
        ((np.zeros((2, 4, 4)), None, 0), ValueError, "columns must be at least 1, got 0"),
    ],
)
def test_a_grid_refuses(arguments, error, message):
    images, titles, columns = (*arguments, None, None)[:3]
    with pytest.raises(error, match=message):
        pictures.image_grid(images, "", titles=titles, columns=columns)


def test_mistakes_come_surest_first(figures):
    scores = np.array([[4.0, 0.0], [0.0, 1.0], [0.0, 3.0], [2.0, 0.0]])
    labels = np.array([0, 0, 0, 1])
    images = np.arange(4.0)[:, None, None, None] * np.ones((4, 1, 3, 3))
    pictures.mistakes(images, labels, scores.argmax(1), scores, ["cat", "dog"], "")
    (figure,) = figures
    assert [axes.get_title() for axes in figure.axes] == [
        "says dog (95%)\nis cat", "says cat (88%)\nis dog", "says dog (73%)\nis cat"
    ]  # fmt: skip
    assert [axes.images[0].get_array()[0, 0] for axes in figure.axes] == [2, 3, 1]
    assert figure.get_suptitle() == "3 of 4 wrong, the surest first"


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_score_is_that_of_class_1(shape, figures):
    scores = np.array([np.log(3.0), -np.log(3.0)]).reshape(shape)
    pictures.mistakes(np.zeros((2, 4, 4)), [0, 1], [1, 0], scores, None, "", most=1)
    (figure,) = figures
    assert [axes.get_title() for axes in figure.axes] == ["says 1 (75%)\nis 0"]
    assert figure.get_suptitle() == "2 of 2 wrong, the 1 surest"


def test_no_mistakes_make_a_picture_too(figures):
    pictures.mistakes(np.zeros((2, 4, 4)), [0, 1], [0, 1], np.eye(2), None, "")
    assert figures[0].get_suptitle() == "none of 2 is wrong"


def test_mistakes_refuses():
    with pytest.raises(ValueError, match="2 images, 2 labels, 1 predictions and 2 scores"):
        pictures.mistakes(np.zeros((2, 4, 4)), [0, 1], [0], np.eye(2), None, "")
    with pytest.raises(ValueError, match="most must be at least 1, got 0"):
        pictures.mistakes(np.zeros((2, 4, 4)), [0, 1], [1, 0], np.eye(2), None, "", most=0)


# Networks


def test_filters_of_one_three_and_more_channels(figures):
    model = nn.Sequential(nn.Conv2d(3, 5, 3, rng=0), nn.Conv2d(5, 6, 2, rng=1), nn.Conv2d(1, 4, 3, rng=2))
    pictures.filters(model, "", title="mine")
    panels = [axes for axes in figures[0].axes if axes.get_title()]
    colour, rows, single = panels
    weight = model[0].weight.data.astype(float)
    shown = colour.images[0].get_array()
    np.testing.assert_allclose(shown[:3, :3], 0.5 + weight[0].transpose(1, 2, 0) / (2 * np.abs(weight).max()))
    assert colour.get_title() == "0 Conv2d\n5 filters 3 × 3 in colour"
    shown = rows.images[0].get_array()
    assert shown.shape == (6 * 3 - 1, 5 * 3 - 1)
    np.testing.assert_array_equal(shown[3:5, 6:8], model[1].weight.data[1, 2])
    assert rows.get_xlabel() == "channels" and rows.get_title() == "1 Conv2d\n6 filters 2 × 2 × 5"
    reach = np.abs(model[2].weight.data).max()
    assert single.images[0].get_clim() == pytest.approx((-reach, reach))


def test_the_strongest_filters_are_drawn(figures):
    layer = nn.Conv2d(4, 5, 1, rng=0)
    layer.weight.data *= np.array([1, 9, 1, 8, 1], np.float32)[:, None, None, None]
    layer.weight.data *= np.array([7, 0, 0, 6], np.float32)[None, :, None, None]
    pictures.filters(layer, "", most=2)
    axes = figures[0].axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), layer.weight.data[[1, 3]][:, [0, 3], 0, 0])
    assert axes.get_title() == "Conv2d\n2 of 5 filters 1 × 1 × 4"
    assert axes.get_xlabel() == "2 of 4 channels"


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_shows_the_filter_of_each_output(groups):
    layer = nn.ConvTranspose2d(4, 6, 3, groups=groups, rng=0)
    bank = networks._filters_first(layer)
    assert bank.shape == (6, 4 // groups, 3, 3)
    for output in range(6):
        for read in range(4 // groups):
            x = np.zeros((1, 4, 1, 1), np.float32)
            x[0, (output // (6 // groups)) * (4 // groups) + read] = 1
            np.testing.assert_array_equal(layer(x)[0, output], bank[output, read])


def test_a_shared_layer_is_drawn_once(figures):
    layer = nn.Conv2d(1, 2, 3, rng=0)
    pictures.filters(nn.Sequential(layer, nn.ReLU(), nn.Conv2d(2, 1, 1, rng=1), layer), "")
    assert [axes.get_title().split("\n")[0] for axes in figures[0].axes if axes.get_title()] == [
        "0 Conv2d",
        "2 Conv2d",
    ]


def test_filters_refuses():
    with pytest.raises(ValueError, match="filters: Linear has no two-dimensional convolution"):
        pictures.filters(nn.Linear(2, 2), "")
    with pytest.raises(ValueError, match="most must be at least 1, got 0"):
        pictures.filters(nn.Conv2d(1, 1, 1), "", most=0)


def test_feature_maps_are_the_layers_results(figures):
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2)
    )
    image = np.random.default_rng(1).standard_normal((1, 8, 8))
    pictures.feature_maps(model, image, "", channels=2)
    rows = figures[0].axes
    assert [axes.get_ylabel() for axes in rows] == [
        "image\n1 × 8 × 8", "0 Conv2d\n3 × 6 × 6", "1 ReLU\n3 × 6 × 6", "2 MaxPool2d\n3 × 3 × 3"
    ]  # fmt: skip
    x = image[None].astype(np.float32)
    np.testing.assert_array_equal(rows[0].images[0].get_array(), image[0])
    for axes, depth in zip(rows[1:], (1, 2, 3), strict=True):
        planes = model[:depth](x)[0]
        liveliest = sorted(np.argsort(-planes.std((1, 2)))[:2])
        assert [int(label.get_text()) for label in axes.get_xticklabels()] == liveliest
        for drawn, channel in zip(axes.images, liveliest, strict=True):
            np.testing.assert_array_equal(drawn.get_array(), planes[channel])
            assert drawn.get_clim() == (planes[liveliest].min(), planes[liveliest].max())


def test_feature_maps_leave_the_network_as_it_was(figures):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.BatchNorm2d(4), nn.Dropout(0.5, rng=0))
    before = model.state_dict()
    pictures.feature_maps(model, np.ones((3, 6, 6), np.uint8), "")
    assert model.training and model[1].training and not {"forward", "vjp"} & vars(model[0]).keys()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_feature_maps_of_channels_last(figures):
    image = np.random.default_rng(0).random((6, 6, 3))
    model = nn.Conv2d(3, 2, 3, data_format="channels_last", rng=0)
    pictures.feature_maps(model, image, "", data_format="channels_last")
    drawn = figures[0].axes[1].images
    for channel in range(2):
        np.testing.assert_array_equal(
            drawn[channel].get_array(), model(image[None].astype("f4"))[0, ..., channel]
        )


def test_a_deep_network_shows_some_layers_of_each_depth(figures):
    model = models.resnet50(0, width=2, classes=3)
    pictures.feature_maps(model, np.ones((3, 32, 32)), "", title="deep", most=5)
    labels = [axes.get_ylabel().split("\n")[0] for axes in figures[0].axes]
    assert len(labels) == 6 and labels[1] == "conv1 Conv2d"
    assert figures[0].get_suptitle().startswith("deep (5 of ")


@pytest.mark.parametrize(
    ("model", "image", "keywords", "message"),
    [
        (nn.Flatten(), np.ones((1, 4, 4)), {}, "no layer of Flatten gives planes"),
        (nn.ReLU(), np.ones((1, 1, 4, 4)), {}, r"image has shape \(1, 1, 4, 4\), expected three axes"),
        (nn.ReLU(), np.ones((1, 4, 4)), {"channels": 0}, "channels must be at least 1, got 0"),
        (nn.ReLU(), np.ones((1, 4, 4)), {"most": 0}, "most must be at least 1, got 0"),
    ],
)
def test_feature_maps_refuse(model, image, keywords, message):
    with pytest.raises(ValueError, match=message):
        pictures.feature_maps(model, image, "", **keywords)


def test_watching_ends_with_an_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0))
    seen = []
    with (
        pytest.raises(ValueError, match="channels"),
        watched(model, lambda layer, name, x, y: seen.append(name)),
    ):
        model.forward(np.ones((1, 2, 8, 8), np.float32))
    assert seen == [] and model.training and "forward" not in vars(model[0])


# Curves


def test_curves_draws_panels_of_lines(figures):
    loss = pictures.Panel("loss", {"train": [2.0, 1.0], "test": [2.5, 1.5]}, log_y=True)
    angle = pictures.Panel("error", {"plain": [1.0, 5.0, 2.0]}, [0, 45, 90], "degrees")
    named = pictures.Panel("accuracy (%)", {"mean": [80, 90]}, ["pixels", "scores"], "of")
    pictures.curves([loss, angle, named], "", title="both")
    left, right, last = figures[0].axes
    assert [line.get_label() for line in left.lines] == ["train", "test"]
    np.testing.assert_array_equal(left.lines[1].get_xydata(), [[1, 2.5], [2, 1.5]])
    np.testing.assert_array_equal(right.lines[0].get_xydata(), [[0, 1], [45, 5], [90, 2]])
    assert (left.get_xlabel(), right.get_xlabel()) == ("epoch", "degrees")
    assert left.get_legend() is not None and right.get_legend() is None
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    assert [label.get_text() for label in last.get_xticklabels()] == ["pixels", "scores"]


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ([], "curves: there are no panels"),
        ([pictures.Panel("loss", {})], "panel 'loss' has no lines"),
        (
            [pictures.Panel("loss", {"train": [1]}, [1, 2])],
            "line 'train' of panel 'loss' has 1 values, x has 2",
        ),
    ],
)
def test_curves_refuses(panels, message):
    with pytest.raises(ValueError, match=message):
        pictures.curves(panels, "")


# Without the extra


def test_only_drawing_needs_matplotlib():
    code = """
import sys
sys.modules["matplotlib"] = None
from fastconv import pictures, studies
try:
    pictures.image_grid([[[0.0]]], "x.png")
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'pictures need matplotlib: pip install "fastconv[train]"'
