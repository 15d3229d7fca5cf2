# SPDX-License-Identifier: GPL-3.0-or-later
"""Borders that give way to the more pronounced side.

Where two parts j and k of different people meet, a plain blend w_j D_j + w_k D_k averages them: at the middle of the
border half of the variance of faces is lost. Here the border moves a little instead: the weights become

    w'_k = w_k (1 + sum_j s_kj w_j),    s_kj = strength (e_k - e_j) / (e_k + e_j + epsilon),

e_k being how far part k displaces this border (mm^2, averaged over it with w_j w_k; its leading directions), so that
the more pronounced of the two faces keeps more of it. Since s_kj = -s_jk the weights still add up to 1, and none is
negative: where the parts agree, as on a real face, nothing changes. The profile of a moved border lies between w^2 and
1 - (1 - w)^2.
"""

from __future__ import annotations

import math

import numpy as np

from .errors import LwaeError
from .model import FaceModel

LEAST_SHARE = 1e-2  # Of the product of two weights somewhere, for a border between two parts.
FLOOR = 0.05  # epsilon, as a share of the two parts' mean energies: near the mean face borders stay where they are.
DIRECTIONS = 12  # of a part's code that are looked at.
ENERGIES = "_border_energies"  # where a model keeps what `border_energies` gave
TINY = 1e-9  # mm^2, against 0 / 0 where nothing moves.


def border_strength(model: FaceModel) -> float:
    """How far borders move, 0 (never) to 1.

    Raises:
        LwaeError: when the header's number is none or out of range.
    """
    strength = float(model.header["network"].get("border_strength", 0.0))
    if not (math.isfinite(strength) and 0 <= strength <= 1):
        raise LwaeError("its borders' strength must be a number from 0 to 1.")
    return strength


def border_pairs(model: FaceModel) -> list[tuple[int, int]]:
    """Ordered pairs (k, j) of parts that share a border, sorted; none where borders do not move."""
    if border_strength(model) == 0:
        return []
    weights = model.weights
    return [
        (k, j)
        for k in range(model.part_count)
        for j in range(model.part_count)
        if j != k and (weights[k] * weights[j]).max(initial=0) > LEAST_SHARE
    ]


