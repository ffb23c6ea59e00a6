"""Object detection: the task of a single-shot detector, and what boxes are judged by.

``GridDetection`` encodes boxes for the network's grid, computes the loss with its gradient and decodes
predictions into boxes; ``non_maximum_suppression`` and ``mean_average_precision`` serve any detector. Boxes
are ``left, top, right, bottom`` in pixels from the image's corner.
"""

from fastconv.detection.average_precision import average_precision, mean_average_precision
from fastconv.detection.boxes import intersection_over_union, non_maximum_suppression
from fastconv.detection.grid import GridDetection

__all__ = [
    "GridDetection",
    "average_precision",
    "intersection_over_union",
    "mean_average_precision",
    "non_maximum_suppression",
]
