# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model cannot hold of a mesh: a smooth offset on top of a fitted face, so that both surfaces coincide.

Non-rigid ICP with a stiffness that falls (optimal step: Amberg, Romdhani & Vetter 2007), here with plain offsets of
vertices, distances along the normal, and thin-plate smoothness, solved by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .mesh_distance import TargetMesh, match
from .model import FaceModel
from .model_surface import ModelSurface
from .similarity import Similarity
from .surface import MakeClosest

STIFFNESS = (30.0, 6.0, 1.2, 0.25, 0.05)
ROUNDS = 2  # closest points, then a solve, for each stiffness
REACHES = (12.0, 3.0)  # mm, of the weights, from first to last
STRETCH = 0.5  # of the smoothness: how much of it is against stretching; the rest is against bending
REST = 1e-3  # pulls offsets to nothing where the mesh is missing
SIDEWAYS = 0.02  # weight of distances along the surface
ITERATIONS = 40  # of conjugate gradients, which start from the last solution
LIDS = 6.0  # mm around an eyeball, whose skin carries it


def wrap(
    model: FaceModel,
    face: np.ndarray,
    skin: ModelSurface,
    target: TargetMesh,
    pose: Similarity,
    make_closest: MakeClosest,
) -> Iterator[float | np.ndarray]:
    """Offsets that lay a face on a mesh.

    Args:
        face: [N, 3] mm, near to the mesh already.
        pose: moves the mesh into the model's frame.

    Yields:
        The share of the work that is done, and last the offsets, float32 [N, 3] mm in the model's frame.
    """
    face = np.asarray(face, dtype=np.float64)
    neighbours, degrees = _neighbours(skin.triangles, len(face))
    data = skin.vertices
    offset = np.zeros_like(face)
    for number, stiffness in enumerate(STIFFNESS):
        share = number / (len(STIFFNESS) - 1)
        reach = REACHES[0] ** (1 - share) * REACHES[1] ** share
        for step in range(ROUNDS):
            yield (number + step / ROUNDS) / len(STIFFNESS)
            found = match(target, skin, face + offset, pose, make_closest, to_face=False)
            weights = np.zeros(len(face))
            weights[data] = (found.agreement > 0) * (reach**2 / (reach**2 + found.distances**2)) ** 2
            normals, missing = np.zeros_like(face), np.zeros_like(face)
            normals[data], missing[data] = found.normals, found.goals - face[data]
            offset = _solve(offset, missing, normals, weights, stiffness, neighbours, degrees)
    _carry_eyes(model, face, offset, weights)
    yield offset.astype(np.float32)


def _solve(offset, missing, normals, weights, stiffness, neighbours, degrees) -> np.ndarray:
    """Offsets that minimise distances and bending, [N, 3], by conjugate gradients with a diagonal preconditioner."""

    def across(vectors):
        along = np.einsum("vi,vi->v", normals, vectors)
        return weights[:, None] * ((1 - SIDEWAYS) * along[:, None] * normals + SIDEWAYS * vectors)

    def laplacian(vectors):
        padded = np.concatenate([vectors, np.zeros((1, 3))])
        return (degrees[:, None] * vectors - padded[neighbours].sum(axis=1)) / 4

    def apply(vectors):
        bent = laplacian(vectors)
        return across(vectors) + stiffness * (laplacian(bent) + STRETCH * bent) + REST * vectors

    diagonal = weights[:, None] * ((1 - SIDEWAYS) * normals**2 + SIDEWAYS) + REST
    diagonal = diagonal + stiffness * ((degrees**2 + degrees) / 16 + STRETCH * degrees / 4)[:, None]
    residual = across(missing) - apply(offset)
    ready = residual / diagonal
    direction, product = ready, np.sum(residual * ready)
    for _ in range(ITERATIONS):
        if product < 1e-12:
            break
        applied = apply(direction)
        length = product / np.sum(direction * applied)
        offset = offset + length * direction
        residual = residual - length * applied
        ready = residual / diagonal
        before, product = product, np.sum(residual * ready)
        direction = ready + product / before * direction
    return offset


def _neighbours(triangles: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of each vertex, int64 [count, most], filled up with `count`, and how many there are, [count]."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    degrees = np.bincount(edges[:, 0], minlength=count)
    table = np.full((count, int(degrees.max(initial=1))), count, dtype=np.int64)
    starts = np.cumsum(degrees) - degrees
    table[edges[:, 0], np.arange(len(edges)) - starts[edges[:, 0]]] = edges[:, 1]
    return table, degrees.astype(np.float64)


def _carry_eyes(model: FaceModel, face: np.ndarray, offset: np.ndarray, weights: np.ndarray) -> None:
    """Eyeballs go with the skin around them that the mesh has, each as a whole."""
    trusted = np.flatnonzero(weights > 0.3)
    vertices = np.flatnonzero(~model.skin)
    for side in (vertices[face[vertices, 0] >= 0], vertices[face[vertices, 0] < 0]):
        if not len(side):
            continue
        centre = 0.5 * (face[side].min(axis=0) + face[side].max(axis=0))
        radius = np.linalg.norm(face[side] - centre, axis=1).max()
        around = trusted[np.linalg.norm(face[trusted] - centre, axis=1) < radius + LIDS]
        if len(around):
            offset[side] = np.median(offset[around], axis=0)