def border_energies(
    model: FaceModel, parts: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """What gives e: for each pair (k, j) e_k = |C_kj z_k|^2, C_kj having `DIRECTIONS` rows.

    Args:
        parts: vertices [n] and basis [Z_k, n, 3] of each part.

    Returns:
        All C side by side, float32 [D, pairs * DIRECTIONS], and epsilon of each pair, float32 [pairs], mm^2.
    """
    pairs, mass = border_pairs(model), model.network["mass"]
    maps = np.zeros((model.code_size, len(pairs), DIRECTIONS), dtype=np.float32)
    for index, (k, j) in enumerate(pairs):
        vertices, basis = parts[k]
        shared = np.flatnonzero(model.weights[j, vertices])  # elsewhere the border is not
        vertices, basis = vertices[shared], np.take(basis, shared, axis=1)
        own, other = model.weights[k, vertices], model.weights[j, vertices]
        # The basis holds w_k times a displacement, so w_j / w_k gives the displacement weighed by w_k w_j.
        root = np.sqrt(mass[vertices] * np.divide(other, own, out=np.zeros_like(own), where=own > 0))
        rows = (basis * root[:, None]).reshape(len(basis), -1).astype(np.float64)
        rows /= np.sqrt(max((mass[vertices] * own * other).sum(), 1e-12))
        if len(rows) <= rows.shape[1]:
            values, axes = np.linalg.eigh(rows @ rows.T)
            leading = axes * np.sqrt(np.maximum(values, 0))
        else:
            leading = rows @ np.linalg.eigh(rows.T @ rows)[1]
        count = min(DIRECTIONS, leading.shape[1])
        maps[model.part_slice(k), index, :count] = leading[:, ::-1][:, :count]
    energies = dict(zip(pairs, np.einsum("dpr,dpr->p", maps, maps), strict=True))
    floors = [FLOOR * (energies[k, j] + energies[j, k]) / 2 + TINY for k, j in pairs]
    return maps.reshape(model.code_size, -1), np.array(floors, dtype=np.float32)


def border_columns(model: FaceModel) -> np.ndarray:
    """The code columns of part k of every pair (k, j), one pair after the other."""
    columns = np.arange(model.code_size)
    return np.concatenate([columns[model.part_slice(k)] for k, _ in border_pairs(model)])


class BorderShift:
    """s_kj of faces, and what it does to a part's displacements.

    Attributes:
        own: for each part k the numbers of the pairs (k, j).
        neighbours: for each part the parts j of those pairs.
    """

    def __init__(self, model: FaceModel, parts: list[tuple[np.ndarray, np.ndarray]]):
        """
        Args:
            parts: vertices [n] and basis [Z_k, n, 3] of each part.
        """
        pairs = border_pairs(model)
        self._strength = np.float32(border_strength(model))
        if ENERGIES not in vars(model):  # takes a third of loading a model, and is asked for by its check too
            vars(model)[ENERGIES] = border_energies(model, parts)
        maps, self._floors = vars(model)[ENERGIES]
        index_of = {pair: index for index, pair in enumerate(pairs)}
        self._reverse = [index_of[j, k] for k, j in pairs]
        self._columns = border_columns(model)
        self._sizes = [model.code_sizes[k] for k, _ in pairs]
        self.own = [[index for index, (k, _) in enumerate(pairs) if k == part] for part in range(len(parts))]
        self.neighbours = [[pairs[index][1] for index in own] for own in self.own]
        maps = maps.reshape(model.code_size, -1, DIRECTIONS)
        self._maps = [
            np.ascontiguousarray(maps[model.part_slice(part)][:, own].reshape(model.code_sizes[part], -1))
            for part, own in enumerate(self.own)
        ]
        self._part_slices = [model.part_slice(part) for part in range(len(parts))]
        # Per part: which of its own vertices lie on a border, and the neighbours' weights there.
        self._places, self._weights = [], []
        for part, (vertices, _) in enumerate(parts):
            weights = model.weights[np.ix_(self.neighbours[part], vertices)].astype(np.float32)
            places = np.flatnonzero(weights.any(axis=0))
            self._places.append(places)
            self._weights.append(np.ascontiguousarray(weights[:, places]))

    def amounts(self, codes: np.ndarray) -> np.ndarray:
        """s of every pair (k, j): codes [B, D] to float32 [B, pairs]."""
        energies = np.empty((len(codes), len(self._reverse)), dtype=np.float32)
        for part, columns in enumerate(self._part_slices):
            energies[:, self.own[part]] = self.energies(codes[:, columns], part)
        return self.balance(energies)

    def energies(self, codes: np.ndarray, part: int) -> np.ndarray:
        """e of the pairs `own[part]`: codes of one part [B, Z_k] to float32 [B, pairs of the part], mm^2."""
        return squared_lengths(codes @ self._maps[part])

    def moves(self, code: np.ndarray) -> np.ndarray:
        """Vectors whose `squared_lengths` are e of all pairs: code float32 [D] to [pairs * DIRECTIONS], linearly."""
        result = np.empty((len(self._reverse), DIRECTIONS), dtype=np.float32)
        for part, columns in enumerate(self._part_slices):
            result[self.own[part]] = (code[columns] @ self._maps[part]).reshape(-1, DIRECTIONS)
        return result.ravel()

    def balance(self, energies: np.ndarray) -> np.ndarray:
        """e of all pairs to s of all pairs, both [B, pairs]."""
        others = energies[:, self._reverse]
        return self._strength * (energies - others) / (energies + others + self._floors)

    def apply(self, term: np.ndarray, amounts: np.ndarray, part: int) -> None:
        """Multiply a part's displacements of some faces [n, 3, B] by 1 + sum_j s_kj w_j, in place."""
        if self.own[part]:
            factors = self._weights[part].T @ amounts[:, self.own[part]].T
            factors += 1
            term[self._places[part]] *= factors[:, None]

    def rows(self, codes: np.ndarray) -> np.ndarray:
        """s_kj z_k of all pairs side by side, float32 [B, sum of Z_k]: coefficients of the w_j B_k."""
        return codes[:, self._columns] * np.repeat(self.amounts(codes), self._sizes, axis=1)


def squared_lengths(moves: np.ndarray) -> np.ndarray:
    """[B, pairs * DIRECTIONS] to [B, pairs]."""
    return (moves**2).reshape(len(moves), moves.shape[1] // DIRECTIONS, DIRECTIONS).sum(axis=2)
