# SPDX-License-Identifier: GPL-3.0-or-later
"""How like a real person a face is, and how well each part goes with the others.

`Prior.mahalanobis` asks that of codes, whose least directions move the surface by hundredths of a millimetre: there
one slider at 1 stands twice as far out as any person. Here a face counts as seen through a surface noise of
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
# Measured on the default model and the 220 test faces of its data set: 99 % of them are below 1.28 (median 1.02);
# with somebody else's nose 90 % are from 1.1 to 2.5 (median 1.57), with eight parts of eight people from 7 to 13.
FACE_LIMITS = (1.3, 2.5, 5.0)
# Distance from which a part does not go with the others. Parts of the same test faces: 99 % below 1.72, all below 2.6;
# 76 % of somebody else's noses are above 3.
PART_LIMIT = 3.0
KEPT_VIEWS = 24


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
        self._model = model
        self._noise = _noise(model, tolerance)
        self._views: dict[tuple[int, ...], _View] = {}
        self._all = tuple(range(model.part_count))
        self.look_at(self._all)

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
        return self._views[self._all].distances(np.atleast_2d(codes).astype(np.float32) - self._model.prior.mean)

    def odd_parts(self, code: np.ndarray, wait: bool = True) -> tuple[list[int], tuple[int, ...] | None]:
        """The parts that do not go with the others, the worst first.

        One strange part makes its neighbours look strange too. So the part of the largest distance is set aside, the
        others are looked at by themselves, and so on until none is beyond `PART_LIMIT`.

        Args:
            code: float32 [D].
            wait: whether to make what is missing for that (some tens of milliseconds for each new set of parts).

        Returns:
            Numbers of the parts; and the set of parts to `look_at` to go on from there, None when nothing is missing.
        """
        away = (np.asarray(code, np.float32) - self._model.prior.mean)[None]
        odd, left = [], self._all
        while len(left) > 1:
            view = self._views.get(left)
            if view is None:
                if not wait:
                    return odd, left
                view = self.look_at(left)
            distances = view.distances(away[:, view.columns])[1][0]
            worst = int(distances.argmax())
            if distances[worst] < PART_LIMIT:
                break
            odd.append(left[worst])
            left = left[:worst] + left[worst + 1 :]
        return odd, None

    def look_at(self, parts: tuple[int, ...]) -> _View:
        """Make what is needed to judge some parts by themselves. Threads may call this."""
        view = _View(self._model, self._noise, parts)
        while len(self._views) >= KEPT_VIEWS:
            self._views.pop(next(key for key in list(self._views) if key != self._all), None)
        self._views[parts] = view
        return view


class _View:
    """The Gaussian of some parts, the others being anything.

    Attributes:
        columns: of the code that these parts have, int [D'].
    """

    def __init__(self, model: FaceModel, noise: np.ndarray, parts: tuple[int, ...]):
        every = np.arange(model.code_size)
        self.columns = np.concatenate([every[model.part_slice(part)] for part in parts])
        chosen = np.ix_(self.columns, self.columns)
        covariance = model.prior.covariance[chosen]
        precision = np.linalg.inv(covariance + noise[chosen])
        # What the squared distances of people are on average, before they are divided by it.
        expected = precision @ covariance
        self._size = np.trace(expected)
        expected = expected @ precision
        self._precision = precision.astype(np.float32)
        self._parts = []
        ends = np.cumsum([model.code_sizes[part] for part in parts])
        for part, end in zip(parts, ends, strict=True):
            own = slice(end - model.code_sizes[part], end)
            whitener = np.linalg.inv(np.linalg.cholesky(precision[own, own]))
            size = np.trace(whitener @ expected[own, own] @ whitener.T)
            self._parts.append((own, (whitener.T / np.sqrt(size)).astype(np.float32)))

    def distances(self, away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of deviations from the mean code, float32 [B, D']: of faces float64 [B] and of parts float64 [B, K']."""
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
    # Codes that move next to nothing need a length all the same.
    gram += 1e-9 * np.trace(gram) * np.eye(len(gram))
    noise = tolerance**2 * float(model.network["mass"].sum()) / model.code_size * np.linalg.inv(gram)
    return (noise + noise.T) / 2
