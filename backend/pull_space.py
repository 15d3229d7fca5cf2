# SPDX-License-Identifier: GPL-3.0-or-later
"""What pulling a face needs of a model: the changes of its code that it may make, and how the surface answers to them.

`pull.py` says what for. A code changes by B y, y ~ N(0, I) under the prior, and B is chosen so that
sum_v m_v J_v^T J_v is diagonal, J_v being the decoder's derivative at vertex v along y, m_v its share of the surface.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .decoder import Decoder
from .errors import LwaeError
from .local_network import REFERENCE_VERTICES
from .model import FaceModel
from .slopes import LocalSlopes, NumericSlopes
from .synthesis import LOOSENESS

HALVINGS = 10  # The surface is held at 2^10 vertices, each for those around it.
LEAST_VARIANCE = 1e-3  # Of the largest one: along axes with less nobody differs.
MOST_AXES = 16  # Of each part, where the derivative costs a decoded face for each.
MIRROR_TOLERANCE = 3.0  # mm
KEPT_SPACES = 8


class Handle(NamedTuple):
    """A point of the surface: vertices int [n] and their weights float64 [n], which add up to 1."""

    vertices: np.ndarray
    weights: np.ndarray

    def at(self, vertices: np.ndarray) -> np.ndarray:
        """Where the point is on a face [N, 3], float64 [3]."""
        return self.weights @ vertices[self.vertices].astype(np.float64)


@dataclass(frozen=True)
class PullSpace:
    """The changes of a code that a pull may make, when some parts are held.

    Attributes:
        free: numbers of the parts that may change.
        basis: B, float64 [D, R]; rows of held parts are 0.
        spread: float64 [R], eigenvalues of sum_v m_v J_v^T J_v in mm^2, which is diagonal in this basis.
        white: float64 [R, D], from a code's deviation from the prior's mean to its coordinates y.
    """

    free: tuple[int, ...]
    basis: np.ndarray
    spread: np.ndarray
    white: np.ndarray


class Puller:
    """What is made once for a model. Nothing in it depends on a face."""

    def __init__(self, decoder: Decoder):
        model = decoder.model
        self.model = model
        if model.preset == "local":
            self._axes = np.eye(model.code_size)
            self._slopes = LocalSlopes(model, self._axes)
            mass = model.network["mass"].astype(np.float64)
        else:
            self._axes, deviations = _part_axes(model)
            self._slopes = NumericSlopes(decoder, self._axes, deviations)
            mass = np.ones(model.vertex_count)
        self._slopes.renew(model.prior.mean)
        self._anchors, self._mass = _anchors(model.mean, REFERENCE_VERTICES * mass / mass.sum())
        self._rows = self._slopes.rows(self._anchors)
        weighted = (self._rows * np.sqrt(self._mass)[:, None, None]).reshape(-1, self._axes.shape[1])
        self._gram = weighted.T @ weighted
        self._spaces: dict[tuple[int, ...], PullSpace] = {}

    def space(self, free: Iterable[int]) -> PullSpace:
        """Changes of the parts numbered `free`, so that they fit the others.

        Raises:
            LwaeError: when there are none.
        """
        free = tuple(sorted(set(free)))
        if not free:
            raise LwaeError("All parts that this could move are locked. Unlock one first.")
        if free not in self._spaces:
            while len(self._spaces) >= KEPT_SPACES:
                del self._spaces[next(iter(self._spaces))]
            self._spaces[free] = self._make_space(free)
        return self._spaces[free]

    def part_at(self, handle: Handle) -> int:
        """The number of the part that moves a point most."""
        return int(np.argmax(self.model.weights[:, handle.vertices].astype(np.float64) @ handle.weights))

    def mirrored(self, handle: Handle) -> Handle:
        """The same point on the other side of the face.

        Raises:
            LwaeError: when the model has no vertices there.
        """
        wanted = self.model.mean[handle.vertices] * np.float32([-1, 1, 1])
        distances = np.linalg.norm(self.model.mean[None] - wanted[:, None], axis=2)
        nearest = distances.argmin(axis=1)
        if distances[np.arange(len(wanted)), nearest].max() > MIRROR_TOLERANCE:
            raise LwaeError("This model is not the same on both sides here; pull without Mirror.")
        return Handle(nearest, handle.weights)

    def rows(self, code: np.ndarray, handles: list[Handle], space: PullSpace) -> np.ndarray:
        """The derivative of some points' positions by y, at a code: float64 [H * 3, R]."""
        self._slopes.renew(code)
        vertices = np.concatenate([handle.vertices for handle in handles])
        moves = self._slopes.rows(vertices) * np.concatenate([handle.weights for handle in handles])[:, None, None]
        owners = np.repeat(np.arange(len(handles)), [len(handle.vertices) for handle in handles])
        rows = np.zeros((len(handles), *moves.shape[1:]))
        np.add.at(rows, owners, moves)
        return rows.reshape(-1, rows.shape[2]) @ self._axes.T @ space.basis

    def surroundings(self, falloffs: np.ndarray, space: PullSpace) -> np.ndarray:
        """sum_v m_v f_hv J_v B, for the anchors' falloffs [H, anchors]: float64 [R, H * 3]."""
        fields = np.einsum("hv,vir->rhi", falloffs * self._mass, self._rows, optimize=True)
        return space.basis.T @ (self._axes @ fields.reshape(len(fields), -1))

    def falloffs(self, vertices: np.ndarray, points: list[np.ndarray], radius: float) -> np.ndarray:
        """How far each anchor goes along with each of some points of a face [N, 3], float64 [H, anchors]: (1 - r^2)^2
        (Wyvill et al. 1986), and together at most 1."""
        anchors = vertices[self._anchors]
        ratios = np.stack([np.linalg.norm(anchors - point, axis=1) for point in points]) / radius
        shares = (1 - np.minimum(ratios, 1) ** 2) ** 2
        return shares / np.maximum(shares.sum(axis=0), 1)

    def _make_space(self, free: tuple[int, ...]) -> PullSpace:
        model, prior = self.model, self.model.prior
        columns = model.part_columns(free)
        covariance, held = prior.covariance[np.ix_(columns, columns)], ~columns
        gain = np.zeros((int(columns.sum()), int(held.sum())))
        if held.any():
            # As parts are drawn that fit others (`Prior.sample_given`).
            crossed = prior.covariance[np.ix_(columns, held)]
            gain = np.linalg.solve(
                prior.covariance[np.ix_(held, held)] + LOOSENESS * np.eye(int(held.sum())), crossed.T
            ).T
            covariance = covariance - gain @ crossed.T
        axes = self._axes[:, self._axes[columns].any(axis=0)]
        variances, turn = np.linalg.eigh(axes[columns].T @ covariance @ axes[columns])
        kept = variances > LEAST_VARIANCE * variances[-1]
        deviations, directions = np.sqrt(variances[kept]), axes @ turn[:, kept]
        inner = self._axes.T @ (directions * deviations)
        spread, turn = np.linalg.eigh(inner.T @ self._gram @ inner)
        # Coordinates count from what the prior expects beside the held parts.
        outcome = np.zeros((len(gain), model.code_size))
        outcome[:, columns], outcome[:, held] = np.eye(len(gain)), -gain
        white = (turn.T / deviations) @ directions[columns].T @ outcome
        return PullSpace(free, directions * deviations @ turn, np.maximum(spread, 0), white)


