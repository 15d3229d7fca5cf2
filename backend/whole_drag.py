# SPDX-License-Identifier: GPL-3.0-or-later
"""A face of the `local` preset of which several parts have changed: by a slider of the whole face, a donor's amount.

With `LocalNumpy`'s terms T_k = B_k z_k the face is

    mean + sum_k T_k + sum_(k<j) s_kj (w_j T_k - w_k T_j) + blocks.

The terms are linear in the code, as is all that s and the blocks' hidden units depend on; blocks are linear in their
coefficients. On the line through code space that a slider is, both keep to few directions (`spans.Span`). So a drag
combines a dozen fields of the face's own size instead of reading all bases again. Where they are small, most of them
are made at once when it begins, from codes further along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .borders import DIRECTIONS, squared_lengths
from .residual_blocks import Coefficients, slices
from .scatter import add_rows, take_rows, turns
from .spans import Span

if TYPE_CHECKING:
    from .local_network import LocalNumpy

LEFT_OUT_MM = 1e-4  # A bound on what a direction that is left out misplaces; what it really does is lost in rounding.
CODE_DIRECTIONS, BLOCK_DIRECTIONS = 4, 16  # A line spans two; what blocks make of it, about eight.
AT_ONCE = 1 << 16  # coordinates of a face, up to which eight fields of blocks cost little more than two
AHEAD = np.array([-9, -6, -4, -2, -1, 0, 1, 2, 4, 6, 9])  # lengths of code; most sliders' whole way is from -9 to 9


class Border:
    """Where parts k and j of a pair share vertices.

    Attributes:
        vertices: [n] of the mesh.
    """

    def __init__(self, network: LocalNumpy, k: int, j: int):
        weights = network.model.weights
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
        self._network, self._mean, self._blocks, self._shift = network, model.mean, network.residuals, network.shift
        self._slices = [model.part_slice(k) for k in range(model.part_count)]
        pairs = [
            (k, j, pair)
            for k, own in enumerate(self._shift.own if self._shift else [])
            for j, pair in zip(self._shift.neighbours[k], own, strict=True)
            if k < j
        ]
        self._borders = [Border(network, k, j) for k, j, _ in pairs]
        vertices = np.concatenate([[], *(border.vertices for border in self._borders)]).astype(np.int64)
        self._order, self._turns = turns(vertices)
        self._vertices = vertices[self._order]
        numbers = np.repeat([pair for _, _, pair in pairs], [len(border.vertices) for border in self._borders])
        self._pairs = np.repeat(numbers[self._order], 3)  # of each coordinate, the number of s_kj
        self._coefficients = Coefficients(self._blocks)
        moves = 2 * len(pairs) * DIRECTIONS
        self._runs = slices([self._mean.size, 3 * len(vertices), moves, self._coefficients.seen])
        longest = _longest(self._mean, zip(network.vertices, network.bases, strict=True))
        tolerance = LEFT_OUT_MM / longest
        self._linear = Span(self._of_code, model.code_size, self._runs[-1].stop, tolerance, CODE_DIRECTIONS)
        longest = _longest(self._mean, [(block.vertices, block.basis) for block in self._blocks])
        tolerance = LEFT_OUT_MM / longest
        self._bent = Span(self._of_blocks, len(self._coefficients), self._mean.size, tolerance, BLOCK_DIRECTIONS)

    def forget(self) -> None:
        """Another line begins."""
        self._linear.forget()
        self._bent.forget()

    def decode(self, code: np.ndarray, heading: np.ndarray) -> np.ndarray:
        """One code float32 [D] to vertices float32 [N, 3] in mm, an array of the caller's own.

        Args:
            heading: float32 [D] of length 1, along the line that codes are on.
        """
        if self._linear.is_empty:
            self._linear.expect(np.stack([code, heading]))
            if self._blocks and self._mean.size <= AT_ONCE:
                ahead = code + AHEAD[:, None].astype(np.float32) * heading
                self._bent.expect(np.concatenate([block.coefficients(ahead) for block in self._blocks], axis=1))
        fields = self._linear(code)
        shown, at_borders, moves, of_blocks = (fields[run] for run in self._runs)
        shown = shown.reshape(self._mean.shape)
        shown += self._mean
        if self._blocks:
            shown += self._bent(self._coefficients(of_blocks)).reshape(self._mean.shape)
        if self._borders:
            amounts = self._shift.balance(squared_lengths(moves[None]))[0]
            at_borders *= np.take(amounts, self._pairs)
            rows = at_borders.reshape(-1, 3)
            for turn in self._turns:
                add_rows(shown, self._vertices[turn], rows[turn])
        return shown

    def _of_code(self, codes: np.ndarray) -> np.ndarray:
        """Of codes [n, D], flat: sum_k T_k on the mesh, w_j T_k - w_k T_j at all borders, moves, what blocks see."""
        network, result = self._network, []
        for code in codes:
            field, terms = np.zeros_like(self._mean), []
            for columns, vertices, basis in zip(self._slices, network.vertices, network.bases, strict=True):
                terms.append((code[columns] @ basis).reshape(-1, 3))
                add_rows(field, vertices, terms[-1])
            pieces = [field.ravel()]
            if self._borders:
                rows = np.concatenate([border.difference(terms) for border in self._borders])
                pieces += [take_rows(rows, self._order).ravel(), self._shift.moves(code)]
            result.append(np.concatenate([*pieces, self._coefficients.linear(code)]))
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
