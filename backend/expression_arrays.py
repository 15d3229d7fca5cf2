# SPDX-License-Identifier: GPL-3.0-or-later
"""Facial actions as a model file stores them: the deltas in 16 bits."""

from __future__ import annotations

import numpy as np

from .arrays import typed
from .errors import LwaeError
from .expressions import Expressions


def expression_arrays(expressions: Expressions) -> dict[str, np.ndarray]:
    """As stored: deltas in 32767ths of the largest number of each action; none at all without actions."""
    if not expressions:
        return {}
    rows = (expressions.rows(index) for index in range(len(expressions)))
    largest = np.array([np.abs(expressions.deltas[own]).max(initial=0) for own in rows])
    steps = np.repeat(np.maximum(largest, 1e-9) / 32767, expressions.sizes)[:, None]
    return {
        "expressions/sizes": expressions.sizes.astype("<i4"),
        "expressions/vertices": expressions.vertices.astype("<i4"),
        "expressions/deltas": np.round(expressions.deltas / steps).astype("<i2"),
        "expressions/largest": largest.astype("<f4"),
        "expressions/shares": expressions.shares.astype("<f2"),
        "expressions/turns": expressions.turns.astype("<f4"),
        "expressions/pivot_vertices": expressions.pivot_vertices.astype("<i4"),
        "expressions/pivot_weights": expressions.pivot_weights.astype("<f4"),
        "expressions/closes": expressions.closes.astype("u1"),
    }


def expressions_of(names: list, arrays: dict[str, np.ndarray]) -> Expressions:
    """Actions from a file's arrays, not yet checked against the mesh (`check_expressions`).

    Raises:
        LwaeError: when an array is missing or of another kind.
    """
    if not isinstance(names, list):
        raise LwaeError("its expressions are no list of names.")
    if not names:
        return Expressions()
    sizes = typed(arrays, "expressions/sizes", np.int32, 1)
    deltas = typed(arrays, "expressions/deltas", np.float32, 2)
    largest = typed(arrays, "expressions/largest", np.float32, 1)
    if len(largest) != len(sizes) or (sizes < 0).any() or sizes.sum(dtype=np.int64) != len(deltas):
        raise LwaeError("the sizes of the expressions do not add up to their vertices.")
    return Expressions(
        names=names,
        sizes=sizes,
        vertices=typed(arrays, "expressions/vertices", np.int32, 1),
        deltas=deltas * np.repeat(np.maximum(largest, 1e-9) / 32767, sizes)[:, None].astype(np.float32),
        shares=typed(arrays, "expressions/shares", np.float32, 1),
        turns=typed(arrays, "expressions/turns", np.float32, 3),
        pivot_vertices=typed(arrays, "expressions/pivot_vertices", np.int32, 2),
        pivot_weights=typed(arrays, "expressions/pivot_weights", np.float32, 2),
        closes=typed(arrays, "expressions/closes", np.uint8, 1).astype(bool),
    )
