# SPDX-License-Identifier: GPL-3.0-or-later
"""Bases of the `local` preset fitted to each other.

Each part's basis is a PCA of its own region (`closed_form`), as if no other part were there. But where parts overlap,
a vertex is seen by the codes of all of them, and together these tell more of it. So at each vertex all bases that reach
it are fitted anew to what they leave there (`regression`). No basis reaches a vertex that it did not reach before.
"""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from backend.local_arrays import part_arrays
from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder

from .mirror import mirror_images
from .regression import BLOCK, Bases, Moments, held_out, signs_of, subtract

log = logging.getLogger(__name__)

# A smaller one leaves less, and more that bends at borders when parts are mixed; the larger one is for few faces.
PENALTIES = (0.2, 1.0)


def refit(
    model: FaceModel, displacements: np.ndarray, rounds: int, image: np.ndarray | None = None
) -> FaceModel:
    """The model with bases that leave less of faces that they were not fitted to; as it is where none do.

    Args:
        displacements: float32 [S, N, 3] mm, of the training faces; becomes what the model leaves of them.
        rounds: of finding codes with the bases so far, and bases for these codes.
        image: int [N], the mirror image of each vertex, if mirrored faces count too.
    """
    codes = leave_residual(model, displacements)
    for _ in range(rounds):
        better = _better(model, displacements, codes, image)
        if better is model:
            break
        give_back(model, displacements, codes)
        model = better
        codes = leave_residual(model, displacements)
    return model


def leave_residual(model: FaceModel, displacements: np.ndarray) -> np.ndarray:
    """Codes of some faces, float32 [S, D]; of their displacements [S, N, 3] remains what the model leaves, in place."""
    decoder, codes = NumpyDecoder(model), np.empty((len(displacements), model.code_size), dtype=np.float32)
    for start in range(0, len(displacements), BLOCK):
        block = displacements[start : start + BLOCK]
        codes[start : start + BLOCK] = decoder.encode(model.mean + block)
        block -= decoder.decode(codes[start : start + BLOCK]) - model.mean
    return codes


def give_back(model: FaceModel, residual: np.ndarray, codes: np.ndarray) -> None:
    """Undo `leave_residual`, in place."""
    decoder = NumpyDecoder(model)
    for start in range(0, len(residual), BLOCK):
        residual[start : start + BLOCK] += decoder.decode(codes[start : start + BLOCK]) - model.mean


def _better(model: FaceModel, residual: np.ndarray, codes: np.ndarray, image: np.ndarray | None) -> FaceModel:
    """One round; the model itself where bases would leave more of faces that they were not fitted to."""
    bases = [part_arrays(model, part) for part in range(model.part_count)]
    groups, judges = _groups(bases, model), held_out(len(codes))
    if not judges.any():
        return model
    parts, signs = np.repeat(np.arange(model.part_count), model.code_sizes), signs_of(bases, image)
    fields = [_symmetric(_products(residual, codes, rows, bases), bases, signs, image) for rows in (~judges, judges)]
    others = Moments(codes[~judges], parts, signs)

    def missed(changes: Bases | None) -> float:
        rest = residual[judges]
        if changes:
            subtract(rest, codes[judges], changes)
        return float((np.square(rest).sum(axis=2) @ model.network["mass"]).sum())

    of_others = [field / (~judges).sum() for field in fields[0]]
    errors = {p: missed(_changes(of_others, others, p, bases, groups, signs, image)) for p in PENALTIES}
    best, before = min(errors, key=errors.get), missed(None)
    if errors[best] >= before:
        log.info("Bases stay as they are: fitted to each other they would leave more of held-out faces.")
        return model
    log.info("Bases fitted to each other leave %.0f %% of held-out faces' squares.", 100 * errors[best] / before)
    of_all = [(own + more) / len(codes) for own, more in zip(*fields, strict=True)]
    changes = _changes(of_all, Moments(codes, parts, signs), best, bases, groups, signs, image)
    arrays = {
        f"part{part}/basis": (basis + change).astype(np.float16)
        for part, ((_, basis), (_, change)) in enumerate(zip(bases, changes, strict=True))
    }
    return dataclasses.replace(model, network=model.network | arrays)


def _groups(bases: Bases, model: FaceModel) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vertices that the same parts reach: for each such set the numbers of the parts, and the vertices."""
    reached = np.zeros((len(bases), model.vertex_count), dtype=bool)
    for part, (vertices, _) in enumerate(bases):
        reached[part, vertices] = True
    sets, which = np.unique(reached, axis=1, return_inverse=True)
    return [
        (np.flatnonzero(sets[:, number]), np.flatnonzero(which.ravel() == number))
        for number in range(sets.shape[1])
        if sets[:, number].any()
    ]


def _products(residual: np.ndarray, codes: np.ndarray, rows: np.ndarray, bases: Bases) -> list[np.ndarray]:
    """Sums of z r^T over some faces, bool [S]: for each part float64 [Z_k, n, 3]."""
    chosen, ends = np.flatnonzero(rows), np.cumsum([len(basis) for _, basis in bases])
    result = [np.zeros(basis.shape) for _, basis in bases]
    for start in range(0, len(chosen), BLOCK):
        block = residual[chosen[start : start + BLOCK]]
        own = np.split(codes[chosen[start : start + BLOCK]], ends[:-1], axis=1)
        for total, (vertices, _), z in zip(result, bases, own, strict=True):
            total += (z.T @ np.take(block, vertices, axis=1).reshape(len(z), -1)).reshape(total.shape)
    return result


def _symmetric(fields: list[np.ndarray], bases: Bases, signs: np.ndarray, image: np.ndarray | None) -> list[np.ndarray]:
    """Fields [Z_k, n, 3] of each part as faces and their mirror images together give them."""
    if image is None:
        return fields
    result, ends = [], np.cumsum([len(basis) for _, basis in bases])
    for field, (vertices, _), own in zip(fields, bases, np.split(signs, ends[:-1]), strict=True):
        if own.any():
            place = np.searchsorted(vertices, image[vertices])
            field = (field + own[:, None, None] * mirror_images(field, place)) / 2
        result.append(field)
    return result


def _changes(
    fields: list[np.ndarray],
    moments: Moments,
    penalty: float,
    bases: Bases,
    groups: list[tuple[np.ndarray, np.ndarray]],
    signs: np.ndarray,
    image: np.ndarray | None,
) -> Bases:
    """What bases change by: of each part vertices [n] and float32 [Z_k, n, 3].

    Args:
        fields: E[z r^T] of each part, [Z_k, n, 3].
    """
    ends = np.cumsum([len(basis) for _, basis in bases])
    columns = [np.arange(end - len(basis), end) for end, (_, basis) in zip(ends, bases, strict=True)]
    result = [np.zeros(field.shape) for field in fields]
    for parts, vertices in groups:
        places = [np.searchsorted(bases[part][0], vertices) for part in parts]
        wanted = np.concatenate([fields[part][:, place] for part, place in zip(parts, places, strict=True)])
        change = moments.solve(wanted, penalty, np.concatenate([columns[part] for part in parts]))
        starts = np.cumsum([len(columns[part]) for part in parts])[:-1]
        for part, place, own in zip(parts, places, np.split(change, starts), strict=True):
            result[part][:, place] = own
    exact = _symmetric(result, bases, signs, image)  # but for rounding they are
    return [(vertices, change.astype(np.float32)) for (vertices, _), change in zip(bases, exact, strict=True)]
