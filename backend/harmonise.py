# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull a face made of several people's parts back to where real faces are, at a price that is chosen.

Parts of one person belong together; parts of K donors are independent, so the codes of mixed faces have the
covariance S_m that keeps of the prior's S_r only the blocks of parts with one donor. The map that makes them
distributed like real faces and moves their surfaces least is the optimal transport between the two Gaussians (Peyre &
Cuturi 2019, section 2.6), here in decoded coordinates: with G the Gram matrix of the model's bases and
A = G^1/2 S G^1/2 for both, T = A_m^-1/2 (A_m^1/2 A_r A_m^1/2)^1/2 A_m^-1/2.

Shrinking towards the mean would make faces bland, and so does blending the face with its transport. Between nothing
and all, the target is relaxed instead: relative to real faces a mixed face may vary at most `bound` times as much in
any direction. Almost all that gives a mix away are directions in which real faces hardly vary and mixes vary
thousands of times as much, and bounding those alone costs little of what the donors gave.

Both Gaussians count as seen through a surface noise of `NOISE` mm, because the map divides by the spread of what mixes
hold: where a few donors give several parts each, those parts' least directions hardly vary at all, and without noise
whatever a face happens to have there is blown up to centimetres.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import LwaeError
from .local_network import linear_gram
from .model import FaceModel

AMOUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # for which maps are made; between them they are interpolated
LESS_POWER = 3  # directions in which mixes vary too little are filled up earlier than the others are bounded
KEPT_PATTERNS = 8
NOISE = 0.1  # mm, root mean square over the surface


class Harmoniser:
    """The maps of one model; each pattern of donors takes about a second once, then a face takes microseconds."""

    def __init__(self, model: FaceModel):
        self._model = model
        self._mean = model.prior.mean.astype(np.float64)
        # Codes that move next to nothing need a length all the same.
        self._root, self._inverse_root = _powers(linear_gram(model), (0.5, -0.5), least=1e-9)
        self._real = self._root @ model.prior.covariance @ self._root
        self._noise = NOISE**2 * float(model.network["mass"].sum()) / model.code_size * np.eye(model.code_size)
        self._lower = np.linalg.cholesky(self._real + self._noise)
        self._whitener = np.linalg.inv(self._lower)
        self._maps: dict[tuple[int, ...], list[np.ndarray]] = {}

    def prepare(self, donors: Sequence | None = None) -> None:
        """Make the maps of a pattern of donors now, so that a later call takes microseconds. Threads may call this."""
        pattern = self._pattern(donors)
        if len(set(pattern)) > 1:
            self._maps_of(pattern)

    def is_prepared(self, donors: Sequence | None = None) -> bool:
        """Whether `prepare` has nothing to do."""
        pattern = self._pattern(donors)
        return len(set(pattern)) == 1 or pattern in self._maps

    def __call__(self, codes: np.ndarray, amount: float, donors: Sequence | None = None) -> np.ndarray:
        """Codes of mixed faces, made plausible.

        Args:
            codes: float32 [B, D].
            amount: 0 changes nothing, 1 makes mixes distributed like real faces.
            donors: K labels; parts with equal labels come from one person. Default: all from different ones.

        Returns:
            float32 [B, D].

        Raises:
            LwaeError: when the amount is out of range, or there is not one donor for each part.
        """
        if not 0 <= amount <= 1:
            raise LwaeError(f"Faces are harmonised by an amount from 0 to 1, not {amount:g}.")
        pattern = self._pattern(donors)
        if amount == 0 or len(set(pattern)) == 1:
            return np.array(codes, dtype=np.float32)
        maps = self._maps_of(pattern)
        place = amount * (len(AMOUNTS) - 1)
        low = min(int(place), len(AMOUNTS) - 2)
        share = place - low
        matrix = (1 - share) * maps[low] + share * maps[low + 1]
        return (self._mean + (np.asarray(codes, np.float64) - self._mean) @ matrix.T).astype(np.float32)

    def _pattern(self, donors: Sequence | None) -> tuple[int, ...]:
        labels = list(range(self._model.part_count) if donors is None else donors)
        if len(labels) != self._model.part_count:
            raise LwaeError(f"The model has {self._model.part_count} parts, but {len(labels)} donors are named.")
        return tuple(labels.index(label) for label in labels)

    def _maps_of(self, pattern: tuple[int, ...]) -> list[np.ndarray]:
        """One matrix [D, D] for each of `AMOUNTS`."""
        maps = self._maps.get(pattern)
        if maps is None:
            maps = self._make(pattern)
            while len(self._maps) >= KEPT_PATTERNS:
                self._maps.pop(next(iter(list(self._maps))), None)
            self._maps[pattern] = maps
        return maps

    def _make(self, pattern: tuple[int, ...]) -> list[np.ndarray]:
        donor = np.repeat(pattern, self._model.code_sizes)
        mixed = np.where(donor[:, None] == donor, self._model.prior.covariance, 0.0)
        mixed = self._root @ mixed @ self._root + self._noise
        # Mixed relative to real variance: S_m = V diag(ratio) V^T where S_r = V V^T.
        ratio, axes = np.linalg.eigh(self._whitener @ mixed @ self._whitener.T)
        ratio, axes = np.maximum(ratio, 1e-12), self._lower @ axes
        root, inverse_root = _powers(mixed, (0.5, -0.5))
        maps = [np.eye(len(donor))]
        for amount in AMOUNTS[1:]:
            bound = ratio.max() ** (1 - amount)
            allowed = np.where(ratio < 1, ratio ** ((1 - amount) ** LESS_POWER), np.minimum(ratio, bound))
            target = (axes * allowed) @ axes.T
            middle = _powers(root @ target @ root, (0.5,))[0]
            maps.append(self._inverse_root @ inverse_root @ middle @ inverse_root @ self._root)
        return maps


def _powers(matrix: np.ndarray, exponents: Sequence[float], least: float = 1e-12) -> list[np.ndarray]:
    """Powers of a symmetric matrix without negative eigenvalues; those below `least` of the largest count as that."""
    values, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    values = np.maximum(values, least * values[-1])
    return [(axes * values**exponent) @ axes.T for exponent in exponents]
