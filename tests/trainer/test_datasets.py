# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import importlib.util
import io
import json
import os
import struct
import zipfile

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.errors import LwaeError
from backend.mesh_files import PlyFormat, write_npz
from tests.toy import sphere
from trainer.datasets.alignment import align_rigidly, mean_shape
from trainer.datasets.correspondence import Correspondence
from trainer.datasets.dataset import Template, load_dataset, split_faces, write_dataset
from trainer.datasets.expression_set import load_expressions, make_expressions, save_expressions
from trainer.datasets.mesh_files import read_mesh
from trainer.datasets.meshes import prepare_meshes
from trainer.datasets.outward import facing_outwards
from trainer.mesh.topology import connected_components, polygon_edges, triangulate
from trainer.mirror import find_image
from trainer.weights.weights_file import load_weights, save_weights, weights_command

# A head: an ellipsoid of triangles and quads with a nose, open at the neck.


def make_head():
    vertices, sizes, corners = sphere(rings=12, segments=16)
    starts = np.cumsum(sizes) - sizes
    bottom = len(vertices) - 1
    polygons = [corners[s : s + n].tolist() for s, n in zip(starts, sizes, strict=True)]
    polygons = [polygon for polygon in polygons if bottom not in polygon]
    vertices = vertices[:bottom] * [0.8, 0.95, 1.2]
    vertices[np.linalg.norm(vertices - [0, -95, 0], axis=1) < 30] += [0, -20, 0]
    return vertices, polygons


HEAD, POLYGONS = make_head()
SIZES = np.array([len(polygon) for polygon in POLYGONS])
CORNERS = np.concatenate(POLYGONS)
UV = np.round(HEAD[CORNERS][:, [0, 2]] / 300 + 0.5, 4)


def make_faces(count=10, seed=0):
    rng = np.random.default_rng(seed)
    scale = 1 + 0.05 * rng.standard_normal((count, 1, 3))
    return np.round(HEAD * scale + rng.standard_normal((count, 1, 3)), 3)


def y_up(faces):
    return np.stack([faces[..., 0], faces[..., 2], -faces[..., 1]], axis=-1)


# Writers of the layouts that are found in the wild.


def obj(vertices, polygons=POLYGONS, uv=UV, newline="\n", colours=False):
    lines = ["# a scan", "mtllib head.mtl", "o head"]
    lines += ["v " + " ".join(f"{x:.9g}" for x in v) + (" 0.5 0.5 0.5" if colours else "") for v in vertices]
    lines += [f"vt {u:.4f} {v:.4f}" for u, v in uv] + ["vn 0 0 1", "usemtl skin", "s 1"]
    corner = iter(range(1, len(CORNERS) + 1))
    lines += [
        "f " + " ".join(f"{v + 1}/{next(corner)}/1" if len(uv) else f"{v + 1}" for v in p) for p in polygons
    ]
    return newline.join([*lines, ""]).encode()


def ply(vertices, kind, polygons=POLYGONS):
    """With UVs and an extra property of the vertices, a quality of the faces, and edges."""
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(kind)
    header = f"ply\nformat {kind} 1.0\ncomment by hand\nelement vertex {len(vertices)}\n"
    header += "".join(
        f"property {t} {n}\n" for t, n in zip(("uchar", *["float32"] * 5), "qxyzst", strict=True)
    )
    header += f"element edge 1\nproperty int vertex1\nproperty int vertex2\nelement face {len(polygons)}\n"
    header += "property float quality\nproperty list uint8 int32 vertex_indices\nend_header\n"
    if order is None:
        body = (
            "".join("7 {:.9g} {:.9g} {:.9g} {:.4f} {:.4f}\n".format(*v, *v[:2]) for v in vertices) + "0 1\n"
        )
        body += "".join(f"0.5 {len(p)} {' '.join(map(str, p))}\n" for p in polygons)
        return (header + body).encode()
    body = b"".join(struct.pack(order + "B5f", 7, *v, *v[:2]) for v in vertices) + struct.pack(
        order + "2i", 0, 1
    )
    body += b"".join(struct.pack(f"{order}fB{len(p)}i", 0.5, len(p), *p) for p in polygons)
    return header.encode() + body


def stl(vertices, ascii=False):
    triangles = np.asarray(vertices, dtype=np.float32)[triangulate(SIZES, CORNERS)]
    if ascii:
        facet = "facet normal 0 0 0\n outer loop\n{} endloop\nendfacet\n"
        corners = ["".join("  vertex {:.9g} {:.9g} {:.9g}\n".format(*v) for v in t) for t in triangles]
        return ("solid head\n" + "".join(map(facet.format, corners)) + "endsolid head\n").encode()
    body = b"".join(np.float32([0, 0, 0]).tobytes() + t.tobytes() + b"\0\0" for t in triangles)
    return b"solid in name only".ljust(80) + struct.pack("<I", len(triangles)) + body


WRITERS = {
    "a.obj": obj,
    "crlf.obj": lambda v: obj(v, newline="\r\n", colours=True),
    "bare.OBJ": lambda v: obj(v, uv=()),
    "ascii.ply": lambda v: ply(v, "ascii"),
    "little.ply": lambda v: ply(v, "binary_little_endian"),
    "big.ply": lambda v: ply(v, "binary_big_endian"),
    "binary.stl": stl,
    "ascii.stl": lambda v: stl(v, ascii=True),
}


def fill(folder, faces, writer=obj, suffix="obj"):
    folder.mkdir(exist_ok=True)
    for index, face in enumerate(faces):
        (folder / f"face{index}.{suffix}").write_bytes(writer(face))
    return folder


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_mesh(name, tmp_path):
    face = make_faces(1)[0]
    (tmp_path / name).write_bytes(WRITERS[name](face))
    vertices, template = read_mesh(tmp_path / name)
    if name.endswith(".stl"):
        np.testing.assert_allclose(vertices[0], face[triangulate(SIZES, CORNERS).ravel()], atol=1e-4)
        return
    np.testing.assert_allclose(vertices[0], face, atol=1e-4)
    np.testing.assert_array_equal(template.polygon_sizes, SIZES)
    np.testing.assert_array_equal(template.polygon_vertices, CORNERS)
    uv = {"obj": UV, "OBJ": np.zeros((0, 2)), "ply": face[CORNERS][:, :2]}[name[-3:]]
    np.testing.assert_allclose(template.uv, uv, rtol=1e-5, atol=1e-4)


