# SPDX-License-Identifier: GPL-3.0-or-later
"""95 % ellipses of points in a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

SHARE = 0.95
OUTLINE = 720  # Points.


@dataclass(frozen=True)
class Ellipse:
    """Where a Gaussian fitted to points has 95 % of its mass.

    Attributes:
        centre: float64 [2].
        axes: float64 [2, 2]; columns are its half axes.
    """

    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray) -> Ellipse:
        """From points [n, 2]; flat when they lie on a line."""
        points = np.asarray(points, dtype=np.float64)
        centre = points.mean(axis=0)
        values, vectors = np.linalg.eigh((points - centre).T @ (points - centre) / max(len(points) - 1, 1))
        return cls(centre, vectors * np.sqrt(np.maximum(values, 0) * chi2.ppf(SHARE, 2)))

    @property
    def area(self) -> float:
        return float(np.pi * abs(np.linalg.det(self.axes)))

    @property
    def outline(self) -> np.ndarray:
        """Points around it, float64 [OUTLINE, 2]."""
        turn = np.linspace(0, 2 * np.pi, OUTLINE, endpoint=False)
        return self.centre + np.stack([np.cos(turn), np.sin(turn)], axis=1) @ self.axes.T

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Which points [n, 2] lie in it, bool [n]; none in a flat one."""
        if self.area == 0:
            return np.zeros(len(points), dtype=bool)
        return (np.linalg.solve(self.axes, (points - self.centre).T) ** 2).sum(axis=0) <= 1

    def contains(self, other: Ellipse) -> bool:
        """Whether the whole other ellipse lies in this one."""
        return bool(self.inside(other.outline).all())
