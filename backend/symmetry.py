# SPDX-License-Identifier: GPL-3.0-or-later
"""Left and right of a face: which vertex is the mirror image of which, and what of a face differs between its sides.

With x' the mirrored face (positions of the mirror vertices, x negated), (x + x') / 2 is exactly symmetric and
(x - x') / 2 is all that makes the sides differ. Acting on vertices that split is exact; on codes it is only as
good as the bases are symmetric (on the default model 0.00003 mm at worst), and there it serves where a code is asked
for.
"""

from __future__ import annotations

import numpy as np

from .errors import LwaeError
from .local_arrays import part_arrays
from .local_network import inner_products, linear_gram
from .model import FaceModel
from .synthesis import ASYMMETRY, face_rng

TRIED_SEEDS = 8
# Of the template's largest extent: how far a vertex may be from its mirror image on the mean face.
TOLERANCE = 0.05
SIGNS = np.array([-1, 1, 1], dtype=np.float32)
DEPENDENT = 1e-9  # of the mean square of a basis vector, so that bases that depend on each other are no trouble


def mirror_map(vertices: np.ndarray, sizes: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The vertex on the other side of the plane x = 0 for each vertex, its own mirror on the middle line.

    Found by walking over the polygons: one polygon of each piece is paired with the polygon nearest to its mirror
    image, and from there neighbours are paired with neighbours, so positions need only be roughly symmetric.

    Args:
        vertices: float [N, 3] in mm, the face along -Y.
        sizes: int [F], corners of each polygon.
        corners: int [L], vertex of each polygon corner.

    Returns:
        int64 [N], its own inverse.

    Raises:
        LwaeError: when polygons or positions are not symmetric.
    """
    polygons = [piece.tolist() for piece in np.split(np.asarray(corners), np.cumsum(sizes)[:-1])]
    walk = _Walk(polygons, vertices)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    centres = np.add.reduceat(vertices[corners].astype(np.float64), starts) / np.asarray(sizes)[:, None]
    for polygon, own in enumerate(polygons):
        if walk.image[own[0]] >= 0 or walk.pair(polygon, _nearest(centres, centres[polygon] * SIGNS)):
            continue
        if np.isfinite(walk.away):
            raise LwaeError(f"This model's template is not symmetric: its sides differ by {walk.away:.0f} mm.")
        raise LwaeError("The polygons of this model's template are not the same on its left and right side.")
    image = np.array(walk.image, dtype=np.int64)
    if (image < 0).any():
        raise LwaeError("This model's template has vertices without polygons, which have no mirror image.")
    if not np.array_equal(image[image], np.arange(len(image))):
        raise LwaeError("This model's template is not symmetric: its pieces have no clear mirror images.")
    return image


def _nearest(centres: np.ndarray, point: np.ndarray) -> list[int]:
    distances = ((centres - point) ** 2).sum(axis=1)
    return np.argsort(distances, kind="stable")[:TRIED_SEEDS].tolist()


class _Walk:
    """Pairs polygons with their mirror images, from neighbour to neighbour.

    Attributes:
        image: vertex on the other side, -1 where none was found yet.
        away: how far sides differ whose polygons are the same, mm, where that is too far; else infinite.
    """

    def __init__(self, polygons: list[list[int]], vertices: np.ndarray):
        self._polygons, self._vertices = polygons, vertices
        self._limit = TOLERANCE * np.ptp(vertices, axis=0).max()
        self.away = np.inf
        # Side from a to b: (polygon, place of a in it).
        self._sides = {
            (own[place - 1], own[place]): (number, (place - 1) % len(own))
            for number, own in enumerate(polygons)
            for place in range(len(own))
        }
        self.image = [-1] * len(vertices)
        self._source = [-1] * len(vertices)

    def pair(self, polygon: int, candidates: list[int]) -> bool:
        """Pair a polygon and all that is connected with it; False when no candidate is its mirror image."""
        own = self._polygons[polygon]
        for candidate in candidates:
            other = self._polygons[candidate][::-1]
            if len(other) != len(own):
                continue
            turns = [other[turn:] + other[:turn] for turn in range(len(other))]
            away = [np.abs(self._vertices[own] * SIGNS - self._vertices[turn]).sum() for turn in turns]
            if self._follow(polygon, turns[int(np.argmin(away))]):
                return True
        return False

    def _follow(self, polygon: int, mirror: list[int]) -> bool:
        found: list[int] = []
        waiting, seen = [(polygon, mirror)], {polygon}
        while waiting:
            polygon, mirror = waiting.pop()
            own = self._polygons[polygon]
            if not all(self._set(vertex, other, found) for vertex, other in zip(own, mirror, strict=True)):
                return self._forget(found)
            for place in range(len(own)):
                here = self._sides.get((own[place], own[place - 1]))
                there = self._sides.get((mirror[place - 1], mirror[place]))
                if (here is None) != (there is None):
                    return self._forget(found)
                if here is None or here[0] in seen:
                    continue
                next_own, next_mirror = self._polygons[here[0]], self._polygons[there[0]]
                if len(next_own) != len(next_mirror):
                    return self._forget(found)
                # Place of own[place] is here[1]; its image stands one after there[1], and the order is reversed.
                last = there[1] + 1 + here[1]
                size = len(next_own)
                waiting.append((here[0], [next_mirror[(last - step) % size] for step in range(size)]))
                seen.add(here[0])
        images = self._vertices[[self.image[vertex] for vertex in found]]
        away = np.linalg.norm(self._vertices[found] - images * SIGNS, axis=1).max()
        if away > self._limit:
            self.away = min(self.away, away)
            return self._forget(found)
        return True

    def _set(self, vertex: int, other: int, found: list[int]) -> bool:
        if self.image[vertex] < 0 and self._source[other] < 0:
            self.image[vertex], self._source[other] = other, vertex
            found.append(vertex)
        return self.image[vertex] == other

    def _forget(self, found: list[int]) -> bool:
        for vertex in found:
            self._source[self.image[vertex]] = -1
            self.image[vertex] = -1
        return False


def mirrored(positions: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The mirrored face: positions [N, 3], image as `mirror_map` gives."""
    result = np.take(positions, image, axis=0)
    result[:, 0] *= -1
    return result


def odd_part(positions: np.ndarray, image: np.ndarray) -> np.ndarray:
    """What makes the sides differ, (x - x') / 2: float32 [N, 3]; without it a face is symmetric."""
    result = mirrored(positions, image)
    np.subtract(positions, result, out=result)
    result *= np.float32(0.5)
    return result


def mirror_matrix(model: FaceModel, image: np.ndarray) -> np.ndarray:
    """M with M z the code of the mirrored face, as near as codes get: float64 [D, D].

    Column j is the code nearest to the mirrored basis vector j. (The encoder's would be drawn towards the mean face by
    its noise: 0.04 mm at worst on the bundled model, instead of 0.00003.)

    Raises:
        LwaeError: when the model is not of the preset local.
    """
    gram = linear_gram(model)
    gram[np.diag_indices_from(gram)] += DEPENDENT * np.trace(gram) / len(gram)
    parts = [part_arrays(model, k) for k in range(model.part_count)]
    across = [(image[vertices], basis * SIGNS) for vertices, basis in parts]
    mass = model.network["mass"]
    products = np.block([[inner_products(part, other, mass) for other in across] for part in parts])
    return np.linalg.solve(gram, products)


def odd_code(model: FaceModel, matrix: np.ndarray, code: np.ndarray) -> np.ndarray:
    """What makes the sides of a code differ, float64 [D]; `matrix` as `mirror_matrix` gives."""
    deviation = np.asarray(code, dtype=np.float64) - model.prior.mean
    return (deviation - matrix @ deviation) / 2


def random_odd_code(model: FaceModel, matrix: np.ndarray, seed: int) -> np.ndarray:
    """How the sides of a random person of the prior differ, as a change of the code: float64 [D]."""
    return odd_code(model, matrix, model.prior.sample(face_rng(seed, 0, ASYMMETRY), 1)[0])
