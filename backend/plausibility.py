# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each part is from what the training faces make likely beside the others; `Prior.mahalanobis` has the face."""

from __future__ import annotations

import numpy as np

from .model import FaceModel


def part_distances(model: FaceModel, codes: np.ndarray) -> np.ndarray:
    """Root mean square Mahalanobis distance of each part under its distribution given all others, float64 [B, K].

    About 1 for people, many times that for a part of somebody else.

    With P the inverse of the prior's covariance, z_k given the rest is Gaussian with precision P_kk, and the
    deviation from its mean is P_kk^-1 (P (z - m))_k (Bishop 2006, section 2.3.1).

    Args:
        codes: float32 [B, D].
    """
    precision = model.prior.precision
    pulls = (np.atleast_2d(codes).astype(np.float64) - model.prior.mean) @ precision
    result = np.empty((len(pulls), model.part_count))
    for k in range(model.part_count):
        columns = model.part_slice(k)
        white = np.linalg.solve(np.linalg.cholesky(precision[columns, columns]), pulls[:, columns].T)
        result[:, k] = np.sqrt(np.mean(white**2, axis=0))
    return result
