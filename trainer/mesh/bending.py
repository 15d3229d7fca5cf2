# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a surface bends of itself, to which the bending of mixed faces is compared."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

FLATTEST = 0.05  # of the bending around a vertex; on anny's heads no vertex has less
SPREAD = 8  # steps from neighbour to neighbour that "around" reaches


def natural_bending(bending: np.ndarray, laplacian: sp.spmatrix) -> np.ndarray:
    """What to compare with at each vertex: its own bending, or a share of that around it where that is more.

    New vertices in the middle of polygons and edges, as subdivision makes them, hardly bend or do not bend at all;
    next to nothing would be infinitely rough there.

    Args:
        bending: sum or mean of squares |L (x - mean)|^2 over faces, [N].
        laplacian: L, the umbrella Laplacian [N, N].

    Returns:
        float64 [N]; zero only where nothing around bends either.
    """
    around = np.asarray(bending, dtype=np.float64)
    for _ in range(SPREAD):
        around = around + laplacian @ around / 2
    return np.maximum(bending, FLATTEST * around)
