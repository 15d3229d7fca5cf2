# SPDX-License-Identifier: GPL-3.0-or-later
"""Intervals by resampling faces.

A metric is a function of means over units (test faces, mixes of test faces). Resampling units with
replacement is weighting them by how often each was drawn, so all resamples of a metric are one matrix
product. The draws depend only on the seed, the group's place and the number of units: differences between
models are paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
FEWEST = 20  # faces, of which resamples tell something of others
BLOCK_NUMBERS = 2**23  # Numbers in memory for one block of resamples.


@dataclass(frozen=True)
class Measure:
    """Per-unit values and how metrics follow from their means.

    Attributes:
        groups: arrays [n, ...], one row per unit; groups are resampled independently (faces, random faces).
        statistics: the means of all groups, each [R, ...], to metrics by name, each [R].
        together: the same rows of all groups belong together, and are drawn together.
    """

    groups: tuple[np.ndarray, ...]
    statistics: Callable[..., dict[str, np.ndarray]]
    together: bool = False

    def values(self) -> dict[str, float]:
        """The metrics over all units."""
        means = [group.mean(axis=0, dtype=np.float64)[None] for group in self.groups]
        return {name: float(value[0]) for name, value in self.statistics(*means).items()}

    def resampled(self, seed: int, resamples: int = RESAMPLES) -> dict[str, np.ndarray]:
        """The metrics over resampled units, each float64 [resamples]."""
        places = [0 if self.together else place for place in range(len(self.groups))]
        shares = [_shares(seed, place, len(g), resamples) for place, g in zip(places, self.groups, strict=True)]
        flat = [group.reshape(len(group), -1) for group in self.groups]
        block = max(1, BLOCK_NUMBERS // max(group.shape[1] for group in flat))
        results: dict[str, list[np.ndarray]] = {}
        for start in range(0, resamples, block):
            means = [
                (share[start : start + block].astype(rows.dtype) @ rows).reshape(-1, *group.shape[1:])
                for share, rows, group in zip(shares, flat, self.groups, strict=True)
            ]
            for name, value in self.statistics(*means).items():
                results.setdefault(name, []).append(np.asarray(value, dtype=np.float64))
        return {name: np.concatenate(blocks) for name, blocks in results.items()}


@cache
def _shares(seed: int, place: int, units: int, resamples: int) -> np.ndarray:
    """Share of each unit in each resample: float64 [resamples, units], rows sum to 1."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, place, units]))
    return rng.multinomial(units, np.full(units, 1 / units), size=resamples) / units


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of resampled metrics (Efron 1979)."""
    low, high = np.nanpercentile(draws, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
