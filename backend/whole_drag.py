# SPDX-License-Identifier: GPL-3.0-or-later
"""A face of the `local` preset of which several parts have changed: by a slider of the whole face, a donor's amount.

With `LocalNumpy`'s terms T_k = B_k z_k the face is

    mean + sum_k T_k + sum_(k<j) s_kj (w_j T_k - w_k T_j) + blocks.

The terms are linear in the code, the blocks in their coefficients, and on the line through code space that a slider
is, both keep to few directions (`spans.Span`). So a drag combines a dozen fields of the face's own size instead of
reading all bases again. Where they are small, most of them are made at once when it begins, from codes further along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .residual_blocks import Coefficients
from .scatter import add_rows, take_rows
from .spans import Span

if TYPE_CHECKING:
    from .local_network import LocalNumpy

LEFT_OUT_MM = 4e-5  # The most by which a vertex may be misplaced for a direction that is left out.
CODE_DIRECTIONS, BLOCK_DIRECTIONS = 4, 16  # A line spans two; what blocks make of it, about nine.
AT_ONCE = 1 << 16  # coordinates of a face, up to which eight fields of blocks cost little more than two
AHEAD = np.array([-9, -6, -4, -2, -1, 0, 1, 2, 4, 6, 9])  # lengths of code; most sliders' whole way is from -9 to 9


class Border:
    """Where parts k and j of a pair share vertices.

    Attributes:
        pair: the number of s_kj.
        vertices: [n] of the mesh.
    """

    def __init__(self, network: LocalNumpy, k: int, j: int, pair: int):
        self.pair, weights = pair, network.model.weights
        own = [network.vertices[part][weights[other, network.vertices[part]] > 0] for part, other in ((k, j), (j, k))]
        self.vertices = np.union1d(*own)
        # For each of the two: its number, its places among its part's vertices and among the border's, what it counts.
        self._sides = []
        for part, other, sign in ((k, j, 1), (j, k, -1)):
            shared, here, there = np.intersect1d(self.vertices, network.vertices[part], return_indices=True)
            weight = (sign * weights[other, shared, None]).astype(np.float32)
            self._sides.append((part, here, there, weight))

    def difference(self, terms: list[np.ndarray]) -> np.ndarray:
        """w_j T_k - w_k T_j, float32 [n, 3], of all parts' terms."""
        result = np.zeros((len(self.vertices), 3), dtype=np.float32)
        for part, here, there, weight in self._sides:
            add_rows(result, here, take_rows(terms[part], there) * weight)
        return result


class WholeDrag:
    """Decodes one code after another, all parts of it."""

    def __init__(self, network: LocalNumpy):
        model = network.model
        self._network, self._mean, self._blocks = network, model.mean, network.residuals
        self._slices = [model.part_slice(k) for k in range(model.part_count)]
        shift = network.shift
        pairs = [
            (k, j, pair)
            for k, own in enumerate(shift.own if shift else [])
            for j, pair in zip(shift.neighbours[k], own, strict=True)
            if k < j
        ]
        self._borders = [Border(network, *pair) for pair in pairs]
        width = self._mean.size + 3 * sum(len(border.vertices) for border in self._borders)
        longest = _longest(self._mean, zip(network.vertices, network.bases, strict=True))
        self._linear = Span(self._of_code, model.code_size, width, LEFT_OUT_MM / longest, CODE_DIRECTIONS)
        if self._blocks:
            self._coefficients = Coefficients(self._blocks)
            longest = _longest(self._mean, [(block.vertices, block.basis) for block in self._blocks])
            size = self._coefficients.outputs[-1].stop
            self._bent = Span(self._of_blocks, size, self._mean.size, LEFT_OUT_MM / longest, BLOCK_DIRECTIONS)

    def forget(self) -> None:
        """Another line begins."""
        self._linear.forget()
        if self._blocks:
            self._bent.forget()

    def decode(self, code: np.ndarray, amounts: np.ndarray | None, heading: np.ndarray) -> np.ndarray:
        """One code float32 [D] to vertices float32 [N, 3] in mm, an array of the caller's own.

        Args:
            amounts: s of every pair (k, j), [1, pairs]; None where borders do not move.
            heading: float32 [D] of length 1, along the line that codes are on.
        """
        if self._linear.is_empty:
            self._linear.expect(np.stack([code, heading]))
            if self._blocks and self._mean.size <= AT_ONCE:
                ahead = code + AHEAD[:, None].astype(np.float32) * heading
                self._bent.expect(np.concatenate([block.coefficients(ahead) for block in self._blocks], axis=1))
        fields = self._linear(code)
        shown = fields[: self._mean.size].reshape(self._mean.shape)
        shown += self._mean
        if self._blocks:
            shown += self._bent(self._coefficients(code)).reshape(self._mean.shape)
        first = self._mean.size
        for border in self._borders:
            piece = fields[first : first + 3 * len(border.vertices)]
            first += len(piece)
            piece *= amounts[0, border.pair]
            add_rows(shown, border.vertices, piece.reshape(-1, 3))
        return shown

    def _of_code(self, codes: np.ndarray) -> np.ndarray:
        """sum_k T_k on the mesh, then w_j T_k - w_k T_j of every border, flat, of codes [n, D]."""
        network, result = self._network, []
        for code in codes:
            field, terms = np.zeros_like(self._mean), []
            for columns, vertices, basis in zip(self._slices, network.vertices, network.bases, strict=True):
                terms.append((code[columns] @ basis).reshape(-1, 3))
                add_rows(field, vertices, terms[-1])
            of_borders = [border.difference(terms).ravel() for border in self._borders]
            result.append(np.concatenate([field.ravel(), *of_borders]))
        return np.stack(result)

    def _of_blocks(self, coefficients: np.ndarray) -> np.ndarray:
        """What blocks add to the mesh, flat, of coefficients [n, all blocks']."""
        # With the fields last, what a vertex gets of all of them is one row of memory.
        fields = np.zeros((*self._mean.shape, len(coefficients)), dtype=np.float32)
        for block, own in zip(self._blocks, self._coefficients.outputs, strict=True):
            added = (block.basis.T @ coefficients[:, own].T).reshape(-1, *fields.shape[1:])
            if len(coefficients) == 1:
                add_rows(fields[..., 0], block.vertices, added[..., 0])
            else:
                fields[block.vertices] += added
        return np.ascontiguousarray(fields.reshape(-1, len(coefficients)).T)


def _longest(mean: np.ndarray, bases) -> float:
    """How far a vector of length 1 can move a vertex through (vertices [n], basis [rows, 3n]) side by side, mm."""
    squares = np.full(len(mean), 1e-12)
    for vertices, basis in bases:
        squares[vertices] += np.einsum("rc,rc->c", basis, basis).reshape(-1, 3).sum(axis=1)
    return float(np.sqrt(squares.max(initial=1e-12)))
