# SPDX-License-Identifier: GPL-3.0-or-later
"""New vertices of a subdivided mesh, which do not bend, make no rough place."""

import numpy as np
import pytest

from tests.toy import sphere
from tests.trainer.faces import two_halves
from trainer.mesh.bending import FLATTEST, natural_bending
from trainer.mesh.topology import polygon_edges, triangulate, umbrella_laplacian
from trainer.weights.seams import Seams, seam_weights


def subdivided(sizes, corners, count):
    """Each polygon of a mesh split in quads: matrix [N', N] of linear interpolation, and the new polygons."""
    polygons = np.split(corners, np.cumsum(sizes)[:-1])
    edges = {tuple(edge): count + i for i, edge in enumerate(polygon_edges(sizes, corners))}
    rows = [*np.eye(count)]
    rows += [(rows[a] + rows[b]) / 2 for a, b in edges]
    quads = []
    for polygon in polygons:
        centre = len(rows)
        rows.append(np.mean([rows[v] for v in polygon], axis=0))
        middles = [edges[tuple(sorted((a, b)))] for a, b in zip(polygon, np.roll(polygon, -1), strict=True)]
        quads += [(v, middles[i], centre, middles[i - 1]) for i, v in enumerate(polygon)]
    return np.array(rows), np.full(len(quads), 4), np.array(quads).ravel()


@pytest.fixture(scope="module")
def balls():
    """Seams of a ball whose halves vary on their own, as it is and subdivided without rounding."""
    mean, sizes, corners = sphere(16, 24)
    faces = two_halves(mean, 100, 0.1)
    matrix, fine_sizes, fine_corners = subdivided(sizes, corners, len(mean))
    fine = np.einsum("vn,snc->svc", matrix, faces)
    return [
        Seams(x.astype(np.float32), x.mean(axis=0), triangulate(s, c), polygon_edges(s, c))
        for x, s, c in ((faces, sizes, corners), (fine, fine_sizes, fine_corners))
    ]


def test_parts_of_a_subdivided_mesh_meet_where_those_of_the_mesh_do(balls):
    coarse, fine = (seam_weights(np.eye(2)[(seams.mean[:, 2] < 0).astype(int)], seams) for seams in balls)
    assert np.isfinite(fine).all()
    same = (coarse.argmax(axis=1) == fine.argmax(axis=1)[: len(coarse)]).mean()
    assert same > 0.95
    assert balls[1].seam(fine) < 1.25 * balls[0].seam(coarse)


def test_a_share_of_what_bends_around_counts_where_nothing_bends():
    _, sizes, corners = sphere(8, 12)
    laplacian = umbrella_laplacian(polygon_edges(sizes, corners), corners.max() + 1)
    even = np.full(laplacian.shape[0], 2.0)
    assert np.array_equal(natural_bending(even, laplacian), even)
    flat = even.copy()
    flat[40] = 0
    found = natural_bending(flat, laplacian)
    assert 0.5 * FLATTEST * 2 < found[40] < FLATTEST * 2
    assert np.array_equal(np.delete(found, 40), np.delete(flat, 40))
    assert not natural_bending(np.zeros(len(even)), laplacian).any()
