# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of a field on the mesh, written and added to at given vertices.

NumPy's own `field[vertices] += rows` takes six times as long for rows of three numbers: it moves them one number at a
time, and this as 12 bytes.
"""

from __future__ import annotations

import numpy as np

ROW = np.dtype("V12")


def add_rows(field: np.ndarray, vertices: np.ndarray, rows: np.ndarray) -> None:
    """field[vertices] += rows, in place.

    Args:
        field: float32 [N, 3], contiguous.
        vertices: int [n], of the field, none of them twice.
        rows: float32 [n, 3].
    """
    picked = take_rows(field, vertices)
    picked += rows
    set_rows(field, vertices, picked)


def take_rows(field: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """field[vertices], float32 [n, 3]; the vertices are trusted to be the field's."""
    return np.take(_as_rows(field), vertices, mode="clip").view(np.float32).reshape(-1, 3)


def set_rows(field: np.ndarray, vertices: np.ndarray, rows: np.ndarray) -> None:
    """field[vertices] = rows, in place."""
    np.put(_as_rows(field), vertices, _as_rows(np.ascontiguousarray(rows, dtype=np.float32)), mode="clip")


def turns(vertices: np.ndarray) -> tuple[np.ndarray, list[slice]]:
    """For rows to add at vertices of which some are there several times: an order, and runs of it without any twice.

    Args:
        vertices: int [n].

    Returns:
        int [n], and slices of it.
    """
    vertex_order = np.argsort(vertices, kind="stable")
    first = np.flatnonzero(np.diff(vertices[vertex_order], prepend=-1))
    turn = np.empty(len(vertices), dtype=np.int64)
    turn[vertex_order] = np.arange(len(vertices)) - np.repeat(first, np.diff(first, append=len(vertices)))
    ends = np.cumsum(np.bincount(turn))
    return np.lexsort((vertices, turn)), [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _as_rows(field: np.ndarray) -> np.ndarray:
    return field.view(ROW)  # raises where the three numbers of a row do not lie side by side
