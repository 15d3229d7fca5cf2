# SPDX-License-Identifier: GPL-3.0-or-later
"""Facial actions of a data set: `expressions.npz` in its folder, if the source knows them.

    names, sizes, vertices, deltas, shares, turns, pivot_vertices, pivot_weights, closes: see
    `backend.expressions.Expressions`
    reference: float32 [N, 3], the face, in the data set's frame, that the deltas are of
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from backend.arrays import UNREADABLE, typed
from backend.errors import LwaeError
from backend.expressions import Expressions, Follower, check_expressions
from backend.files import atomic_write

from .npz_files import read_npz

FILE = "expressions.npz"
LEAST_MM = 0.02  # Vertices that an action moves less stay.
# Of each array but the names: what it holds, and how many dimensions it has.
ARRAYS = {
    "sizes": (np.int32, 1),
    "vertices": (np.int32, 1),
    "deltas": (np.float32, 2),
    "shares": (np.float32, 1),
    "turns": (np.float32, 3),
    "pivot_vertices": (np.int32, 2),
    "pivot_weights": (np.float32, 2),
    "closes": (np.bool_, 1),
    "reference": (np.float32, 2),
}


@dataclass(frozen=True)
class Turn:
    """A bone's part in an action.

    Attributes:
        matrix: rotation at strength 1 minus the identity, [3, 3].
        shares: of its motion that each vertex takes, [N].
        pivot_vertices, pivot_weights: [P] each; a person's pivot moves as these vertices do, weighted.
    """

    matrix: np.ndarray
    shares: np.ndarray
    pivot_vertices: np.ndarray
    pivot_weights: np.ndarray


def make_expressions(deltas: dict[str, np.ndarray], turns: dict[str, Turn]) -> Expressions:
    """Actions from their deltas [N, 3] in mm on one face, some of which turn; those that move nothing are left out.

    Names that end in _L and _R get ARKit's Left and Right.
    """
    names, rows, pivots = [], [], max([len(turn.pivot_vertices) for turn in turns.values()], default=1)
    for name, delta in deltas.items():
        moved = np.flatnonzero(np.linalg.norm(delta, axis=1) > LEAST_MM)
        if len(moved):
            names.append(name)
            rows.append(moved)
    count = len(names)
    fields_of = (deltas[name][moved] for name, moved in zip(names, rows, strict=True))
    result = Expressions(
        names=[re.sub("_L$", "Left", re.sub("_R$", "Right", name)) for name in names],
        sizes=np.array([len(moved) for moved in rows], np.int32),
        vertices=np.concatenate([*rows, []]).astype(np.int32),
        deltas=np.concatenate([np.zeros((0, 3)), *fields_of]).astype(np.float32),
        shares=np.zeros(sum(map(len, rows)), np.float32),
        turns=np.zeros((count, 3, 3), np.float32),
        pivot_vertices=np.zeros((count, pivots), np.int32),
        pivot_weights=np.zeros((count, pivots), np.float32),
        closes=np.array([name.startswith("eyeBlink") for name in names], bool),
    )
    for index, name in enumerate(names):
        if name in turns:
            turn, length = turns[name], len(turns[name].pivot_vertices)
            result.shares[result.rows(index)] = turn.shares[rows[index]]
            result.turns[index] = turn.matrix
            result.pivot_vertices[index, :length] = turn.pivot_vertices
            result.pivot_weights[index, :length] = turn.pivot_weights
    return result


def save_expressions(folder: Path, expressions: Expressions, reference: np.ndarray) -> None:
    """Put actions on the reference face [N, 3] into a data set folder."""
    arrays = {item.name: np.asarray(getattr(expressions, item.name)) for item in fields(Expressions)}
    with atomic_write(folder / FILE) as stream:
        np.savez_compressed(stream, **arrays, reference=reference.astype(np.float32))


def load_expressions(folder: Path, mean: np.ndarray, skin: np.ndarray) -> Expressions:
    """The actions of a data set on another face of it; none when its source knows none.

    Args:
        mean: float32 [N, 3], that face.
        skin: bool [N], False on the eyeballs.

    Raises:
        LwaeError: when the file is damaged or of another mesh.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return Expressions()
    try:
        arrays = read_npz(path, ("names", *ARRAYS))
        known = {name: typed(arrays, name, *kind) for name, kind in ARRAYS.items()}
        reference = known.pop("reference")
        expressions = Expressions(names=[str(name) for name in arrays["names"]], **known)
        is_of_mesh = reference.shape == mean.shape
        if is_of_mesh:
            check_expressions(expressions, len(mean))
        if not np.isfinite(reference).all():
            raise ValueError("the face that the actions are of has NaN or infinite positions")
    except UNREADABLE as error:
        what = str(error).rstrip(".")
        raise LwaeError(f"{path} is damaged ({what}); prepare the data set again, or delete that file.") from error
    if not is_of_mesh:
        raise LwaeError(f"{path} is of another mesh; prepare the data set again, or delete that file.")
    follower = Follower(expressions, reference, skin)
    moved = [follower.delta(index, mean)[1] for index in range(len(expressions))]
    return replace(expressions, deltas=np.concatenate([expressions.deltas[:0], *moved]))