def _anchors(points: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 2^HALVINGS vertices that stand for all, and the mass of those that each stands for.

    The vertices are halved again and again across their longest side.
    """
    groups = [np.arange(len(points))]
    for _ in range(HALVINGS):
        halves = []
        for group in groups:
            if len(group) == 1:
                halves.append(group)
                continue
            side = points[group].max(axis=0) - points[group].min(axis=0)
            order = group[np.argsort(points[group, side.argmax()], kind="stable")]
            halves += [order[: len(order) // 2], order[len(order) // 2 :]]
        groups = halves
    middles = [group[np.linalg.norm(points[group] - points[group].mean(axis=0), axis=1).argmin()] for group in groups]
    return np.array(middles), np.array([mass[group].sum() for group in groups])


def _part_axes(model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Axes of each part alone along which people differ most, float64 [D, R], and their deviations [R]."""
    axes, deviations = [], []
    for part in range(model.part_count):
        columns = model.part_slice(part)
        variances, directions = np.linalg.eigh(model.prior.covariance[columns, columns])
        kept = np.flatnonzero(variances > LEAST_VARIANCE * variances[-1])[-MOST_AXES:]
        axis = np.zeros((model.code_size, len(kept)))
        axis[columns] = directions[:, kept]
        axes.append(axis)
        deviations.append(np.sqrt(variances[kept]))
    return np.concatenate(axes, axis=1), np.concatenate(deviations)
