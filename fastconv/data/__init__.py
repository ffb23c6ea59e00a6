"""Data sets, and batches of them.

    digits             5,000 handwritten digits that come with the package
    digit_scenes       several of them in one image, with boxes and masks
    SceneLoader        goes through such scenes, drawn anew for each epoch
    fashion_mnist      70,000 pictures of clothes
    image_folder       images of one's own, a folder or zip file with a folder for each class
    image_files        single ones
    image_size         how large one is
    Split              a data set in two parts, to train and to test with
    Loader             goes through images and labels in shuffled, augmented batches
    digit_scenes       scenes of several digits with boxes and masks
    SceneLoader        batches of such scenes, drawn anew for each epoch

Images are uint8 (N, C, H, W). Splits give them standardised, ready for a network; with ``standardise=False``
they stay uint8: a ``Loader`` makes floats from 0 to 1 of them, and its augmentation, with
``augment.Normalise.of(train_images)`` at the end, does the rest.
"""

from fastconv.data.digits import Digits, digits
from fastconv.data.fashion_mnist import FASHION_MNIST_CLASSES, fashion_mnist
from fastconv.data.image_folder import ImageFolder, image_files, image_folder, image_size
from fastconv.data.loader import Loader
from fastconv.data.scenes import SceneLoader, Scenes, digit_scenes
from fastconv.data.split import Split

__all__ = [
    "FASHION_MNIST_CLASSES",
    "Digits",
    "ImageFolder",
    "Loader",
    "SceneLoader",
    "Scenes",
    "Split",
    "digit_scenes",
    "digits",
    "fashion_mnist",
    "image_files",
    "image_folder",
    "image_size",
]
