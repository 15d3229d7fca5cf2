# SPDX-License-Identifier: GPL-3.0-or-later
"""The neck's edge stays where a body is welded to it, and the neck between bends without a crease."""

from pathlib import Path

import numpy as np
import pytest

from backend.lwae_file import load_model
from backend.neck import BAND, Neck, _least_squares
from backend.numpy_decoder import NumpyDecoder
from backend.polygons import polygon_sides
from tests.toy import toy_model

DEFAULT = Path(__file__).resolve().parents[2] / "blender_lwae" / "models" / "default.lwae"


def open_toy():
    """The toy sphere without its lowest cap: an open neck, and a small hole on top that is none."""
    model = toy_model()
    starts = np.cumsum(model.polygon_sizes) - model.polygon_sizes
    heights = np.array(
        [
            model.mean[model.polygon_vertices[start : start + size], 2].mean()
            for start, size in zip(starts, model.polygon_sizes, strict=True)
        ]
    )
    kept = (heights > -85) & (heights < 96)
    model.polygon_vertices = np.concatenate(
        [
            model.polygon_vertices[start : start + size]
            for start, size in zip(starts[kept], model.polygon_sizes[kept], strict=True)
        ]
    )
    model.polygon_sizes = model.polygon_sizes[kept]
    return model


@pytest.fixture(scope="module")
def default():
    if not DEFAULT.is_file():
        pytest.skip("no bundled model")
    return load_model(DEFAULT)


def test_the_edge_is_the_lowest_long_loop():
    model = open_toy()
    neck = Neck(model)
    assert len(neck.edge) == 24
    assert np.ptp(model.mean[neck.edge, 2]) < 1e-3 and model.mean[neck.edge, 2].mean() < -80
    # In order: neighbours lie side by side.
    steps = np.linalg.norm(neck.mean_edge - np.roll(neck.mean_edge, -1, axis=0), axis=1)
    assert np.ptp(steps) < 1e-3


def test_a_closed_mesh_has_no_neck():
    model = toy_model()
    neck = Neck(model)
    assert not len(neck.edge)
    face = model.mean + np.float32(1)
    assert neck.hold(face, neck.mean_edge) is face


def test_the_neck_moves_with_the_edge_where_no_rows_are_between(monkeypatch):
    monkeypatch.setattr("backend.neck.BAND", 0.0)
    model = open_toy()
    neck = Neck(model)
    moved = neck.hold(model.mean, neck.mean_edge + np.float32([3, 0, 0])) - model.mean
    assert np.allclose(moved[neck.edge], [3, 0, 0], atol=1e-4)
    assert (np.abs(moved).max(axis=1) > 1e-3).sum() == 2 * len(neck.edge)


@pytest.mark.parametrize("model_name", ["toy", "default"])
def test_the_edge_is_exact_and_nothing_above_the_band_moves(model_name, request):
    model = open_toy() if model_name == "toy" else request.getfixturevalue("default")
    neck, decoder = Neck(model), NumpyDecoder(model)
    faces = decoder.decode(model.prior.sample(np.random.default_rng(0), 20))
    gap = np.linalg.norm(model.mean[:, None] - model.mean[neck.edge], axis=2).min(axis=1)
    assert np.abs(faces[:, neck.edge] - neck.mean_edge).max() > 1
    for face in faces:
        before = face.copy()
        held = neck.hold(face, neck.mean_edge)
        assert np.array_equal(face, before)
        assert np.abs(held[neck.edge] - neck.mean_edge).max() < 1e-4
        assert np.array_equal(held[gap > BAND], face[gap > BAND])


def test_no_crease(default):
    """Neighbours are moved alike, and the row above the edge moves with it, so that shading runs on into the body."""
    neck, decoder = Neck(default), NumpyDecoder(default)
    corners = default.polygon_vertices.reshape(-1, 4)
    edges = np.concatenate([corners[:, [i, (i + 1) % 4]] for i in range(4)])
    length = np.linalg.norm(default.mean[edges[:, 0]] - default.mean[edges[:, 1]], axis=1)
    above = np.setdiff1d(corners[np.isin(corners, neck.edge).any(axis=1)], neck.edge)
    for face in decoder.decode(default.prior.sample(np.random.default_rng(1), 20)):
        moved = neck.hold(face, neck.mean_edge) - face
        most = np.linalg.norm(moved, axis=1).max()
        slope = np.linalg.norm(moved[edges[:, 0]] - moved[edges[:, 1]], axis=1) / length
        assert slope.max() < 0.08 * most, "a step between neighbours"
        nearest = np.linalg.norm(default.mean[above][:, None] - default.mean[neck.edge], axis=2).argmin(axis=1)
        assert np.linalg.norm(moved[above] - moved[neck.edge][nearest], axis=1).max() < 0.15 * most
        assert most < 1.3 * np.linalg.norm(moved[neck.edge], axis=1).max()


def test_held_elsewhere(default):
    neck = Neck(default)
    target = neck.mean_edge + np.float32([0, 5, -3])
    held = neck.hold(default.mean.astype(np.float32), target)
    assert np.array_equal(held[neck.edge], target)


def test_the_banded_solve_is_the_dense_one():
    """Blocks of uneven sizes, one of them with no row in common with the next."""
    rng = np.random.default_rng(2)
    block = np.repeat([0, 1, 2, 4], [3, 5, 1, 4])
    dense = rng.standard_normal((40, len(block)))
    first = rng.integers(0, 4, len(dense))
    dense[(block < first[:, None]) | (block > first[:, None] + 1)] = 0
    at, to = np.nonzero(dense)
    target = rng.standard_normal((len(dense), 6))
    found = _least_squares(at, to, dense[at, to], target, block)
    assert np.allclose(found, np.linalg.lstsq(dense, target, rcond=None)[0], atol=1e-9)


def test_the_neck_is_smooth(default):
    """Of all fields that hold the same vertices none has a smaller Laplacian: moving one vertex makes it larger."""
    neck = Neck(default)
    sides = np.sort(polygon_sides(default.polygon_sizes, default.polygon_vertices), axis=1)
    edges = np.unique(sides, axis=0)
    average = np.zeros((default.vertex_count, default.vertex_count))
    average[edges[:, 0], edges[:, 1]] = average[edges[:, 1], edges[:, 0]] = 1
    laplacian = average / np.maximum(average.sum(axis=1, keepdims=True), 1) - np.eye(len(average))
    moved = neck.hold(np.zeros_like(default.mean), np.tile(np.float32([1, 0, 0]), (len(neck.edge), 1)))[:, 0]
    free = np.flatnonzero((moved > 0) & (moved < 1 - 1e-6))
    assert len(free) > 50
    assert np.abs(laplacian[:, free].T @ (laplacian @ moved)).max() < 1e-5