def test_obj_of_several_objects_with_negative_indices(tmp_path):
    text = """o a
v 0 0 0 1 0 0
v\t1 0 0 1 0 0
  v 1 1 0 1 0 0
vt 0 0
vt 1 0
f -3/-2 -2/-1 -1/1 # counted back
o b
v 1 2 3
vt 0.25 0.75
f -4/1 2/2 \\
3/-1 4/3
l 1 2
"""
    (tmp_path / "a.obj").write_text(text)
    vertices, template = read_mesh(tmp_path / "a.obj")
    np.testing.assert_array_equal(vertices[0], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 2, 3]])
    assert template.polygon_sizes.tolist() == [3, 4]
    assert template.polygon_vertices.tolist() == [0, 1, 2, 0, 1, 2, 3]
    quad = [[0, 0], [1, 0], [0.25, 0.75], [0.25, 0.75]]
    np.testing.assert_allclose(template.uv, [[0, 0], [1, 0], [0, 0], *quad])
    (tmp_path / "b.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nf 1//1 2//1 3//1\n")
    assert read_mesh(tmp_path / "b.obj")[1].uv.shape == (0, 2)


def test_obj_with_texture_coordinates_of_one_number(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0.5 # u\nvt 1 0.25 0\nf 1/1 2/2 3/1\n"
    (tmp_path / "a.obj").write_text(text)
    np.testing.assert_allclose(read_mesh(tmp_path / "a.obj")[1].uv, [[0.5, 0], [1, 0.25], [0.5, 0]])


def test_ply_with_texture_coordinates_of_corners(tmp_path):
    header = (
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty double x\nproperty double y\nproperty double z\n"
    )
    header += "element face 1\nproperty list uchar uint vertex_index\nproperty list uchar float texcoord\n"
    (tmp_path / "a.ply").write_text(header + "end_header\n0 0 0\n1 0 0\n0 1 0\n3 2 0 1 6 .1 .2 .3 .4 .5 .6\n")
    template = read_mesh(tmp_path / "a.ply")[1]
    assert template.polygon_vertices.tolist() == [2, 0, 1]
    np.testing.assert_allclose(template.uv, [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])


# From a folder to a data set.


@pytest.mark.parametrize("name", ["a.obj", "big.ply", "little.ply", "binary.stl", "ascii.stl"])
def test_folder_becomes_a_data_set(name, tmp_path):
    faces = make_faces(12)  # face10 comes after face9
    fill(tmp_path / "in", faces, WRITERS[name], name[-3:])
    dataset = prepare_meshes(tmp_path / "in", tmp_path / "out", align=False)
    if name.endswith("stl"):
        order = np.array([np.linalg.norm(faces[0] - v, axis=1).argmin() for v in dataset.vertices[0]])
        assert sorted(order) == list(range(len(HEAD)))
        assert (order[dataset.template.polygon_vertices] == triangulate(SIZES, CORNERS).ravel()).all()
        faces = faces[:, order]
    else:
        np.testing.assert_array_equal(dataset.template.polygon_sizes, SIZES)
        np.testing.assert_array_equal(dataset.template.polygon_vertices, CORNERS)
    np.testing.assert_allclose(dataset.vertices, faces, atol=1e-4)
    assert dataset.vertices.dtype == np.float32 and len(dataset.test) == 1


def test_formats_may_be_mixed_and_companions_are_ignored(tmp_path):
    faces = make_faces(9)
    fill(tmp_path / "in", faces[:3])
    for index, name in enumerate(("bare.OBJ", "ascii.ply", "little.ply", "big.ply")):
        (tmp_path / "in" / f"g{index}.{name[-3:]}").write_bytes(WRITERS[name](faces[3 + index]))
    write_npz(tmp_path / "in" / "h.npz", {"vertices": faces[7:]})
    for name in ("head.mtl", "skin.PNG", "labels.csv", ".hidden.xyz"):
        (tmp_path / "in" / name).write_bytes(b"?")
    (tmp_path / "in" / "folder").mkdir()
    dataset = prepare_meshes(tmp_path / "in", tmp_path / "out", align=False, name="mixed", licence="CC0-1.0")
    np.testing.assert_allclose(dataset.vertices, faces, atol=1e-4)
    np.testing.assert_allclose(dataset.template.uv, UV, atol=1e-4)
    assert (dataset.name, dataset.licence) == ("mixed", "CC0-1.0")
    assert "9 meshes of in, in mm, Z up" in dataset.provenance


def test_triangulated_meshes_fit_quads(tmp_path):
    faces = make_faces(9)
    triangles = triangulate(SIZES, CORNERS).tolist()
    fill(tmp_path / "in", faces[:4])
    for index in range(4, 9):
        (tmp_path / "in" / f"face{index}.ply").write_bytes(ply(faces[index], "ascii", triangles))
    assert (prepare_meshes(tmp_path / "in", tmp_path / "out").template.polygon_sizes == SIZES).all()


@pytest.mark.parametrize("kind", ["ply", "npz"])
def test_headless_synthesis_can_be_read_back(kind, tmp_path):
    faces = make_faces(9) / 1000
    (tmp_path / "in").mkdir()
    material = (np.arange(len(SIZES)) < 5).astype(np.uint8)
    if kind == "ply":
        writer = PlyFormat(len(HEAD), SIZES, CORNERS, "unit m")
        for index, face in enumerate(faces):
            writer.write(tmp_path / "in" / f"face_{index:06d}.ply", face)
    else:
        for start in (0, 5):
            labels = {"index": np.arange(5), "codes": np.zeros((5, 3))}
            write_npz(
                tmp_path / "in" / f"faces_{start:06d}.npz", {"vertices": faces[start : start + 5], **labels}
            )
    polygons = {"polygon_sizes": SIZES, "polygon_vertices": CORNERS, "uv": UV, "polygon_material": material}
    write_npz(tmp_path / "in" / "template.npz", {"mean": faces[0], **polygons})
    dataset = prepare_meshes(tmp_path / "in", tmp_path / "out", align=False)
    np.testing.assert_allclose(dataset.vertices, 1000 * faces, atol=1e-3)
    np.testing.assert_array_equal(dataset.template.polygon_material, material)
    np.testing.assert_allclose(dataset.template.uv, UV, atol=1e-6)


def test_one_npz_of_all_faces(tmp_path):
    faces = make_faces()
    triangles = triangulate(SIZES, CORNERS)
    write_npz(tmp_path / "heads.npz", {"vertices": faces, "faces": triangles, "uv": UV[: len(HEAD)]})
    dataset = prepare_meshes(tmp_path / "heads.npz", tmp_path / "out", align=False)
    np.testing.assert_allclose(dataset.vertices, faces, atol=1e-4)
    np.testing.assert_allclose(
        dataset.template.uv, UV[triangles.ravel()], atol=1e-6
    )  # from vertices to corners
    assert dataset.name == "heads"


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("cm", 0.1), ("m", 0.001)])
@pytest.mark.parametrize("axes", ["y", "z"])
def test_units_and_up_are_guessed_and_said(unit, scale, axes, tmp_path, caplog):
    faces = make_faces(8)
    fill(tmp_path / "in", scale * (y_up(faces) if axes == "y" else faces))
    with caplog.at_level("INFO"):
        dataset = prepare_meshes(tmp_path / "in", tmp_path / "out", align=False)
    np.testing.assert_allclose(dataset.vertices, faces, atol=1e-3)
    assert f"Units: {unit}" in caplog.text and f"Up: {axes}" in caplog.text


