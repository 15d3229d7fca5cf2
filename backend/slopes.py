# SPDX-License-Identifier: GPL-3.0-or-later
"""How a decoder moves vertices when the code goes along given axes: what Gauss-Newton fits of codes need."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .decoder import Decoder
from .local_network import LocalNumpy, gram_matrix
from .model import FaceModel

STEP = 0.1  # Of a numeric derivative, in standard deviations.
LEAST_VARIANCE = 1e-6  # that such a step is made for


class Slopes(Protocol):
    """The derivative at one code along R axes, in mm."""

    def renew(self, code: np.ndarray) -> None:
        """Take the derivative at this code, float32 [D]; before anything else."""
        ...

    def curvature(self, mass: np.ndarray) -> np.ndarray:
        """Inner products of the axes' displacements of all vertices, weighted by mass [N]: float64 [R, R]."""
        ...

    def project(self, fields: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Weighted inner products of displacements [F, N, 3] with those of the axes: float64 [F, R]."""
        ...

    def rows(self, vertices: np.ndarray) -> np.ndarray:
        """How some vertices, int [n], move along each axis: float64 [n, 3, R]."""
        ...

    def displacements(self, count: int) -> np.ndarray:
        """What the last `count` axes move, per unit: float32 [count, N, 3]."""
        ...


class LocalSlopes:
    """Of the `local` preset: bases of parts and residual blocks stay, and only the blocks' slopes change.

    Exact where borders do not move (`borders.py`), as on a real face; elsewhere near enough for steps whose length is
    tried.
    """

    def __init__(self, model: FaceModel, axes: np.ndarray):
        """
        Args:
            axes: float64 [D, R].
        """
        network = LocalNumpy(model)
        self._model, self._axes, self._blocks = model, axes, network.residuals
        flat = zip(network.vertices, network.bases, strict=True)
        bases = [*flat, *((block.vertices, block.basis) for block in network.residuals)]
        self._bases = [(vertices, basis.reshape(len(basis), -1, 3)) for vertices, basis in bases]
        self._links: list[tuple[slice, slice, np.ndarray]] = []  # coefficients, the code of a part, their slopes
        self._mass, self._gram = np.empty(0), np.empty(0)

    def renew(self, code: np.ndarray) -> None:
        self._links, end = [], len(code)
        for block in self._blocks:
            jacobian, column = block.jacobian(code), 0
            start, end = end, end + len(jacobian)
            for part in block.parts:
                size = self._model.code_sizes[part]
                slopes = jacobian[:, column : column + size].astype(np.float64)
                self._links.append((slice(start, end), self._model.part_slice(part), slopes))
                column += size

    def curvature(self, mass: np.ndarray) -> np.ndarray:
        if not np.array_equal(mass, self._mass):
            self._mass, self._gram = mass, gram_matrix(self._bases, mass)
        return self._axes.T @ self._chain(self._chain(self._gram).T) @ self._axes

    def project(self, fields: np.ndarray, mass: np.ndarray) -> np.ndarray:
        weighted = fields * mass[:, None]
        products = [
            weighted[:, own].reshape(len(fields), -1) @ basis.reshape(len(basis), -1).T for own, basis in self._bases
        ]
        return self._chain(np.concatenate(products, axis=1)) @ self._axes

    def rows(self, vertices: np.ndarray) -> np.ndarray:
        distinct, which = np.unique(vertices, return_inverse=True)
        places = np.full(self._model.vertex_count, -1)
        places[distinct] = np.arange(len(distinct))
        moves = np.zeros((len(distinct), 3, sum(len(basis) for _, basis in self._bases)))
        start = 0
        for own, basis in self._bases:
            place = places[own]
            there = place >= 0
            moves[place[there], :, start : start + len(basis)] = basis[:, there].transpose(1, 2, 0)
            start += len(basis)
        return (self._chain(moves.reshape(-1, moves.shape[2])) @ self._axes).reshape(len(distinct), 3, -1)[which]

    def displacements(self, count: int) -> np.ndarray:
        axes = self._axes[:, -count:]
        # Coefficients of all bases, in their order.
        coefficients = np.zeros((sum(len(basis) for _, basis in self._bases), count))
        coefficients[: len(axes)] = axes
        for rows, columns, slopes in self._links:
            coefficients[rows] += slopes @ axes[columns]
        result, start = np.zeros((count, self._model.vertex_count, 3), dtype=np.float32), 0
        for own, basis in self._bases:
            part = coefficients[start : start + len(basis)].astype(np.float32)
            result[:, own] += (part.T @ basis.reshape(len(basis), -1)).reshape(count, -1, 3)
            start += len(basis)
        return result

    def _chain(self, products: np.ndarray) -> np.ndarray:
        """Inner products with all bases, [F, D + coefficients], to those with what code numbers move, [F, D]."""
        result = products[:, : len(self._axes)].copy()
        for coefficients, columns, slopes in self._links:
            result[:, columns] += products[:, coefficients] @ slopes
        return result


class NumericSlopes:
    """Of any decoder, by differences: R + 1 decoded faces each time."""

    def __init__(self, decoder: Decoder, axes: np.ndarray, deviations: np.ndarray):
        """
        Args:
            axes: float64 [D, R].
            deviations: [R], usual distances along them.
        """
        self._decoder, self._axes = decoder, axes
        self._steps = STEP * deviations
        self._moves = np.empty(0)

    def renew(self, code: np.ndarray) -> None:
        codes = np.concatenate([code[None], code + (self._axes * self._steps).T]).astype(np.float32)
        faces = self._decoder.decode(codes).astype(np.float64)
        self._moves = (faces[1:] - faces[0]).reshape(len(faces) - 1, -1) / self._steps[:, None]

    def curvature(self, mass: np.ndarray) -> np.ndarray:
        return (self._moves * np.repeat(mass, 3)) @ self._moves.T

    def project(self, fields: np.ndarray, mass: np.ndarray) -> np.ndarray:
        return (fields * mass[:, None]).reshape(len(fields), -1) @ self._moves.T

    def rows(self, vertices: np.ndarray) -> np.ndarray:
        return self._moves.reshape(len(self._moves), -1, 3)[:, vertices].transpose(1, 2, 0)

    def displacements(self, count: int) -> np.ndarray:
        return self._moves[-count:].reshape(count, -1, 3).astype(np.float32)


def prior_slopes(decoder: Decoder) -> tuple[Slopes, np.ndarray, np.ndarray]:
    """Slopes along the prior's principal axes, the axes' variances float64 [R], and the axes float64 [D, R]."""
    model, prior = decoder.model, decoder.model.prior
    variances, axes = prior.principal_axes
    if model.preset == "local":
        return LocalSlopes(model, axes), variances, axes
    # An encoder network reaches few dimensions of the code space; the prior's factors span them.
    rank = max(1, prior.factors.shape[1])
    variances, axes = variances[-rank:], axes[:, -rank:]
    return NumericSlopes(decoder, axes, np.sqrt(np.maximum(variances, LEAST_VARIANCE))), variances, axes
