# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faces give which parts: donor tables, drawn once for all models, so that comparisons are paired.

A donor table is int64 [..., K]: the face that each part of a made face comes from.
"""

from __future__ import annotations

import numpy as np

from backend.model import FaceModel


def donor_mixes(rng: np.random.Generator, faces: int, parts: int) -> np.ndarray:
    """As many mixes as faces, each of K donors: int64 [faces, K].

    Each face gives each part exactly once, so that mixes differ from faces in how parts are combined and in
    nothing else; the donors of one mix are different faces where there are enough.
    """
    order = rng.permutation(faces)
    shifts = rng.permutation(max(faces, parts))[:parts]
    return order[(np.arange(faces)[:, None] + shifts) % faces]


def by_donor(mixed: np.ndarray, donors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows of mixes, one for each vertex, put where the donor is of the part that is strongest there.

    Each face gives each part once, so that this is an order, another one for each part: row i has of the mixes what
    they owe to face i. Resampled together with the faces it then moves as they do.

    Args:
        mixed: [faces, N, ...], of the mixes of a table of `donor_mixes`.
        donors: int [faces, K], that table.
        weights: [K, N].
    """
    result, strongest = np.empty_like(mixed), weights.argmax(axis=0)
    for part in range(donors.shape[1]):
        own = np.flatnonzero(strongest == part)
        result[donors[:, part, None], own] = mixed[:, own]
    return result


def one_part_swaps(rng: np.random.Generator, faces: int, parts: int) -> np.ndarray:
    """Each face with each part in turn from another one: int64 [K, faces, K]; [k, i] is face i but part k."""
    donors = np.broadcast_to(np.arange(faces)[None, :, None], (parts, faces, parts)).copy()
    for part in range(parts):
        order = rng.permutation(faces)
        shift = rng.integers(1, max(faces, 2))
        donors[part, order, part] = np.roll(order, shift)
    return donors


def pick_one_part(rng: np.random.Generator, swaps: np.ndarray) -> np.ndarray:
    """One of the K swaps of each face, int64 [faces, K]; every part about equally often."""
    parts, faces, _ = swaps.shape
    return swaps[rng.permutation(np.arange(faces) % parts), np.arange(faces)]


def pair_swaps(rng: np.random.Generator, faces: int, parts: int) -> np.ndarray:
    """Each face i and another one exchange some random parts, not none and not all: int64 [2, faces, K].

    [0, i] is face i with some parts of its partner, [1, i] the partner with these parts of face i. For
    any array indexed by face, applying the same exchange to the pair again gives the originals back.
    """
    order = rng.permutation(faces)
    partner = np.empty(faces, dtype=np.int64)
    partner[order] = np.roll(order, rng.integers(1, max(faces, 2)))
    subset = rng.integers(1, max(2**parts - 1, 2), size=faces)
    exchanged = (subset[:, None] >> np.arange(parts)) & 1 == 1
    own = np.arange(faces)[:, None]
    return np.stack([np.where(exchanged, partner[:, None], own), np.where(exchanged, own, partner[:, None])])


def interpolate_part(
    model: FaceModel, target: np.ndarray, source: np.ndarray, part: int, amounts: np.ndarray
) -> np.ndarray:
    """A target's code with one part on its way to a source's.

    Args:
        target, source: float32 [D].
        amounts: [n], 0 leaves the target as it is, 1 gives it the source's part.

    Returns:
        float32 [n, D].
    """
    columns = model.part_slice(part)
    codes = np.repeat(target[None], len(amounts), axis=0)
    codes[:, columns] += np.asarray(amounts, dtype=np.float32)[:, None] * (source - target)[columns]
    return codes


def mix_codes(model: FaceModel, codes: np.ndarray, donors: np.ndarray) -> np.ndarray:
    """Codes float32 [S, D] and a donor table [M, K] to the codes of the mixes, float32 [M, D]."""
    mixed = np.empty((len(donors), codes.shape[1]), dtype=np.float32)
    for part in range(model.part_count):
        columns = model.part_slice(part)
        mixed[:, columns] = codes[donors[:, part], columns]
    return mixed
