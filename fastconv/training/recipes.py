"""How each network is trained, unless the command line says otherwise: data, numbers, augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastconv import optim
from fastconv.augment import Affine, Augmentation, Brightness, Contrast, CutOut, Flip, MixUp, PadCrop
from fastconv.nn import Parameter
from fastconv.training.loop import Schedule
from fastconv.training.tasks import Boxes, Classification, Masks, TellingTask, YesOrNo

SCHEDULES: dict[str, Callable[..., float]] = {
    "cosine": optim.cosine_decay,
    "step": optim.step_decay,
    "constant": optim.constant,
}
OPTIMISERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": optim.SGD,
    "momentum": partial(optim.SGD, momentum=0.9, nesterov=True),
    "rmsprop": optim.RMSprop,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
}


@dataclass(frozen=True)
class Recipe:
    """All that a training is made of beside the network, as words and numbers that a file can keep.

    Attributes
    ----------
    data : str, optional
        ``"digits"``, ``"fashion_mnist"``, ``"scenes"``, or the path of a folder or zip file with a folder of
        images per class; ``None`` where the caller must say.
    image_size : int, optional
        Height and width to which the images of a folder are brought; ``None`` leaves them as they are.
    colour : bool
        Whether those have three channels, or one.
    task : str
        One of ``TASKS``.
    epochs, batch_size : int
        Passes over the images, and images for each step.
    optimiser : str
        One of ``OPTIMISERS``.
    lr : float
        The highest learning rate.
    schedule : str
        One of ``SCHEDULES``.
    warmup : float
        Epochs over which the learning rate rises; at most half of all.
    weight_decay, label_smoothing : float
        As in the optimisers and in ``nn.losses.cross_entropy``.
    augment : str
        One of ``AUGMENTATIONS``.
    patience : int, optional
        Epochs without a better score on held-out images after which the training stops.
    """

    data: str | None = None
    image_size: int | None = None
    colour: bool = True
    task: str = "classes"
    epochs: int = 30
    batch_size: int = 64
    optimiser: str = "momentum"
    lr: float = 0.05
    schedule: str = "cosine"
    warmup: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augment: str = "none"
    patience: int | None = None

    def changed(self, **changes: Any) -> Recipe:
        """Return the recipe with those of `changes` that are not ``None``."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def optimizer(self, parameters: Iterable[Parameter]) -> optim.Optimizer:
        """Make the optimiser of `parameters`."""
        return OPTIMISERS[self.optimiser](parameters, lr=self.lr, weight_decay=self.weight_decay)

    def learning_rate(self, steps_per_epoch: int) -> Schedule:
        """Return the learning rate by step and number of steps."""
        warmup = round(min(self.warmup, self.epochs / 2) * steps_per_epoch)
        return lambda step, steps: SCHEDULES[self.schedule](step, steps, self.lr, warmup)


TASKS: dict[str, Callable[[Recipe], TellingTask]] = {
    "classes": lambda recipe: Classification(recipe.label_smoothing),
    "yes_or_no": lambda recipe: YesOrNo(),
    "boxes": lambda recipe: Boxes(),
    "masks": lambda recipe: Masks(),
}

AUGMENTATIONS: dict[str, tuple[Augmentation, ...]] = {
    "none": (),
    "flip": (Flip(),),
    "digits": (Affine(degrees=10, shift=1, scale=0.1, shear=10),),
    "small_photos": (PadCrop(4), Flip(), CutOut(8)),
    "photos": (
        Flip(),
        Affine(degrees=10, shift=0.08, scale=0.1, mode="reflect"),
        Brightness(0.2),
        Contrast(0.2),
    ),
    "mix": (PadCrop(4), Flip(), MixUp(0.2)),
}

RECIPES = {
    "lenet5": Recipe(
        data="digits", epochs=30, batch_size=32, lr=0.05, weight_decay=5e-4, label_smoothing=0.1
    ),
    "fashion_net": Recipe(
        data="fashion_mnist", epochs=12, batch_size=64, lr=0.02, warmup=0.5, weight_decay=5e-4, augment="flip"
    ),
    "smile_net": Recipe(
        task="yes_or_no",
        image_size=64,
        epochs=30,
        batch_size=32,
        optimiser="adamw",
        lr=2e-3,
        warmup=1,
        weight_decay=1e-2,
        augment="photos",
    ),
    "resnet20": Recipe(
        image_size=32,
        epochs=40,
        batch_size=128,
        lr=0.1,
        warmup=1,
        weight_decay=5e-4,
        augment="small_photos",
    ),
    "network_in_network": Recipe(
        image_size=32, epochs=40, batch_size=128, lr=0.05, warmup=1, weight_decay=1e-3, augment="small_photos"
    ),
    "grid_detector": Recipe(
        data="scenes",
        task="boxes",
        epochs=20,
        batch_size=16,
        optimiser="adamw",
        lr=1.2e-2,
        warmup=0.8,
        weight_decay=1e-4,
    ),
    "unet": Recipe(
        data="scenes",
        task="masks",
        epochs=16,
        batch_size=8,
        optimiser="adamw",
        lr=1e-2,
        warmup=0.4,
        weight_decay=1e-4,
    ),
}
