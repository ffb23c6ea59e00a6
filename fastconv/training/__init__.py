"""Training: a loop over batches, recipes for the networks of ``fastconv.models``, runs that can be resumed.

    fit, evaluate, predict
                         the loop itself, for any model, loader, task and optimiser, and what it is for
    Classification, YesOrNo
                         tasks: a loss to go down and a score to read
    Recipe, RECIPES      what a network is trained with, in words and numbers
    Run                  a training with its files: checkpoints, log, weights
    load                 a checkpoint's content

``python -m fastconv train`` is this on the command line.
"""

from fastconv.training.checkpoint import Checkpoint, Origin, load
from fastconv.training.loop import Epoch, evaluate, fit, predict
from fastconv.training.recipes import RECIPES, Recipe
from fastconv.training.run import Run
from fastconv.training.tasks import Classification, Task, YesOrNo

__all__ = [
    "RECIPES",
    "Checkpoint",
    "Classification",
    "Epoch",
    "Origin",
    "Recipe",
    "Run",
    "Task",
    "YesOrNo",
    "evaluate",
    "fit",
    "load",
    "predict",
]
