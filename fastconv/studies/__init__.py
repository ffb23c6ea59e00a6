"""Small studies: each trains or computes something, draws it, and returns figures.

``python -m fastconv study NAME`` runs one. A study is a function ``study(out, *, quick=False, seed=0)``: it
writes its pictures into the folder `out` and returns what it measured by name. Those of a photograph also
take ``image=``, a path. To add one, write its module and enter its function in ``STUDIES``.
"""

from __future__ import annotations

from collections.abc import Callable

from fastconv.studies import edges, hierarchy, learned_edge, optimisers, rotations, style, transfer

__all__ = ["STUDIES"]

STUDIES: dict[str, Callable[..., dict[str, float]]] = {
    "edges": edges.study,
    "learned_edge": learned_edge.study,
    "hierarchy": hierarchy.study,
    "optimisers": optimisers.study,
    "rotations": rotations.study,
    "style": style.study,
    "transfer": transfer.study,
}
