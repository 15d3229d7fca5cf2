# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyelids that stay in front of the eyeballs.

A face of sliders can push an eyeball through a lid. Where that happens the lid is draped over the ball: points of the
lid's outer side that lie behind the ball's front along the gaze (-Y) move forward, and what is around them along with
them. A lid's margin lies on the ball on real faces too, so only points that lie well in front of it on the mean face
are watched; a face whose eyes are in order comes back bit by bit as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .eyes import islands
from .model import FaceModel
from .polygons import triangulate

WATCHED, DEEP = 1.5, 5.0  # mm before the ball on the mean face, between which points have to stay before it.
CLEARANCE = 0.35  # mm by which they have to; less near WATCHED, so that nothing jumps there.
AROUND = 1.15  # Lids are looked for within so many eyeball radii.
PLATEAU, REACH = 3.0, 9.0  # mm around a point that move as it does, and from where on nothing does.
GRID = 96  # Cells across an eyeball, and one around it that holds nothing.
PASSES = 6
BLOCK = 64  # Watched points whose distances from the skin are in memory together.
PAIRS = 1 << 18  # of a triangle and a point that are in memory together
# Points on each triangle: corners and middles of its sides.
POINTS = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0), (0, 0.5, 0.5), (0.5, 0, 0.5)])


@dataclass(frozen=True)
class Eye:
    """One eyeball and the lids before it.

    Attributes:
        ball: int [B], its vertices.
        front: float32 [GRID + 2, GRID + 2], y of its front over (x, z), all in its half extents from its centre; inf
            off it.
        corners: int [S, 3], vertices of the lids between which each watched point lies.
        shares: float32 [S, 3], of each of them in it.
        wanted: float32 [S], mm that they have to be in front.
        skin: int [V], the vertices that may move.
        influence: float32 [S, V], how much each moves with a point.
    """

    ball: np.ndarray
    front: np.ndarray
    corners: np.ndarray
    shares: np.ndarray
    wanted: np.ndarray
    skin: np.ndarray
    influence: np.ndarray

    def gaps(self, vertices: np.ndarray) -> np.ndarray:
        """How far each watched point lies before the ball, float32 [S] in mm; inf where no ball is behind it."""
        centre, half = _extent(vertices[self.ball])
        points = np.einsum("sc,scx->sx", self.shares, vertices[self.corners])
        x, y, z = ((points - centre) / half).T
        return half[1] * (self.front[_cells(x), _cells(z)] - y)


class Lids:
    """The lids of a model; of one without eyeballs, nothing.

    Attributes:
        eyes: its eyeballs that have lids.
    """

    def __init__(self, model: FaceModel):
        material = np.repeat(model.polygon_material, model.polygon_sizes - 2)
        triangles = triangulate(model.polygon_sizes, model.polygon_vertices)
        balls, skin = triangles[material == 1], triangles[material != 1]
        mean = model.mean.astype(np.float64)
        eyes = [_watch(mean, ball, balls[np.isin(balls[:, 0], ball)], skin) for ball in islands(list(balls))]
        self.eyes = [eye for eye in eyes if eye is not None]

    def gaps(self, vertices: np.ndarray) -> np.ndarray:
        """How far the watched points of all lids lie in front of the eyeballs, float32 [S] in mm: negative is pierced.

        Args:
            vertices: float32 [N, 3] in mm.
        """
        return np.concatenate([np.empty(0, np.float32), *(eye.gaps(vertices) for eye in self.eyes)])

    def drape(self, vertices: np.ndarray) -> np.ndarray:
        """The face with its lids in front of its eyeballs.

        Args:
            vertices: float32 [N, 3] in mm.

        Returns:
            float32 [N, 3]: the same array when nothing had to move, else a new one.
        """
        draped = vertices
        for eye in self.eyes:
            for _ in range(PASSES):
                lacking = eye.wanted - eye.gaps(draped)
                pierced = np.flatnonzero(lacking > 0)
                if not len(pierced):
                    break
                if draped is vertices:
                    draped = vertices.copy()
                draped[eye.skin, 1] -= (lacking[pierced, None] * eye.influence[pierced]).max(axis=0)
        return draped


