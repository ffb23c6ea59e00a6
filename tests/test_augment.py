"""Augmentations, each against what it should do to images whose right answer is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import ndimage, stats

from fastconv import augment
from fastconv.augment import (
    Affine,
    Brightness,
    Colour,
    Compose,
    Contrast,
    CutOut,
    Flip,
    MixUp,
    Normalise,
    PadCrop,
    RandomCrop,
    Rotate,
    Scale,
    Shift,
)

STEPS = [
    RandomCrop((7, 8)),
    PadCrop(2),
    PadCrop(2, "zeros"),
    Flip(0.5),
    Flip(0.5, -2),
    CutOut(3),
    Affine(20, 2, 0.2, 10),
    Affine(20, 0.1, (0.5, 2), 10, "reflect"),
    Rotate(30),
    Shift(2),
    Shift(0.2),
    Scale(0.7, 1.3),
    Brightness(0.5),
    Contrast(0.5),
    Colour(0.5),
    Normalise((0.1, 0.2, 0.3), (1, 2, 3)),
    Compose(PadCrop(2), Flip(), Brightness(0.2), CutOut(3)),
]
IDENTITIES = [
    RandomCrop((9, 12)),
    PadCrop(0),
    PadCrop(0, "zeros"),
    Flip(0.0),
    Affine(),
    Affine(mode="reflect"),
    Rotate(0),
    Rotate((360, 360), mode="reflect"),
    Shift(0),
    Shift(0.0),
    Scale(1, 1),
    Brightness(0),
    Contrast(0),
    Colour(0),
    Normalise(0, 1),
    Compose(),
]
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def batch(count=16, channels=3, height=9, width=12, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).random((count, channels, height, width)).astype(dtype)


# What all have in common


@pytest.mark.parametrize("step", STEPS, ids=str)
@BOTH
def test_a_seed_decides_and_the_images_stay(step, dtype):
    images = batch(dtype=dtype)
    images.flags.writeable = False
    before = images.copy()
    first = step(images, 3)
    assert first.dtype == dtype and first.flags.c_contiguous and first.flags.writeable
    assert not np.shares_memory(first, images)
    assert first.shape[:2] == (16, 3)
    np.testing.assert_array_equal(first, step(images, np.random.default_rng(3)))
    np.testing.assert_array_equal(images, before)
    if not isinstance(step, Normalise):
        assert (step(images, 4) != first).any()


@pytest.mark.parametrize("step", [s for s in STEPS if not isinstance(s, Normalise)], ids=str)
def test_each_image_draws_for_itself(step):
    images = np.repeat(batch(1), 64, 0)
    assert len(np.unique(step(images, 0).reshape(64, -1), axis=0)) > 1


@pytest.mark.parametrize("step", IDENTITIES, ids=str)
@BOTH
def test_nothing_asked_nothing_done(step, dtype):
    images = batch(dtype=dtype)
    np.testing.assert_array_equal(step(images, 0), images)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_any_strides_and_no_images(step):
    images = batch(height=12, width=9).swapaxes(2, 3)[::-1]
    np.testing.assert_array_equal(step(images, 1), step(np.ascontiguousarray(images), 1))
    assert step(images[:0], 1).shape[:2] == (0, 3)


def test_steps_can_be_read_and_compared():
    assert repr(PadCrop(4)) == "PadCrop(padding=4, mode='reflect')"
    assert Normalise(0.5, [1, 2]) == Normalise(0.5, (1.0, 2.0)) != Normalise(0.5, 1)
    assert Compose(Flip(), CutOut(3)) == Compose(Flip(), CutOut(3))


# Crops, flips, cut-out


def test_crops_are_windows_and_every_place_is_as_likely():
    images = batch(4000, 1, 6, 5)
    crops = RandomCrop((4, 3))(images, 0)
    places = np.zeros((3, 3))
    for image, crop in zip(images[:, 0], crops[:, 0], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (4, 3))
        (found,) = np.argwhere((windows == crop).all((2, 3)))
        places[tuple(found)] += 1
    assert stats.chisquare(places.ravel()).pvalue > 0.01


@pytest.mark.parametrize(("mode", "numpy_mode"), [("reflect", "reflect"), ("zeros", "constant")])
def test_pad_crop_is_a_window_of_the_padded_image(mode, numpy_mode):
    images = batch(500, 2, 6, 8)
    padded = np.pad(images, ((0, 0), (0, 0), (3, 3), (3, 3)), mode=numpy_mode)
    places = set()
    for image, crop in zip(padded, PadCrop(3, mode)(images, 0), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (6, 8), (1, 2))
        found = np.argwhere((windows == crop[:, np.newaxis, np.newaxis]).all((0, 3, 4)))
        places.update(map(tuple, found.tolist()))
    assert len(places) == 49


@pytest.mark.parametrize("axis", [-1, -2])
def test_flip(axis):
    images = batch(2000, 1, 3, 4)
    np.testing.assert_array_equal(Flip(1, axis)(images), np.flip(images, axis))
    flipped = Flip(0.3, axis)(images, 0)
    turned = (flipped == np.flip(images, axis)).all((1, 2, 3))
    assert (turned | (flipped == images).all((1, 2, 3))).all()
    assert 0.27 < turned.mean() < 0.33


@pytest.mark.parametrize("size", [1, 4, 5])
def test_cut_out_covers_a_square_around_any_pixel(size):
    images = batch(3000, 2, 10, 12) + 1
    covered = CutOut(size, fill=-1)(images, 0)
    hidden = covered[:, 0] == -1
    np.testing.assert_array_equal(covered[:, 0] == -1, covered[:, 1] == -1)
    np.testing.assert_array_equal(covered[:, 0][~hidden], images[:, 0][~hidden])
    rows, columns = hidden.any(2), hidden.any(1)
    np.testing.assert_array_equal(hidden, rows[:, :, np.newaxis] & columns[:, np.newaxis])
    assert set(rows.sum(1)) == set(range(size - size // 2, size + 1))
    first = columns.argmax(1)[columns.sum(1) == size]
    assert stats.chisquare(np.bincount(first, minlength=12 - size + 1)).pvalue > 0.01


# Affine maps


@BOTH
@pytest.mark.parametrize("turns", [-2, -1, 1, 2, 3])
@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_quarter_turns_are_exact(turns, side, mode, dtype):
    images = batch(height=side, width=side, dtype=dtype)
    turned = Rotate((90 * turns, 90 * turns), mode=mode)(images)
    np.testing.assert_array_equal(turned, np.rot90(images, turns, (2, 3)))


def test_whole_pixels_shift_as_slices_do():
    images = batch(2000, 2, 5, 7)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    places = np.zeros((5, 5))
    for image, shifted in zip(padded, Shift(2)(images, 0), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (5, 7), (1, 2))
        (found,) = np.argwhere((windows == shifted[:, np.newaxis, np.newaxis]).all((0, 3, 4)))
        places[tuple(found)] += 1
    assert stats.chisquare(places.ravel()).pvalue > 0.01


def test_shares_of_the_side_shift_both_ways_evenly():
    height, width = 21, 41
    images = np.zeros((3000, 1, height, width))
    images[:, :, height // 2, width // 2] = 1
    shifted = Shift(0.2)(images, 0)[:, 0]
    for axis, side in ((2, width), (1, height)):
        profile = shifted.sum(3 - axis)
        moved = (profile * np.arange(side)).sum(1) - side // 2
        assert stats.kstest(moved / (0.2 * side), stats.uniform(-1, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize(("mode", "scipy_mode"), [("zeros", "grid-constant"), ("reflect", "mirror")])
@pytest.mark.parametrize(
    ("step", "matrix"),
    [
        # The matrix takes a place (row, column) of the result, from the centre, to one in the image.
        (lambda mode: Rotate((30, 30), mode=mode), [[3**0.5 / 2, 0.5], [-0.5, 3**0.5 / 2]]),
        (lambda mode: Scale(2, 2, mode=mode), [[0.5, 0], [0, 0.5]]),
        (lambda mode: Scale(0.3, 0.3, mode=mode), [[1 / 0.3, 0], [0, 1 / 0.3]]),
        (lambda mode: Affine(shear=(45, 45), mode=mode), [[1, 0], [1, 1]]),
        (
            lambda mode: Affine((90, 90), scale=(2, 2), shear=(45, 45), mode=mode),
            np.array([[1, 0], [1, 1]]) @ [[0, 1], [-1, 0]] / 2,
        ),
    ],
    ids=["rotate", "enlarge", "shrink", "shear", "all"],
)
def test_resampling_is_that_of_scipy(step, matrix, mode, scipy_mode):
    images = batch(2, 2, 9, 12, np.float64)
    centre = np.array([4, 5.5])
    expected = [
        [
            ndimage.affine_transform(
                plane, matrix, centre - np.asarray(matrix) @ centre, order=1, mode=scipy_mode
            )
            for plane in image
        ]
        for image in images
    ]
    np.testing.assert_allclose(step(mode)(images), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(step(mode)(images.astype(np.float32)), expected, rtol=0, atol=1e-5)


def test_angles_and_scales_are_drawn_evenly():
    """A bright pixel beside the centre tells by where it goes how far the image turned and stretched."""
    images = np.zeros((2000, 1, 41, 41))
    images[:, :, 20, 32] = 1
    result = Affine(40, scale=(0.8, 1.2))(images, 0)[:, 0]
    place = np.arange(41) - 20
    mass = result.sum((1, 2))
    right, up = (result.sum(1) * place).sum(1) / mass, -(result.sum(2) * place).sum(1) / mass
    angle, radius = np.degrees(np.arctan2(up, right)), np.hypot(up, right)
    assert abs(angle.mean()) < 2 and abs(np.abs(angle).max() - 40) < 1.5
    assert abs(np.quantile(angle, 0.75) - 20) < 2
    assert abs(radius.min() / 12 - 0.8) < 0.03 and abs(radius.max() / 12 - 1.2) < 0.03
    assert abs(np.corrcoef(angle, radius)[0, 1]) < 0.1


def test_one_pixel_can_be_mirrored():
    images = batch(4, 1, 1, 1)
    np.testing.assert_array_equal(Affine(10, 3, 0.2, mode="reflect")(images, 0), images)


# Light and colour


def test_brightness_multiplies():
    images = batch(500) + 0.1
    factors = Brightness(0.3)(images, 0) / images
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1, :1], images.shape), rtol=1e-5)
    assert 0.7 <= factors.min() < 0.72 and 1.28 < factors.max() <= 1.3001


def test_contrast_and_colour_keep_the_grey():
    images = batch(500, dtype=np.float64)
    luma = np.array([0.299, 0.587, 0.114])
    grey = np.einsum("nchw,c->nhw", images, luma)[:, np.newaxis]
    means = grey.mean((1, 2, 3), keepdims=True)
    for step, dull in ((Contrast(0.4), means), (Colour(0.4), grey)):
        result = step(images, 0)
        factors = (result - dull) / (images - dull)
        np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1, :1], images.shape), rtol=1e-6)
        assert 0.6 <= factors.min() < 0.62 and 1.38 < factors.max() <= 1.4001
        np.testing.assert_allclose(
            np.einsum("nchw,c->n", result, luma), np.einsum("nchw,c->n", images, luma), rtol=1e-10
        )


def test_contrast_of_grey_images_keeps_their_mean():
    images = batch(20, 1, dtype=np.float64)
    result = Contrast(0.4)(images, 0)
    np.testing.assert_allclose(result.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=1e-12)


def test_normalise():
    images = batch(dtype=np.float64)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    expected = (images - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_array_equal(Normalise(mean, std)(images), expected)
    np.testing.assert_array_equal(Normalise(0.5, 2)(images), (images - 0.5) / 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_normalise_of_images_gives_mean_0_deviation_1(dtype):
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 200, (40, 3, 8, 9)) / np.array([1, 2, 4]).reshape(3, 1, 1)).astype(dtype)
    floats = images / np.float64(255) if dtype == np.uint8 else images.astype(np.float64)
    normalised = Normalise.of(images)(floats)
    np.testing.assert_allclose(normalised.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(normalised.std((0, 2, 3)), 1, rtol=1e-6)


def test_constant_channels_stay_finite():
    for images in (np.full((2, 1, 3, 3), 7, np.uint8), np.full((2, 1, 3, 3), 7, np.float32)):
        assert Normalise.of(images).std == (1 / 255 if images.dtype == np.uint8 else 1.0,)


# Labels


def test_mix_up_blends_images_as_it_says():
    images, labels = batch(200, dtype=np.float64), np.arange(200) * 10
    mixed, target = MixUp(0.4).with_labels(images, labels, 0)
    np.testing.assert_array_equal(target.first, labels)
    assert sorted(target.second) == sorted(labels) and (target.second != labels).any()
    weight = target.weight.astype(np.float64)[:, None, None, None]
    expected = weight * images + (1 - weight) * images[target.second // 10]
    np.testing.assert_allclose(mixed, expected, rtol=1e-12)
    assert stats.kstest(MixUp(0.4).with_labels(batch(3000, 1, 1, 1), np.arange(3000), 0)[1].weight,
                        stats.beta(0.4, 0.4).cdf).pvalue > 0.01  # fmt: skip


def test_soft_labels_are_probabilities():
    _, target = MixUp(1.0).with_labels(batch(50), np.arange(50) % 7, 0)
    soft = target.soft(7)
    assert soft.shape == (50, 7) and soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    for row, first, second, weight in zip(soft, *target, strict=True):
        expected = np.zeros(7)
        expected[first] += weight
        expected[second] += 1 - weight
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_masks_can_be_mixed_too():
    masks = np.arange(16 * 4).reshape(16, 2, 2)
    _, target = MixUp(1.0).with_labels(batch(), masks, 0)
    assert target.second.shape == (16, 2, 2)


def test_apply_and_compose_hand_labels_on():
    class Mirror:
        """Turns images round, and the x of points in them."""

        def __call__(self, images, rng):
            raise AssertionError("labels would be wrong")

        def with_labels(self, images, points, rng):
            return images[..., ::-1], np.stack([points[:, 0], images.shape[3] - 1 - points[:, 1]], 1)

    images = batch(1, 1, 4, 6)
    both = Compose(Brightness(0.0), Mirror())
    turned, points = augment.apply(both, images, np.array([[2, 1]]), 0)
    np.testing.assert_array_equal(points, [[2, 4]])
    assert turned[0, 0, 2, 4] == images[0, 0, 2, 1]
    same, labels = augment.apply(Flip(0), images, points)
    assert labels is points
    np.testing.assert_array_equal(same, images)


def test_compose_does_its_steps_in_order_with_one_generator():
    images = batch()
    rng = np.random.default_rng(5)
    expected = CutOut(3)(PadCrop(2)(images, rng), rng)
    np.testing.assert_array_equal(Compose(PadCrop(2), CutOut(3))(images, 5), expected)
    np.testing.assert_array_equal(
        Compose(PadCrop(2), CutOut(3)).with_labels(images, np.arange(16), 5)[0], expected
    )
    doubled = Compose(lambda images, rng: images * 2, Normalise(1, 1))(images)
    np.testing.assert_array_equal(doubled, images * 2 - 1)


# Errors


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([[1.0]], TypeError, "Flip: images must be a NumPy array, got list"),
        (
            np.zeros((1, 1, 2, 2), np.uint8),
            TypeError,
            r"uint8; np.divide\(images, 255, dtype=np.float32\) would fit",
        ),
        (np.zeros((1, 1, 2, 2), np.float16), TypeError, "must be float32 or float64, got float16"),
        (np.zeros((1, 2, 2)), ValueError, r"must have the axes \(N, C, H, W\), got shape \(1, 2, 2\)"),
    ],
)
def test_images_that_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        Flip()(images)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomCrop(0), ValueError, "RandomCrop: size must be a positive int or 2 of them, got 0"),
        (lambda: RandomCrop(10)(batch()), ValueError, "size 10 × 10 does not fit into images of 9 × 12"),
        (lambda: PadCrop(-1), ValueError, "PadCrop: padding must be at least 0"),
        (lambda: PadCrop(1.5), TypeError, "PadCrop: padding must be an integer, got 1.5"),
        (lambda: PadCrop(4, "edge"), ValueError, "mode must be one of zeros, reflect, got 'edge'"),
        (lambda: PadCrop(9)(batch()), ValueError, "padding 9 does not reflect in images of 9 × 12"),
        (lambda: Flip(1.5), ValueError, "Flip: p must be from 0 to 1, got 1.5"),
        (lambda: Flip(axis=1), ValueError, r"axis must be -1 \(left and right\) or -2"),
        (lambda: CutOut(0), ValueError, "CutOut: size must be at least 1"),
        (lambda: CutOut(3, np.nan), ValueError, "CutOut: fill must be finite"),
        (lambda: Affine(degrees="ten"), TypeError, "Affine: degrees must be a number, got 'ten'"),
        (lambda: Rotate((20, 10)), ValueError, r"Rotate: degrees must be a number or a pair \(low, high\)"),
        (lambda: Affine(shift=-1), ValueError, "Affine: shift must be at least 0"),
        (lambda: Affine(scale=1.0), ValueError, "Affine: scale must stay above 0, got 1.0"),
        (lambda: Scale(0, 1), ValueError, "Scale: scale must stay above 0"),
        (lambda: Affine(shear=90), ValueError, "shear must stay below 90 degrees"),
        (lambda: Affine(mode="wrap"), ValueError, "Affine: mode must be one of zeros, reflect, got 'wrap'"),
        (lambda: Brightness(2), ValueError, "Brightness: amount must be from 0 to 1, got 2"),
        (lambda: Colour(0.5)(batch(2, 1)), ValueError, "Colour: images must have 3 channels"),
        (lambda: Normalise(0, 0), ValueError, "Normalise: std must be above 0"),
        (lambda: Normalise("grey", 1), TypeError, "Normalise: mean must be a number"),
        (lambda: Normalise((1, 2), 1)(batch()), ValueError, "mean has 2 numbers, but the images 3 channels"),
        (lambda: Normalise.of(np.zeros((2, 3))), ValueError, r"got shape \(2, 3\)"),
        (lambda: Compose(Flip), TypeError, "Compose: Flip is a class; make a step of it: Flip"),
        (lambda: Compose(3), TypeError, "Compose: a step must be callable, got 3"),
        (lambda: MixUp(0), ValueError, "MixUp: alpha must be above 0"),
        (lambda: MixUp(1)(batch()), TypeError, "call with_labels"),
        (lambda: Compose(MixUp(1))(batch()), TypeError, "call with_labels"),
        (
            lambda: MixUp(1).with_labels(batch(), np.arange(3)),
            ValueError,
            "labels must be one for each of 16",
        ),
        (
            lambda: augment.apply(Compose(MixUp(1), MixUp(1)), batch(), np.arange(16)),
            TypeError,
            "labels are mixed already",
        ),
    ],
)
def test_arguments_that_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# The picture


def read_png(path):
    return np.asarray(pytest.importorskip("PIL.Image").open(path).convert("RGB"))


def read_tiles(path):
    """Return the middle pixel (rows, columns, 3) of each tile, which white gaps part."""
    pixels = read_png(path)[60:]  # below the title
    tiles = (pixels < 255).any(2)
    rows, columns = (np.flatnonzero(np.diff(tiles.any(axis), prepend=0, append=0)) for axis in (1, 0))
    return pixels[np.ix_(rows.reshape(-1, 2).mean(1).astype(int), columns.reshape(-1, 2).mean(1).astype(int))]


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_has_a_row_for_each_image_and_a_column_for_each_draw(tmp_path, channels):
    pytest.importorskip("matplotlib")
    images = np.empty((4, channels, 20, 16), np.uint8)
    images[:] = np.array([20, 60, 100, 120]).reshape(4, 1, 1, 1)
    images[..., 0, 0] = 200  # what is too bright in another form leaves the grey of the others as it is
    factors = iter([0.5, 2.0])
    darker_then_brighter = Compose(lambda images, rng: images * next(factors), Normalise(0.5, 0.2))
    augment.samples_picture(images, darker_then_brighter, tmp_path / "grid.png", draws=2)
    expected = np.array([20, 60, 100, 120])[:, None, None] * np.array([1, 0.5, 2])[:, None] * np.ones(3)
    np.testing.assert_allclose(read_tiles(tmp_path / "grid.png"), expected, rtol=0, atol=1)


def test_picture_is_drawn_from_the_seed(tmp_path):
    pytest.importorskip("matplotlib")
    images, augmentation = batch(2, 1, 20, 16), Compose(Shift(3), MixUp(0.2))
    pictures = []
    for seed in (1, 1, 2):
        augment.samples_picture(images, augmentation, tmp_path / "drawn.png", rng=seed, draws=3)
        pictures.append(read_png(tmp_path / "drawn.png"))
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()


def test_picture_of_standardised_images_spans_their_range(tmp_path):
    pytest.importorskip("matplotlib")
    images = np.repeat(np.array([-0.4, 1.2, 2.8], np.float32), 3).reshape(1, 1, 1, 9).repeat(8, 2)
    augment.samples_picture(images, Flip(1), tmp_path / "flip.png", draws=1)
    row = read_png(tmp_path / "flip.png")[-60, :, 0]
    sixths = (len(row) * (np.arange(6) + 0.5) / 6).astype(int)
    np.testing.assert_allclose(row[sixths], [0, 127.5, 255, 255, 127.5, 0], rtol=0, atol=1)


def test_picture_refuses(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"images must be .*got shape"):
        augment.samples_picture(batch(2, 2), Flip(), tmp_path / "no.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fastconv\[train\]"'):
        augment.samples_picture(batch(2), Flip(), tmp_path / "no.png")
