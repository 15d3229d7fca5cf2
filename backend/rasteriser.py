# SPDX-License-Identifier: GPL-3.0-or-later
"""Which triangle each pixel sees: a z-buffer in NumPy, without a loop over triangles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

DISTANCE = 5.0  # Of a camera from the middle of what it sees, in radii: a portrait lens.
WIDEST = 4  # Picture, width over height.


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the middle of what it was fitted to.

    Attributes:
        axes: float64 [3, 3]; rows point right, up and towards the camera.
        centre: float64 [3], what it looks at, mm.
        distance: mm from `centre`.
        scale: pixels per mm at `centre`.
        offset: pixels from the picture's left top corner to where `centre` is seen.
        width, height: of the picture, pixels.
    """

    axes: np.ndarray
    centre: np.ndarray
    distance: float
    scale: float
    offset: tuple[float, float]
    width: int
    height: int

    def project(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Vertices [N, 3] to pixels x (rightwards), y (downwards) and nearness, each float64 [N].

        Nearness is `distance` over the distance along the axis of view: 1 at `centre`, more towards the camera,
        and linear over a projected triangle.
        """
        x, y, depth = self.axes @ (np.asarray(vertices, dtype=np.float64) - self.centre).T
        near = 1.0 / (1.0 - depth / self.distance)
        return self.offset[0] + self.scale * near * x, self.offset[1] - self.scale * near * y, near

    def enlarged(self, factor: int) -> Camera:
        """The same view with `factor` times the pixels on each side."""
        return replace(
            self,
            scale=self.scale * factor,
            offset=(self.offset[0] * factor, self.offset[1] * factor),
            width=self.width * factor,
            height=self.height * factor,
        )

    def squared(self, size: int) -> Camera:
        """The same view in a square of `size` pixels, scaled down where that is narrower, in the middle."""
        shrink = min(1.0, size / max(self.width, self.height))
        offset = (
            self.offset[0] * shrink + (size - self.width * shrink) / 2,
            self.offset[1] * shrink + (size - self.height * shrink) / 2,
        )
        return replace(self, scale=self.scale * shrink, offset=offset, width=size, height=size)


def view_axes(azimuth: float, elevation: float) -> np.ndarray:
    """Right, up and towards the camera, float64 [3, 3], for meshes with Z up and faces along -Y.

    Args:
        azimuth: degrees by which the camera walks around the head, to the person's left.
        elevation: degrees by which it rises, less than 90.
    """
    a, e = np.radians(azimuth), np.radians(elevation)
    towards = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    right = np.array([np.cos(a), np.sin(a), 0.0])
    return np.stack([right, np.cross(towards, right), towards])


def fit_camera(
    vertices: np.ndarray,
    azimuth: float = 0.0,
    elevation: float = 0.0,
    height: int = 400,
    margin: float = 0.02,
) -> Camera:
    """A camera whose picture holds all the given vertices, so that all faces of one figure are to scale.

    Args:
        vertices: [..., 3] mm.
        azimuth, elevation: see `view_axes`.
        height: of the picture, pixels.
        margin: free space around the vertices as a share of the picture's height. The width is what they need.
    """
    points = np.asarray(vertices, dtype=np.float64).reshape(-1, 3)
    axes = view_axes(azimuth, elevation)
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    radius = float(np.linalg.norm(points - centre, axis=1).max()) or 1.0
    x, y, _ = Camera(axes, centre, DISTANCE * radius, 1.0, (0.0, 0.0), 0, 0).project(points)
    free = margin * height
    scale = (height - 2 * free) / max(float(np.ptp(y)), 1e-9)
    width = min(max(1, int(np.ceil(float(np.ptp(x)) * scale + 2 * free))), WIDEST * height)
    scale = min(scale, max(width - 2 * free, 1) / max(float(np.ptp(x)), 1e-9))
    offset = tuple(0.5 * (side - scale * (p.min() + p.max())) for side, p in ((width, x), (height, y)))
    return Camera(axes, centre, DISTANCE * radius, scale, offset, width, height)


@dataclass(frozen=True)
class Fragments:
    """What is seen, for the P pixels that see anything.

    Attributes:
        pixel: int64 [P], row * width + column.
        triangle: int64 [P].
        barycentric: float64 [3, P], of the pixel's middle in that triangle.
        nearness: float64 [P], see `Camera.project`.
    """

    pixel: np.ndarray
    triangle: np.ndarray
    barycentric: np.ndarray
    nearness: np.ndarray


def rasterise(vertices: np.ndarray, triangles: np.ndarray, camera: Camera) -> Fragments:
    """The nearest triangle at the middle of each pixel.

    Triangles are cut into pixel rows and each row into the pixels between the triangle's sides, all at
    once; then each pixel keeps its nearest. Attributes may be interpolated with the barycentric
    coordinates as they are: across one small triangle perspective is next to affine.

    Args:
        vertices: [N, 3] mm.
        triangles: int [T, 3]; those without area in the picture are not seen.
    """
    x, y, near = (values[triangles.T] for values in camera.project(vertices))  # Each [3, T].
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    top = np.maximum(np.ceil(y.min(axis=0) - 0.5), 0)
    rows = np.minimum(np.floor(y.max(axis=0) - 0.5), camera.height - 1) - top + 1
    rows = np.where(np.abs(area) > 1e-12, np.maximum(rows, 0), 0).astype(np.int64)
    triangle, row = _expand(rows)
    row += top[triangle].astype(np.int64)

    # On a row, barycentric coordinate i is a[i] + b[i] * column; it is 0 on the side opposite to corner i.
    area = np.where(area == 0, 1.0, area)
    after, before = [1, 2, 0], [2, 0, 1]
    b = ((y[after] - y[before]) / area)[:, triangle]
    a = ((x[before] - x[after]) / area)[:, triangle] * (row + 0.5 - y[after][:, triangle])
    a += b * (0.5 - x[after][:, triangle])
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -a / b
    left = np.ceil(np.where(b > 0, crossing, 0.0).max(axis=0) - 1e-9)
    right = np.floor(np.where(b < 0, crossing, camera.width - 1.0).min(axis=0) + 1e-9)
    columns = np.where(((b == 0) & (a < 0)).any(axis=0), 0, np.maximum(right - left + 1, 0)).astype(np.int64)
    span, column = _expand(columns)
    column += left[span].astype(np.int64)

    near = near[:, triangle]
    nearness = (a * near).sum(axis=0)[span] + (b * near).sum(axis=0)[span] * column
    pixel = row[span] * camera.width + column
    nearest = np.full(camera.width * camera.height, -np.inf)
    np.maximum.at(nearest, pixel, nearness)
    winner = np.full(len(nearest), -1, dtype=np.int64)
    kept = np.flatnonzero(nearness == nearest[pixel])
    winner[pixel[kept]] = kept
    seen = np.flatnonzero(winner >= 0)
    kept = winner[seen]
    barycentric = a[:, span[kept]] + b[:, span[kept]] * column[kept]
    return Fragments(seen, triangle[span[kept]], barycentric, nearest[seen])


def _expand(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Item i `counts[i]` times, and 0, 1, 2, ... within each item; both int64 [sum(counts)]."""
    item = np.repeat(np.arange(len(counts)), counts)
    return item, np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)
