# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder
from backend.polygons import triangulate
from benchmarks.large_head import refined
from tests.toy import toy_model


@pytest.fixture(scope="module")
def models() -> tuple[FaceModel, FaceModel]:
    small = toy_model(border_strength=0)  # borders weigh vertices by their number
    return small, refined(small, 1234)


def test_a_refined_model_is_the_same_face_with_more_vertices(models):
    small, large = models
    codes = small.prior.sample(np.random.default_rng(0), 3)
    coarse, fine = NumpyDecoder(small).decode(codes), NumpyDecoder(large).decode(codes)
    assert fine.shape == (3, 1234, 3)
    np.testing.assert_allclose(fine[:, : small.vertex_count], coarse, atol=1e-4)
    # Linear along the halved edges: nothing sticks out.
    assert (fine.min(axis=1) >= coarse.min(axis=1) - 0.02).all()
    assert (fine.max(axis=1) <= coarse.max(axis=1) + 0.02).all()
    np.testing.assert_allclose(large.weights.sum(axis=0), 1, atol=1e-3)
    assert large.network["mass"].sum() == pytest.approx(small.network["mass"].sum())


def test_a_refined_mesh_is_closed_and_even(models):
    small, large = models
    triangles = large.polygon_vertices.reshape(-1, 3)
    assert set(triangles.ravel()) == set(range(1234))
    edges = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    unique, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).all() and 1234 - len(unique) + len(triangles) == 2
    length = np.linalg.norm(large.mean[unique[:, 0]] - large.mean[unique[:, 1]], axis=1)
    old = triangulate(small.polygon_sizes, small.polygon_vertices)
    assert length.max() < 0.75 * np.linalg.norm(small.mean[old[:, 0]] - small.mean[old[:, 1]], axis=1).max()
    # Materials stay where they were: those of the top.
    middle = large.mean[triangles].mean(axis=1)
    assert (large.polygon_material[middle[:, 2] > 75] == 1).all()
    assert (large.polygon_material[middle[:, 2] < 25] == 0).all()
