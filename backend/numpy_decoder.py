# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder that is always there."""

from __future__ import annotations

import threading

import numpy as np

from .decoder import checked_batch
from .errors import LwaeError
from .local_network import LocalNumpy
from .model import FaceModel
from .paper_network import PaperNumpy

NETWORKS = {"local": LocalNumpy, "paper": PaperNumpy}


class NumpyDecoder:
    """Decodes and encodes with NumPy alone.

    Results for a face do not depend on the other faces of the batch beyond rounding; for the same bytes decode
    in the same blocks (`synthesis.BLOCK`).
    """

    def __init__(self, model: FaceModel):
        if model.preset not in NETWORKS:
            raise LwaeError(f"This version cannot run the preset {model.preset!r}; please update the add-on.")
        self.model = model
        self._network = NETWORKS[model.preset](model)
        self._lock = threading.RLock()

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes float32 [B, D] to vertices float32 [B, N, 3] in mm.

        Raises:
            LwaeError: when the codes have another length than this model's, or are not finite.
        """
        return self._network.decode(checked_batch(self.model, codes, "codes"))

    def decode_one(self, code: np.ndarray) -> np.ndarray:
        """One code float32 [D] to vertices float32 [N, 3] in mm; remembers the parts of the last code.

        May be called from any thread: a render and the window decode at once.
        """
        code = checked_batch(self.model, np.asarray(code)[None], "codes")[0]
        with self._lock:
            return self._network.decode_one(code)

    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices float32 [B, N, 3] in mm, in the model's frame, to codes float32 [B, D].

        Raises:
            LwaeError: when the vertex count is not the model's, a position is not finite, or the encoder gives no code.
        """
        vertices = checked_batch(self.model, vertices, "vertices")
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            codes = self._network.encode(vertices)
        if not np.isfinite(codes).all():
            raise LwaeError(
                f"The encoder of the model {self.model.name!r} gives no finite code for these vertices; bring them to "
                "the size of a face, or use another model."
            )
        return codes
