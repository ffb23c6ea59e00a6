"""Scenes of digits: what is in them, and that boxes, masks and images tell the same."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.data import SceneLoader, digit_scenes, digits
from fastconv.data.scenes import INK, _magnified

PLAIN = {"clutter": 0, "noise": 0.0}


def enclosing(pixels):
    """Return left, top, right, bottom of what is true."""
    rows, columns = pixels.any(axis=1).nonzero()[0], pixels.any(axis=0).nonzero()[0]
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def ink_of(image):
    """Cut out what is not ground, as bytes."""
    left, top, right, bottom = enclosing(image > 0)
    return np.rint(255 * image[top:bottom, left:right]).astype(np.uint8)


def test_shapes_and_ranges():
    images, boxes, masks = digit_scenes(20, size=48, digits_per_scene=(1, 3), seed=2)
    assert images.shape == (20, 1, 48, 48) and images.dtype == np.float32
    assert boxes.shape == (20, 3, 5) and boxes.dtype == np.float32
    assert masks.shape == (20, 48, 48) and masks.dtype == np.int64
    assert images.min() == 0 and images.max() == 1
    assert masks.min() == 0 and masks.max() <= 10
    there = boxes[..., 0] >= 0
    assert (np.diff(there.astype(int), axis=1) <= 0).all() and there[:, 0].all()
    np.testing.assert_array_equal(boxes[~there], [[-1, 0, 0, 0, 0]] * (~there).sum())
    assert boxes[..., 1:].min() >= 0 and boxes[..., 1:].max() <= 48
    assert all(len(part) == 0 for part in digit_scenes(0))


def test_the_seed_makes_the_scenes():
    first, again, other = (digit_scenes(3, seed=seed) for seed in (5, np.random.default_rng(5), 6))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.images != other.images).any()


def test_box_and_mask_are_those_of_the_ink():
    for image, boxes, mask in zip(*digit_scenes(30, digits_per_scene=(1, 1), **PLAIN), strict=True):
        kind, *box = boxes[0]
        np.testing.assert_array_equal(mask, np.where(image[0] >= INK, kind + 1, 0))
        assert box == enclosing(mask > 0)


def test_digits_apart_have_masks_of_their_own():
    for _, boxes, mask in zip(*digit_scenes(30, overlap=0), strict=True):
        there = boxes[boxes[:, 0] >= 0].astype(int)
        for kind, left, top, right, bottom in there:
            within = mask[top:bottom, left:right]
            assert set(np.unique(within)) <= {0, kind + 1}
            assert (within == kind + 1).any(axis=1)[[0, -1]].all()
            mask[top:bottom, left:right] = 0
        assert not mask.any()


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.4])
def test_boxes_overlap_no_more_than_they_may(overlap):
    most = 0.0
    for boxes in digit_scenes(40, digits_per_scene=(5, 5), overlap=overlap, seed=3).boxes:
        areas = np.zeros((5, 64, 64), bool)
        for area, (kind, left, top, right, bottom) in zip(areas, boxes.astype(int), strict=True):
            area[top:bottom, left:right] = kind >= 0
        for index in range(5):
            for other in range(index):
                both, either = (areas[index] & areas[other]).sum(), (areas[index] | areas[other]).sum()
                most = max(most, both / max(either, 1))
    assert most <= overlap and (overlap == 0 or most > overlap / 2)


def test_where_ink_meets_the_later_digit_is_on_top():
    scenes = digit_scenes(20, size=28, digits_per_scene=(2, 2), scale=(1.2, 1.4), overlap=1, **PLAIN)
    met = 0
    for image, boxes, mask in zip(*scenes, strict=True):
        assert (boxes[:, 0] >= 0).all()
        np.testing.assert_array_equal(mask > 0, image[0] >= INK)
        assert enclosing(mask == boxes[1, 0] + 1) == boxes[1, 1:].tolist() or boxes[0, 0] == boxes[1, 0]
        met += enclosing(mask == boxes[0, 0] + 1) != boxes[0, 1:].tolist()
    assert met > 0


def test_every_number_of_digits_and_every_class_comes():
    boxes = digit_scenes(300, size=96, digits_per_scene=(2, 4), overlap=1).boxes
    counts = np.bincount((boxes[..., 0] >= 0).sum(axis=1), minlength=5)
    assert counts[:2].sum() == 0 and counts[2:].min() > 70
    classes = np.bincount(boxes[..., 0][boxes[..., 0] >= 0].astype(int))
    assert len(classes) == 10 and classes.min() > 50


def test_a_scene_without_room_has_fewer_digits():
    boxes = digit_scenes(10, size=28, digits_per_scene=(5, 5), overlap=0).boxes
    there = (boxes[..., 0] >= 0).sum(axis=1)
    assert there.min() >= 1 and there.max() < 5


def test_train_and_test_scenes_share_no_digit():
    split = digits().split()
    known = {}
    for part, images in (("train", split.train_images), ("test", split.test_images)):
        grey = np.rint(255 * (images[:, 0] - images.min()) / (images.max() - images.min())).astype(np.uint8)
        known[part] = {ink_of(image / 255.0).tobytes() for image in grey}
    for part, other in (("train", "test"), ("test", "train")):
        scenes = digit_scenes(100, digits_per_scene=(1, 1), scale=(1, 1), part=part, **PLAIN)
        found = {ink_of(image).tobytes() for (image,) in scenes.images}
        assert len(found) > 90
        assert found <= known[part] and not found & known[other]


def test_clutter_and_noise_belong_to_the_ground():
    plain, cluttered, noisy = (
        digit_scenes(20, digits_per_scene=(1, 1), clutter=clutter, noise=noise)
        for clutter, noise in ((0, 0), (6, 0), (0, 0.2))
    )
    ground = [scenes.images[:, 0][scenes.masks == 0] for scenes in (plain, cluttered, noisy)]
    assert ground[0].max() < INK
    assert (ground[1] > 0.9).mean() > 0.01
    noise = ground[2][ground[2] > 0]
    assert np.median(noise) == pytest.approx(0.6745 * 0.2, rel=0.1)  # of half a normal distribution


def test_sizes_follow_the_scale():
    for scale in (0.5, 1.0, 3.0):
        boxes = digit_scenes(40, size=96, digits_per_scene=(1, 1), scale=(scale, scale), **PLAIN).boxes[:, 0]
        heights = boxes[:, 4] - boxes[:, 2]
        assert heights.max() <= 20 * scale
        assert np.median(heights) > 18 * scale


@pytest.mark.parametrize("scale", [0.4, 0.7, 1.0, 1.37, 2.5])
def test_magnifying_is_that_of_pytorch(scale):
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).random((20, 13), np.float32)
    made = _magnified(image, scale)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], made.shape, mode="bilinear", antialias=True
    )[0, 0].numpy()
    np.testing.assert_allclose(made, expected * image.max() / expected.max(), rtol=1e-5, atol=1e-6)
    assert made.shape == (round(20 * scale), round(13 * scale))


def test_a_loader_draws_other_scenes_in_each_epoch():
    loader = SceneLoader(5, 2, "masks", seed=3, size=32)
    assert len(loader) == 3
    epochs = [list(loader) for _ in range(2)]
    assert loader.epoch == 2
    for number, epoch in enumerate(epochs):
        assert [len(images) for images, _ in epoch] == [2, 2, 1]
        scenes = digit_scenes(5, size=32, seed=np.random.default_rng([3, number]))
        np.testing.assert_array_equal(np.concatenate([images for images, _ in epoch]), scenes.images)
        np.testing.assert_array_equal(np.concatenate([masks for _, masks in epoch]), scenes.masks)
    assert (epochs[0][0][0] != epochs[1][0][0]).any()
    loader.epoch = 0
    for (images, masks), (images_before, masks_before) in zip(loader, epochs[0], strict=True):
        np.testing.assert_array_equal(images, images_before)
        np.testing.assert_array_equal(masks, masks_before)
    ((_, boxes),) = SceneLoader(5, 8, "boxes", seed=3, size=32)
    np.testing.assert_array_equal(boxes, digit_scenes(5, size=32, seed=np.random.default_rng([3, 0])).boxes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, "boxes"), "SceneLoader: count must be at least 1, got 0"),
        ((5, 0, "boxes"), "batch_size must be at least 1, got 0"),
        ((5, 2, "labels"), 'truths must be "boxes" or "masks", got \'labels\''),
    ],
)
def test_a_loader_refuses_nonsense(arguments, message):
    with pytest.raises(ValueError, match=message):
        SceneLoader(*arguments)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"count": -1}, ValueError, "digit_scenes: count must be at least 0, got -1"),
        ({"count": 1.5}, TypeError, "digit_scenes: count must be an integer, got 1.5"),
        ({"size": 27}, ValueError, r"size must be at least 28 for scale=\(0.7, 1.4\), got 27"),
        ({"digits_per_scene": (3, 2)}, ValueError, r"digits_per_scene must be fewest and most, got \(3, 2\)"),
        ({"digits_per_scene": (0, 2)}, ValueError, "digits_per_scene must be at least 1, got 0"),
        ({"scale": (1.0, 0.5)}, ValueError, r"scale must be smallest and largest, above 0, got \(1.0, 0.5\)"),
        ({"scale": (0.0, 0.5)}, ValueError, "scale must be smallest and largest, above 0"),
        ({"overlap": 1.1}, ValueError, "overlap must be from 0 to 1, got 1.1"),
        ({"clutter": -1}, ValueError, "clutter must be at least 0, got -1"),
        ({"noise": -0.1}, ValueError, "noise must be from 0 to inf, got -0.1"),
        ({"part": "all"}, ValueError, 'part must be "train" or "test", got \'all\''),
    ],
)
def test_nonsense_is_refused(keywords, error, message):
    with pytest.raises(error, match=message):
        digit_scenes(**({"count": 1} | keywords))
