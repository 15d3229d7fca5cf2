# SPDX-License-Identifier: GPL-3.0-or-later
"""What the code has no room for, as far as the code of the whole face tells it.

A part's code holds the leading components of its own region. What they leave, its tail, is small, and in people it goes
with all the rest: the codes of all parts together tell most of it. So a model may have further bases on each part's
vertices, whose coefficients are linear in the whole code,

    x = ... + sum_k B'_k t_k,    t = T z.

T is fitted so that it says next to nothing of how parts of different people are combined (`trainer/tails.py`): moving
one part moves the others by hundredths of a millimetre.
"""

from __future__ import annotations

import numpy as np

from .local_arrays import tail_arrays
from .model import FaceModel
from .residual_blocks import slices
from .scatter import add_rows
from .spans import Span

LEFT_OUT_MM = 2e-5  # The most by which a vertex may be misplaced for a direction that is left out.
DIRECTIONS = 4  # A line spans two.


class Tails:
    """The tails of one model; of a model without them, nothing.

    Attributes:
        vertices: of each part, [n] of the mesh.
        bases: of each part, float32 [C_k, 3n] mm.
        runs: where each part's coefficients are among all of them.
        lift: float32 [D, sum of C_k], T transposed.
    """

    def __init__(self, model: FaceModel):
        parts, matrix = tail_arrays(model)
        self.vertices = [vertices for vertices, _ in parts]
        self.bases = [basis.reshape(len(basis), basis.shape[1] * 3) for _, basis in parts]
        self.runs = slices(len(basis) for basis in self.bases)
        self.lift = np.ascontiguousarray(matrix.T)
        self._shape = model.mean.shape
        self._span: Span | None = None

    def __bool__(self) -> bool:
        return self.lift.shape[1] > 0

    def field(self, codes: np.ndarray) -> np.ndarray:
        """What tails add to some faces: codes float32 [n, D] to float32 [n, 3N] in mm."""
        coefficients, result = codes @ self.lift, np.zeros((len(codes), *self._shape), dtype=np.float32)
        for own, face in zip(coefficients, result, strict=True):
            for vertices, basis, run in zip(self.vertices, self.bases, self.runs, strict=True):
                add_rows(face, vertices, (own[run] @ basis).reshape(-1, 3))
        return result.reshape(len(codes), -1)

    def along(self, code: np.ndarray, goes_on: bool) -> np.ndarray:
        """What tails add to one face after another, float32 [N, 3] in mm, an array of the caller's own.

        Args:
            code: float32 [D].
            goes_on: the code is on its way along a line, as a slider's; others are worked out as if nothing were known.
        """
        if not goes_on:
            if self._span:
                self._span.forget()
            return self.field(code[None]).reshape(self._shape)
        if self._span is None:
            tolerance = LEFT_OUT_MM / self._longest()
            self._span = Span(self.field, len(self.lift), int(np.prod(self._shape)), tolerance, DIRECTIONS)
        return self._span(code).reshape(self._shape)

    def _longest(self) -> float:
        """No code of length 1 moves a vertex further, mm."""
        squares = np.full(self._shape[0], 1e-12)
        for vertices, basis in zip(self.vertices, self.bases, strict=True):
            squares[vertices] += np.einsum("rc,rc->c", basis, basis).reshape(-1, 3).sum(axis=1)
        return float(np.sqrt(squares.max()) * max(np.linalg.norm(self.lift, 2), 1e-6))
