# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures are made of: the trained model, the test faces and their codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder
from backend.studio import Studio
from trainer.datasets.dataset import Dataset
from trainer.evaluation.metrics import in_blocks
from trainer.evaluation.testbed import TestBed

SEED = 0
SOURCES, TARGETS = 5, 11  # As in the paper.


@dataclass
class Subject:
    """A model and the faces to show it on.

    Attributes:
        model: trained, its prior fitted.
        dataset: that it was trained on.
        bed: its faces as metrics see them; LwaeError when there are no two test faces to mix.
    """

    model: FaceModel
    dataset: Dataset

    def __post_init__(self):
        self.bed = TestBed.of(self.dataset, SEED)

    def rng(self, purpose: int) -> np.random.Generator:
        """An independent generator for each purpose, the same in every report."""
        return self.bed.rng(purpose)

    @cached_property
    def studio(self) -> Studio:
        return Studio.of(self.model)

    @cached_property
    def decoder(self) -> NumpyDecoder:
        return NumpyDecoder(self.model)

    @property
    def test(self) -> np.ndarray:
        """Test faces, float32 [n, N, 3]."""
        return self.bed.test

    @cached_property
    def codes(self) -> np.ndarray:
        """Of the test faces, float32 [n, D]."""
        return in_blocks(self.decoder.encode, self.test)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes [B, D] to vertices float32 [B, N, 3], a few at a time."""
        return in_blocks(self.decoder.decode, codes)

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The test faces that are sources, and others that are targets, of the part combinations.

        The paper's 5 and 11, or as many in about that proportion as there are.
        """
        order = self.rng(1).permutation(len(self.test))
        sources = max(1, min(SOURCES, len(order) * SOURCES // (SOURCES + TARGETS)))
        return order[:sources], order[sources:][:TARGETS]

    def combinations(self, part: int) -> np.ndarray:
        """Codes of every target with one part of every source, float32 [targets, sources, D]."""
        sources, targets = self.pairs
        columns = self.model.part_slice(part)
        codes = np.repeat(self.codes[targets, None], len(sources), axis=1)
        codes[:, :, columns] = self.codes[sources][:, columns]
        return codes
