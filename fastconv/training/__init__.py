"""Training: a loop over batches, recipes for the networks of ``fastconv.models``, runs that can be resumed.

    fit, evaluate, predict
                         the loop itself, for any model, loader, task and optimiser, and what it is for
    Classification, YesOrNo, Boxes, Masks
                         tasks: a loss to go down, a score to read, and what a prediction says
    Recipe, RECIPES      what a network is trained with, in words and numbers
    Run                  a training with its files: checkpoints, log, weights
    load                 a checkpoint's content
    Predictor            its network, and what that finds in images

``python -m fastconv train`` is this on the command line.
"""

from fastconv.training.checkpoint import Checkpoint, Origin, load
from fastconv.training.loop import Epoch, evaluate, fit, predict
from fastconv.training.prediction import Predictor
from fastconv.training.recipes import RECIPES, Recipe
from fastconv.training.run import Run
from fastconv.training.tasks import Boxes, Classification, Masks, Task, TellingTask, YesOrNo

__all__ = [
    "RECIPES",
    "Boxes",
    "Checkpoint",
    "Classification",
    "Epoch",
    "Masks",
    "Origin",
    "Predictor",
    "Recipe",
    "Run",
    "Task",
    "TellingTask",
    "YesOrNo",
    "evaluate",
    "fit",
    "load",
    "predict",
]
