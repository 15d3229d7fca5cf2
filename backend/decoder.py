# SPDX-License-Identifier: GPL-3.0-or-later
"""What every decoder can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .model import FaceModel


class Decoder(Protocol):
    """Codes to vertices and back, for one model.

    All decoders of one model agree to 1e-4 mm.
    """

    model: FaceModel

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes float32 [B, D] to vertices float32 [B, N, 3] in mm."""
        ...

    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices float32 [B, N, 3] in mm, in the model's frame, to codes float32 [B, D]."""
        ...