def test_units_that_make_no_head_are_doubted(tmp_path, caplog):
    fill(tmp_path / "in", 0.001 * make_faces(8))
    prepare_meshes(tmp_path / "in", tmp_path / "m", units="m", align=False)
    assert not caplog.text
    prepare_meshes(tmp_path / "in", tmp_path / "mm", units="mm", align=False)
    assert "In mm the first mesh is 0.2" in caplog.text and "mm large, which is no head; look at --units" in caplog.text


def test_up_of_masks_and_of_closed_heads(tmp_path):
    faces = make_faces(8)
    mask = [polygon for polygon in POLYGONS if (HEAD[polygon, 1] < 20).all()]
    vertices, sizes, corners = sphere(rings=8, segments=12)
    for turn in (y_up, lambda faces: faces):
        fill(tmp_path / "mask", turn(faces), lambda v: obj(v, mask, ()))
        np.testing.assert_allclose(
            prepare_meshes(tmp_path / "mask", tmp_path / "out", align=False).vertices, faces, atol=1e-3
        )
        closed = turn(vertices * np.linspace(1.2, 1.3, 8)[:, None, None] * [0.8, 0.9, 1.1])
        write_npz(
            tmp_path / "closed.npz", {"vertices": closed, "polygon_sizes": sizes, "polygon_vertices": corners}
        )
        heads = prepare_meshes(tmp_path / "closed.npz", tmp_path / "out2", align=False).vertices
        np.testing.assert_allclose(np.ptp(heads[0], axis=0), 240 * np.array([0.8, 0.9, 1.1]), rtol=0.05)
        for out in ("out", "out2"):
            for file in (tmp_path / out).iterdir():
                file.unlink()
            (tmp_path / out).rmdir()


@pytest.mark.parametrize("kind", ["head", "mask", "closed"])
def test_meshes_inside_out_are_turned(kind, tmp_path, caplog):
    polygons = [polygon for polygon in POLYGONS if kind != "mask" or (HEAD[polygon, 1] < 20).all()]
    if kind == "closed":
        rim = [vertex for vertex in np.unique(CORNERS) if HEAD[vertex, 2] < HEAD[:, 2].min() + 1]
        angles = np.arctan2(HEAD[rim, 1], HEAD[rim, 0])
        polygons = [*polygons, [rim[i] for i in np.argsort(-angles)]]
    sizes = np.array([len(polygon) for polygon in polygons])
    corners = np.concatenate(polygons)
    uv = np.round(HEAD[corners][:, [0, 2]] / 300 + 0.5, 4)
    mesh = {"vertices": make_faces(8).astype(np.float32), "polygon_sizes": sizes}
    write_npz(tmp_path / "good.npz", mesh | {"polygon_vertices": corners, "uv": uv})
    ends = np.cumsum(sizes)
    back = np.concatenate([np.arange(end - 1, end - size - 1, -1) for end, size in zip(ends, sizes, strict=True)])
    write_npz(tmp_path / "inside_out.npz", mesh | {"polygon_vertices": corners[back], "uv": uv[back]})
    for name in ("good", "inside_out"):
        caplog.clear()
        with caplog.at_level("INFO"):
            dataset = prepare_meshes(tmp_path / f"{name}.npz", tmp_path / name, up="z", align=False)
        np.testing.assert_array_equal(dataset.template.polygon_vertices, corners)
        np.testing.assert_allclose(dataset.template.uv, uv, atol=1e-6)
        was_turned = name == "inside_out"
        assert ("face inwards" in caplog.text) == ("turned" in dataset.provenance) == was_turned


def test_a_shape_that_does_not_say_its_outer_side_stays():
    """A flat sheet, and one that is bent both ways."""
    across, along = (axis.ravel() for axis in np.meshgrid(*2 * [np.linspace(-1, 1, 9)]))
    first = np.arange(81).reshape(9, 9)[:-1, :-1].ravel()
    corners = (first[:, None] + [0, 1, 10, 9]).ravel()
    template = Template(np.full(64, 4), corners, np.zeros((0, 2)), np.zeros(64, np.uint8))
    for height in (0 * across, 0.3 * across**3, 0.3 * across * along):
        sheet = np.stack([across, along, height], axis=1)
        assert facing_outwards(sheet, template) is template and facing_outwards(-sheet, template) is template


def test_units_and_axes_can_be_given(tmp_path):
    faces = make_faces(8)
    x, y, z = np.moveaxis(faces, -1, 0)
    write_npz(
        tmp_path / "a.npz", {"vertices": 7 * np.stack([z, x, y], -1), "faces": triangulate(SIZES, CORNERS)}
    )
    dataset = prepare_meshes(tmp_path / "a.npz", tmp_path / "a", units="mm", up="x", front="-z", align=False)
    np.testing.assert_allclose(dataset.vertices, 7 * faces, atol=1e-3)
    camera = np.stack([x, -z, y], -1)  # y down, the face towards the camera
    write_npz(tmp_path / "b.npz", {"vertices": camera, "faces": triangulate(SIZES, CORNERS)})
    assert dataset.command == (
        "python -m trainer prepare meshes a.npz --units=mm --up=x --front=-z --seed=0 --no-align --out DATA"
    )
    dataset = prepare_meshes(tmp_path / "b.npz", tmp_path / "b", units="mm", up="-y", align=False)
    np.testing.assert_allclose(dataset.vertices, faces, atol=1e-3)


def test_faces_are_aligned_without_scaling(tmp_path):
    faces = make_faces(30)
    rng = np.random.default_rng(1)
    moved = np.stack(
        [face @ rotation(0.2 * rng.standard_normal(3)).T + 50 * rng.standard_normal(3) for face in faces]
    )
    fill(tmp_path / "in", moved)
    dataset = prepare_meshes(tmp_path / "in", tmp_path / "out", up="z", seed=3)
    np.testing.assert_array_equal(dataset.train, split_faces(30, 3)[0])
    lengths = [np.linalg.norm(x - np.roll(x, 1, axis=-2), axis=-1) for x in (faces, dataset.vertices)]
    np.testing.assert_allclose(*lengths, atol=1e-3)
    spread = [
        (x - x.mean(axis=1, keepdims=True)).std(axis=0).mean() for x in (faces, moved, dataset.vertices)
    ]
    assert spread[2] < 1.01 * spread[0] < 0.5 * spread[1]
    middle = dataset.vertices.mean(axis=1)
    assert abs(middle[:, 1:]).max() < 1e-3 and np.ptp(middle[:, 0]) < 1e-3  # along x the surface's is at 0
    # The mean keeps the average pose: 0.2 / sqrt(30) rad, not that of some face.
    off = align_rigidly(dataset.vertices.mean(axis=0)[None], HEAD - HEAD.mean(axis=0))[
        0
    ] - dataset.vertices.mean(axis=0)
    assert abs(off).max() < 20


