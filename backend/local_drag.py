# SPDX-License-Identifier: GPL-3.0-or-later
"""One face of the `local` preset after another, as sliders give them: most often one part's code has changed.

All that depends on part k lies in its region, where it or a part that it shares a border with has vertices. With
`LocalNumpy`'s terms T_k = B_k z_k, what a region shows is

    rest + (1 + sum_j s_kj w_j) T_k + sum_j s_jk w_k T_j + blocks of k,

where rest is the mean and what other parts and blocks add there, and w_k T_j stands still too while k alone moves. So
a step is two products with matrices of the region's own size, and the rest of the face is left as it is. Nothing is
subtracted from what was shown before: no error adds up, however long a drag is.

When several parts move along a line, as by a slider of the whole face or a donor's amount, `whole_drag` shows the face.
Other changes of several parts are decoded as if nothing were known, so that a seed gives the same face to the last bit.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .residual_blocks import Coefficients
from .scatter import add_rows, set_rows, take_rows
from .whole_drag import WholeDrag

if TYPE_CHECKING:
    from .local_network import LocalNumpy

DENSE = 0.5  # Blocks on more than this share of a region join the one product over all of it.
ALONG = 0.999  # Cosine between two steps of one drag, forwards or back.


class Region:
    """What does not change with codes of all that depends on one part.

    Attributes:
        vertices: [n] of the mesh, in order.
        place: where the part's own vertices are among them; None where they are all of them.
        overlaps: other parts j with vertices here: (j, places in the region, places in part j).
        dense: the numbers of the blocks in `rows`.
        sparse: the other blocks that depend on the part, and their places in the region.
        coefficients: of dense, then sparse blocks.
        seen: what they see of the part's own code, float32 [Z_k, coefficients.seen].
        foreign: blocks that do not: (number, places in the region, places in the block).
        rows: float32 [coefficients of dense blocks + neighbours, 3n]; the last ones hold w_k T_j during a drag.
    """

    def __init__(self, network: LocalNumpy, part: int):
        blocks, shift = network.residuals, network.shift
        self.neighbours = shift.neighbours[part] if shift else []
        pieces = [network.vertices[part], *(block.vertices for block in blocks if part in block.parts)]
        weight = network.model.weights[part]
        pieces += [network.vertices[j][weight[network.vertices[j]] > 0] for j in self.neighbours]
        self.vertices = np.unique(np.concatenate(pieces))
        self.place = self._places(network.vertices[part])
        if len(self.place) == len(self.vertices):
            self.place = None
        self.overlaps, self.foreign, dense, self.sparse = [], [], [], []
        for j, vertices in enumerate(network.vertices):
            shared, here, there = np.intersect1d(self.vertices, vertices, assume_unique=True, return_indices=True)
            if j != part and len(shared):
                self.overlaps.append((j, here, there))
        for number, block in enumerate(blocks):
            if part not in block.parts:
                _, here, there = np.intersect1d(self.vertices, block.vertices, return_indices=True)
                if len(here):
                    self.foreign.append((number, here, there))
            elif len(block.vertices) > DENSE * len(self.vertices):
                dense.append(number)
            else:
                self.sparse.append((number, self._places(block.vertices)))
        self.dense = dense
        numbers = [*dense, *(number for number, _ in self.sparse)]
        self.coefficients = Coefficients([blocks[number] for number in numbers])
        self.seen = self.coefficients.matrix(network.model.part_slice(part))
        count = sum(len(blocks[number].basis) for number in dense)
        self.rows = np.zeros((count + len(self.neighbours), 3 * len(self.vertices)), dtype=np.float32)
        for number, run in zip(dense, self.coefficients.outputs, strict=False):
            block = blocks[number]
            target = self.rows[run].reshape(len(block.basis), len(self.vertices), 3)
            target[:, self._places(block.vertices)] = block.basis.reshape(len(block.basis), -1, 3)
        self.moving = self.rows[count:].reshape(len(self.neighbours), len(self.vertices), 3)

    def _places(self, vertices: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.vertices, vertices)


class Drag:
    """Decodes one code after another and remembers what the last one needed."""

    def __init__(self, network: LocalNumpy):
        self._network, self._shift, self._blocks = network, network.shift, network.residuals
        self._slices = [network.model.part_slice(k) for k in range(network.model.part_count)]
        self._starts = [columns.start for columns in self._slices]
        self._blocks_of: list[set[int]] = [set() for _ in self._slices]
        for number, block in enumerate(self._blocks):
            for k in block.parts:
                self._blocks_of[k].add(number)
        self._regions: dict[int, Region] = {}
        self._code: np.ndarray | None = None
        self._earlier: np.ndarray | None = None  # the code before that one
        self._heading: np.ndarray | None = None  # of the last step, if several parts changed
        self._whole: WholeDrag | None = None  # reads all bases when it is made, so not before the first drag
        self._terms: list[np.ndarray] = [np.empty(0)] * len(self._slices)  # T_k, flat [3 n_k]
        self._added: list[np.ndarray] = [np.empty(0)] * len(self._blocks)  # what each block adds, [n, 3]
        self._stale_terms: set[int] = set()  # parts that `_terms` lags behind
        self._stale: set[int] = set()  # blocks that `_added` lags behind
        self._energies = np.zeros((1, sum(len(own) for own in self._shift.own) if self._shift else 0), np.float32)
        self._stale_energies: set[int] = set()  # parts that `_energies` lags behind
        self._open: int | None = None  # the part whose rest is known
        self._rest = self._shown = np.empty(0)
        self._seen = np.empty(0, np.float32)  # what its blocks see of the other parts

    def decode(self, code: np.ndarray) -> np.ndarray:
        """One code float32 [D] to vertices float32 [N, 3] in mm, an array of the caller's own."""
        code = np.array(code, dtype=np.float32)
        if self._code is None:
            changed = list(range(len(self._slices)))
        else:
            changed = np.flatnonzero(np.logical_or.reduceat(code != self._code, self._starts)).tolist()
        before, self._code = self._code, None  # An error below must not leave terms of two codes.
        if len(changed) == 1 and before is not None:
            self._heading = None
            self._move(changed[0], code)
        elif changed:
            self._show_all(changed, code, self._goes_on(before, code))
        if changed:
            self._earlier = before
        self._code = code
        return self._shown.copy()

    def _goes_on(self, before: np.ndarray | None, code: np.ndarray) -> bool:
        """Whether this step goes on along the last one's line, other than straight back to where that came from."""
        if before is None:
            return False
        step = code - before
        length = np.linalg.norm(step.astype(np.float64))  # Squares of tiny steps are 0 in float32.
        if length == 0:
            return False
        step /= length
        last, self._heading = self._heading, step
        if last is None or abs(step @ last) <= ALONG:
            if self._whole is not None:
                self._whole.forget()
            return False
        return not np.array_equal(code, self._earlier)

    def _show_all(self, changed: list[int], code: np.ndarray, goes_on: bool) -> None:
        self._open = None
        self._stale_energies.update(changed)
        self._stale_terms.update(changed)
        self._stale.update(*(self._blocks_of[k] for k in changed))
        if goes_on:
            self._whole = self._whole or WholeDrag(self._network)
            self._shown = self._whole.decode(code, self._heading)
            return
        amounts = self._amounts(code)
        self._renew_terms(code)
        self._renew_blocks(code)
        self._shown = self._network.model.mean.copy()
        for k, vertices in enumerate(self._network.vertices):
            add_rows(self._shown, vertices, self._shifted(k, amounts))
        for block, added in zip(self._blocks, self._added, strict=True):
            add_rows(self._shown, block.vertices, added)

    def _move(self, k: int, code: np.ndarray) -> None:
        """Part k alone has changed."""
        if k not in self._regions:
            self._regions[k] = Region(self._network, k)
        region = self._regions[k]
        self._stale_energies.add(k)
        self._stale_terms.add(k)
        self._renew_terms(code)
        amounts = self._amounts(code)
        if self._open != k:
            self._renew_blocks(code)
            self._open_region(k, region, amounts, code)
        own = self._shifted(k, amounts)
        coefficients = region.coefficients(self._seen + code[self._slices[k]] @ region.seen)
        count = len(region.rows) - len(region.moving)
        of_rows = [coefficients[:count], amounts[0, self._pairs_to[k]]] if self._shift else [coefficients[:count]]
        field = self._rest.copy() if region.place is not None else self._rest + own
        if region.place is not None:
            add_rows(field, region.place, own)
        if len(region.rows):
            field += (np.concatenate(of_rows) @ region.rows).reshape(-1, 3)
        for (number, places), run in zip(region.sparse, region.coefficients.outputs[len(region.dense) :], strict=True):
            self._added[number] = (coefficients[run] @ self._blocks[number].basis).reshape(-1, 3)
            self._stale.discard(number)
            add_rows(field, places, self._added[number])
        self._stale.update(region.dense)
        set_rows(self._shown, region.vertices, field)

    def _open_region(self, k: int, region: Region, amounts: np.ndarray | None, code: np.ndarray) -> None:
        """Sum up what does not move with part k."""
        self._open = None
        others = code.copy()
        others[self._slices[k]] = 0
        self._seen = region.coefficients.linear(others)
        if self._shift:
            amounts = amounts.copy()
            amounts[:, self._pairs_to[k]] = 0
        self._rest = take_rows(self._network.model.mean, region.vertices)
        for j, here, there in region.overlaps:
            add_rows(self._rest, here, take_rows(self._shifted(j, amounts), there))
            if j in region.neighbours:
                weight = self._network.model.weights[k, region.vertices[here], None]
                moving = region.moving[region.neighbours.index(j)]
                set_rows(moving, here, take_rows(self._terms[j], there) * weight)
        for number, here, there in region.foreign:
            add_rows(self._rest, here, take_rows(self._added[number], there))
        self._open = k

    def _renew_terms(self, code: np.ndarray) -> None:
        for k in self._stale_terms:
            self._terms[k] = code[self._slices[k]] @ self._network.bases[k]
        self._stale_terms = set()

    def _renew_blocks(self, code: np.ndarray) -> None:
        for number in self._stale:
            self._added[number] = self._blocks[number](code[None])[0]
        self._stale = set()

    def _amounts(self, code: np.ndarray) -> np.ndarray | None:
        """s of every pair, [1, pairs]."""
        if not self._shift:
            return None
        for k in self._stale_energies:
            self._energies[0, self._shift.own[k]] = self._shift.energies(code[None, self._slices[k]], k)[0]
        self._stale_energies = set()
        return self._shift.balance(self._energies)

    def _shifted(self, k: int, amounts: np.ndarray | None) -> np.ndarray:
        """T_k with its borders moved, [n_k, 3]."""
        term = self._terms[k]
        if self._shift and self._shift.own[k]:
            factor = amounts[0, self._shift.own[k]] @ self._weights[k]
            factor += 1
            factor *= term
            term = factor
        return term.reshape(-1, 3)

    @cached_property
    def _weights(self) -> list[np.ndarray]:
        """For each part its neighbours' weights at its coordinates, float32 [neighbours, 3 n_k]."""
        model, result = self._network.model, []
        for own, neighbours in zip(self._network.vertices, self._shift.neighbours, strict=True):
            weights = model.weights[np.ix_(neighbours, own)].astype(np.float32)
            result.append(np.repeat(weights, 3, axis=1))
        return result

    @cached_property
    def _pairs_to(self) -> list[list[int]]:
        """For each part k the numbers of the pairs (j, k), in the order of its neighbours."""
        return [
            [self._shift.own[j][self._shift.neighbours[j].index(k)] for j in neighbours]
            for k, neighbours in enumerate(self._shift.neighbours)
        ]
