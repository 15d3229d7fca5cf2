# SPDX-License-Identifier: GPL-3.0-or-later
"""Which points of a face and of a mesh belong to each other, and how far they are apart.

Two points belong to each other when one is the closest to the other, their normals agree, and neither lies on an open
edge of its surface: there the other surface goes on where this one ends (a neck, a hole, the rim of a mask).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .model_surface import ModelSurface
from .similarity import Similarity
from .surface import Closest, MakeClosest, Surface, barycentric

SAMPLES = 3000  # points of the mesh that look for the face
MOST_SAMPLES = 40_000  # drawn, until so many lie on the head
MARGIN = 25.0  # mm around the mean face's box, in which a head is looked for
LEAST_COSINE = 0.35  # of the angle between normals of points that belong to each other
ON_EDGE = 0.02  # Share of the corners that are not on an open edge, below which a point is.
CAP = 20.0  # mm; farther is all the same when guesses are judged
MOST_DISTANCE = 40.0  # mm between points that may belong to each other when distances are reported


class TargetMesh:
    """The mesh that is fitted to, in its own space, and points drawn on its head."""

    def __init__(self, surface: Surface, closest: Closest):
        self.surface, self.closest = surface, closest
        self.points, self.normals = np.empty((0, 3)), np.empty((0, 3))

    def draw(self, pose: Similarity, skin: ModelSurface, rng: np.random.Generator, count: int = SAMPLES) -> None:
        """Draw about `count` points where the pose has the head."""
        points, normals, _ = self.surface.sample(count, rng)
        inside = skin.holds(pose.apply(points), MARGIN)
        if inside.mean() < 0.7:
            more = min(int(count / max(inside.mean(), 1e-3)), MOST_SAMPLES)
            points, normals, _ = self.surface.sample(more, rng)
            inside = skin.holds(pose.apply(points), MARGIN)
        self.points, self.normals = points[inside], normals[inside]


@dataclass(frozen=True)
class Matches:
    """Pairs of points in the model's frame (mm): the face's vertices with the mesh, then the mesh's with the face.

    Attributes:
        corners, shares: the face's points, as int [P, 3] vertices and float [P, 3] barycentric coordinates.
        goals: [P, 3], the mesh's points.
        normals: [P, 3] unit, along which distances are measured: the mesh's.
        residuals: [P] mm, of the face's points along them.
        distances: [P] mm.
        agreement: [P] in 0..1, of the normals; 0 also on open edges.
        mass: [P], how much each pair counts: about half of `REFERENCE_VERTICES` for each direction.
        vertex_count: how many of the pairs belong to the face's vertices; they come first.
        centre: [3] mm, around which the mesh turns.
    """

    corners: np.ndarray
    shares: np.ndarray
    goals: np.ndarray
    normals: np.ndarray
    residuals: np.ndarray
    distances: np.ndarray
    agreement: np.ndarray
    mass: np.ndarray
    vertex_count: int
    centre: np.ndarray

    def weights(self, reach: float) -> np.ndarray:
        """Geman-McClure weights (1987) times agreement and mass, [P]."""
        return self.mass * self.agreement * (reach**2 / (reach**2 + self.distances**2)) ** 2

    def rows(self, moves: np.ndarray) -> np.ndarray:
        """What displacements of the face, [3, N, R], do along the normals: float32 [P, R]."""
        first, normals = self.vertex_count, self.normals.astype(np.float32)
        result = np.empty((len(normals), moves.shape[2]), dtype=np.float32)
        for own in (slice(0, first), slice(first, None)):
            result[own] = 0
            for corner in range(1 if own.start == 0 else 3):
                factors = self.shares[own, corner, None].astype(np.float32) * normals[own]
                for axis in range(3):
                    result[own] += factors[:, axis, None] * moves[axis, self.corners[own, corner]]
        return result

    def badness(self) -> float:
        """Mean distance in mm, at most `CAP`, which also counts for what does not belong to each other; of the face's
        vertices and of the mesh's points alike."""
        missed = np.where(self.agreement > 0, np.minimum(self.distances, CAP), CAP)
        halves = slice(None, self.vertex_count), slice(self.vertex_count, None)
        return sum(float(self.mass[half] @ missed[half] / max(self.mass[half].sum(), 1e-9)) for half in halves)


