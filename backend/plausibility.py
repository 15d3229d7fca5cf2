# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a face, or one of its parts beside the others, is from what the training faces make likely."""

from __future__ import annotations

import numpy as np

from .model import FaceModel


def face_distance(model: FaceModel, codes: np.ndarray) -> np.ndarray:
    """Root mean square Mahalanobis distance of whole faces under the joint prior, float64 [B].

    About 1 for people, many times that for parts of people who do not belong together.

    Args:
        codes: float32 [B, D].
    """
    return model.prior.mahalanobis(codes)


def part_distances(model: FaceModel, codes: np.ndarray) -> np.ndarray:
    """The same for each part under its distribution given all others, float64 [B, K].

    With P the inverse of the prior's covariance, z_k given the rest is Gaussian with precision P_kk, and the
    deviation from its mean is P_kk^-1 (P (z - m))_k (Bishop 2006, section 2.3.1).

    Args:
        codes: float32 [B, D].
    """
    precision = np.linalg.inv(model.prior.covariance)
    pulls = (np.atleast_2d(codes).astype(np.float64) - model.prior.mean) @ precision
    result = np.empty((len(pulls), model.part_count))
    for k in range(model.part_count):
        columns = model.part_slice(k)
        white = np.linalg.solve(np.linalg.cholesky(precision[columns, columns]), pulls[:, columns].T)
        result[:, k] = np.sqrt(np.mean(white**2, axis=0))
    return result
