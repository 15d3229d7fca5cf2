# SPDX-License-Identifier: GPL-3.0-or-later
"""Bases of the `local` preset fitted to each other.

Each part's basis is a PCA of its own region (`closed_form`), as if no other part were there. But where parts overlap,
a vertex is seen by the codes of all of them, and together these tell more of it. So at each vertex all bases that reach
it are fitted anew to what they leave there (`regression`). No basis reaches a vertex that it did not reach before.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np

from backend.local_arrays import part_arrays
from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder
from trainer.mesh.topology import polygon_edges, umbrella_laplacian

from .evaluation.metrics import squared_roughness
from .evaluation.mixing import donor_mixes, mix_codes
from .mirror import mirror_images
from .regression import BLOCK, Bases, Moments, held_out, signs_of, subtract

log = logging.getLogger(__name__)

# From bold to careful. A part's basis pays the penalty times 1 + (fade / w)^2 where the part's weight is w: with a fade
# nothing jumps where a part ends.
WAYS = ((0.2, 0.0), (0.2, 0.1), (1.0, 0.1), (5.0, 0.1))  # (penalty, fade)
MORE_BENDING = 0.06  # The 95th percentile over vertices of the seam of mixed faces may rise so much.
MIXES, FEW = 256, 16


def refit(
    model: FaceModel, displacements: np.ndarray, rounds: int, image: np.ndarray | None = None
) -> FaceModel:
    """The model with bases that leave less of faces that they were not fitted to, and whose mixes bend hardly more.

    Args:
        displacements: float32 [S, N, 3] mm, of the training faces; becomes what the model leaves of them.
        rounds: of finding codes with the bases so far, and bases for these codes.
        image: int [N], the mirror image of each vertex, if mirrored faces count too.
    """
    seam = Seam(model, displacements)
    codes = leave_residual(model, displacements)
    limit = seam(model, codes) + MORE_BENDING
    for _ in range(rounds):
        better = _better(model, displacements, codes, image, lambda one, z=codes: seam(one, z) <= limit)
        if better is None:
            break
        give_back(model, displacements, codes)
        model = better
        codes = leave_residual(model, displacements)
    return model


class Seam:
    """How much mixes of training faces bend: the metric `seam_p95`, on some of these faces."""

    def __init__(self, model: FaceModel, displacements: np.ndarray):
        edges = polygon_edges(model.polygon_sizes, model.polygon_vertices)
        self._laplacian = umbrella_laplacian(edges, model.vertex_count)
        self._mean = model.mean
        self._natural = self._bending(model.mean + displacements[rows] for rows in self._blocks(len(displacements)))
        self._bends = self._natural > 1e-8 * self._natural.max()

    def __call__(self, model: FaceModel, codes: np.ndarray) -> float:
        """Of a model and its codes of all training faces, float32 [S, D]; 0 where no face bends anywhere."""
        if not self._bends.any():
            return 0.0
        donors = donor_mixes(np.random.default_rng(0), len(codes), model.part_count)[:MIXES]
        mixed, decoder = mix_codes(model, codes, donors), NumpyDecoder(model)
        rough = self._bending(decoder.decode(mixed[rows]) for rows in self._blocks(len(codes)))
        return float(np.percentile(np.sqrt(rough[self._bends] / self._natural[self._bends]), 95))


    @staticmethod
    def _blocks(faces: int) -> list[slice]:
        """A few faces at a time, of those that are looked at."""
        return [slice(start, start + FEW) for start in range(0, min(faces, MIXES), FEW)]

    def _bending(self, blocks: Iterator[np.ndarray]) -> np.ndarray:
        """Sum over faces, which come in blocks [b, N, 3], of |L (x - mean)|^2: [N]."""
        return sum(squared_roughness(self._laplacian, block, self._mean).sum(axis=0) for block in blocks)


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


def _better(
    model: FaceModel,
    residual: np.ndarray,
    codes: np.ndarray,
    image: np.ndarray | None,
    is_smooth: Callable[[FaceModel], bool],
) -> FaceModel | None:
    """One round; None where bases would leave more of faces that they were not fitted to, or would not be smooth."""
    bases = [part_arrays(model, part) for part in range(model.part_count)]
    groups, judges = _groups(bases, model), held_out(len(codes))
    if not judges.any():
        return None
    parts, signs = np.repeat(np.arange(model.part_count), model.code_sizes), signs_of(bases, image)
    fields = [_symmetric(_products(residual, codes, rows, bases), bases, signs, image) for rows in (~judges, judges)]
    others = Moments(codes[~judges], parts, signs)

    def missed(changes: Bases | None) -> float:
        rest = residual[judges]
        if changes:
            subtract(rest, codes[judges], changes)
        return float((np.square(rest).sum(axis=2) @ model.network["mass"]).sum())

    everybody, before = Moments(codes, parts, signs), missed(None)
    of_others = [field / (~judges).sum() for field in fields[0]]
    of_all = [(own + more) / len(codes) for own, more in zip(*fields, strict=True)]
    for way in WAYS:
        left = missed(_changes(model, of_others, others, way, groups, signs, image)) / max(before, 1e-30)
        if left >= 1:
            continue
        changes = _changes(model, of_all, everybody, way, groups, signs, image)
        arrays = {
            f"part{part}/basis": (basis + change).astype(np.float16)
            for part, ((_, basis), (_, change)) in enumerate(zip(bases, changes, strict=True))
        }
        better = dataclasses.replace(model, network=model.network | arrays)
        if is_smooth(better):
            log.info("Bases fitted to each other leave %.0f %% of held-out faces' squares (%g, %g).", 100 * left, *way)
            return better
    log.info("Bases stay as they are: fitted to each other they would leave no less, or bend more.")
    return None


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
    model: FaceModel,
    fields: list[np.ndarray],
    moments: Moments,
    way: tuple[float, float],
    groups: list[tuple[np.ndarray, np.ndarray]],
    signs: np.ndarray,
    image: np.ndarray | None,
) -> Bases:
    """What bases change by: of each part vertices [n] and float32 [Z_k, n, 3].

    Args:
        fields: E[z r^T] of each part, [Z_k, n, 3].
        way: of `WAYS`.
    """
    bases, (penalty, fade) = [part_arrays(model, part) for part in range(model.part_count)], way
    columns = [np.arange(model.code_size)[model.part_slice(part)] for part in range(model.part_count)]
    result = [np.zeros(field.shape) for field in fields]
    for parts, vertices in groups:
        places = [np.searchsorted(bases[part][0], vertices) for part in parts]
        wanted = np.concatenate([fields[part][:, place] for part, place in zip(parts, places, strict=True)])
        own = np.concatenate([columns[part] for part in parts])
        sizes = [len(columns[part]) for part in parts]
        if fade:
            weights = np.maximum(model.weights[np.ix_(parts, vertices)], 1e-6)
            penalties = np.repeat(penalty * (1 + (fade / weights) ** 2), sizes, axis=0).T
            rows = zip(wanted.swapaxes(0, 1), penalties, strict=True)
            change = np.stack([moments.solve(at_vertex, own_penalty, own) for at_vertex, own_penalty in rows], axis=1)
        else:
            change = moments.solve(wanted, penalty, own)
        for part, place, rows in zip(parts, places, np.split(change, np.cumsum(sizes)[:-1]), strict=True):
            result[part][:, place] = rows
    exact = _symmetric(result, bases, signs, image)  # but for rounding they are
    return [(vertices, change.astype(np.float32)) for (vertices, _), change in zip(bases, exact, strict=True)]
