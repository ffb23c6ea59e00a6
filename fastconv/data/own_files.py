"""Files that do not come with the package: given by path, or lying in the folder ``$FASTCONV_DATA``."""

from __future__ import annotations

import os
from pathlib import Path


def own_file(path: str | os.PathLike[str], source: str = "") -> Path:
    """Find a file at its path, or else in the folder that the variable ``FASTCONV_DATA`` names.

    Parameters
    ----------
    path : path
        Where to look.
    source : str
        Where the file can be had, for the error.

    Returns
    -------
    Path
        Of the file that is there.

    Raises
    ------
    FileNotFoundError
        It is in neither place.

    Examples
    --------
    >>> from fastconv.data.own_files import own_file
    >>> own_file("none.zip", "pip download none")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: there is no file none.zip...; it comes from: pip download none
    """
    folder = os.environ.get("FASTCONV_DATA")
    for place in (Path(path), *([Path(folder) / path] if folder else [])):
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"there is no file {path}"
        + (f", nor in {folder}" if folder else " and no folder FASTCONV_DATA")
        + (f"; it comes from: {source}" if source else "")
    )
