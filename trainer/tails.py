# SPDX-License-Identifier: GPL-3.0-or-later
"""Tails of the `local` preset: what the closed form leaves, predicted from the code of the whole face.

Bases are the principal components of what is left, part by part; `backend/tails.py` says what a model does with them.
Their coefficients t come from the code z by a linear map T that minimises

    E|t - T z|^2 + penalty E|T z'|^2,    T = E[t z^T] (C + penalty M)^-1,

z' being codes whose parts come from different people: C = E[z z^T], and M is C without what parts have to do with one
another. People agree in hundreds of directions in which strangers' parts do not, so little of what real faces leave is
lost, while what one part does to the others stays as small as is asked for: the penalty is found by that.
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
PENALTIES = tuple(10 ** (step / 4) for step in range(-16, 9))  # The smallest that leaks little enough is the best,
HELD_OUT = 10  # unless few faces make the map unsure: every so many of them judge that.


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


def _coefficients(tails: list, residual: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """What residuals hold of the tails (least squares over the surface), float64 [S, C]."""
    products = np.empty((len(residual), _ends(tails)[-1]))
    for start in range(0, len(residual), BLOCK):
        weighted = residual[start : start + BLOCK] * mass[:, None]
        own = [
            np.take(weighted, vertices, axis=1).reshape(len(weighted), -1) @ basis.reshape(len(basis), -1).T
            for vertices, basis in tails
        ]
        products[start : start + BLOCK] = np.concatenate(own, axis=1)
    return _solve(gram_matrix(tails, mass), products.T).T


@dataclasses.dataclass
class _Moments:
    """What is known of codes z and tails' coefficients t: all that T depends on.

    Attributes:
        codes: E[z z^T], [D, D].
        told: E[t z^T], [C, D].
        apart: E[z z^T] where parts come from different people, [D, D].
    """

    codes: np.ndarray
    told: np.ndarray
    apart: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray, wanted: np.ndarray, signs: tuple, parts: np.ndarray) -> _Moments:
        """
        Args:
            codes: [S, D].
            wanted: [S, C].
            signs: of the numbers of a code and of the tails' coefficients, 1 and -1 where these are even and odd: among
                faces and their mirror images they have nothing in common.
            parts: int [D].
        """
        z, (of_code, of_tails) = codes.astype(np.float64), signs
        moments = (np.outer(of_code, of_code) >= 0) * (z.T @ z) / len(z)
        told = (np.outer(of_tails, of_code) >= 0) * (wanted.T @ z) / len(z)
        return cls(moments, told, (parts[:, None] == parts) * moments)

    def fit(self, penalty: float) -> np.ndarray:
        """T, [C, D]."""
        return _solve(self.codes + penalty * self.apart, self.told.T).T


def _signs(bases: list, image: np.ndarray | None) -> np.ndarray:
    """1 for even fields and -1 for odd ones; 0 for those of parts that have no mirror image."""
    found = [None if image is None else parity(vertices, basis, image) for vertices, basis in bases]
    return np.concatenate([np.zeros(len(b)) if s is None else s for s, (_, b) in zip(found, bases, strict=True)])


def _fit(
    model: FaceModel, tails: list, codes: np.ndarray, wanted: np.ndarray, most_leak: float, image: np.ndarray | None
) -> np.ndarray | None:
    """T, float32 [C, D]: of those that leak no more than they may, the one that helps held-out faces most; None when
    none does."""
    mass = model.network["mass"]
    bases = [part_arrays(model, part) for part in range(model.part_count)]
    parts = np.repeat(np.arange(model.part_count), model.code_sizes)
    of_tail = np.repeat(np.arange(model.part_count), [len(basis) for _, basis in tails])
    gram, own_gram = gram_matrix(tails, mass), [gram_matrix([basis], mass) for basis in bases]
    signs = _signs(bases, image), _signs(tails, image)

    def leak(matrix: np.ndarray, moments: _Moments) -> float:
        """Share of squared change in other parts' tails when one part comes from somebody else, mean over parts."""
        shares = []
        for part, own in enumerate(own_gram):
            columns, others = parts == part, of_tail != part
            spread, given = moments.apart[np.ix_(columns, columns)], matrix[np.ix_(others, columns)]
            elsewhere = np.vdot(gram[np.ix_(others, others)] @ given, given @ spread)
            shares.append(elsewhere / max(np.vdot(own, spread) + elsewhere, 1e-30))
        return float(np.mean(shares))

    def missed(matrix: np.ndarray) -> float:
        rest = wanted[held_out] - codes[held_out] @ matrix.T
        return float(np.vdot(rest @ gram, rest))

    held_out = np.arange(len(codes)) % HELD_OUT == HELD_OUT - 1
    if not held_out.any():
        return None
    everybody = _Moments.of(codes, wanted, signs, parts)
    others = _Moments.of(codes[~held_out], wanted[~held_out], signs, parts)
    matrices = [(penalty, everybody.fit(penalty)) for penalty in PENALTIES]
    errors = {penalty: missed(others.fit(penalty)) for penalty, own in matrices if leak(own, everybody) <= most_leak}
    everything = missed(np.zeros_like(everybody.told))
    best = min(errors, key=errors.get, default=None)
    if best is None or errors[best] >= everything:
        return None
    chosen, share = dict(matrices)[best], 1 - errors[best] / everything
    log.info(
        "Tails tell %.0f %% of what the closed form leaves of held-out faces, at a leak of %.5f (penalty %g).",
        *(100 * share, leak(chosen, everybody), best),
    )
    return chosen.astype(np.float32)


def _solve(gram: np.ndarray, products: np.ndarray) -> np.ndarray:
    """gram^-1 products, where directions of which there is next to nothing count nothing."""
    least = 1e-9 * np.trace(gram) / len(gram)
    return np.linalg.solve(gram + least * np.eye(len(gram)), products)
