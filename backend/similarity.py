# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation, translation and scale between point sets in correspondence (Kabsch 1976; Umeyama 1991)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation x + translation.

    Attributes:
        scale: above 0.
        rotation: float64 [3, 3], determinant 1.
        translation: float64 [3].
    """

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] moved, float64."""
        return np.asarray(points, dtype=np.float64) @ (self.scale * self.rotation.T) + self.translation

    def inverse(self) -> Similarity:
        """The way back."""
        scale, rotation = 1 / self.scale, self.rotation.T
        return Similarity(scale, rotation, -scale * (rotation @ self.translation))

    @property
    def matrix(self) -> np.ndarray:
        """The same for column vectors [x, y, z, 1], float64 [4, 4]."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.scale * self.rotation, self.translation
        return matrix


def nearest_rotation(covariance: np.ndarray) -> np.ndarray:
    """The rotation R, never a reflection, that maximises trace(R C).

    Args:
        covariance: [..., 3, 3], sums of source_i target_j over centred points.

    Returns:
        [..., 3, 3]; R source is nearest to the target in least squares.
    """
    u, _, vt = np.linalg.svd(covariance)
    vt[..., 2, :] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return np.swapaxes(u @ vt, -1, -2)


def reflected_fit(covariance: np.ndarray) -> tuple[np.ndarray, bool]:
    """Whether one of two shapes fits the other much better when it is reflected: its squared distance is a quarter.

    Args:
        covariance: [3, 3], sums of source_i target_j over centred points, each shape of norm 1.

    Returns:
        The singular values [3], whose sum is the correlation of the best fit, reflected or not, and the answer.
    """
    u, lengths, vt = np.linalg.svd(covariance)
    best, rotated = lengths.sum(), lengths.sum() - 2 * lengths[2]
    return lengths, bool(np.linalg.det(u @ vt) < 0 and 1 - best**2 < (1 - rotated**2) / 4)


def fit_similarity(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray, scale: float | None = None
) -> Similarity:
    """The similarity that moves the source onto the target with weighted least squares.

    Args:
        source, target: [N, 3], finite also where the weight is 0.
        weights: [N], not negative; those above 0 must not lie on one line.
        scale: fixed; None fits it.
    """
    share = weights / weights.sum()
    source_centre, target_centre = share @ source, share @ target
    centred = source - source_centre
    covariance = (centred * share[:, None]).T @ (target - target_centre)
    rotation = nearest_rotation(covariance)
    if scale is None:
        scale = float(np.sum(rotation.T * covariance) / np.sum(share * np.sum(centred**2, axis=1)))
    return Similarity(scale, rotation, target_centre - scale * (rotation @ source_centre))


def exact_map(source: np.ndarray, target: np.ndarray) -> np.ndarray | Similarity | None:
    """How a shape was moved as a whole, to the precision of float32.

    Args:
        source, target: [N, 3], finite, not in one plane.

    Returns:
        A similarity where one does it; else the affine map, float64 [4, 3], that takes [x, y, z, 1] to the target; None
        where the shape itself is another one.
    """
    tolerance = 8 * np.finfo(np.float32).eps * np.abs(target).max()
    extended = np.column_stack((np.asarray(source, dtype=np.float64), np.ones(len(source))))
    affine = np.linalg.solve(extended.T @ extended, extended.T @ target)
    if np.abs(extended @ affine - target).max() > tolerance:
        return None
    similarity = fit_similarity(extended[:, :3], target, np.ones(len(source)))
    return similarity if np.abs(similarity.apply(source) - target).max() <= tolerance else affine
