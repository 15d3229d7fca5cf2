# SPDX-License-Identifier: GPL-3.0-or-later
"""Fitting a model to meshes of other topologies, with the bundled model."""

import json
from pathlib import Path

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.fit_mesh import Landmark, MeshFit, fit_mesh, last_fit
from backend.landmarks import landmarks_of
from backend.lwae_file import load_model
from backend.mesh_distance import Distance
from backend.mesh_files import PlyFormat
from backend.model_surface import ModelSurface
from backend.numpy_decoder import NumpyDecoder
from backend.rough_align import rough_poses
from backend.similarity import Similarity
from backend.slopes import LocalSlopes, NumericSlopes
from backend.surface import Surface
from tests.toy import sphere, toy_model
from trainer.cli import main
from trainer.fit_file import fit_file
from trainer.mesh.closest_point import closest_points
from trainer.mesh.near_points import make_closest
from trainer.mesh.topology import triangulate

DEFAULT = Path(__file__).parents[2] / "blender_lwae" / "models" / "default.lwae"
pytestmark = pytest.mark.skipif(not DEFAULT.is_file(), reason="needs the bundled model")


@pytest.fixture(scope="module")
def decoder():
    return NumpyDecoder(load_model(DEFAULT))


@pytest.fixture(scope="module")
def person(decoder):
    """A random face of the model, float64 [N, 3] mm."""
    code = decoder.model.prior.sample(np.random.default_rng(4), 1)
    return decoder.decode(code)[0].astype(np.float64)


def other_mesh(model, face) -> tuple[np.ndarray, np.ndarray]:
    """The skin of a face in triangles whose corners are none of the model's: the middles of its triangles' sides and
    of the triangles."""
    triangles = ModelSurface.of(model).triangles
    corners = face[triangles]
    sides = 0.5 * (corners + np.roll(corners, -1, axis=1))
    middle = corners.mean(axis=1)
    count = len(triangles)
    vertices = np.concatenate([corners.reshape(-1, 3), sides.reshape(-1, 3), middle])
    a, m, c = np.arange(3 * count), 3 * count + np.arange(3 * count), np.repeat(6 * count + np.arange(count), 3)
    before = 3 * count + (np.arange(3 * count) // 3) * 3 + (np.arange(3 * count) + 2) % 3
    return vertices, np.concatenate([np.stack([a, m, c], axis=1), np.stack([before, a, c], axis=1)])


def turn(angles) -> np.ndarray:
    """Rotation by angles about X, Y and Z, in degrees."""
    result = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        i, j = [k for k in range(3) if k != axis]
        part = np.eye(3)
        part[i, i] = part[j, j] = np.cos(angle)
        part[i, j], part[j, i] = -np.sin(angle), np.sin(angle)
        result = part @ result
    return result


def degrees_off(pose, rotation) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(pose.rotation @ rotation) - 1) / 2, -1, 1))))


def marks(model, face, place, names=5) -> list[Landmark]:
    return [Landmark(vertex, place(face[vertex])) for vertex in list(landmarks_of(model).values())[:names]]


def test_other_mesh_is_the_same_surface(decoder, person):
    vertices, triangles = other_mesh(decoder.model, person)
    skin = ModelSurface.of(decoder.model)
    assert np.isclose(Surface(vertices, triangles).areas.sum(), Surface(person, skin.triangles).areas.sum())


def test_near_points_are_the_closest(person, decoder):
    triangles = ModelSurface.of(decoder.model).triangles
    points = person[::7] + np.random.default_rng(0).normal(scale=4.0, size=person[::7].shape)
    found, chosen = make_closest(person, triangles)(points)
    exact, shares = closest_points(points, person, triangles)
    best = np.einsum("pc,pci->pi", shares, person[triangles[exact]])
    distances, least = np.linalg.norm(found - points, axis=1), np.linalg.norm(best - points, axis=1)
    assert (distances >= least - 1e-9).all()
    assert (distances < least + 1e-6).mean() > 0.995 and np.max(distances - least) < 0.5
    assert chosen.min() >= 0 and chosen.max() < len(triangles)


