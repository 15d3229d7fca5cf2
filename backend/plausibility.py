# SPDX-License-Identifier: GPL-3.0-or-later
"""How like a real person a face is, and how well each part goes with the others.

`Prior.mahalanobis` asks that of codes, whose least directions move the surface by hundredths of a millimetre: there
one slider at 1 stands as far out as a stranger's nose. Here a face counts as seen through a surface noise of
`TOLERANCE` mm, spread over all directions alike in decoded coordinates: with G the Gram matrix of the model's bases
the prior's covariance S becomes S + t G^-1. What nobody could see then weighs nothing.
"""

from __future__ import annotations

import numpy as np

from .errors import LwaeError
from .local_network import linear_gram
from .model import FaceModel

# Root mean square of the noise over the surface, mm.
TOLERANCE = 0.4
# Measured on the default model and the 220 test faces of its data set: 99 % of them are below 1.29 (median 1.02);
# with somebody else's nose 90 % are from 1.1 to 2.2 (median 1.45), with eight parts of eight people from 7 to 13.
FACE_LIMITS = (1.3, 2.5, 5.0)
# Distance from which a part counts as wild. Parts of the same test faces: 99 % below 1.73, all below 2.6; 71 % of
# somebody else's noses are above 3.
PART_LIMIT = 3.0


def grade(distance: float) -> int:
    """0 like a real person, 1 unusual, 2 unlikely, 3 like nobody."""
    return sum(distance > limit for limit in FACE_LIMITS)


class Plausibility:
    """The distances of one model; making it takes a tenth of a second or so, a face then tens of microseconds."""

    def __init__(self, model: FaceModel, tolerance: float = TOLERANCE):
        """
        Args:
            tolerance: mm; 0 measures codes as `Prior.mahalanobis` does. Models without linear bases count as 0.
        """
        covariance = model.prior.covariance
        noisy = covariance + _noise(model, tolerance)
        precision = np.linalg.inv(noisy)
        self._mean = model.prior.mean
        self._precision = precision.astype(np.float32)
        self._size = np.trace(precision @ covariance)
        seen = precision @ covariance @ precision
        self._parts = []
        for k in range(model.part_count):
            own = model.part_slice(k)
            whitener = np.linalg.inv(np.linalg.cholesky(precision[own, own]))
            size = np.trace(whitener @ seen[own, own] @ whitener.T)
            self._parts.append((own, (whitener.T / np.sqrt(size)).astype(np.float32)))

    def __call__(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances of faces and of their parts, in standard deviations: about 1 for people.

        That of a face is from the mean face; that of a part from what all other parts make likely: with P the
        precision, z_k given the rest is Gaussian with precision P_kk, and the deviation from its mean is P_kk^-1
        (P (z - m))_k (Bishop 2006, section 2.3.1).

        Args:
            codes: float32 [B, D].

        Returns:
            Faces float64 [B] and parts float64 [B, K].
        """
        away = np.atleast_2d(codes).astype(np.float32) - self._mean
        pulls = away @ self._precision
        faces = np.sqrt(np.maximum(np.einsum("bi,bi->b", pulls, away, dtype=np.float64), 0) / self._size)
        parts = [np.linalg.norm(pulls[:, own] @ whitener, axis=1) for own, whitener in self._parts]
        return faces, np.stack(parts, axis=1).astype(np.float64)


def _noise(model: FaceModel, tolerance: float) -> np.ndarray:
    """Codes' covariance of a surface noise of `tolerance` mm, float64 [D, D]."""
    try:
        gram = linear_gram(model)
    except LwaeError:
        return np.zeros((model.code_size, model.code_size))
    values, axes = np.linalg.eigh(gram)
    variance = tolerance**2 * float(model.network["mass"].sum()) / model.code_size
    # Codes that move next to nothing need a length all the same.
    return (axes * (variance / np.maximum(values, 1e-9 * values[-1]))) @ axes.T
