# SPDX-License-Identifier: GPL-3.0-or-later
"""What all models are measured on: the faces, statistics of the training faces, and the seed of the mixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backend.decoder import Decoder
from backend.errors import LwaeError
from trainer.datasets.dataset import Dataset
from trainer.mesh.topology import cotangent_laplacian, polygon_edges, triangulate, umbrella_laplacian

from . import metrics
from .baselines import PCA, fit_pca
from .metrics import BLOCK_FACES, in_blocks

SCORES = 64  # Principal components that classifiers see, and numbers of the small global code.


@dataclass
class TestBed:
    """Test and training faces, and what is computed of them once for all models.

    Attributes:
        seed: of mixes, samples and intervals.
        pca: of the training faces, with at least `SCORES` components where they span as many.
    """

    __test__ = False  # Not a test, whatever pytest makes of the name.

    dataset: Dataset
    seed: int
    pca: PCA

    @classmethod
    def of(cls, dataset: Dataset, seed: int, rank: int = 0) -> TestBed:
        """
        Args:
            rank: components that the global codes need.

        Raises:
            LwaeError: when there are no two test faces to mix, or some are not finite.
        """
        if len(dataset.test) < 2:
            raise LwaeError(
                f"The data set {dataset.path} has {len(dataset.test)} test face, too few to mix parts of different "
                "people; prepare one with more faces (14 at least, better hundreds)."
            )
        return cls(dataset, seed, fit_pca(dataset.vertices, dataset.train, max(SCORES, rank)))

    def rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, purpose]))

    @cached_property
    def test(self) -> np.ndarray:
        """Test faces, float32 [n, N, 3]."""
        return self.dataset.faces(self.dataset.test)

    def train_blocks(self) -> Iterator[np.ndarray]:
        """Training faces, a few at a time, float32 [b, N, 3]."""
        for start in range(0, len(self.dataset.train), BLOCK_FACES):
            yield self.dataset.faces(self.dataset.train[start : start + BLOCK_FACES])

    def train_codes(self, decoder: Decoder) -> np.ndarray:
        """Codes of the training faces, float32 [S, D]."""
        return np.concatenate([decoder.encode(block) for block in self.train_blocks()])

    def scores(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices [B, N, 3] to principal component scores of the training faces, in standard deviations."""
        return self.pca.scores(vertices, SCORES)

    @cached_property
    def train_scores(self) -> np.ndarray:
        return np.concatenate([self.scores(block) for block in self.train_blocks()])

    @cached_property
    def test_scores(self) -> np.ndarray:
        return in_blocks(self.scores, self.test)

    @cached_property
    def triangles(self) -> np.ndarray:
        """int [T, 3]."""
        return triangulate(self.dataset.template.polygon_sizes, self.dataset.template.polygon_vertices)

    @cached_property
    def laplacians(self) -> dict:
        polygons = self.dataset.template.polygon_sizes, self.dataset.template.polygon_vertices
        mean = self.pca.mean
        return {
            "seam": umbrella_laplacian(polygon_edges(*polygons), len(mean)),
            "seam_cotangent": cotangent_laplacian(mean, self.triangles),
        }

    @cached_property
    def real_roughness(self) -> dict[str, np.ndarray]:
        return {
            name: metrics.squared_roughness(laplacian, self.test, self.pca.mean)
            for name, laplacian in self.laplacians.items()
        }

    @cached_property
    def real_distances(self) -> np.ndarray:
        """Of each two test faces, [n, n]."""
        return metrics.pairwise_distances(self.test, self.pca.mean)

    @cached_property
    def real_specificity(self) -> float:
        return float(metrics.nearest_distances(self.test, self.train_blocks(), self.pca.mean).mean())