def test_a_head_is_found_and_fitted_from_its_shape_alone(decoder, person, tmp_path, capsys, caplog):
    rotation = turn((20, -15, 130))
    vertices, triangles = other_mesh(decoder.model, person)
    vertices = (vertices @ rotation.T + (50, -900, 400)) / 10
    path = tmp_path / "scan.ply"
    PlyFormat(len(vertices), np.full(len(triangles), 3), triangles.ravel()).write(path, vertices)
    out, ply = tmp_path / "face.json", tmp_path / "face.ply"
    assert main(["fit", str(DEFAULT), str(path), "--out", str(out), "--ply", str(ply)]) == 0
    facts = json.loads(out.read_text())
    assert facts["mm_per_unit"] == 10
    assert facts["chamfer_mm"] < 0.3 and facts["coverage"] > 0.9
    face = decoder.decode(np.array(facts["code"], dtype=np.float32)[None])[0]
    matrix = np.array(facts["matrix_to_mesh"])
    placed = 10 * (face @ matrix[:3, :3].T + matrix[:3, 3])
    truth = person @ rotation.T + (50, -900, 400)
    errors = np.linalg.norm(placed - truth, axis=1)
    assert errors.mean() < 1.0, "vertices correspond, not only surfaces"
    assert "mm (symmetric Chamfer)" in capsys.readouterr().out
    assert "trust" not in caplog.text
    assert ply.stat().st_size > 12 * len(face)


def test_distances_of_what_matches_nowhere_are_null(decoder, person, tmp_path, monkeypatch):
    model = decoder.model
    PlyFormat(model.vertex_count, model.polygon_sizes, model.polygon_vertices).write(tmp_path / "a.ply", person)
    distance = Distance(1.5, float("inf"), 0.5)
    fit = MeshFit(model.prior.mean, Similarity(1.0, np.eye(3), np.zeros(3)), person, None, distance, distance)
    monkeypatch.setattr("trainer.fit_file.fit_mesh", lambda *_: iter([fit]))
    fit_file(DEFAULT, tmp_path / "a.ply", tmp_path / "a.json")
    facts = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert facts["mesh_to_face_mm"] is None and facts["chamfer_mm"] is None and facts["face_to_mesh_mm"] == 1.5


def test_what_may_be_no_head_is_doubted(decoder, person, tmp_path, monkeypatch, caplog):
    model = decoder.model
    PlyFormat(model.vertex_count, model.polygon_sizes, model.polygon_vertices).write(tmp_path / "a.ply", person)
    usual = model.prior.sample(np.random.default_rng(0), 1)[0]
    unlike = model.prior.mean + 10 * (usual - model.prior.mean)

    def said(code, to_mesh, mm=1.0, scale="units"):
        distance = Distance(to_mesh, 0.8, 0.8)  # A ball was met to 1.4 mm by a face of 35, heads of ICT to 0.6 of 10.
        fit = MeshFit(code, Similarity(mm, np.eye(3), np.zeros(3)), person, None, distance, distance)
        monkeypatch.setattr("trainer.fit_file.fit_mesh", lambda *_: iter([fit]))
        caplog.clear()
        fit_file(DEFAULT, tmp_path / "a.ply", tmp_path / "a.json", scale)
        return caplog.text

    assert "times as far from the mean face as people are, and yet 1.4 mm from the mesh" in said(unlike, 1.4)
    assert "in no usual unit is the mesh as large as a head" in said(usual, 0.1, 0.7)
    assert not said(unlike, 0.6) and not said(usual, 1.4) and not said(usual, 0.1, 0.7, "free")


def test_landmarks_place_a_mask_of_unknown_size_seen_inside_out(decoder, person):
    rotation = turn((160, 40, -70))
    vertices, triangles = other_mesh(decoder.model, person)
    mask = (vertices[triangles][:, :, 1].max(axis=1) < 20) & (vertices[triangles][:, :, 2].min(axis=1) > -105)

    def place(points):
        return (points @ rotation.T + 30) * 0.037

    landmarks = marks(decoder.model, person, place)
    steps = fit_mesh(
        decoder, place(vertices), triangles[mask][:, ::-1], make_closest, landmarks, "free", with_offset=True
    )
    fit = last_fit(steps)
    assert degrees_off(fit.pose, rotation) < 4
    assert fit.pose.scale * 0.037 == pytest.approx(1, abs=0.15), "the mean head's size, about"
    assert fit.distance.chamfer < 0.5
    assert 0.2 < fit.distance.coverage < 0.75, "half of the head is missing"
    front = person[:, 1] < 10
    errors = np.linalg.norm(fit.pose.apply(place(person)) - fit.face, axis=1)
    assert errors[front].mean() < 2.5
    # What the mesh lacks stays near to where the model has it.
    assert np.linalg.norm(fit.offset[person[:, 1] > 80], axis=1).max() < 5


