# SPDX-License-Identifier: GPL-3.0-or-later
"""The ICT-FaceKit door, on small folders in the layout of FaceXModel."""

import json
import shutil

import numpy as np
import pytest

from backend.errors import LwaeError
from tests.toy import sphere
from trainer.cli import main
from trainer.datasets import ict_facekit
from trainer.datasets.dataset import load_dataset
from trainer.datasets.expression_set import load_expressions
from trainer.datasets.ict_facekit import prepare_ict_facekit
from trainer.mesh.topology import polygon_starts

# A head with two eyeballs, in cm, Y up, looking along +Z; corners have UVs of their own.
SKULL, SKULL_SIZES, SKULL_CORNERS = sphere(12, 16, radius=9)
BALL, BALL_SIZES, BALL_CORNERS = sphere(6, 8, radius=1.2)
Z_UP = np.concatenate([SKULL, BALL + [3, -8, 2], BALL + [-3, -8, 2]]).astype(float)
NEUTRAL = np.stack([Z_UP[:, 0], Z_UP[:, 2], -Z_UP[:, 1]], axis=1)
SIZES = np.concatenate([SKULL_SIZES, BALL_SIZES, BALL_SIZES])
CORNERS = np.concatenate([SKULL_CORNERS, BALL_CORNERS + len(SKULL), BALL_CORNERS + len(SKULL) + len(BALL)])
UV = np.random.default_rng(1).random((len(CORNERS), 2)).round(3)
EXPRESSIONS = ("browDown_L", "browDown_R", "jawOpen", "mouthClose")


def write_obj(path, vertices, corners=CORNERS):
    faces = np.split(np.stack([corners + 1, np.arange(1, len(corners) + 1)], axis=1), np.cumsum(SIZES)[:-1])
    lines = ["mtllib ICTFaceModelMaterial.mtl", *("v {:.6f} {:.6f} {:.6f}".format(*v) for v in vertices)]
    lines += ["vt {:.3f} {:.3f}".format(*uv) for uv in UV] + ["usemtl M_Face"]
    path.write_text("\n".join(lines + ["f " + " ".join(f"{v}/{uv}" for v, uv in face) for face in faces]) + "\n")


@pytest.fixture(scope="module")
def shapes():
    """Smooth identity shapes [6, N, 3] and expression shapes [4, N, 3], in cm."""
    rng = np.random.default_rng(0)
    waves = np.stack([np.ones(len(NEUTRAL)), *np.sin(NEUTRAL.T / 6), *np.cos(NEUTRAL.T / 5)])
    identity = 0.2 * rng.normal(size=(6, 3, 7)) @ waves
    expression = 0.5 * rng.normal(size=(4, 3, 7)) @ waves
    return identity.transpose(0, 2, 1), expression.transpose(0, 2, 1)


@pytest.fixture(scope="module")
def published(shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ict") / "FaceXModel"
    folder.mkdir()
    identity, expression = shapes
    write_obj(folder / "generic_neutral_mesh.obj", NEUTRAL)
    for number, shape in enumerate(identity):
        write_obj(folder / f"identity{number:03d}.obj", NEUTRAL + shape)
    for name, shape in zip(EXPRESSIONS, expression, strict=True):
        write_obj(folder / f"{name}.obj", NEUTRAL + shape)
    (folder / "cheekRaiser_L.obj").write_text("an outdated shape that the index leaves out")
    (folder / "vertex_indices.json").write_text(json.dumps({"expressions": EXPRESSIONS, "idx_to_rigid_verts": [1]}))
    for name in ("ICTFaceModelMaterial.mtl", "notes.txt", "._jawOpen.obj"):
        (folder / name).write_text("?")
    return folder


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "FaceXModel")


def z_up(vectors):
    """cm, Y up, looking along +Z, to mm, Z up, looking along -Y."""
    return 10 * np.stack([vectors[..., 0], -vectors[..., 2], vectors[..., 1]], axis=-1)


def spread(faces):
    """Distances of vertices over the face, which no rigid motion changes."""
    faces = np.asarray(faces, dtype=np.float64)
    return np.linalg.norm(faces - np.roll(faces, 7, axis=-2), axis=-1)


def test_faces_are_sums_of_shapes(published, shapes, tmp_path):
    dataset = prepare_ict_facekit(published, tmp_path / "data", count=40, seed=3)
    identity, _ = shapes
    assert dataset.label_names == [f"identity{number:03d}" for number in range(6)]
    expected = z_up(NEUTRAL + np.tensordot(dataset.labels, identity, 1))
    np.testing.assert_allclose(spread(dataset.vertices), spread(expected), atol=1e-3)
    np.testing.assert_allclose(dataset.vertices.mean(axis=1), 0, atol=1e-3)
    # Up is up, the face looks along -Y, the person's left stays on +X.
    mean = z_up(NEUTRAL) - z_up(NEUTRAL).mean(axis=0)
    assert abs(dataset.vertices - mean).max() < 50
    eyes = dataset.template.polygon_material == 1
    centre = dataset.vertices[0][dataset.template.polygon_vertices[np.repeat(eyes, SIZES)]].mean(axis=0)
    assert centre[1] < -50 and centre[2] > 5
    assert (dataset.licence, "6 identity" in dataset.provenance) == ("MIT (ICT-FaceKit light model)", True)