@pytest.mark.parametrize("astray", [1, 29])
def test_all_stand_as_the_first_one_does(tmp_path, caplog, astray):
    faces = make_faces(30)
    turned = faces.copy()
    turned[-astray:] = [face @ rotation([1.7, 0.05 * i, 0]).T for i, face in enumerate(faces[-astray:])]
    fill(tmp_path / "in", turned)
    dataset = prepare_meshes(tmp_path / "in", tmp_path / "out", up="z")
    assert f"{astray} of 30 meshes stand otherwise than the first one" in caplog.text
    right = align_rigidly(faces, HEAD - HEAD.mean(axis=0))
    assert np.abs(dataset.vertices - right).max() < 4


def test_a_face_of_another_size_is_told(tmp_path, caplog):
    faces = make_faces()
    faces[7] *= 2.54
    prepare_meshes(fill(tmp_path / "in", faces), tmp_path / "out")
    assert "1 of 10 meshes are much larger" in caplog.text and "face7.obj, 2.5" in caplog.text


def test_eyeballs_are_found(tmp_path):
    ball, sizes, corners = sphere(rings=4, segments=6, radius=12)
    polygons = list(POLYGONS)
    for index in range(2):
        shifted = corners + len(HEAD) + index * len(ball)
        polygons += [
            shifted[s : s + n].tolist() for s, n in zip(np.cumsum(sizes) - sizes, sizes, strict=True)
        ]
    eyes = np.concatenate([ball + [30, -60, 20], ball + [-30, -60, 20]])
    faces = np.concatenate([make_faces(8), np.repeat(eyes[None], 8, axis=0)], axis=1)
    dataset = prepare_meshes(fill(tmp_path / "in", faces, lambda v: obj(v, polygons, ())), tmp_path / "out")
    expected = np.arange(len(polygons)) >= len(POLYGONS)
    np.testing.assert_array_equal(dataset.template.polygon_material, expected)


# Bad input: one sentence each, and nothing left behind.


def refused(source, out, *words, **options):
    with pytest.raises(LwaeError) as caught:
        prepare_meshes(source, out, **options)
    for word in words:
        assert str(word) in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert not list(out.parent.glob(f"*{out.name}*"))


@pytest.fixture
def heads(tmp_path):
    return fill(tmp_path / "heads", make_faces())


def test_wrong_vertex_count(heads, tmp_path):
    extra = [*POLYGONS[:-1], [0, 1, len(HEAD)]]
    (heads / "face7.obj").write_bytes(obj(np.vstack([HEAD, HEAD[:1]]), extra))
    refused(
        heads, tmp_path / "out", heads / "face7.obj", len(HEAD) + 1, heads / "face0.obj", f"has {len(HEAD)};"
    )


def test_a_line_that_is_cut(heads, tmp_path):
    text = (heads / "face7.obj").read_text()
    end = text.index("v ", 200) + 6
    (heads / "face7.obj").write_text(text[:end])
    refused(heads, tmp_path / "out", heads / "face7.obj", "'v ", "has not the 3 numbers it needs")


@pytest.mark.parametrize("content", [b"", bytes(range(256))])
def test_no_obj_at_all(content, heads, tmp_path):
    (heads / "face7.obj").write_bytes(content)
    refused(heads, tmp_path / "out", heads / "face7.obj", "cannot be read as OBJ (it has no vertices)")


def test_a_link_to_nothing(heads, tmp_path):
    (heads / "face11.obj").symlink_to(tmp_path / "gone.obj")
    refused(heads, tmp_path / "out", heads / "face11.obj", "a link to one that is gone")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["face0.obj", "face7.obj"])
def test_not_finite(bad, name, heads, tmp_path):
    face = HEAD.copy()
    face[5, 1] = bad
    (heads / name).write_bytes(obj(face))
    refused(heads, tmp_path / "out", heads / name, "NaN", "vertex 5")


def test_one_mesh_in_two_formats(heads, tmp_path):
    (heads / "face7.ply").write_bytes(ply(HEAD, "ascii"))
    refused(heads, tmp_path / "out", heads / "face7.obj", heads / "face7.ply", "in two formats", "remove one")


def test_copies_are_named(heads, tmp_path, caplog):
    prepare_meshes(heads, tmp_path / "out")
    assert "Copies" not in caplog.text
    for name in ("face3 copy.obj", "zebra.obj"):
        (heads / name).write_bytes((heads / "face3.obj").read_bytes())
    prepare_meshes(heads, tmp_path / "again")
    assert caplog.text.count("Copies of other faces: 2, such as face3.obj of face3 copy.obj") == 1
    caplog.clear()
    faces = make_faces(60)
    turn = Rotation.from_euler("xyz", [4, -3, 5], degrees=True).as_matrix()
    faces[57] = (faces[1] @ turn.T).round(2) + 7
    write_npz(tmp_path / "turned.npz", {"vertices": faces, "faces": triangulate(SIZES, CORNERS)})
    prepare_meshes(tmp_path / "turned.npz", tmp_path / "turned", units="mm")
    assert "1, such as face 57 of turned.npz of face 1 of turned.npz" in caplog.text
    faces = make_faces(60)
    faces[57] = faces[1]
    write_npz(tmp_path / "all.npz", {"vertices": faces, "faces": triangulate(SIZES, CORNERS)})
    prepare_meshes(tmp_path / "all.npz", tmp_path / "one file")
    assert "1, such as face 57 of all.npz of face 1 of all.npz" in caplog.text


def test_other_faces(heads, tmp_path):
    other = [list(polygon) for polygon in POLYGONS]
    other[40][2] = 100
    (heads / "face7.obj").write_bytes(obj(HEAD, other))
    refused(heads, tmp_path / "out", heads / "face7.obj", "connect other vertices")
    (heads / "face7.obj").write_bytes(obj(HEAD, POLYGONS[:-1]))
    refused(heads, tmp_path / "out", heads / "face7.obj", "connect other vertices")


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_shuffled_vertices(share, heads, tmp_path):
    rng = np.random.default_rng(0)
    some = rng.choice(len(HEAD), int(share * len(HEAD)), replace=False)
    face = HEAD.copy()
    face[some] = HEAD[rng.permutation(some)]
    (heads / "face7.obj").write_bytes(obj(face))
    refused(heads, tmp_path / "out", heads / "face7.obj", "not in vertex correspondence", "another order")
    # Without polygons too: positions alone give it away.
    (heads / "face7.obj").unlink()
    write_npz(heads / "face7.npz", {"vertices": face})
    refused(heads, tmp_path / "out", heads / "face7.npz", "not in vertex correspondence")


