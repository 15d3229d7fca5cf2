# SPDX-License-Identifier: GPL-3.0-or-later
"""The joint Gaussian over all part codes: random faces, random parts that fit the rest, plausibility.

Parts of one person are almost determined by one another, so parts are never drawn independently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass
class Prior:
    """N(mean, F F^T + tau I) over flat codes.

    Attributes:
        mean: float32 [D].
        factors: float32 [D, R], principal axes of the training codes times their standard deviations.
        tau: variance in every direction that the factors do not hold.
    """

    mean: np.ndarray
    factors: np.ndarray
    tau: float

    @cached_property
    def covariance(self) -> np.ndarray:
        """float64 [D, D]."""
        factors = self.factors.astype(np.float64)
        return factors @ factors.T + self.tau * np.eye(len(self.mean))

    @cached_property
    def precision(self) -> np.ndarray:
        """Inverse of the covariance, float64 [D, D]."""
        return np.linalg.inv(self.covariance)

    @cached_property
    def _axes(self) -> np.ndarray:
        """The factors as rows [R, D] that lie in memory one after the other: not every BLAS is fast with others."""
        return np.ascontiguousarray(self.factors.T)

    def sample(self, rng: np.random.Generator, count: int, strength: float = 1.0) -> np.ndarray:
        """Draw whole faces.

        Args:
            strength: multiplies the deviation from the mean face; 1 is the spread of the training faces.

        Returns:
            Codes, float32 [count, D].
        """
        return self._deviate(*self._noise(rng, count), strength)

    def sample_each(self, rngs: Iterable[np.random.Generator], strength: float = 1.0) -> np.ndarray:
        """What `sample` draws from each of some generators, but for rounding, in one product: float32 [count, D]."""
        along, across = (np.concatenate(rows) for rows in zip(*(self._noise(rng, 1) for rng in rngs), strict=True))
        return self._deviate(along, across, strength)

    def _noise(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Standard normal: along the factors [count, R], and in every direction [count, D]."""
        dimensions, rank = self.factors.shape
        along = rng.standard_normal((count, rank), dtype=np.float32)
        return along, rng.standard_normal((count, dimensions), dtype=np.float32)

    def _deviate(self, along: np.ndarray, across: np.ndarray, strength: float) -> np.ndarray:
        deviation = along @ self._axes + np.float32(np.sqrt(self.tau)) * across
        return (self.mean + np.float32(strength) * deviation).astype(np.float32)

    def sample_given(
        self, code: np.ndarray, free: np.ndarray, rng: np.random.Generator, looseness: float = 3.0
    ) -> np.ndarray:
        """Redraw some code columns so that they fit the others (tempered Gaussian conditioning).

        The other columns count as observed with noise of variance `looseness`: near 0 the same values come
        back (the parts of one face determine each other), large values approach an unrelated draw.

        Args:
            code: float32 [D].
            free: bool [D], the columns to redraw.

        Returns:
            A new code, float32 [D]; columns that are not free are copied exactly.
        """
        code = np.asarray(code, dtype=np.float32)
        if free.all():
            return self.sample(rng, 1)[0]
        held = ~free
        observed = self.covariance[np.ix_(held, held)] + looseness * np.eye(int(held.sum()))
        # Matheron's rule: a draw of everything, corrected by what it misses of the observation. One linear solve.
        draw = self.sample(rng, 1)[0].astype(np.float64)
        noise = np.sqrt(looseness) * rng.standard_normal(len(observed))
        missing = np.linalg.solve(observed, code[held] - draw[held] - noise)
        result = code.copy()
        result[free] = draw[free] + self.covariance[np.ix_(free, held)] @ missing
        return result

    def mean_given(self, code: np.ndarray, free: np.ndarray, looseness: float = 3.0) -> np.ndarray:
        """The mean of what `sample_given` draws, float64 [number of free columns]; the other columns decide it."""
        held = ~free
        observed = self.covariance[np.ix_(held, held)] + looseness * np.eye(int(held.sum()))
        missing = np.linalg.solve(observed, np.asarray(code)[held].astype(np.float64) - self.mean[held])
        return self.mean[free] + self.covariance[np.ix_(free, held)] @ missing

    def with_readings(
        self, drawn: np.ndarray, code: np.ndarray, readouts: np.ndarray, free: np.ndarray, looseness: float
    ) -> np.ndarray:
        """A draw, changed as little as its distribution asks so that linear readings of it are those of a code.

        Matheron's rule once more: a draw of `sample` or `sample_given` becomes one that is also conditioned on the
        readings.

        Args:
            drawn: float32 [D].
            code: float32 [D]; has the wanted readings.
            readouts: float32 [M, D].
            free: bool [D], the columns that may change, at least one.
            looseness: as `drawn` was drawn with.

        Returns:
            A new code, float32 [D]; columns that are not free are those of `drawn`.
        """
        covariance = self.covariance[np.ix_(free, free)]
        if not free.all():
            across = self.covariance[np.ix_(free, ~free)]
            observed = self.covariance[np.ix_(~free, ~free)] + looseness * np.eye(int((~free).sum()))
            covariance = covariance - across @ np.linalg.solve(observed, across.T)
        own = readouts[:, free].astype(np.float64)
        gain = covariance @ own.T
        seen = own @ gain
        missing = readouts.astype(np.float64) @ (code.astype(np.float64) - drawn)
        result = np.array(drawn, dtype=np.float32)
        floor = max(1e-6 * np.trace(seen), 1e-12)  # The readouts may see none of the free columns.
        result[free] += gain @ np.linalg.solve(seen + floor * np.eye(len(seen)), missing)
        return result

    @cached_property
    def principal_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances float64 [D] and the orthonormal axes that have them, float64 [D, D], a column each."""
        return np.linalg.eigh(self.covariance)

    def mahalanobis(self, codes: np.ndarray) -> np.ndarray:
        """Root mean square distance from the mean in standard deviations, float64 [B].

        About 1 for faces like the training faces, larger for faces that no training face resembles.
        """
        variances, axes = self.principal_axes
        white = (np.atleast_2d(codes).astype(np.float64) - self.mean) @ (axes / np.sqrt(variances))
        return np.sqrt(np.mean(white**2, axis=1))