def test_weights_are_standard_normal_and_seeded(published, tmp_path):
    first = prepare_ict_facekit(published, tmp_path / "a", count=400, seed=0)
    assert abs(first.labels.mean(axis=0)).max() < 0.2 and abs(first.labels.std(axis=0) - 1).max() < 0.15
    again = prepare_ict_facekit(published, tmp_path / "b", count=400, seed=0)
    np.testing.assert_array_equal(first.vertices, again.vertices)
    assert abs(prepare_ict_facekit(published, tmp_path / "c", count=400, seed=1).vertices - first.vertices).max() > 1


def test_a_nod_is_no_shape(folder, tmp_path):
    """What is left of an identity shape that is a rotation are the ends of the tangent: second order."""
    axis = np.cross([1.0, 0.0, 0.0], NEUTRAL)
    for number in range(6):
        write_obj(folder / f"identity{number:03d}.obj", NEUTRAL + 0.02 * axis)
    dataset = prepare_ict_facekit(folder, tmp_path / "data", count=20)
    moved = abs(dataset.vertices - dataset.vertices.mean(axis=0)).max()
    assert moved < 0.1 * 10 * 0.02 * abs(axis).max() * abs(dataset.labels.sum(axis=1)).max()


def test_polygons_uvs_and_eyes(published, tmp_path):
    template = prepare_ict_facekit(published, tmp_path / "data", count=9).template
    np.testing.assert_array_equal(template.polygon_sizes, SIZES)
    np.testing.assert_array_equal(template.polygon_vertices, CORNERS)
    np.testing.assert_allclose(template.uv, UV, atol=1e-6)
    assert (template.polygon_material == (np.arange(len(SIZES)) >= len(SKULL_SIZES))).all()


def test_expressions_are_added_in_the_neutral_pose(published, shapes, tmp_path):
    plain = prepare_ict_facekit(published, tmp_path / "a", count=60, seed=5)
    data = prepare_ict_facekit(published, tmp_path / "b", count=60, seed=5, expressions=0.5)
    assert data.label_names[6:] == list(EXPRESSIONS)
    np.testing.assert_array_equal(data.labels[:, :6], plain.labels)
    weights = data.labels[:, 6:]
    assert 0 <= weights.min() and 0.2 < weights.max() <= 0.5
    added = z_up(np.tensordot(weights, shapes[1], 1))
    np.testing.assert_allclose(data.vertices - plain.vertices, added, atol=2e-3)
    assert data.command.endswith("FaceXModel --count 60 --seed 5 --expressions 0.5 --out DATA")
    # They come along for shape keys, with ARKit's names.
    mean = data.vertices[0].astype(np.float32)
    known = load_expressions(data.path, mean, np.ones(len(mean), bool))
    assert set(known.names) <= {name.replace("_L", "Left").replace("_R", "Right") for name in EXPRESSIONS}
    for index, name in enumerate(known.names):
        shape = z_up(shapes[1][[n.replace("_L", "Left").replace("_R", "Right") for n in EXPRESSIONS].index(name)])
        np.testing.assert_allclose(known.deltas[known.rows(index)], shape[known.vertices[known.rows(index)]], atol=2e-3)
    assert len(known) and not load_expressions(plain.path, mean, np.ones(len(mean), bool))


def test_expressions_without_an_index_are_all_other_shapes(folder, tmp_path):
    (folder / "vertex_indices.json").unlink()
    (folder / "cheekRaiser_L.obj").unlink()
    names = prepare_ict_facekit(folder, tmp_path / "data", count=9, expressions=1).label_names
    assert names[6:] == list(EXPRESSIONS)


def test_regions_of_the_published_mesh(folder, monkeypatch, tmp_path):
    """The published names put to this mesh: rings of the skull, and one eyeball (the other one comes last)."""
    starts = (0, 64, 128, 144, 160, len(SKULL), len(SKULL) + len(BALL))
    monkeypatch.setattr(ict_facekit, "GEOMETRIES", dict(zip(ict_facekit.GEOMETRIES, starts, strict=True)))
    monkeypatch.setattr(ict_facekit, "VERTICES", len(NEUTRAL))
    monkeypatch.setattr(ict_facekit, "IDENTITIES", 6)
    ball = len(SKULL) + np.arange(len(BALL))
    for region, kept in {"face": np.r_[:64, ball], "head": np.r_[:160, ball], "full": np.arange(len(NEUTRAL))}.items():
        dataset = prepare_ict_facekit(folder, tmp_path / region, count=60, region=region)
        template = dataset.template
        expected = z_up(NEUTRAL[kept]) - z_up(NEUTRAL[kept]).mean(axis=0)
        assert dataset.vertex_count == len(kept)
        assert abs(dataset.vertices.mean(axis=0) - expected).max() < 4
        np.testing.assert_array_equal(np.unique(template.polygon_vertices), np.arange(len(kept)))
        whole = [np.isin(polygon, kept).all() for polygon in np.split(CORNERS, np.cumsum(SIZES)[:-1])]
        np.testing.assert_array_equal(template.polygon_sizes, SIZES[whole])
        np.testing.assert_array_equal(kept[template.polygon_vertices], CORNERS[np.repeat(whole, SIZES)])
        np.testing.assert_allclose(template.uv, UV[np.repeat(whole, SIZES)], atol=1e-6)
        first = kept[template.polygon_vertices[polygon_starts(template.polygon_sizes)]]
        assert (template.polygon_material == np.isin(first, ball)).all() and template.polygon_material.any()


