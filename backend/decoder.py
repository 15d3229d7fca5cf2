# SPDX-License-Identifier: GPL-3.0-or-later
"""What every decoder can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .errors import LwaeError
from .model import FaceModel


def checked_batch(model: FaceModel, batch: np.ndarray, what: str) -> np.ndarray:
    """Codes or vertices of some faces as float32, if they fit the model.

    Args:
        what: "codes" [B, D] or "vertices" [B, N, 3].

    Raises:
        LwaeError: when they have another shape, or are not finite.
    """
    shape = {"codes": (model.code_size,), "vertices": (model.vertex_count, 3)}[what]
    batch = np.asarray(batch, dtype=np.float32)
    if batch.shape[1:] != shape:
        raise LwaeError(
            f"The model {model.name!r} takes {what} of shape {list(shape)} per face, "
            f"but these have {list(batch.shape[1:])}; they belong to another model or mesh."
        )
    if not np.isfinite(batch).all():
        raise LwaeError(f"Some {what} are NaN or infinite; repair them before use.")
    return batch


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