@dataclass(frozen=True)
class Distance:
    """Mean distance of a face from a mesh and back, mm, and the share of the face's skin that the mesh has."""

    to_mesh: float
    to_face: float
    coverage: float

    @property
    def chamfer(self) -> float:
        """Symmetric Chamfer distance, mm: the mean of both directions."""
        return 0.5 * (self.to_mesh + self.to_face)


def match(
    target: TargetMesh,
    skin: ModelSurface,
    face: np.ndarray,
    pose: Similarity,
    make_closest: MakeClosest,
    vertices: np.ndarray | None = None,
    to_face: bool = True,
) -> Matches:
    """Pairs of a face [N, 3] mm and the mesh that `pose` moves into its frame.

    Args:
        vertices: numbers of those of the face that look for the mesh; all of the skin when left out.
        to_face: let the mesh's points look for the face too.
    """
    if vertices is None:
        vertices = skin.vertices
    found, triangles = target.closest(pose.inverse().apply(face[vertices]))
    surface = target.surface
    normals = surface.normals_at(found, triangles) @ pose.rotation.T
    goals = pose.apply(found)
    own = skin.normals(face)
    cosine = np.einsum("pi,pi->p", normals, own[vertices])
    inside = ~_on_edge(found, surface.vertices, surface.triangles[triangles], surface.open_edge)
    forth = face[vertices], goals, normals, _agreement(cosine) * inside

    points = target.points if to_face else target.points[:0]
    points, point_normals = pose.apply(points), target.normals[: len(points)] @ pose.rotation.T
    if len(points):
        found, triangles = make_closest(face, skin.triangles)(points)
    else:
        found, triangles = points, np.empty(0, dtype=np.int64)
    corners = skin.triangles[triangles]
    shares = barycentric(found, face[corners])
    # Where many triangles meet at a vertex any of them may be named: the interpolated normal is the same.
    theirs = np.einsum("pc,pci->pi", shares, own[corners])
    cosine = np.einsum("pi,pi->p", theirs, point_normals)
    back = found, points, point_normals, _agreement(cosine) * ~_on_edge(found, face, corners, skin.open_edge)

    at, goals, normals, agreement = (np.concatenate(pair) for pair in zip(forth, back, strict=True))
    only = np.zeros((len(vertices), 3))
    only[:, 0] = 1
    half = 0.5 * skin.mass.sum()
    theirs = skin.mass[vertices] * half / skin.mass[vertices].sum()
    mass = np.concatenate([theirs, np.full(len(points), half / max(len(points), 1))])
    return Matches(
        corners=np.concatenate([np.repeat(vertices[:, None], 3, axis=1), corners]),
        shares=np.concatenate([only, shares]),
        goals=goals,
        normals=normals,
        residuals=np.einsum("pi,pi->p", at - goals, normals),
        distances=np.linalg.norm(at - goals, axis=1),
        agreement=agreement,
        mass=mass,
        vertex_count=len(vertices),
        centre=skin.mass @ face / skin.mass.sum(),
    )


def mesh_distance(
    target: TargetMesh,
    skin: ModelSurface,
    face: np.ndarray,
    pose: Similarity,
    make_closest: MakeClosest,
    rng: np.random.Generator,
) -> Distance:
    """Mean distances where the two belong to each other (see above), without the eyes; each surface evenly."""
    target.draw(pose, skin, rng)
    found = match(target, skin, np.asarray(face, dtype=np.float64), pose, make_closest)
    there = (found.agreement > 0) & (found.distances < MOST_DISTANCE)
    means = []
    for half in (slice(None, found.vertex_count), slice(found.vertex_count, None)):
        mass = found.mass[half] * there[half]
        means.append(float(mass @ found.distances[half] / mass.sum()) if mass.sum() else float("inf"))
    mass = found.mass[: found.vertex_count]
    return Distance(*means, float(mass @ there[: found.vertex_count] / mass.sum()))


def _agreement(cosine: np.ndarray) -> np.ndarray:
    return np.clip((cosine - LEAST_COSINE) / (1 - LEAST_COSINE), 0, 1)


def _on_edge(points: np.ndarray, vertices: np.ndarray, corners: np.ndarray, open_edge: np.ndarray) -> np.ndarray:
    shares = barycentric(points, vertices[corners])
    return (shares * ~open_edge[corners]).sum(axis=1) < ON_EDGE
