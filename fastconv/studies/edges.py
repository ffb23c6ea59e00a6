"""Edges by given filters: plain differences, Sobel and Scharr on a photograph.

A filter of ``[-1, 0, 1]`` along one axis, smoothed across it, is large where the image changes along that
axis: along x at vertical edges, along y at horizontal ones. Both together are the gradient, whose length says
how strong an edge is and whose angle says where it faces. How far that angle depends on the edge's own
direction tells the filters apart: Scharr chose his weights to make the error small.

I. Sobel, G. Feldman, "A 3x3 isotropic gradient operator for image processing", Stanford Artificial
Intelligence Project, 1968. H. Scharr, "Optimal operators in digital image processing", doctoral thesis,
Heidelberg University, 2000.
"""

from __future__ import annotations

import os
from importlib import import_module, resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastconv import conv2d, pictures, signal
from fastconv.data import digits

SMOOTHING = {
    "difference": np.array([0.0, 1.0, 0.0]),
    "Sobel": np.array([1.0, 2.0, 1.0]) / 4,
    "Scharr": np.array([3.0, 10.0, 3.0]) / 16,
}


def photo(path: str | os.PathLike[str] | None = None) -> NDArray[np.float64]:
    """Read a photograph as grey values from 0 to 1.

    Parameters
    ----------
    path : path, optional
        An image file, read by Pillow. ``None`` takes the portrait of Grace Hopper that comes with matplotlib
        (public domain, U.S. Navy), at half its size; without matplotlib, a scene of handwritten digits.

    Returns
    -------
    ndarray of shape (H, W)

    Raises
    ------
    ModuleNotFoundError
        A `path` is given and Pillow is missing.
    FileNotFoundError, OSError
        There is no such file, or it holds no image.

    Examples
    --------
    >>> from fastconv.studies.edges import photo
    >>> image = photo()
    >>> image.ndim, bool(image.min() >= 0), bool(image.max() <= 1)
    (2, True, True)
    """
    try:
        pillow = import_module("PIL.Image")
        source = portrait() if path is None else Path(path)
    except ModuleNotFoundError:
        if path is not None:
            raise ModuleNotFoundError(
                'reading an image file needs Pillow: pip install "fastconv[train]"'
            ) from None
        source = None
    if source is None:
        return digit_scene()
    with pillow.open(source) as file:
        grey = file.convert("L")
        if path is None:
            grey = grey.reduce(2)
        return np.asarray(grey) / 255


def portrait() -> Path | None:
    """Find the photograph among matplotlib's samples; ``None`` where they were left out."""
    file = resources.files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    return Path(str(file)) if file.is_file() else None


def digit_scene(rows: int = 6, columns: int = 8) -> NDArray[np.float64]:
    """Lay the first digits of each class side by side, as one image with values from 0 to 1.

    Examples
    --------
    >>> from fastconv.studies.edges import digit_scene
    >>> digit_scene(2, 3).shape
    (56, 84)
    """
    chosen = digits().images.reshape(10, -1, 28, 28).swapaxes(0, 1).reshape(-1, 28, 28)[: rows * columns]
    return chosen.reshape(rows, columns, 28, 28).swapaxes(1, 2).reshape(rows * 28, columns * 28) / 255


def edge_filters() -> dict[str, NDArray[np.float64]]:
    """Return the filters along x (they find vertical edges); each transposed is the one along y.

    Examples
    --------
    >>> from fastconv.studies.edges import edge_filters
    >>> edge_filters()["Sobel"]
    array([[-0.25,  0.  ,  0.25],
           [-0.5 ,  0.  ,  0.5 ],
           [-0.25,  0.  ,  0.25]])
    """
    # Adding 0.0 turns -0.0 into 0.0.
    return {name: np.outer(weights, [-1.0, 0.0, 1.0]) + 0.0 for name, weights in SMOOTHING.items()}