def test_the_offset_holds_what_no_person_has(decoder, person):
    model = decoder.model
    bump = person + 8 * np.exp(-(np.linalg.norm(person - person[landmarks_of(model)["Chin"]], axis=1) ** 2) / 60)[
        :, None
    ] * (0, -1, 0)  # fmt: skip
    vertices, triangles = other_mesh(model, bump)
    fit = last_fit(
        fit_mesh(decoder, vertices, triangles, make_closest, marks(model, bump, np.array), with_offset=True)
    )
    assert fit.distance_with_offset.chamfer < 0.5 * fit.distance.chamfer
    chin = landmarks_of(model)["Chin"]
    goal = make_closest(vertices, triangles)((fit.face + fit.offset)[[chin]].astype(float))[0]
    assert np.linalg.norm((fit.face + fit.offset)[chin] - goal) < 1.0
    eyes = np.setdiff1d(np.arange(model.vertex_count), ModelSurface.of(model).vertices)
    left = eyes[person[eyes, 0] > 0]
    assert np.ptp(fit.offset[left], axis=0).max() < 1e-6, "an eyeball stays round"
    assert np.linalg.norm(fit.offset[eyes], axis=1).max() < 2


def test_rough_poses_find_any_side(decoder, person):
    rotation = turn((0, 0, 200)) @ turn((90, 0, 0))
    vertices, triangles = other_mesh(decoder.model, person)
    skin = ModelSurface.of(decoder.model)
    target = Surface(vertices @ rotation.T / 1000, triangles)
    for found in rough_poses(skin.surface(decoder.model.mean), target, np.random.default_rng(0)):
        last = found
    assert degrees_off(last[0].pose, rotation) < 12
    assert last[0].pose.scale == pytest.approx(1000, rel=0.08)
    assert last[0].score < 0.8 * last[1].score if len(last) > 1 else True


@pytest.mark.parametrize("seed", [0, 1])
def test_the_mask_of_a_face_is_found_on_a_whole_head(decoder, person, seed):
    mean, triangles = decoder.model.mean.astype(np.float64), ModelSurface.of(decoder.model).triangles
    front = mean[triangles][:, :, 1].max(axis=1) < mean[:, 1].min() + 45
    middle = mean[triangles][:, :, 2].min(axis=1) > mean[:, 2].min() + 40
    mask = triangles[front & middle & (mean[triangles][:, :, 2].max(axis=1) < mean[:, 2].min() + 200)]
    used, corners = np.unique(mask, return_inverse=True)
    rotation = turn((0, 0, 20))
    target = Surface(person @ rotation.T / 1000, triangles)
    *_, guesses = rough_poses(Surface(mean[used], corners.reshape(-1, 3)), target, np.random.default_rng(seed))
    assert degrees_off(guesses[0].pose, rotation) < 12
    assert guesses[0].pose.scale == pytest.approx(1000, rel=0.15)


def test_bad_input_gets_its_sentence(decoder):
    flat = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
    square = np.array([[0, 1, 2], [0, 2, 3]])
    with pytest.raises(LwaeError, match="flat"):
        last_fit(fit_mesh(decoder, flat, square, make_closest))
    line = [Landmark(vertex, np.array([float(index), 0, 0])) for index, vertex in enumerate((1409, 132, 1566))]
    vertices, sizes, corners = sphere()
    with pytest.raises(LwaeError, match="one line"):
        last_fit(fit_mesh(decoder, vertices, triangulate(sizes, corners), make_closest, line))


def test_landmarks_lie_where_they_should(decoder):
    model = decoder.model
    places = {name: model.mean[vertex] for name, vertex in landmarks_of(model).items()}
    skin = ModelSurface.of(model)
    assert all(skin.mass[vertex] > 0 for vertex in landmarks_of(model).values())
    assert places["Tip of the nose"][1] == model.mean[:, 1].min()
    for name, place in places.items():
        if name.startswith("Right"):
            assert place[0] < -10
            assert np.allclose(places[name.replace("Right", "Left")], place * [-1, 1, 1], atol=1.0)
    assert places["Chin"][2] < places["Right mouth corner"][2] < places["Tip of the nose"][2]
    assert places["Right eye, outer corner"][0] < places["Right eye, inner corner"][0]


def test_displacements_are_the_slopes_of_the_decoder(decoder):
    toy = NumpyDecoder(toy_model(border_strength=0.0))
    axes = toy.model.prior.principal_axes[1]
    code = toy.model.prior.sample(np.random.default_rng(2), 1)[0]
    exact = LocalSlopes(toy.model, axes)
    numeric = NumericSlopes(toy, axes, np.full(axes.shape[1], 0.02))
    for slopes in (exact, numeric):
        slopes.renew(code)
    few, all_of_them = exact.displacements(3), exact.displacements(axes.shape[1])
    assert np.allclose(few, all_of_them[-3:], atol=1e-5)
    assert np.abs(all_of_them - numeric.displacements(axes.shape[1])).max() < 0.02 * np.abs(all_of_them).max()
    assert np.allclose(all_of_them.transpose(1, 2, 0), exact.rows(np.arange(toy.model.vertex_count)), atol=1e-4)
