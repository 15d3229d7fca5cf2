# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of heads without a GPU: clay in soft studio light, or the colours of a scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import lighting
from .eyes import IRIS_RADIUS, PUPIL_RADIUS, eye_coordinates
from .model import FaceModel
from .polygons import polygon_starts, triangulate, vertex_normals
from .rasteriser import Camera, rasterise
from .sky import visible_sky

SAMPLES = 2  # Per pixel and axis.
LAMP_EXPONENT = 12.0  # Of the cosine around the key lamp, which makes its shadows soft.
DIMMEST = 0.15  # What is hidden on the mean face may show on another one: dark, but not a black hole.

# Linear RGB.
CLAY = np.array([0.56, 0.385, 0.295])
SCLERA, IRIS, IRIS_EDGE, PUPIL = [0.86, 0.83, 0.80], [0.085, 0.10, 0.10], [0.02, 0.025, 0.03], [0.003, 0.003, 0.003]
CLAY_GLOSS, CLAY_SHINE = 0.07, 14.0
EYE_GLOSS, EYE_SHINE = 0.6, 120.0


class Studio:
    """Lamps and materials for meshes that share their triangles.

    How much of the sky and of the key lamp each vertex sees is measured once, on the mean face: it darkens eye sockets
    and nostrils and puts the neck in the chin's shadow, and is nearly the same for all faces.
    """

    def __init__(
        self,
        mean: np.ndarray,
        triangles: np.ndarray,
        eyes: list[np.ndarray] | None = None,
        directions: int | None = None,
    ):
        """
        Args:
            mean: [N, 3] mm, Z up, face along -Y.
            triangles: [T, 3]; turned round if they face inwards.
            eyes: vertex numbers of each eye polygon.
            directions: see `visible_sky`; fewer are quicker and make blotchier shadows.
        """
        self.mean = np.asarray(mean, dtype=np.float32)
        outwards = _signed_volume(self.mean, triangles) >= 0
        self.triangles = np.ascontiguousarray(triangles if outwards else triangles[:, ::-1])
        self._place_on_eye = eye_coordinates(self.mean, eyes or [])
        on_eye = np.zeros(len(self.mean), dtype=bool)
        if eyes:
            on_eye[np.concatenate(eyes)] = True
        self._is_eye = on_eye[self.triangles].all(axis=1)
        self._normals = vertex_normals(self.mean, self.triangles)
        self._directions, self._seen = visible_sky(self.mean, self.triangles, directions)
        self._shares: dict[bytes, np.ndarray] = {}  # By view.

    @classmethod
    def of(cls, model: FaceModel, directions: int | None = None) -> Studio:
        """A studio for the faces of a model."""
        starts = polygon_starts(model.polygon_sizes)
        eyes = [
            model.polygon_vertices[starts[polygon] : starts[polygon] + model.polygon_sizes[polygon]]
            for polygon in np.flatnonzero(model.polygon_material == 1)
        ]
        return cls(model.mean, triangulate(model.polygon_sizes, model.polygon_vertices), eyes, directions)

    def clay(
        self, vertices: np.ndarray, camera: Camera, tint: np.ndarray | None = None, transparent: bool = False
    ) -> np.ndarray:
        """A portrait in clay with painted eyes, uint8 [height, width, 3].

        Args:
            vertices: [N, 3] mm.
            camera: from `fit_camera`, fitted to faces of this size.
            tint: sRGB in 0..1 and how much of it, [N, 4]; not on the eyes.
            transparent: around the face there is nothing instead of white: uint8 [height, width, 4], alpha straight.
        """
        colours = np.broadcast_to(CLAY, (len(self.mean), 3))
        if tint is not None:
            colours = CLAY + tint[:, 3:] * (lighting.to_linear(tint[:, :3]) - CLAY)

        def shade(normals, sky, key, albedo, triangle, interpolated):
            gloss, shine = (np.full(len(normals), value, np.float32) for value in (CLAY_GLOSS, CLAY_SHINE))
            eye = np.flatnonzero(self._is_eye[triangle])
            if len(eye):
                albedo[eye] = _eye_colours(interpolated(self._place_on_eye, eye))
                gloss[eye], shine[eye] = EYE_GLOSS, EYE_SHINE
            return lighting.studio_light(normals, sky, key, albedo, gloss, shine)

        return self._picture(vertices, camera, colours, shade, transparent)

    def colours(self, vertices: np.ndarray, camera: Camera, colours: np.ndarray) -> np.ndarray:
        """Colours of a scale on the face, uint8 [height, width, 3].

        Args:
            vertices: [N, 3] mm.
            colours: sRGB in 0..1, [N, 3].
        """
        return self._picture(
            vertices, camera, colours, lambda normals, sky, key, colours, *_: lighting.even_light(normals, sky, colours)
        )

    def _picture(
        self, vertices: np.ndarray, camera: Camera, colours: np.ndarray, shade: Callable, transparent: bool = False
    ) -> np.ndarray:
        fine = camera.enlarged(SAMPLES)
        seen = rasterise(vertices, self.triangles, fine)
        corners, barycentric = self.triangles[seen.triangle].T, seen.barycentric.astype(np.float32)[:, :, None]

        def interpolated(values: np.ndarray, pixels: np.ndarray | slice = slice(None)) -> np.ndarray:
            return sum(values[corners[i, pixels]] * barycentric[i, pixels] for i in range(3))

        normals = vertex_normals(vertices, self.triangles) @ camera.axes.T
        values = interpolated(np.concatenate([normals, self._light(camera), colours], axis=1).astype(np.float32))
        normals = values[:, :3]
        normals = normals / np.maximum(np.sqrt(np.einsum("pi,pi->p", normals, normals)), 1e-9)[:, None]
        image = np.ones((fine.height * fine.width, 3 + transparent), dtype=np.float32)
        if transparent:
            image[:] = 0
            image[seen.pixel, 3] = 1
        image[seen.pixel, :3] = shade(normals, values[:, 3], values[:, 4], values[:, 5:], seen.triangle, interpolated)
        image = image.reshape(fine.height, fine.width, -1)
        image = sum(image[i::SAMPLES, j::SAMPLES] for i in range(SAMPLES) for j in range(SAMPLES)) / SAMPLES**2
        if transparent:
            image[..., :3] /= np.maximum(image[..., 3:], 1e-9)
        return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)

    def _light(self, camera: Camera) -> np.ndarray:
        """Shares of the sky and of the key lamp that each vertex sees in this view, float32 [N, 2]."""
        view = camera.axes.tobytes()
        if view not in self._shares:
            cosines = self._directions @ self._normals.T
            lamp = np.clip(self._directions @ (camera.axes.T @ lighting.KEY), 0, 1) ** LAMP_EXPONENT
            weights = np.clip(cosines, 0, 1) + 1e-6, np.clip(cosines + 0.3, 0, 1) * lamp[:, None] + 1e-6
            shares = np.stack([(self._seen * weight).sum(axis=0) / weight.sum(axis=0) for weight in weights], axis=1)
            self._shares[view] = (DIMMEST + (1 - DIMMEST) * self._blurred(shares)).astype(np.float32)
        return self._shares[view]

    def _blurred(self, values: np.ndarray) -> np.ndarray:
        """Twice the mean of each vertex and its neighbours: some hundred directions leave a little noise."""
        ends = np.sort(self.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64), axis=1)
        one, other = np.divmod(np.unique(ends @ [len(values), 1]), len(values))
        target, source = np.concatenate([one, other]), np.concatenate([other, one])
        count = np.bincount(target, minlength=len(values))[:, None] + 1
        for _ in range(2):
            around = [np.bincount(target, column[source], minlength=len(values)) for column in values.T]
            values = (values + np.stack(around, axis=1)) / count
        return values


def _eye_colours(place: np.ndarray) -> np.ndarray:
    """Linear RGB [P, 3] of places on the eyeball, see `eye_coordinates`."""
    radius = np.hypot(place[:, 0], place[:, 1]) + 2 * (1 - place[:, 2])  # The back has no iris.
    stops = (PUPIL_RADIUS - 0.03, PUPIL_RADIUS + 0.03, IRIS_RADIUS - 0.12, IRIS_RADIUS - 0.03, IRIS_RADIUS + 0.05)
    colours = np.array([PUPIL, IRIS, IRIS, IRIS_EDGE, SCLERA])
    return np.stack([np.interp(radius, stops, colours[:, i]) for i in range(3)], axis=1)


def _signed_volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (vertices.astype(np.float64) - vertices.mean(axis=0))[triangles.T]
    return float(np.einsum("ti,ti->", a, np.cross(b, c)))
