# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving little weight to vertices that are far off although nobody said so."""

from __future__ import annotations

import numpy as np

REACH = 4.0  # Deviations beyond so many of the usual ones count less and less.
LEAST_REACH = 0.1  # mm


def inlier_weights(distances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Geman-McClure weights (1987) of iteratively reweighted least squares, [N] in (0, 1], 1 at distance 0.

    Args:
        distances: [N] mm, of each vertex from where the fit has it.
        weights: [N] in [0, 1]; where 0, the distance does not matter.
    """
    usual = 1.4826 * float(np.median(distances[weights > 0]))
    reach = max(REACH * usual, LEAST_REACH)
    return (reach**2 / (reach**2 + distances**2)) ** 2
