# SPDX-License-Identifier: GPL-3.0-or-later
"""Baselines that every model stands beside: one global linear code of the whole head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.model import FaceModel
from backend.prior import Prior

BLOCK_VERTICES = 4096


@dataclass(frozen=True)
class PCA:
    """Principal components of faces, largest first.

    Attributes:
        mean: float32 [N, 3].
        axes: float32 [R, 3N], orthonormal.
        deviations: float32 [R], standard deviation of the faces along each axis, mm.
    """

    mean: np.ndarray
    axes: np.ndarray
    deviations: np.ndarray

    def scores(self, vertices: np.ndarray, rank: int) -> np.ndarray:
        """Vertices [B, N, 3] to coordinates in standard deviations, float32 [B, rank]."""
        flat = (vertices - self.mean).reshape(len(vertices), -1)
        return flat @ self.axes[:rank].T / self.deviations[:rank]


def fit_pca(vertices: np.ndarray, faces: np.ndarray, rank: int) -> PCA:
    """PCA of some faces by their Gram matrix, a block of vertices at a time.

    Args:
        vertices: float32 [S, N, 3], may be memory-mapped.
        faces: which of them to use, int [n].
        rank: how many components; fewer come back when the faces do not span as many.
    """
    count = vertices.shape[1]
    blocks = [slice(start, start + BLOCK_VERTICES) for start in range(0, count, BLOCK_VERTICES)]
    mean = np.concatenate([vertices[faces, block].mean(axis=0, dtype=np.float64) for block in blocks])

    def centred(block: slice) -> np.ndarray:
        return (vertices[faces, block] - mean[block]).reshape(len(faces), -1)

    gram = np.zeros((len(faces), len(faces)))
    for block in blocks:
        part = centred(block)
        gram += part @ part.T
    values, vectors = np.linalg.eigh(gram)
    keep = np.flatnonzero(values > 1e-10 * values[-1])[::-1][: min(rank, len(faces) - 1)]
    lengths = np.sqrt(values[keep])
    axes = np.empty((len(keep), count * 3), dtype=np.float32)
    for block in blocks:
        axes[:, 3 * block.start : 3 * block.stop] = (vectors[:, keep] / lengths).T @ centred(block)
    return PCA(mean.astype(np.float32), axes, (lengths / np.sqrt(len(faces))).astype(np.float32))


class GlobalPCA:
    """One global code per face, mixed by compositing: x = mu + sum_k w_k * (A^T z^(k)).

    A global code has no parts, so it is given K copies of itself, and copy k decides what the local
    weights w_k show: mixing the parts of some faces composites their reconstructions, and encoding
    anything, a composite included, projects it on the global axes. So it goes through the same
    measurements as part codes do. The code size that it is charged with is that of one copy.
    """

    def __init__(self, pca: PCA, rank: int, reference: FaceModel):
        rank = min(rank, len(pca.axes))
        parts = reference.part_count
        self.code_size = rank
        self._inverse = (pca.axes[:rank] / pca.deviations[:rank, None]).T
        self._visible = [np.flatnonzero(weights > 0) for weights in reference.weights]
        shapes = (pca.axes[:rank] * pca.deviations[:rank, None]).reshape(rank, -1, 3)
        self._bases = [
            (shapes[:, vertices] * weights[vertices, None]).reshape(rank, -1)
            for vertices, weights in zip(self._visible, reference.weights, strict=True)
        ]
        self.model = FaceModel(
            header={"name": f"global PCA, {rank} numbers", "preset": "global"},
            mean=pca.mean,
            polygon_sizes=reference.polygon_sizes,
            polygon_vertices=reference.polygon_vertices,
            uv=reference.uv,
            polygon_material=reference.polygon_material,
            part_names=reference.part_names,
            code_sizes=[rank] * parts,
            weights=reference.weights,
            controls=[],
            prior=Prior(
                np.zeros(parts * rank, dtype=np.float32),
                np.tile(np.eye(rank, dtype=np.float32), (parts, 1)),
                0.0,
            ),
            network={},
        )

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """K copies of global codes, float32 [B, K * rank], to vertices float32 [B, N, 3] in mm."""
        result = np.zeros((len(codes), self.model.vertex_count, 3), dtype=np.float32)
        for part, (vertices, basis) in enumerate(zip(self._visible, self._bases, strict=True)):
            result[:, vertices] += (codes[:, self.model.part_slice(part)] @ basis).reshape(len(codes), -1, 3)
        return result + self.model.mean

    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices float32 [B, N, 3] in mm to K equal copies of their global code, float32 [B, K * rank]."""
        codes = (np.asarray(vertices, np.float32) - self.model.mean).reshape(
            len(vertices), -1
        ) @ self._inverse
        return np.tile(codes, (1, self.model.part_count))