def front_height(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The least y of triangles at places (x, z), as seen along the gaze.

    Args:
        points: float [P, 2].
        corners: float [T, 3, 3].

    Returns:
        float64 [P], inf where there is no triangle.
    """
    height = np.full(len(points), np.inf)
    corners = corners[:, :, [0, 2, 1]]  # The height comes last.
    lows, highs = corners.min(axis=1), corners.max(axis=1)
    order = np.argsort(points[:, 0], kind="stable")
    along, up = points[order].T
    first, end = np.searchsorted(along, lows[:, 0], "left"), np.searchsorted(along, highs[:, 0], "right")
    ends = np.cumsum(end - first)
    for number in range(0, int(ends[-1]) if len(ends) else 0, PAIRS):
        # Pairs of a triangle and a place that is beside it along x.
        pairs = np.arange(number, min(number + PAIRS, ends[-1]))
        triangle = np.searchsorted(ends, pairs, "right")
        place = end[triangle] - (ends[triangle] - pairs)
        near = (up[place] >= lows[triangle, 1]) & (up[place] <= highs[triangle, 1])
        triangle, place = triangle[near], order[place[near]]
        a, (to_b, to_c) = corners[triangle, 0], (corners[triangle, n] - corners[triangle, 0] for n in (1, 2))
        twice = to_b[:, 0] * to_c[:, 1] - to_b[:, 1] * to_c[:, 0]
        p = points[place] - a[:, :2]
        with np.errstate(divide="ignore", invalid="ignore"):
            u = (p[:, 0] * to_c[:, 1] - p[:, 1] * to_c[:, 0]) / twice
            v = (p[:, 1] * to_b[:, 0] - p[:, 0] * to_b[:, 1]) / twice
        inside = (np.abs(twice) >= 1e-9) & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
        found = a[inside, 2] + u[inside] * to_b[inside, 2] + v[inside] * to_c[inside, 2]
        np.minimum.at(height, place[inside], found)
    return height


def _extent(ball: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half extents of an eyeball's vertices [B, 3]."""
    low, high = ball.min(axis=0), ball.max(axis=0)
    return (low + high) / 2, (high - low) / 2


def _cells(places: np.ndarray) -> np.ndarray:
    """Rows of `Eye.front` for places in half extents: 1 to GRID across the ball, 0 and GRID + 1 beyond."""
    return np.clip((places + (1 + 2 / GRID)) * (GRID / 2), 0, GRID + 1).astype(np.intp)


def _front_grid(centre: np.ndarray, half: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """See `Eye.front`; `surface` holds the ball's triangles, float [T, 3, 3]."""
    axis = (np.arange(GRID) + 0.5) * (2 / GRID) - 1
    places = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    height = (front_height(centre[[0, 2]] + half[[0, 2]] * places, surface) - centre[1]) / half[1]
    return np.pad(height.reshape(GRID, GRID), 1, constant_values=np.inf).astype(np.float32)


def _watch(mean: np.ndarray, ball: np.ndarray, surface: np.ndarray, skin: np.ndarray) -> Eye | None:
    """What has to be watched of one eyeball, from the mean face; None when no lid is before it.

    Args:
        mean: float64 [N, 3] in mm.
        ball: int [B], its vertices.
        surface, skin: its triangles and those of the skin, int [T, 3].
    """
    centre, half = _extent(mean[ball])
    if not half.all() or np.isin(ball, skin).any():  # An eyeball is a loose piece.
        return None
    front = _front_grid(centre, half, mean[surface])

    middle = mean[skin].mean(axis=1)
    close = skin[(np.linalg.norm(middle - centre, axis=1) < AROUND * half.max()) & (middle[:, 1] < centre[1])]
    # The outer side is what is seen first from the front; the lining of the lids lies behind it.
    corners = mean[close]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middle = corners.mean(axis=1)
    outer = (normal[:, 1] < 0) & (middle[:, 1] < front_height(middle[:, [0, 2]], corners) + 1e-3)
    lid, corners = np.unique(close[outer], return_inverse=True)
    corners = np.repeat(corners.reshape(-1, 3), len(POINTS), axis=0)
    shares = np.tile(POINTS, (int(outer.sum()), 1))
    # Neighbouring triangles share corners and sides.
    _, first = np.unique((shares * (corners + 1) ** 1.5).sum(axis=1), return_index=True)
    corners, shares = lid[corners[first]], shares[first]
    points = np.einsum("sc,scx->sx", shares, mean[corners])

    places = (points - centre) / half
    gap = half[1] * (front[_cells(places[:, 0]), _cells(places[:, 2])] - places[:, 1])
    # Beside the ball on the mean face counts too: a ball that moves aside comes to lie behind it.
    watched = (gap >= WATCHED) & ((gap <= DEEP) | np.isinf(gap))
    if not watched.any():
        return None
    points, gap = points[watched], np.where(np.isinf(gap), 0, gap)[watched]
    near = np.setdiff1d(np.unique(skin), ball)
    inside = (mean[near] > points.min(axis=0) - REACH) & (mean[near] < points.max(axis=0) + REACH)
    near = near[inside.all(axis=1)]
    influence = np.empty((len(points), len(near)), np.float32)
    for start in range(0, len(points), BLOCK):
        offsets = points[start : start + BLOCK, :, None] - mean[near].T
        fall = np.clip((np.sqrt((offsets**2).sum(axis=1)) - PLATEAU) / (REACH - PLATEAU), 0, 1)
        influence[start : start + BLOCK] = 1 - fall * fall * (3 - 2 * fall)
    moves = influence.any(axis=0)
    return Eye(
        ball=ball,
        front=front,
        corners=corners[watched],
        shares=shares[watched].astype(np.float32),
        wanted=(CLEARANCE * np.clip(gap / WATCHED - 1, 0, 1)).astype(np.float32),
        skin=near[moves],
        influence=influence[:, moves],
    )
