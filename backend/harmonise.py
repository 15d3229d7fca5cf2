# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull a face made of several people's parts back to where real faces are, at a price that is chosen.

Parts of one person belong together; parts of K donors are independent, so the codes of mixed faces have the
covariance S_m that keeps of the prior's S_r only the blocks of parts with one donor, or a share of those of parts with
some donors in common (`kinship`). The map that makes them
distributed like real faces at the least cost is the optimal transport between the two Gaussians (Peyre & Cuturi 2019,
section 2.6): with G what movements of codes cost (`Harmoniser.metric`) and A = G^1/2 S G^1/2 for both,
T = A_m^-1/2 (A_m^1/2 A_r A_m^1/2)^1/2 A_m^-1/2. A face goes a share of the way.

In plain mm^2 the skull, large and varied, would outweigh the nose a hundredfold, and the nose would give way. Here a
part's movement counts relative to how much people vary there, and every person in a mix counts alike: parts of somebody
who gives seven count a seventh each. Everybody stays recognisable by a like share.

Parts may be held: their codes stay, and since movements of theirs cost `HELD` times as much, the map is one that leaves
them be and fits the others to them: to somebody else's nose the sort of face that has such a nose.

Both Gaussians count as seen through a surface noise of about `NOISE` mm, because the map divides by the spread of what
mixes hold: where a few donors give several parts each, those parts' least directions hardly vary at all, and without
noise whatever a face happens to have there is blown up to centimetres.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from .errors import LwaeError
from .local_arrays import part_arrays
from .local_network import gram_matrix, require_local
from .model import FaceModel

KEPT_MAPS = 8
HELD = 50.0
NOISE = 0.1  # mm, root mean square over the surface where all parts count alike


class Harmoniser:
    """The maps of one model: half a second for it, as much once for each kinship of parts, microseconds for a face."""

    def __init__(self, model: FaceModel):
        """Raises LwaeError when the model is of another preset than `local`."""
        require_local(model)
        self._model = model
        self._mean = model.prior.mean.astype(np.float64)
        self._real = model.prior.covariance.astype(np.float64)
        bases = [part_arrays(model, k) for k in range(model.part_count)]
        mass = model.network["mass"].astype(np.float64)
        grams = [gram_matrix(bases, mass * weight) for weight in model.weights]
        # How much people vary in each part, mm^2 times its share of the surface; a part may hardly vary at all.
        spread = np.array([np.vdot(gram, self._real) for gram in grams])
        least = max(1e-6 * spread.max(), 1e-12)
        self._relative = [gram / max(own, least) for gram, own in zip(grams, spread, strict=True)]
        self._variance = spread.sum()
        self._noise = NOISE**2 * mass.sum() / model.code_size * np.eye(model.code_size)
        self._maps: dict[bytes, np.ndarray] = {}  # by `_key`
        self._lock = threading.Lock()  # Who asks for a map that another thread makes waits for it.

    def prepare(self, donors: Sequence | np.ndarray | None = None, held: Sequence[int] = ()) -> None:
        """Make the map of such donors now, so that a later call takes microseconds. Threads may call this."""
        if (alike := self._kinship(donors)).min() < 1:
            self._map_of(alike, held)

    def is_prepared(self, donors: Sequence | np.ndarray | None = None, held: Sequence[int] = ()) -> bool:
        """Whether `prepare` has nothing to do."""
        alike = self._kinship(donors)
        return alike.min() == 1 or _key(alike, held) in self._maps

    def __call__(
        self,
        codes: np.ndarray,
        amount: float,
        donors: Sequence | np.ndarray | None = None,
        held: Sequence[int] = (),
    ) -> np.ndarray:
        """Codes of mixed faces, made plausible.

        Args:
            codes: float32 [B, D].
            amount: 0 changes nothing, 1 makes mixes distributed like real faces.
            donors: K labels, where parts with equal labels come from one person; or how far any two parts come from
                the same people, float [K, K] as of `kinship`. Default: all from different ones.
            held: numbers of parts whose codes stay exactly, while the others fit to them.

        Returns:
            float32 [B, D].

        Raises:
            LwaeError: when the amount is out of range, or there is not one donor for each part.
        """
        if not 0 <= amount <= 1:
            raise LwaeError(f"Faces are harmonised by an amount from 0 to 1, not {amount:g}.")
        alike = self._kinship(donors)
        if amount == 0 or alike.min() == 1:
            return np.array(codes, dtype=np.float32)
        deviation = np.asarray(codes, np.float64) - self._mean
        moved = (codes + amount * (deviation @ self._map_of(alike, held).T - deviation)).astype(np.float32)
        for part in held:
            columns = self._model.part_slice(part)
            moved[:, columns] = codes[:, columns]
        return moved

    def metric(self, alike: np.ndarray, held: Sequence[int] = ()) -> np.ndarray:
        """What movements of codes cost, float64 [D, D], as mm^2 over the surface; `alike` is a kinship [K, K]."""
        share = 1 / alike.sum(axis=1)
        share[list(held)] *= HELD
        relative = sum(own * gram for own, gram in zip(share, self._relative, strict=True))
        return relative * (self._variance / share.sum())

    def _kinship(self, donors: Sequence | np.ndarray | None) -> np.ndarray:
        labels = np.arange(self._model.part_count) if donors is None else np.asarray(donors)
        if len(labels) != self._model.part_count:
            raise LwaeError(f"The model has {self._model.part_count} parts, but {len(labels)} donors are named.")
        alike = labels if labels.ndim == 2 else labels[:, None] == labels
        return np.clip(np.asarray(alike, np.float64).round(3), 0, 1)

    def _map_of(self, alike: np.ndarray, held: Sequence[int]) -> np.ndarray:
        """The whole way for codes as differences from the mean, float64 [D, D]."""
        key = _key(alike, held)
        with self._lock:
            found = self._maps.get(key)
            if found is None:
                found = self._make(alike, held)
                while len(self._maps) >= KEPT_MAPS:
                    self._maps.pop(next(iter(self._maps)))
                self._maps[key] = found
            return found

    def _make(self, alike: np.ndarray, held: Sequence[int]) -> np.ndarray:
        # Codes that move next to nothing need a length all the same.
        length, inverse_length = _powers(self.metric(alike, held), (0.5, -0.5), least=1e-9)
        sizes = self._model.code_sizes
        mixed = self._real * alike.repeat(sizes, axis=0).repeat(sizes, axis=1)
        real, mixed = (length @ covariance @ length + self._noise for covariance in (self._real, mixed))
        root, inverse_root = _powers(mixed, (0.5, -0.5))
        middle = _powers(root @ real @ root, (0.5,))[0]
        return inverse_length @ inverse_root @ middle @ inverse_root @ length


def _key(alike: np.ndarray, held: Sequence[int]) -> bytes:
    return alike.tobytes() + bytes(sorted(held))


def _powers(matrix: np.ndarray, exponents: Sequence[float], least: float = 1e-12) -> list[np.ndarray]:
    """Powers of a symmetric matrix without negative eigenvalues; those below `least` of the largest count as that."""
    values, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    values = np.maximum(values, max(least * values[-1], 1e-30))
    return [(axes * values**exponent) @ axes.T for exponent in exponents]
