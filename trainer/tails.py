# SPDX-License-Identifier: GPL-3.0-or-later
"""Tails of the `local` preset: what the closed form leaves, predicted from the code of the whole face.

Bases are the principal components of what is left, part by part; `backend/tails.py` says what a model does with them.
Their coefficients t come from the code z by a linear map T that minimises

    E|t - T z|^2 + penalty E|T z'|^2,    T = E[t z^T] (C + penalty M)^-1,

z' being codes whose parts come from different people: C = E[z z^T], and M is C without what parts have to do with one
another. People agree in hundreds of directions in which strangers' parts do not, so little of what real faces leave is
lost, while what one part does to the others stays small.
"""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from backend.local_arrays import part_arrays
from backend.local_network import gram_matrix
from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder

from .closed_form import deviations, sizes_by_variance, weighted_basis
from .equivariance import parity

log = logging.getLogger(__name__)

BLOCK = 64
MOST_SHARE = 4  # By variance no part gets more than so many times its equal share.
LEAST = 1e-6  # mm; faces of which no more is left need no tails.
STRICTER = (1, 10, 100)  # Times the penalty, where few faces make the map unsure.
HELD_OUT = 10  # Every so many training faces judge that.


def leave_residual(model: FaceModel, displacements: np.ndarray) -> np.ndarray:
    """Codes of some faces, float32 [S, D]; of their displacements [S, N, 3] remains what the model leaves, in place."""
    decoder, codes = NumpyDecoder(model), np.empty((len(displacements), model.code_size), dtype=np.float32)
    for start in range(0, len(displacements), BLOCK):
        block = displacements[start : start + BLOCK]
        codes[start : start + BLOCK] = decoder.encode(model.mean + block)
        block -= decoder.decode(codes[start : start + BLOCK]) - model.mean
    return codes


def with_tails(
    model: FaceModel,
    residual: np.ndarray,
    codes: np.ndarray,
    count: int,
    penalty: float,
    image: np.ndarray | None = None,
) -> FaceModel:
    """The model with tails, or as it is when these would not help faces that they were not fitted to.

    Args:
        residual: float32 [S, N, 3] mm, what the model leaves of the training faces; becomes what tails leave.
        codes: float32 [S, D] of these faces.
        count: components of a part, on average.
        penalty: of what parts of different people do to each other, as a share of what they have in common.
        image: int [N], the mirror image of each vertex, if mirrored faces count too.
    """
    if np.abs(residual).max() < LEAST:
        return model
    tails = _bases(model, residual, count, image)
    wanted, gram = _coefficients(tails, residual, model.network["mass"])
    matrix = _fit(codes, wanted, gram, penalty, *_masks(model, tails, image))
    if matrix is None:
        log.info("What the closed form leaves cannot be told from the rest of a face: the model gets no tails.")
        return model
    for start in range(0, len(residual), BLOCK):
        told = codes[start : start + BLOCK] @ matrix.T
        for (vertices, basis), own in zip(tails, np.split(told, _ends(tails)[:-1], axis=1), strict=True):
            field = own @ basis.reshape(len(basis), 3 * len(vertices))
            residual[start : start + BLOCK, vertices] -= field.reshape(len(own), len(vertices), 3)
    arrays = {f"tail{part}/basis": basis.astype(np.float16) for part, (_, basis) in enumerate(tails)}
    return dataclasses.replace(model, network=model.network | arrays | {"tails/map": matrix})


def _bases(model: FaceModel, residual: np.ndarray, count: int, image: np.ndarray | None) -> list:
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


def _ends(tails: list) -> np.ndarray:
    return np.cumsum([len(basis) for _, basis in tails])


def _coefficients(tails: list, residual: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What residuals hold of the tails (least squares over the surface), float64 [S, C], and the tails' inner products,
    float64 [C, C]."""
    products = np.empty((len(residual), _ends(tails)[-1]))
    for start in range(0, len(residual), BLOCK):
        weighted = residual[start : start + BLOCK] * mass[:, None]
        own = [
            np.take(weighted, vertices, axis=1).reshape(len(weighted), -1) @ basis.reshape(len(basis), -1).T
            for vertices, basis in tails
        ]
        products[start : start + BLOCK] = np.concatenate(own, axis=1)
    gram = gram_matrix(tails, mass)
    return _solve(gram, products.T).T, gram


def _masks(model: FaceModel, tails: list, image: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is known to be 0, as 0 among ones: of E[z z^T] where parts come from different people, [D, D]; of that and
    of E[t z^T], [C, D], among faces and their mirror images, where even and odd numbers have nothing in common."""
    parts = np.repeat(np.arange(model.part_count), model.code_sizes)
    same_part = (parts[:, None] == parts).astype(np.float64)
    if image is None:
        return same_part, np.ones_like(same_part), np.ones((_ends(tails)[-1], len(parts)))

    def signs(bases: list) -> np.ndarray:
        found = [parity(vertices, basis, image) for vertices, basis in bases]
        return np.concatenate([np.zeros(len(b)) if s is None else s for s, (_, b) in zip(found, bases, strict=True)])

    of_code = signs([part_arrays(model, part) for part in range(model.part_count)])
    alike, told = (np.outer(own, of_code) >= 0 for own in (of_code, signs(tails)))
    return same_part, alike.astype(np.float64), told.astype(np.float64)


def _fit(
    codes: np.ndarray,
    wanted: np.ndarray,
    gram: np.ndarray,
    penalty: float,
    same_part: np.ndarray,
    alike: np.ndarray,
    told: np.ndarray,
) -> np.ndarray | None:
    """T, float32 [C, D], by the penalty that helps held-out faces most; None when none does."""

    def solve(chosen: np.ndarray, strength: float) -> np.ndarray:
        z = codes[chosen].astype(np.float64)
        moments = alike * (z.T @ z) / len(z)
        return told * _solve(moments + strength * same_part * moments, (told * (wanted[chosen].T @ z) / len(z)).T).T

    held_out = np.arange(len(codes)) % HELD_OUT == HELD_OUT - 1
    if not held_out.any():
        return None

    def left(matrix: np.ndarray) -> float:
        rest = wanted[held_out] - codes[held_out] @ matrix.T
        return float(np.vdot(rest @ gram, rest))

    everything = left(np.zeros_like(told))
    errors = {strict: left(solve(~held_out, penalty * strict)) for strict in STRICTER}
    best = min(errors, key=errors.get)
    if errors[best] >= everything:
        return None
    share = 100 * (1 - errors[best] / everything)
    log.info("Tails tell %.0f %% of what the closed form leaves of held-out faces (penalty %g).", share, penalty * best)
    return solve(np.ones_like(held_out), penalty * best).astype(np.float32)


def _solve(gram: np.ndarray, products: np.ndarray) -> np.ndarray:
    """gram^-1 products, where directions of which there is next to nothing count nothing."""
    least = 1e-9 * np.trace(gram) / len(gram)
    return np.linalg.solve(gram + least * np.eye(len(gram)), products)
