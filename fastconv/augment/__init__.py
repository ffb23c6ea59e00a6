"""Augmentation: images changed at random, batch by batch, so that a network sees no image twice.

Every augmentation is a callable ``(images, rng) -> images`` on a batch (N, C, H, W) of float32 (or float64).
Each image draws for itself; the draws come from `rng` alone, and the batch that is given stays as it is. Your
own may be any function of that form, for instance
``lambda images, rng: images + rng.normal(0, 0.1, images.shape).astype(images.dtype)``.

An augmentation that changes labels too (class numbers, masks, boxes: any array whose first axis is N) has a
second method, ``with_labels(images, labels, rng) -> (images, labels)``. ``apply``, ``Compose`` and
``data.Loader`` call it where there is one.

    RandomCrop, PadCrop, Flip, CutOut             move or cover pixels
    Affine, with Rotate, Shift and Scale          resample
    Brightness, Contrast, Colour                  change light
    MixUp                                         blends images in pairs, and their labels
    Normalise                                     subtracts a mean, divides by a deviation
    Compose                                       several, one after the other

``samples_picture`` draws what they do.
"""

from fastconv.augment.affine import Affine, Rotate, Scale, Shift
from fastconv.augment.colour import Brightness, Colour, Contrast
from fastconv.augment.geometry import CutOut, Flip, PadCrop, RandomCrop
from fastconv.augment.mixup import MixedLabels, MixUp
from fastconv.augment.normalise import Normalise
from fastconv.augment.picture import samples_picture
from fastconv.augment.step import Augmentation, Compose, apply

__all__ = [
    "Affine",
    "Augmentation",
    "Brightness",
    "Colour",
    "Compose",
    "Contrast",
    "CutOut",
    "Flip",
    "MixUp",
    "MixedLabels",
    "Normalise",
    "PadCrop",
    "RandomCrop",
    "Rotate",
    "Scale",
    "Shift",
    "apply",
    "samples_picture",
]
