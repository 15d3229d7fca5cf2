# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulling a face by its surface: the code that moves a point to where it is wanted and stays a face.

A point p of the surface shall move by d, and its surroundings along with it, less and less up to a radius. Of all
changes B y of the code, y ~ N(0, I) under the prior, the most probable one is sought:

    |J_p B y - d|^2 / s^2  +  sum_v m_v |J_v B y - f_v d|^2 / a^2  +  |y|^2

J_v being the decoder's derivative at vertex v, m_v its share of the surface, and f_v the falloff: 1 at p, 0 from the
radius on. So what is beyond the radius is held, the more the smaller the radius is (a grows with it). This is
proportional editing, projected to the space of faces. B is chosen so that sum_v m_v J_v^T J_v is diagonal: y is then
linear in d with a matrix that costs nothing to make, and `Pull.follow` only corrects for what is not linear.

Along each direction of d the face has a coordinate that is standard normal among people. It may go to `REACH`: from
half of that on the surface gives way less and less, so that no pulling leaves the space of faces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from .pull_space import Handle, Puller

POINT_NOISE = 0.1  # s, mm
STIFFNESS = 0.25  # a / radius
REACH = 8.0  # standard deviations
CLOSE = 0.05  # mm from where the point shall be; nearer need not be tried.
TRIES = 3
ROOM = 0.5  # standard deviations that a face beyond the reach may still go.


class Pull:
    """One pull of one face, from where it was pressed."""

    def __init__(
        self,
        puller: Puller,
        code: np.ndarray,
        vertices: np.ndarray,
        handle: Handle,
        free: Iterable[int],
        radius: float,
        mirror: bool = False,
        kept: np.ndarray | None = None,
    ):
        """
        Args:
            code: float32 [D], of the face that is pulled.
            vertices: [N, 3] in mm, where its vertices are.
            handle: the point that is pulled.
            free: numbers of the parts that may change; the others' codes stay to the last bit.
            radius: mm, how far the surroundings go along.
            mirror: pull the same point of the other side as in a mirror.
            kept: [n, D], linear readings of the code (age, ...) that stay what they are.

        Raises:
            LwaeError: when no part is free, or the model is not symmetric there.
        """
        self._code = np.array(code, dtype=np.float32)
        self._handles = [handle, puller.mirrored(handle)] if mirror else [handle]
        self._start = np.concatenate([point.at(vertices) for point in self._handles])
        space = puller.space(free)
        model = puller.model
        self._basis = space.basis
        self._columns = np.concatenate([np.arange(model.code_size)[model.part_slice(part)] for part in space.free])
        points = list(self._start.reshape(-1, 3))
        along = puller.surroundings(puller.falloffs(vertices, points, radius), space)
        held = (STIFFNESS * radius) ** 2
        loose = 1 / (1 + space.spread / held)  # covariance of y when all anchors are held where they are
        bound = np.zeros((0, len(loose))) if kept is None else kept.astype(np.float64) @ space.basis
        shares = loose[:, None] * bound.T
        bound = np.linalg.solve(bound @ shares + 1e-9 * np.eye(len(bound)), shares.T)

        def given(fields: np.ndarray) -> np.ndarray:
            """Times that covariance when also the readings are kept, [R, n]."""
            return loose[:, None] * fields - shares @ (bound @ fields)

        along = given(along) / held
        rows = puller.rows(self._code, self._handles, space)
        covariance = rows @ given(rows.T)
        noise = POINT_NOISE**2 * np.eye(len(rows))
        gain = np.linalg.solve(covariance + noise, np.eye(len(rows)) - rows @ along)
        self._matrix = along + given(rows.T @ gain)  # y for each mm of d
        self._reached = rows @ self._matrix  # what of d is reached, to first order
        # Directions of d that are independent among people, and the face's coordinate along each.
        energies, self._directions = np.linalg.eigh(self._matrix.T @ self._matrix)
        self._energies = np.sqrt(np.maximum(energies, 1e-12))
        position = space.white @ (self._code - puller.model.prior.mean).astype(np.float64)
        self._position = (self._matrix @ self._directions / self._energies).T @ position
        self._slack = np.zeros(len(self._start))

    def limited(self, displacement: np.ndarray) -> np.ndarray:
        """What of a wanted displacement [3] in mm the reach allows, float64 [3]; of the other side's too, [6]."""
        wanted = self._both(displacement)
        along = self._position + (wanted @ self._directions) * self._energies
        along = _soft_limit(along, self._position)
        return self._directions @ ((along - self._position) / self._energies)

    def code(self, wanted: np.ndarray) -> np.ndarray:
        """The code for a displacement as `limited` gives, to first order: float32 [D]. At 0 it is the code itself."""
        code = self._code.copy()
        change = (self._basis @ (self._matrix @ wanted))[self._columns]
        code[self._columns] = (code[self._columns] + change).astype(np.float32)
        return code

    def follow(self, displacement: np.ndarray, show: Callable[[np.ndarray], np.ndarray]) -> float:
        """Show the face whose point moved as wanted, as far as the reach allows.

        Args:
            displacement: [3] in mm, from where the point was.
            show: takes a code float32 [D] and gives the vertices [N, 3] in mm that stand for it; what it was called
                with last is the result.

        Returns:
            How far the point is from where it shall be, mm; what the reach does not allow counts too.
        """
        wanted, allowed = self._both(displacement), self.limited(displacement)
        if not wanted.any():
            self._slack[:] = 0
            show(self._code)
            return 0.0
        for _ in range(TRIES):
            vertices = show(self.code(allowed + self._slack))
            moved = np.concatenate([point.at(vertices) for point in self._handles]) - self._start
            missing = self._reached @ allowed - moved
            if np.linalg.norm(missing[:3]) < CLOSE:
                break
            self._slack += self._reached.T @ missing
        return float(np.linalg.norm(wanted[:3] - moved[:3]))

    def _both(self, displacement: np.ndarray) -> np.ndarray:
        displacement = np.asarray(displacement, dtype=np.float64)
        return np.concatenate([displacement, displacement * (-1, 1, 1)][: len(self._handles)])


def _soft_limit(values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Values as they are up to half the reach, then ever less beyond; where `start` is farther out, from there on."""
    sign = np.where(values >= start, 1.0, -1.0)
    values, start = sign * values, sign * start
    knee = np.maximum(REACH / 2, start)
    room = np.maximum(REACH - knee, ROOM)
    return sign * np.where(values > knee, knee + room * np.tanh((values - knee) / room), values)
