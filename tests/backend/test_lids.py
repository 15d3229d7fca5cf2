# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs stay behind the lids, measured by rays along the gaze that know nothing of the correction."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from backend.controls import control_matrix
from backend.eyes import islands
from backend.lids import WATCHED, Lids, _watch, front_height
from backend.lwae_file import load_model
from backend.numpy_decoder import NumpyDecoder
from backend.polygons import triangulate
from tests.toy import sphere, toy_model

DEFAULT = Path(__file__).resolve().parents[2] / "blender_lwae" / "models" / "default.lwae"
# Where points lie on a triangle: four steps along each side.
SPREAD = np.array([(i, j, 4 - i - j) for i in range(5) for j in range(5 - i)]) / 4
SIDES, EYE = np.array([[1, 1, 1], [-1, 1, 1]]), np.array([30, -19, 25])  # Mirrored; the left eyeball's place, mm.
TOLERANCE = 0.4  # mm; lids are watched at corners and middles of sides only.

pytestmark = pytest.mark.skipif(not DEFAULT.is_file(), reason="no bundled model")


class Rays:
    """Points on the outer side of the lids, in front of the eyeballs on the mean face, and rays from them."""

    def __init__(self, model):
        material = np.repeat(model.polygon_material, model.polygon_sizes - 2)
        triangles = triangulate(model.polygon_sizes, model.polygon_vertices)
        skin, balls = triangles[material == 0], triangles[material == 1]
        self.eyes = []
        for ball in islands(list(balls)):
            centre = model.mean[ball].mean(axis=0)
            middle = model.mean[skin].mean(axis=1)
            near = skin[(np.linalg.norm(middle - centre, axis=1) < 22) & (middle[:, 1] < centre[1])]
            a, b, c = model.mean[near].transpose(1, 0, 2)
            middle = (a + b + c) / 3
            front = front_height(middle[:, [0, 2]], model.mean[near].astype(float))
            seen = (np.cross(b - a, c - a)[:, 1] < 0) & (middle[:, 1] < front + 1e-3)
            lid, surface = near[seen], balls[np.isin(balls[:, 0], ball)]
            gaps = self._gaps(model.mean, lid, surface)
            self.eyes.append((lid, surface, (gaps > WATCHED + 0.2) & np.isfinite(gaps)))

    @staticmethod
    def _gaps(vertices, lid, surface):
        points = np.einsum("pc,tcd->tpd", SPREAD, vertices[lid].astype(float)).reshape(-1, 3)
        return front_height(points[:, [0, 2]], vertices[surface].astype(float)) - points[:, 1]

    def touched_by(self, change) -> bool:
        """Whether a change of the mean face moves lids or eyeballs."""
        return any(np.abs(change[np.unique(part)]).max() > 0.02 for lid, ball, _ in self.eyes for part in (lid, ball))

    def depth(self, vertices) -> float:
        """How far an eyeball comes through a lid at most, mm; negative when none does."""
        return -min(self._gaps(vertices, lid, surface)[watched].min() for lid, surface, watched in self.eyes)


@pytest.fixture(scope="module")
def bed():
    model = load_model(DEFAULT)
    return model, NumpyDecoder(model), Lids(model), Rays(model)


def test_a_model_without_eyeballs_is_left_alone():
    model = toy_model()
    assert Lids(model).drape(model.mean) is model.mean
    assert not len(Lids(model).gaps(model.mean))


def test_a_dense_mesh_takes_little_more_memory_than_what_is_kept():
    ball, sizes, corners = sphere(radius=12)
    surface = triangulate(sizes, corners)
    hull, sizes, corners = sphere(rings=32, segments=64, radius=13.75)  # All before the ball is lid.
    mean = np.concatenate([ball, hull]).astype(np.float64)
    skin = triangulate(sizes, corners + len(ball))
    tracemalloc.start()
    try:
        eye = _watch(mean, np.arange(len(ball)), surface, skin)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(eye.shares) > 1000 and peak < 3 * eye.influence.nbytes
    points = np.einsum("sc,scx->sx", eye.shares, mean[eye.corners])
    assert len(np.unique(points, axis=0)) == len(points), "no point is watched twice"
    away = np.linalg.norm(points[:, None] - mean[eye.skin], axis=2)
    assert (eye.influence[away < 3] == 1).all() and not eye.influence[away > 9].any()
    np.testing.assert_allclose(eye.influence[np.abs(away - 6) < 1e-3], 0.5, atol=1e-3)


@pytest.mark.parametrize("reach", [3, 6])
def test_every_control(bed, reach):
    """To three either way, which sliders reach, and to six, which can be typed; there eyeballs do come through."""
    model, decoder, lids, rays = bed
    controls = control_matrix(model)
    deepest = -np.inf
    for index, control in enumerate(model.controls):
        for value in (-reach, reach):
            face = decoder.decode(value * controls[None, :, index])[0]
            held = lids.drape(face)
            if not rays.touched_by(face - model.mean):
                assert np.array_equal(held, face)
                continue
            label = f"{control.name} of part {control.part} at {value}"
            deepest = max(deepest, rays.depth(face))
            assert rays.depth(held) < TOLERANCE, label
            changed = np.abs(held - face).max(axis=1) > 0
            assert np.linalg.norm(model.mean[changed] * SIDES[:, None] - EYE, axis=2).min(axis=0).max(initial=0) < 35
    print(f"eyeballs come through by {deepest:.2f} mm without draping")
    assert reach == 3 or deepest > 0.8, "this test would not see an eyeball that comes through"


def test_random_faces(bed):
    model, decoder, lids, rays = bed
    faces = decoder.decode(model.prior.sample(np.random.default_rng(0), 40, 1.4))
    assert max(rays.depth(face) for face in faces) > 0.2
    held = [lids.drape(face) for face in faces]
    assert max(rays.depth(face) for face in held) < TOLERANCE
    assert sum(np.array_equal(face, other) for face, other in zip(faces, held, strict=True)) > 20


def test_what_is_in_order_stays_to_the_bit(bed):
    model, _, lids, _ = bed
    mean = model.mean.astype(np.float32)
    assert lids.drape(mean) is mean
    assert lids.gaps(mean).min() > 1


def test_only_forward_and_not_the_balls(bed):
    model, decoder, lids, _ = bed
    narrow = next(i for i, c in enumerate(model.controls) if c.name == "Width" and model.part_names[c.part] == "eyes")
    face = decoder.decode(-7 * control_matrix(model)[None, :, narrow])[0]
    before = face.copy()
    held = lids.drape(face)
    assert np.array_equal(face, before)
    moved = held - face
    assert not moved[:, [0, 2]].any() and moved[:, 1].max() <= 0 and moved[:, 1].min() < -0.1
    balls = np.unique(model.polygon_vertices.reshape(-1, 4)[model.polygon_material == 1])
    assert not moved[balls].any()
    # Draping is done in one go: what is draped stays.
    assert np.abs(lids.drape(held) - held).max() < 0.05