def gradients(image: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Convolve an image with all filters along x and y, in one call.

    Parameters
    ----------
    image : array of shape (H, W)
        Beyond its borders the edge samples are repeated.

    Returns
    -------
    dict of str to ndarray of shape (2, H, W)
        For each name of `edge_filters`, the derivatives along x and along y.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.edges import gradients
    >>> ramp = np.arange(5.0) * np.ones((5, 1))
    >>> x, y = gradients(ramp)["Scharr"]
    >>> x[2], y[2]
    (array([1., 2., 2., 2., 1.]), array([0., 0., 0., 0., 0.]))
    """
    filters = [turned for along_x in edge_filters().values() for turned in (along_x, along_x.T)]
    found = conv2d(image[None, None], np.stack(filters)[:, None], padding=1, padding_mode="replicate")[0]
    return dict(zip(SMOOTHING, found.reshape(-1, 2, *image.shape), strict=True))


def direction_errors(degrees: NDArray[np.float64], wavelength: float = 6.0) -> dict[str, list[float]]:
    """Measure how far the gradient's angle is from the truth, on waves of every direction.

    Parameters
    ----------
    degrees : array of shape (A,)
        Directions of the waves.
    wavelength : float
        In pixels: what is finer shows the filters' faults more.

    Returns
    -------
    dict of str to list of float
        For each name of `edge_filters` the errors in degrees, one for each direction.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.studies.edges import direction_errors
    >>> errors = direction_errors(np.array([0.0, 22.5, 45.0]))
    >>> [round(max(map(abs, errors[name])), 2) for name in ("difference", "Sobel", "Scharr")]
    [2.85, 1.36, 0.25]
    """
    y, x = np.mgrid[-16:17, -16:17] * (2 * np.pi / wavelength)
    errors: dict[str, list[float]] = {name: [] for name in SMOOTHING}
    for angle in np.deg2rad(degrees):
        # The sine is odd: in the middle its slope is largest, and the true gradient is (cos, sin).
        wave = np.sin(x * np.cos(angle) + y * np.sin(angle))
        for name, found in gradients(wave).items():
            along_x, along_y = found[:, 16, 16]
            errors[name].append(float(np.rad2deg(np.arctan2(along_y, along_x) - angle)))
    return errors


def study(
    out: Path, *, quick: bool = False, seed: int = 0, image: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Draw the filters, what they find in a photograph, and how true their directions are.

    Parameters
    ----------
    out : Path
        Folder for the pictures ``edge_filters.png``, ``edges.png`` and ``directions.png``.
    quick : bool
        Whether to take fewer directions.
    seed : int
        Nothing is random here; it is taken as in every study.
    image : path, optional
        The photograph, see `photo`.

    Returns
    -------
    dict of str to float
        The largest difference from ``fastconv.signal``'s filters, relative to their largest value, and the
        largest error of direction of each filter in degrees.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    """
    pictures.require_matplotlib()
    grey = photo(image)
    filters = edge_filters()
    pictures.image_grid(
        [*filters.values(), *(along_x.T for along_x in filters.values())],
        out / "edge_filters.png",
        titles=[f"{name}: {kind} edges" for kind in ("vertical", "horizontal") for name in filters],
        columns=3,
        limits=(-1, 1),
        colours="RdBu_r",
        numbers=True,
        tile=1.9,
    )

    found = gradients(grey)
    lengths = {name: np.hypot(*both) for name, both in found.items()}
    top = float(np.quantile(lengths["Sobel"], 0.995))
    shown = {
        "photograph": grey,
        "Sobel: vertical edges": 0.5 + found["Sobel"][0] / (2 * top),
        "Sobel: horizontal edges": 0.5 + found["Sobel"][1] / (2 * top),
        **{f"{name}: edges of all directions": length / top for name, length in lengths.items()},
    }
    pictures.image_grid(
        shown.values(), out / "edges.png", titles=list(shown), columns=3, limits=(0, 1), tile=2.9
    )

    degrees = np.linspace(0, 90, 7 if quick else 61)
    errors = direction_errors(degrees)
    pictures.curves(
        [pictures.Panel("error of the angle (degrees)", errors, degrees.tolist(), "true angle (degrees)")],
        out / "directions.png",
        title="how true are the directions?",
    )

    difference = max(
        float(np.abs(np.hypot(*found[name]) / np.sqrt(2) - function(grey)).max() / function(grey).max())
        for name, function in (("Sobel", signal.sobel), ("Scharr", signal.scharr))
    )
    worst = {
        f"{name}: largest error of direction in degrees": float(np.abs(values).max())
        for name, values in errors.items()
    }
    return {"largest difference from fastconv.signal": difference, **worst}