def test_one_mesh_in_other_units(heads, tmp_path):
    (heads / "face7.obj").write_bytes(obj(HEAD / 10))
    refused(heads, tmp_path / "out", heads / "face7.obj", "0.0", "same units")


def test_one_mirrored_mesh(tmp_path):
    lopsided = make_faces()
    lopsided[..., 0] += 0.3 * lopsided[..., 2]
    folder = fill(tmp_path / "lopsided", lopsided)
    (folder / "face7.obj").write_bytes(obj(lopsided[7] * [-1, 1, 1]))
    refused(folder, tmp_path / "out", folder / "face7.obj", "mirror image", folder / "face0.obj")
    far = np.concatenate([lopsided, np.full((len(lopsided), 5, 3), 1e4)], axis=1)  # of no polygon
    far[7, :-5] *= [-1, 1, 1]
    folder = fill(tmp_path / "far", far)
    refused(folder, tmp_path / "out", folder / "face7.obj", "mirror image")


def test_heads_far_from_the_origin_keep_their_shape(tmp_path):
    near = prepare_meshes(fill(tmp_path / "near", y_up(make_faces())), tmp_path / "a")
    far = prepare_meshes(fill(tmp_path / "far", y_up(make_faces()) + [1e7, 0, 1e7]), tmp_path / "b")
    assert np.abs(near.vertices[:] - far.vertices[:]).max() < 0.15  # the files have nine digits
    refused(tmp_path / "far", tmp_path / "out", "face0.obj", "--no-align", align=False)


def test_vertices_without_polygons_do_not_align(tmp_path):
    rng, faces = np.random.default_rng(2), make_faces()
    posed = np.stack([face @ rotation(0.1 * rng.standard_normal(3)).T for face in faces])
    alone = prepare_meshes(fill(tmp_path / "alone", y_up(posed)), tmp_path / "a")
    beside = np.concatenate([posed, np.full((len(posed), 60, 3), [0, 0, 300.0])], axis=1)
    data = prepare_meshes(fill(tmp_path / "beside", y_up(beside)), tmp_path / "b")
    spread = [np.std(found.vertices[:, : len(HEAD)], axis=0).mean() for found in (alone, data)]
    assert spread[1] == pytest.approx(spread[0], rel=0.01)


@pytest.mark.parametrize("align", [True, False])
def test_vertices_without_polygons_are_put_where_they_do_no_harm(tmp_path, caplog, align):
    faces = make_faces()
    loose = np.random.default_rng(0).normal(size=(len(faces), 3, 3)) * [[1], [1e3], [1e9]]
    data = prepare_meshes(
        fill(tmp_path / "in", y_up(np.concatenate([faces, loose], axis=1))), tmp_path / "out", align=align
    )
    assert "2 vertices belong to no polygon and are far from the head" in caplog.text
    found = data.vertices[:, len(HEAD) + 1 :]
    head = data.vertices[:, : len(HEAD)]
    assert np.ptp(found, axis=(0, 1)).max() == 0 and np.abs(found[0, 0] - head.mean(axis=(0, 1))).max() < 3


def test_a_head_with_more_vertices_on_one_side_stands_in_the_middle(tmp_path):
    """By its surface: 'left' and 'right' in names and sliders begin at x = 0."""
    faces = make_faces()
    mean = faces.mean(axis=0)
    triangles = triangulate(SIZES, CORNERS)
    dense = triangles[(mean[triangles][:, :, 0] > mean[:, 0].mean()).all(axis=1)]
    for _ in range(2):  # A vertex in the middle of each triangle of one side.
        middles = faces.shape[1] + np.arange(len(dense))
        faces = np.concatenate([faces, faces[:, dense].mean(axis=2)], axis=1)
        kept = triangles[~(triangles[:, None] == dense[None]).all(axis=2).any(axis=1)]
        dense = np.concatenate([np.column_stack([dense[:, [i, (i + 1) % 3]], middles]) for i in range(3)])
        triangles = np.concatenate([kept, dense])
    write_npz(tmp_path / "in.npz", {"vertices": faces, "faces": triangles})
    data = prepare_meshes(tmp_path / "in.npz", tmp_path / "out", units="mm", up="z", front="-y")
    mean = data.vertices.mean(axis=0)
    plain = make_faces().mean(axis=0)
    assert abs(mean[:, 0].mean()) > 5, "the vertices' middle is elsewhere"
    assert abs((mean[:, 0].min() + mean[:, 0].max()) / 2 - (plain[:, 0].min() + plain[:, 0].max()) / 2) < 3


def test_heads_that_look_aside_are_turned_to_the_front(tmp_path, caplog):
    turned = make_faces() @ rotation([0, 0, np.radians(2)]).T
    turned = turned - turned.mean(axis=(0, 1)) + [3, 0, 0]
    with caplog.at_level("INFO"):
        data = prepare_meshes(fill(tmp_path / "heads", y_up(turned)), tmp_path / "data", up="y")
    assert "Turned by 2.0 degrees" in caplog.text
    mean = data.vertices[:].mean(axis=0)
    image = find_image(mean, data.template)
    assert np.abs(mean - mean[image] * [-1, 1, 1]).max() < 0.5
    caplog.set_level("INFO")
    assert find_image(mean @ rotation([0, 0, np.radians(1)]).T, data.template) is None
    assert "1.0 degrees and 0.0 mm off their plane of symmetry" in caplog.text


