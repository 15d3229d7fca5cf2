# SPDX-License-Identifier: GPL-3.0-or-later
"""Bases of the `local` preset fitted to each other.

Each part's basis is a PCA of its own region (`closed_form`), as if no other part were there. But where parts overlap,
a vertex is seen by the codes of all of them, and together these tell more of it. So at each vertex all bases that reach
it are fitted anew to what they leave there (`regression`). No basis reaches a vertex that it did not reach before.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from backend.local_arrays import part_arrays
from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder
from trainer.mesh.bending import natural_bending
from trainer.mesh.topology import polygon_edges, umbrella_laplacian

from .evaluation.metrics import squared_roughness
from .evaluation.mixing import donor_mixes, mix_codes
from .mirror import mirror_images
from .regression import BLOCK, Bases, Moments, signs_of
from .smooth_regression import SmoothRegression

log = logging.getLogger(__name__)

# From bold to careful: (penalty of mixes, penalty of bending), see `smooth_regression`. The second makes changes fade
# towards the edge of a part.
WAYS = ((0.05, 10.0), (0.2, 30.0), (1.0, 100.0), (5.0, 300.0))
MORE_BENDING = 0.06  # The 95th percentile over vertices of the seam of mixed faces may rise so much.
MIXES, FEW = 256, 16
LEAST_BENDING = 1e-2  # of the median, so that what never bends may bend a little


def refit(
    model: FaceModel, displacements: np.ndarray, rounds: int, image: np.ndarray | None = None
) -> FaceModel:
    """The model with bases that leave less of the faces, and whose mixes bend hardly more.

    Args:
        displacements: float32 [S, N, 3] mm, of the training faces; becomes what the model leaves of them.
        rounds: of finding codes with the bases so far, and bases for these codes.
        image: int [N], the mirror image of each vertex, if mirrored faces count too.
    """
    seam = Seam(model, displacements)
    codes = leave_residual(model, displacements)
    limit = seam(model, codes) + MORE_BENDING
    for _ in range(rounds):
        before = _mean_square(displacements)
        better = _better(model, displacements, codes, image, seam, limit, before)
        if better is None:
            log.info("Bases stay as they are: fitted to each other they would bend mixes more.")
            break
        give_back(model, displacements, codes)
        model = better
        codes = leave_residual(model, displacements)
        left = _mean_square(displacements) / max(before, 1e-30)
        log.info("Bases fitted to each other leave %.0f %% of the faces' squares.", 100 * left)
    return model


class Seam:
    """How much mixes of training faces bend: the metric `seam_p95`, on some of these faces."""

    def __init__(self, model: FaceModel, displacements: np.ndarray):
        edges = polygon_edges(model.polygon_sizes, model.polygon_vertices)
        self._laplacian = umbrella_laplacian(edges, model.vertex_count)
        self._mean = model.mean
        self._faces = min(len(displacements), MIXES)
        faces = (model.mean + displacements[rows] for rows in self._blocks(self._faces))
        self._natural = natural_bending(self._bending(faces), self._laplacian)
        self._bends = self._natural > 1e-8 * self._natural.max()

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """Q, [N, N]: x^T Q x is how a field x bends, |L x|^2, at each vertex as a multiple of what real faces have."""
        level = self._natural / self._faces
        least = LEAST_BENDING * np.median(level[self._bends]) if self._bends.any() else 1.0
        return self._laplacian.T @ sp.diags(1 / (level + least)) @ self._laplacian

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
    seam: Seam,
    limit: float,
    scale: float,
) -> FaceModel | None:
    """One round; None where mixes would bend more than the limit whatever the way.

    Args:
        scale: mean square of the residual, to which both penalties are relative.
    """
    bases = [part_arrays(model, part) for part in range(model.part_count)]
    reached, columns = [vertices for vertices, _ in bases], [model.part_slice(part) for part in range(len(bases))]
    parts, signs = np.repeat(np.arange(model.part_count), model.code_sizes), signs_of(bases, image)
    products = _symmetric(_products(residual, codes, bases), bases, signs, image)
    moments = Moments(codes, parts, signs)
    matrix = scale * seam.matrix
    for penalty, bending in WAYS:
        found = SmoothRegression(reached, columns, moments, penalty, bending * matrix).solve(products)
        changes = _symmetric(found, bases, signs, image)  # but for rounding they are
        arrays = {
            f"part{part}/basis": (basis + change).astype(np.float16)
            for part, ((_, basis), change) in enumerate(zip(bases, changes, strict=True))
        }
        better = dataclasses.replace(model, network=model.network | arrays)
        if seam(better, codes) <= limit:
            return better
    return None


def _mean_square(residual: np.ndarray) -> float:
    """Of distances [S, N, 3]; face by face, since squares of all would be another copy."""
    return sum(float(np.vdot(face, face)) for face in residual) / max(1, residual[:, :, 0].size)


def _products(residual: np.ndarray, codes: np.ndarray, bases: Bases) -> list[np.ndarray]:
    """E[z r^T] of each part, float64 [Z_k, n, 3]."""
    ends = np.cumsum([len(basis) for _, basis in bases])[:-1]
    result = [np.zeros(basis.shape) for _, basis in bases]
    for start in range(0, len(codes), BLOCK):
        block = residual[start : start + BLOCK]
        own = np.split(codes[start : start + BLOCK], ends, axis=1)
        for total, (vertices, _), z in zip(result, bases, own, strict=True):
            total += (z.T @ np.take(block, vertices, axis=1).reshape(len(z), -1)).reshape(total.shape)
    return [total / len(codes) for total in result]


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
