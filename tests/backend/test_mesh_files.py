# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import os

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.mesh_files import PlyFormat, require_finite, write_npz
from tests.toy import toy_model


def read_ply(path):
    """An independent reader of what PlyFormat writes: vertices, list of polygons."""
    head, body = path.read_bytes().split(b"end_header\n", 1)
    counts = [int(line.split()[2]) for line in head.decode().splitlines() if line.startswith("element")]
    vertices = np.frombuffer(body, "<f4", 3 * counts[0]).reshape(-1, 3)
    at, polygons = 12 * counts[0], []
    for _ in range(counts[1]):
        size = body[at]
        polygons.append(np.frombuffer(body, "<i4", size, at + 1).tolist())
        at += 1 + 4 * size
    assert at == len(body)
    return vertices, polygons


@pytest.fixture(scope="module")
def model():
    return toy_model()


def ply_format(model):
    return PlyFormat(model.vertex_count, model.polygon_sizes, model.polygon_vertices, "a comment")


def test_ply_keeps_positions_and_polygons(model, tmp_path):
    ply = ply_format(model)
    ply.write(tmp_path / "a.ply", model.mean)
    vertices, polygons = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(vertices, model.mean)
    expected = np.split(model.polygon_vertices, np.cumsum(model.polygon_sizes)[:-1])
    assert polygons == [polygon.tolist() for polygon in expected]
    assert {len(polygon) for polygon in polygons} == {3, 4}
    assert (tmp_path / "a.ply").stat().st_size == ply.size


def test_trimesh_reads_a_ply_of_quads(model, tmp_path):
    """A mesh of both triangles and quads is beyond its reader, so only the quads go in."""
    trimesh = pytest.importorskip("trimesh")
    corners = model.polygon_vertices[np.repeat(model.polygon_sizes, model.polygon_sizes) == 4]
    quads = PlyFormat(model.vertex_count, np.full(len(corners) // 4, 4), corners)
    quads.write(tmp_path / "a.ply", model.mean)
    mesh = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_array_equal(mesh.vertices.astype(np.float32), model.mean)
    assert len(mesh.faces) == len(corners) // 2


def test_ply_refuses_other_meshes(model, tmp_path):
    broken = model.mean.copy()
    broken[3, 1] = np.nan
    for wrong in (model.mean[:-1], broken):
        with pytest.raises(LwaeError):
            ply_format(model).write(tmp_path / "a.ply", wrong)
    assert not list(tmp_path.iterdir())
    with pytest.raises(LwaeError, match="not finite"):
        require_finite(broken)


def test_equal_content_gives_equal_bytes(model, tmp_path):
    for name in "ab":
        ply_format(model).write(tmp_path / f"{name}.ply", model.mean)
        write_npz(tmp_path / f"{name}.npz", {"vertices": model.mean, "index": np.arange(3)})
    for suffix in ("ply", "npz"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_npz_is_read_without_pickle(model, tmp_path):
    write_npz(tmp_path / "a.npz", {"vertices": model.mean, "names": np.array(["nose", "mouth"])})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["vertices"], model.mean)
        assert arrays["names"].tolist() == ["nose", "mouth"]


def test_full_disk_leaves_the_old_file_and_says_so(model, tmp_path, monkeypatch):
    (tmp_path / "a.ply").write_bytes(b"old")

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(LwaeError, match="No space left"):
        ply_format(model).write(tmp_path / "a.ply", model.mean)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"]
    assert (tmp_path / "a.ply").read_bytes() == b"old"