def test_nothing_to_read(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", tmp_path / "out", "no OBJ, PLY, STL or npz mesh")
    (tmp_path / "empty" / "readme.txt").write_text("nothing")
    refused(tmp_path / "empty", tmp_path / "out", "no OBJ, PLY, STL or npz mesh")
    refused(tmp_path / "missing", tmp_path / "out", "There is no folder")


def test_too_few(tmp_path):
    refused(fill(tmp_path / "in", make_faces(7)), tmp_path / "out", "7 meshes", "at least 8")


def test_unknown_kind(heads, tmp_path):
    (heads / "face3.fbx").write_bytes(b"Kaydara")
    refused(heads, tmp_path / "out", heads / "face3.fbx", "unknown kind")


def test_stl_with_other_formats(heads, tmp_path):
    (heads / "face8.stl").write_bytes(stl(HEAD))
    refused(heads, tmp_path / "out", "mixes STL")


def test_stl_of_other_topology(tmp_path):
    faces = make_faces()
    folder = fill(tmp_path / "in", faces, stl, "stl")
    data = bytearray((folder / "face4.stl").read_bytes())
    data[84 + 12 : 84 + 24] = np.float32([1, 2, 3]).tobytes()
    (folder / "face4.stl").write_bytes(data)
    refused(folder, tmp_path / "out", folder / "face4.stl", "do not meet")
    (folder / "face4.stl").write_bytes(data[:80] + struct.pack("<I", 10) + data[84:584])
    refused(folder, tmp_path / "out", folder / "face4.stl", "30 triangle corners")


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_files(name, tmp_path):
    data = WRITERS[name](HEAD)
    for keep in (0.02, 0.3, 0.995):
        (tmp_path / name).write_bytes(data[: int(keep * len(data))])
        try:  # What a cut text file still holds may be a mesh, but not the same.
            vertices, template = read_mesh(tmp_path / name)
        except LwaeError as error:
            assert str(tmp_path / name) in str(error) and "export it again." in str(error)
        else:
            assert name.lower().endswith(".obj")
            assert vertices.shape[1] != len(HEAD) or template is None or len(template.uv) != len(UV)


def test_truncated_file_in_a_folder(heads, tmp_path):
    for share in (0.1, 0.9):
        data = obj(HEAD)
        (heads / "face7.obj").write_bytes(data[: int(share * len(data))])
        refused(heads, tmp_path / "out", heads / "face7.obj")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.obj", b"v 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("a.obj", b"v 0,5 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -4\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/2\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf a b c\n"),
        ("a.ply", b"not a ply"),
        ("a.ply", b"ply\nformat ascii 2.0\nelement vertex x\nend_header\n"),
        ("a.ply", b"ply\nformat text 1.0\nend_header\n"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty quad x\nend_header\n0\n"),
        (
            "a.ply",
            b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999\nproperty float x\nend_header\n",
        ),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999999\n"),
        ("a.stl", b"\0" * 90),
        ("a.npz", b"PK\x03\x04 but no more"),
        ("a.npz", b"\x80\x04N."),
    ],
)
def test_unreadable_files(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(LwaeError, match="cannot be read as"):
        read_mesh(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"points": HEAD}, "vertices is missing"),
        ({"vertices": HEAD[:, :2]}, "shape"),
        ({"vertices": np.array(["a"])}, "shape"),
        ({"vertices": np.array([[["a"] * 3]])}, "shape"),
        ({"vertices": HEAD, "faces": [[0, 1, len(HEAD)]]}, "names a vertex"),
        ({"vertices": HEAD, "faces": [0, 1, 2]}, "faces has the shape"),
        ({"vertices": HEAD, "polygon_sizes": [4], "polygon_vertices": [0, 1, 2]}, "4 corners"),
        ({"vertices": HEAD, "faces": [[0, 1, 2]], "uv": np.zeros((5, 2))}, "5 UVs"),
        ({"vertices": HEAD, "faces": [[0, 1, 2]], "polygon_material": [0, 1]}, "2 materials"),
        ({"vertices": HEAD, "faces": [[0, 1, 2]] * 2, "polygon_material": [0, 256]}, "0 (skin) and 1 (eyes)"),
        ({"vertices": HEAD, "faces": [[0, 1, 2]], "polygon_material": [1]}, "some polygons are skin"),
        ({"vertices": HEAD, "faces": [[0, 1, 2]], "uv": np.full((3, 2), np.nan)}, "UVs are NaN"),
        ({"vertices": HEAD, "faces": [[0, 1.5, 2]]}, "whole numbers"),
        ({"vertices": HEAD, "faces": [[0, 1, 2]] * 2, "polygon_material": 0}, "1 materials"),
        ({"vertices": np.array([None])}, "allow_pickle"),
    ],
)
def test_unreadable_npz(arrays, word, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(LwaeError, match="cannot be read as NPZ") as caught:
        read_mesh(tmp_path / "a.npz")
    assert word in str(caught.value)


def test_materials_in_a_column(tmp_path):
    material = np.arange(len(SIZES)) % 2
    polygons = {"polygon_sizes": SIZES[:, None], "polygon_vertices": CORNERS, "polygon_material": material[:, None]}
    write_npz(tmp_path / "a.npz", {"vertices": HEAD, **polygons})
    np.testing.assert_array_equal(read_mesh(tmp_path / "a.npz")[1].polygon_material, material)


@pytest.mark.parametrize("place", range(0, 46, 2))
def test_an_npz_with_a_damaged_directory(place, heads, tmp_path):
    write_npz(heads / "face7.npz", {"vertices": HEAD})
    (heads / "face7.obj").unlink()
    data = bytearray((heads / "face7.npz").read_bytes())
    data[data.index(b"PK\x01\x02") + place] ^= 0xFF
    (heads / "face7.npz").write_bytes(data)
    try:
        prepare_meshes(heads, tmp_path / "out")  # some bytes do not matter
    except LwaeError as error:
        assert f"{heads / 'face7.npz'} cannot be read as NPZ" in str(error)


@pytest.mark.parametrize("name", ["vertices", "faces"])
def test_an_npz_member_that_is_no_array(name, heads, tmp_path):
    with zipfile.ZipFile(heads / "face7.npz", "w", zipfile.ZIP_LZMA) as archive:
        if name != "vertices":
            with archive.open("vertices.npy", "w") as stream:
                np.lib.format.write_array(stream, HEAD)
        archive.writestr(f"{name}.npy", b"x" * 20)
    (heads / "face7.obj").unlink()
    refused(heads, tmp_path / "out", "face7.npz", "cannot be read as NPZ")


def test_an_lzma_member_that_is_damaged(heads, tmp_path):
    with zipfile.ZipFile(heads / "face7.npz", "w", zipfile.ZIP_LZMA) as archive:
        with archive.open("vertices.npy", "w") as stream:
            np.lib.format.write_array(stream, HEAD)
    data = bytearray((heads / "face7.npz").read_bytes())
    data[60:200] = b"\xff" * 140
    (heads / "face7.npz").write_bytes(data)
    (heads / "face7.obj").unlink()
    refused(heads, tmp_path / "out", "face7.npz", "cannot be read as NPZ")


def test_the_first_face_does_not_keep_the_others(tmp_path):
    write_npz(tmp_path / "a.npz", {"vertices": make_faces(), "faces": triangulate(SIZES, CORNERS)})
    assert Correspondence(tmp_path / "a.npz", None).first.base is None


def test_no_faces(tmp_path):
    refused(
        fill(tmp_path / "in", make_faces(), lambda v: obj(v, (), ())),
        tmp_path / "out",
        "face0.obj",
        "no faces",
    )
    refused(
        fill(tmp_path / "in", np.ones((9, *HEAD.shape))), tmp_path / "out", "no extent", units="mm", up="z"
    )


def test_inches_can_be_said(tmp_path, caplog):
    in_inches = make_faces() / 25.4
    refused(fill(tmp_path / "in", in_inches), tmp_path / "out", "no head in mm, cm or m", "inches", up="z")
    data = prepare_meshes(tmp_path / "in", tmp_path / "out", units="inches", up="z", front="-y")
    np.testing.assert_allclose(np.ptp(data.vertices[0], axis=0), np.ptp(25.4 * in_inches[0], axis=0), rtol=1e-4)
    assert "look at --units" not in caplog.text


def test_options_that_do_not_fit(heads, tmp_path):
    out = tmp_path / "out"
    refused(heads, out, "'inch'", "mm, cm, inches, dm, m", units="inch")
    refused(heads, out, "'w'", "--up", up="w")
    refused(heads, out, "'w'", "--front", up="z", front="w")
    refused(heads, out, "another --front", up="z", front="-z")
    refused(heads, out, "no usual front", up="x")
    refused(fill(tmp_path / "huge", 7 * make_faces()), out, "--units")
    ball, sizes, corners = sphere()
    arrays = {
        "vertices": np.repeat(ball[None], 8, axis=0),
        "polygon_sizes": sizes,
        "polygon_vertices": corners,
    }
    write_npz(tmp_path / "ball.npz", arrays)
    refused(tmp_path / "ball.npz", out, "--up y or --up z")


def test_existing_output(heads, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(LwaeError, match="exists already"):
        prepare_meshes(heads, tmp_path / "out")


# The data set folder.

TRIANGLE = Template(
    np.array([3]), np.array([0, 1, 2]), np.zeros((0, 2)), np.array([1]), ["nose"], np.array([0, -1, 0])
)
WORDS = {"name": "n", "licence": "l", "provenance": "p", "seed": 4}


def write(path, count=20, template=TRIANGLE, **options):
    faces = np.random.default_rng(0).standard_normal((count, 3, 3)).astype(np.float32)
    return faces, write_dataset(path, iter((faces[:7], faces[7:])), count, template, **WORDS, **options)


def test_data_set_keeps_everything(tmp_path):
    labels = np.arange(40.0).reshape(20, 2)
    faces, _ = write(tmp_path / "a", label_names=["years", "weight"], labels=labels)
    dataset = load_dataset(tmp_path / "a")
    np.testing.assert_array_equal(dataset.vertices, faces)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert isinstance(dataset.vertices, np.memmap) and dataset.vertex_count == 3
    assert dataset.label_names == ["years", "weight"]
    assert (dataset.name, dataset.licence, dataset.provenance) == ("n", "l", "p")
    assert dataset.template.region_names == ["nose"]
    assert dataset.template.region_of_vertex.tolist() == [0, -1, 0]
    assert dataset.template.polygon_material.tolist() == [1]
    assert sorted([*dataset.train, *dataset.test]) == list(range(20))


def test_split_is_the_papers_share_and_depends_on_the_seed_only():
    train, test = split_faces(2000, 0)
    assert len(test) == 220 and len(train) == 1780 and not set(train) & set(test)
    np.testing.assert_array_equal(test, split_faces(2000, 0)[1])
    assert (test != split_faces(2000, 1)[1]).any()
    assert len(split_faces(2, 0)[1]) == 1


def test_data_set_refuses_nan_and_existing_folders(tmp_path):
    faces = np.zeros((10, 3, 3), np.float32)
    faces[8, 1, 2] = np.nan
    with pytest.raises(LwaeError, match="Face 8 "):
        write_dataset(tmp_path / "a", iter((faces[:5], faces[5:])), 10, TRIANGLE, **WORDS)
    assert not list(tmp_path.iterdir())
    write(tmp_path / "a")
    with pytest.raises(LwaeError, match="exists already"):
        write(tmp_path / "a")


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LwaeError, match="No space left on device"):
        write(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_files_that_may_not_grow_leave_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    heads = fill(tmp_path / "heads", make_faces())
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        with pytest.raises(LwaeError, match="free some space"):
            prepare_meshes(heads, tmp_path / "out")
        with pytest.raises(LwaeError, match="free some space"):
            write(tmp_path / "out", 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["heads"]


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_header(shape):
    """A .npy that says it holds more than there is."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


NO_ARRAYS = [b"", b"PK\x03\x04", b"\x80\x04N.", npy_header((1 << 40,)), npy_header((10**30,)), npy(np.zeros(3, "U3"))]
NO_ARRAYS += [npy(np.zeros(3, "M8[Y]")), npy(np.array(1.0)), npy(np.full((3, 3), 1j))]


def acting_data(path):
    """A data set whose mesh is one triangle, with weights and facial actions."""
    faces, _ = write(path)
    deltas = {"jawOpen": np.ones((3, 3)), "eyeBlink_L": np.eye(3)}
    save_expressions(path, make_expressions(deltas, {}), faces[0])
    save_weights(path, np.full((2, 3), 0.5), ["a", "b"], "command")

    def read():
        load_dataset(path), load_weights(path), load_expressions(path, faces[1], np.ones(3, bool))
        weights_command(path)

    read()
    return read


def says_so(read, path):
    try:
        read()  # some bytes do not matter
    except LwaeError as error:
        assert str(path.parent) in str(error) and "\n" not in str(error)
        return True
    return False


@pytest.mark.parametrize("name", ["template.npz", "weights.npz", "expressions.npz"])
def test_members_that_are_no_such_arrays(name, tmp_path):
    read = acting_data(tmp_path / "a")
    path = tmp_path / "a" / name
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    refused = [0] * len(members)
    for number, member in enumerate(members):
        for content in NO_ARRAYS:
            with zipfile.ZipFile(path, "w") as archive:
                for other in members:
                    archive.writestr(other, content if other == member else members[other])
            refused[number] += says_so(read, path)
    free = {"command.npy", "names.npy", "part_names.npy", "region_names.npy"}  # They may have any three names.
    assert all(count == len(NO_ARRAYS) for count, member in zip(refused, members, strict=True) if member not in free)


@pytest.mark.parametrize("name", ["template.npz", "weights.npz", "expressions.npz"])
def test_any_bit_of_a_zip_directory(name, tmp_path):
    read = acting_data(tmp_path / "a")
    path = tmp_path / "a" / name
    content = path.read_bytes()
    start, refused = content.index(b"PK\x01\x02"), 0
    for place in range(start, start + 46):  # the first member's
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            refused += says_so(read, path)
    assert refused > 100


def test_damaged_data_sets(tmp_path):
    write(tmp_path / "a")

    def damaged(name, data, match):
        path = tmp_path / "a" / name
        good = path.read_bytes()
        path.write_bytes(data(good))
        with pytest.raises(LwaeError, match=match):
            load_dataset(tmp_path / "a")
        path.write_bytes(good)
        load_dataset(tmp_path / "a")

    damaged("vertices.npy", lambda b: b[:-4], "damaged")
    damaged("vertices.npy", lambda b: b"", "damaged")
    damaged("template.npz", lambda b: b[:50], "damaged")
    damaged("labels.npy", lambda b: b[:50], "damaged")
    damaged("dataset.json", lambda b: b[:50], "damaged")
    damaged(
        "dataset.json",
        lambda b: json.dumps(json.loads(b) | {"format_version": 2}).encode(),
        "another version",
    )
    for wrong in ({"train": [0]}, {"command": None}, {"label_names": ["one too many"] * 9}):
        damaged("dataset.json", lambda b, wrong=wrong: json.dumps(json.loads(b) | wrong).encode(), "incomplete")
    for wrong in ({"train": [10**30]}, {"test": float("inf")}):
        damaged("dataset.json", lambda b, wrong=wrong: json.dumps(json.loads(b) | wrong).encode(), "damaged")
    for name in ("labels.npy", "vertices.npy"):
        damaged(name, lambda b: npy_header((1 << 62, 3)), "damaged")
        damaged(name, lambda b: npy_header((10**30, 3)), "damaged")
    damaged("labels.npy", lambda b: npy(np.zeros((20, 0), "U3")), "incomplete")
    (tmp_path / "a" / "labels.npy").unlink()
    with pytest.raises(LwaeError, match="damaged"):
        load_dataset(tmp_path / "a")
    with pytest.raises(LwaeError, match="is not a data set"):
        load_dataset(tmp_path)


# Alignment.


def rotation(vector):
    """Rodrigues' formula."""
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def test_alignment_finds_the_motion():
    rng = np.random.default_rng(0)
    moved = np.stack(
        [HEAD @ rotation(rng.standard_normal(3)).T + 100 * rng.standard_normal(3) for _ in range(5)]
    )
    np.testing.assert_allclose(align_rigidly(moved, HEAD), np.repeat(HEAD[None], 5, axis=0), atol=1e-3)
    shifted = align_rigidly(moved, HEAD, rotate=False)
    np.testing.assert_allclose(
        shifted - moved, np.repeat((shifted - moved)[:, :1], len(HEAD), axis=1), atol=1e-3
    )
    np.testing.assert_allclose(shifted.mean(axis=1), np.repeat(HEAD.mean(axis=0)[None], 5, axis=0), atol=1e-3)


def test_alignment_neither_scales_nor_mirrors():
    face = 1.3 * HEAD * [-1, 1, 1] + [0.3 * HEAD[:, 1:2] ** 2 / 100, 0, 0][0] * [1, 0, 0]
    aligned = align_rigidly(face[None], HEAD)[0]
    ends = np.array([[0, 50, 100], [20, 90, 130]])
    before, after = (np.linalg.norm(x[ends[0]] - x[ends[1]], axis=1) for x in (face, aligned))
    np.testing.assert_allclose(after, before, rtol=1e-5)
    handed = [np.linalg.det(x[[1, 40, 90]] - x[150]) for x in (face, aligned)]
    assert np.sign(handed[0]) == np.sign(handed[1])


def test_mean_shape_ignores_pose_and_left_out_faces():
    rng = np.random.default_rng(0)
    faces = make_faces(12)
    faces -= faces.mean(axis=1, keepdims=True)
    moved = np.stack([face @ rotation(0.5 * rng.standard_normal(3)).T + 9 for face in faces])
    moved[11] = 1e6
    mean = mean_shape(moved, np.arange(11))
    expected = faces[:11].mean(axis=0)
    np.testing.assert_allclose(align_rigidly(mean[None], expected)[0], expected, atol=0.2)
    assert abs(mean.mean(axis=0)).max() < 1e-6


# The anny door, with the real package: CI has it (and sets the variable CI), a quick checkout may not.


@pytest.mark.skipif(
    importlib.util.find_spec("anny") is None and not os.environ.get("CI"),
    reason="the package anny is not installed",
)
def test_anny_heads(tmp_path, monkeypatch):
    from trainer.datasets import anny
    from trainer.datasets.anny import prepare_anny

    head, acting = anny._AnnyHead(), anny._AnnyHead(True)
    # They take seconds to load.
    monkeypatch.setattr(anny, "_AnnyHead", lambda expressions: acting if expressions else head)
    dataset = prepare_anny(tmp_path / "a", 6, 1)
    template = dataset.template
    labels = dict(zip(dataset.label_names, dataset.labels.T, strict=True))
    assert dataset.vertices.shape[0] == 6 and 4000 < dataset.vertex_count < 4500
    assert (template.polygon_sizes == 4).all() and len(template.uv) == len(template.polygon_vertices)
    assert {"years", "gender", "age", "weight"} <= set(labels)
    assert (dataset.path / "expressions.npz").is_file()
    assert (labels["years"] >= 18).all() and (labels["years"] <= 85).all() and np.ptp(labels["years"]) > 5
    height, width = np.ptp(dataset.vertices[..., 2], axis=1), np.ptp(dataset.vertices[..., 0], axis=1)
    assert ((height > 200) & (height < 320) & (width > 130) & (width < 220)).all()
    nose = template.region_of_vertex == template.region_names.index("nose")
    assert (dataset.vertices[:, nose, 1].mean(axis=1) < dataset.vertices[..., 1].mean(axis=1) - 30).all()

    starts = np.cumsum(template.polygon_sizes) - template.polygon_sizes
    edges = polygon_edges(template.polygon_sizes, template.polygon_vertices)
    component = connected_components(edges, dataset.vertex_count)
    eyes = np.unique(component[template.polygon_vertices[starts[template.polygon_material == 1]]])
    skin = np.unique(component[template.polygon_vertices[starts[template.polygon_material == 0]]])
    assert len(eyes) == 2 and not set(eyes) & set(skin)
    left, right = (component == eye for eye in eyes)
    assert left.sum() == right.sum()
    centres = [dataset.vertices[:, eye].mean(axis=1) for eye in (left, right)]
    assert (centres[0][:, 0] * centres[1][:, 0] < 0).all()

    # The same seed gives the same heads, another one does not.
    np.testing.assert_array_equal(prepare_anny(tmp_path / "b", 6, 1).vertices, dataset.vertices)
    assert abs(prepare_anny(tmp_path / "c", 6, 2).vertices - dataset.vertices).max() > 1

    changes = head.sample_local_changes(2000, np.random.default_rng(0))
    assert abs(changes).max() <= 1 and changes.std(axis=0).max() < 0.3
    names = {name: column for column, name in enumerate(head.local_names)}
    pairs = [(names[name], names["r" + name[1:]]) for name in names if name.startswith("l-")]
    assert len(pairs) > 10
    assert min(np.corrcoef(changes[:, pair], rowvar=False)[0, 1] for pair in pairs) > 0.9
