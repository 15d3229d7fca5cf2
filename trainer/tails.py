# SPDX-License-Identifier: GPL-3.0-or-later
"""Tails of the `local` preset: what the closed form leaves, predicted from the code of the whole face.

Bases are the principal components of what is left, part by part; `backend/tails.py` says what a model does with them.
Their coefficients come from the code by a linear map (`regression`), with the smallest penalty at which a part of
somebody else changes the others as little as is asked for.
"""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from backend.local_arrays import part_arrays
from backend.local_network import gram_matrix
from backend.model import FaceModel

from .closed_form import deviations, sizes_by_variance, weighted_basis
from .regression import BLOCK, Bases, Moments, held_out, signs_of, solve, subtract

log = logging.getLogger(__name__)

MOST_SHARE = 4  # By variance no part gets more than so many times its equal share.
LEAST = 1e-6  # mm; faces of which no more is left need no tails.
PENALTIES = tuple(10 ** (step / 4) for step in range(-16, 9))


def with_tails(
    model: FaceModel,
    residual: np.ndarray,
    codes: np.ndarray,
    count: int,
    most_leak: float,
    image: np.ndarray | None = None,
) -> FaceModel:
    """The model with tails, or as it is when these would not help faces that they were not fitted to.

    Args:
        residual: float32 [S, N, 3] mm, what the model leaves of the training faces; becomes what tails leave.
        codes: float32 [S, D] of these faces.
        count: components of a part, on average.
        most_leak: share of squared change that may lie in the tails of other parts when one part comes from somebody
            else, mean over parts.
        image: int [N], the mirror image of each vertex, if mirrored faces count too.
    """
    if np.abs(residual).max() < LEAST:
        return model
    tails = _bases(model, residual, count, image)
    wanted = _coefficients(tails, residual, model.network["mass"])
    matrix = _fit(model, tails, codes, wanted, most_leak, image)
    if matrix is None:
        log.info("What the closed form leaves cannot be told from the rest of a face: the model gets no tails.")
        return model
    subtract(residual, codes @ matrix.T, tails)
    arrays = {f"tail{part}/basis": basis.astype(np.float16) for part, (_, basis) in enumerate(tails)}
    return dataclasses.replace(model, network=model.network | arrays | {"tails/map": matrix})


def _bases(model: FaceModel, residual: np.ndarray, count: int, image: np.ndarray | None) -> Bases:
    """Vertices [n] and basis float32 [C_k, n, 3] of each part; numbers that float16 holds."""
    places = [part_arrays(model, part)[0] for part in range(model.part_count)]
    arrays = {}
    for part, (vertices, weight) in enumerate(zip(places, model.weights, strict=True)):
        arrays[f"part{part}/vertices"] = vertices
        arrays[f"part{part}/basis"] = weighted_basis(residual, vertices, weight, MOST_SHARE * count, image)
    sizes = sizes_by_variance(deviations(arrays, model.weights), count * model.part_count)
    bases = [arrays[f"part{part}/basis"][:size] for part, size in enumerate(sizes)]
    rounded = [basis.astype(np.float16).astype(np.float32) for basis in bases]
    return list(zip(places, rounded, strict=True))


def _coefficients(tails: Bases, residual: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """What residuals hold of the tails (least squares over the surface), float64 [S, C]."""
    products = np.empty((len(residual), sum(len(basis) for _, basis in tails)))
    for start in range(0, len(residual), BLOCK):
        weighted = residual[start : start + BLOCK] * mass[:, None]
        own = [
            np.take(weighted, vertices, axis=1).reshape(len(weighted), -1) @ basis.reshape(len(basis), -1).T
            for vertices, basis in tails
        ]
        products[start : start + BLOCK] = np.concatenate(own, axis=1)
    return solve(gram_matrix(tails, mass), products.T).T


def _fit(
    model: FaceModel, tails: Bases, codes: np.ndarray, wanted: np.ndarray, most_leak: float, image: np.ndarray | None
) -> np.ndarray | None:
    """T, float32 [C, D]: of those that leak no more than they may, the one that helps held-out faces most; None when
    none does."""
    mass = model.network["mass"]
    bases = [part_arrays(model, part) for part in range(model.part_count)]
    parts = np.repeat(np.arange(model.part_count), model.code_sizes)
    of_tail = np.repeat(np.arange(model.part_count), [len(basis) for _, basis in tails])
    gram, own_gram = gram_matrix(tails, mass), [gram_matrix([basis], mass) for basis in bases]
    of_code, alike = signs_of(bases, image), np.outer(signs_of(bases, image), signs_of(tails, image)) >= 0

    def fit(rows: np.ndarray, moments: Moments, penalty: float) -> np.ndarray:
        z = codes[rows].astype(np.float64)
        return moments.solve(alike * (z.T @ wanted[rows]) / len(z), penalty).T

    def leak(matrix: np.ndarray) -> float:
        """Share of squared change in other parts' tails when one part comes from somebody else, mean over parts."""
        shares = []
        for part, own in enumerate(own_gram):
            columns, others = parts == part, of_tail != part
            spread, given = everybody.apart[np.ix_(columns, columns)], matrix[np.ix_(others, columns)]
            elsewhere = np.vdot(gram[np.ix_(others, others)] @ given, given @ spread)
            shares.append(elsewhere / max(np.vdot(own, spread) + elsewhere, 1e-30))
        return float(np.mean(shares))

    def missed(matrix: np.ndarray) -> float:
        rest = wanted[judges] - codes[judges] @ matrix.T
        return float(np.vdot(rest @ gram, rest))

    judges, everyone = held_out(len(codes)), np.ones(len(codes), dtype=bool)
    if not judges.any():
        return None
    everybody, others = (Moments(codes[rows], parts, of_code) for rows in (everyone, ~judges))
    matrices = {penalty: fit(everyone, everybody, penalty) for penalty in PENALTIES}
    errors = {
        penalty: missed(fit(~judges, others, penalty)) for penalty, own in matrices.items() if leak(own) <= most_leak
    }
    before = missed(np.zeros((wanted.shape[1], codes.shape[1])))
    best = min(errors, key=errors.get, default=None)
    if best is None or errors[best] >= before:
        return None
    log.info(
        "Tails tell %.0f %% of what the closed form leaves of held-out faces, at a leak of %.5f (penalty %g).",
        *(100 * (1 - errors[best] / before), leak(matrices[best]), best),
    )
    return matrices[best].astype(np.float32)
