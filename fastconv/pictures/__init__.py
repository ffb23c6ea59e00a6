"""Pictures of images, filters, feature maps, mistakes and training curves, saved as PNG files.

Drawn by matplotlib, which the extra ``fastconv[train]`` installs; importing this package does without. All
figures are matplotlib's own ``Figure`` objects: nothing is shown on a screen and no global state is touched.
"""

from fastconv.pictures.charts import Panel, curves
from fastconv.pictures.figure import require_matplotlib
from fastconv.pictures.grids import image_grid, mistakes
from fastconv.pictures.networks import feature_maps, filters
from fastconv.pictures.scenes import boxes, masks

__all__ = [
    "Panel",
    "boxes",
    "curves",
    "feature_maps",
    "filters",
    "image_grid",
    "masks",
    "mistakes",
    "require_matplotlib",
]