def test_published_ranges_fit_together():
    starts = list(ict_facekit.GEOMETRIES.values())
    assert starts == sorted(set(starts)) and starts[0] == 0 and starts[-1] < ict_facekit.VERTICES
    geometry = ict_facekit._geometry(ict_facekit.VERTICES)
    sizes = dict(zip(ict_facekit.GEOMETRIES, np.bincount(geometry), strict=True))
    assert (sizes["face"], sizes["head and neck"], sizes["eyeballs"]) == (9409, 1839, 2 * 1570)


def test_another_mesh_is_taken_whole_and_says_so(published, tmp_path, caplog):
    caplog.set_level("INFO")
    assert prepare_ict_facekit(published, tmp_path / "data", count=9, region="face").vertex_count == len(NEUTRAL)
    assert "regions are unknown" in caplog.text


def damage(folder, name, data):
    (folder / name).unlink() if data is None else (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "options", "match"),
    [
        ("generic_neutral_mesh.obj", None, {}, "has no generic_neutral_mesh.obj; name the folder"),
        ("identity003.obj", None, {}, "has no identity003.obj; download"),
        ("identity003.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", {}, "identity003.obj has 3 vertices but"),
        ("identity003.obj", b"v 0 0", {}, "identity003.obj cannot be read as OBJ"),
        ("jawOpen.obj", None, {"expressions": 1}, "has no jawOpen.obj; download"),
        ("jawOpen.obj", b"", {"expressions": 1}, "jawOpen.obj"),
        ("vertex_indices.json", b"{", {"expressions": 1}, "vertex_indices.json does not list the expressions"),
        ("vertex_indices.json", b"[]", {"expressions": 1}, "vertex_indices.json does not list the expressions"),
        ("vertex_indices.json", b'{"expressions": [1, {}]}', {"expressions": 1}, "has no 1.obj and 1 more shapes"),
        ("vertex_indices.json", b'{"expressions": []}', {"expressions": 1}, "no expression shapes"),
        ("notes.txt", b"", {"expressions": float("nan")}, "strength of the expressions is nan"),
        ("notes.txt", b"", {"expressions": -1}, "strength of the expressions is -1"),
        ("notes.txt", b"", {"region": "nose"}, "no region 'nose'; use one of face, head, full"),
    ],
)
def test_bad_folders_and_options(name, data, options, match, folder, tmp_path):
    damage(folder, name, data)
    with pytest.raises(LwaeError, match=match):
        prepare_ict_facekit(folder, tmp_path / "data", count=9, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["FaceXModel"]


def test_shapes_of_another_mesh(folder, tmp_path):
    write_obj(folder / "identity002.obj", np.where(NEUTRAL > 8, np.nan, NEUTRAL))
    with pytest.raises(LwaeError, match="identity002.obj has NaN"):
        prepare_ict_facekit(folder, tmp_path / "data", count=9)
    write_obj(folder / "identity002.obj", NEUTRAL, CORNERS[::-1])
    with pytest.raises(LwaeError, match="faces of .*identity002.obj connect other vertices"):
        prepare_ict_facekit(folder, tmp_path / "data", count=9)
    write_obj(folder / "identity002.obj", np.random.default_rng(0).permutation(NEUTRAL))
    with pytest.raises(LwaeError, match="identity002.obj is not in vertex correspondence"):
        prepare_ict_facekit(folder, tmp_path / "data", count=9)


def test_a_shape_that_the_published_mesh_should_have(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(ict_facekit, "VERTICES", len(NEUTRAL))
    with pytest.raises(LwaeError, match="has no identity006.obj and 93 more shapes; download the whole folder"):
        prepare_ict_facekit(folder, tmp_path / "data", count=9)


def test_command_line(published, tmp_path, capsys):
    out = tmp_path / "data"
    assert main(["prepare", "ict-facekit", str(published), "--count", "10", "--seed", "2", "--out", str(out)]) == 0
    assert "10 faces" in capsys.readouterr().out
    dataset = load_dataset(out)
    assert dataset.command == "python -m trainer prepare ict-facekit FaceXModel --count 10 --seed 2 --out DATA"
    assert main(["prepare", "ict-facekit", str(published), "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["prepare", "ict-facekit", str(published), "--expressions", "--out", str(tmp_path / "c")]) == 0
    assert load_dataset(tmp_path / "c").labels[:, 6:].max() > 0.9
    assert main(["prepare", "ict-facekit", str(tmp_path / "no"), "--out", str(tmp_path / "b")]) == 1
    assert "There is no folder" in capsys.readouterr().err
