# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.lwae_file import load_model
from backend.numpy_decoder import NumpyDecoder
from backend.symmetry import mirror_map, mirror_matrix, mirrored, odd_code, odd_part, random_odd_code
from tests.toy import sphere, toy_model

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "blender_lwae" / "models" / "default.lwae"


def sphere_images(vertices):
    """By position: the sphere is exactly symmetric."""
    away = np.linalg.norm(vertices[:, None] * [-1, 1, 1] - vertices, axis=2)
    assert away.min(axis=1).max() < 1e-3
    return away.argmin(axis=1)


def test_mirror_images_on_a_sphere():
    vertices, sizes, corners = sphere()
    np.testing.assert_array_equal(mirror_map(vertices, sizes, corners), sphere_images(vertices))


def test_positions_need_only_be_roughly_symmetric():
    vertices, sizes, corners = sphere()
    moved = vertices + np.random.default_rng(0).normal(scale=1.5, size=vertices.shape)
    np.testing.assert_array_equal(mirror_map(moved, sizes, corners), sphere_images(vertices))


def test_pieces_are_paired_across_the_face():
    """Two spheres as eyes, the second with its vertices in another order, and one on the middle line."""
    vertices, sizes, corners = sphere(6, 8, 10)
    order = np.random.default_rng(1).permutation(len(vertices))
    place = np.argsort(order)
    left, right, middle = vertices + [30, 0, 5], vertices[order] + [-30, 0, 5], vertices + [0, -20, 0]
    n = len(vertices)
    everything = np.concatenate([left, right, middle])
    image = mirror_map(everything, np.tile(sizes, 3), np.concatenate([corners, place[corners] + n, corners + 2 * n]))
    assert (image[:n] >= n).all() and (image[:n] < 2 * n).all() and (image[2 * n :] >= 2 * n).all()
    np.testing.assert_allclose(mirrored(everything, image), everything, atol=1e-4)


def test_a_template_with_other_polygons_left_and_right_is_refused():
    vertices, sizes, corners = sphere()
    pieces = np.split(corners, np.cumsum(sizes)[:-1])
    quad = next(index for index, piece in enumerate(pieces) if len(piece) == 4 and vertices[piece, 0].min() > 20)
    pieces[quad : quad + 1] = [pieces[quad][[0, 1, 2]], pieces[quad][[0, 2, 3]]]
    sizes = np.array([len(piece) for piece in pieces])
    with pytest.raises(LwaeError, match="not the same on its left and right"):
        mirror_map(vertices, sizes, np.concatenate(pieces))


def test_a_template_beside_the_middle_is_refused():
    vertices, sizes, corners = sphere()
    with pytest.raises(LwaeError, match="not symmetric: its sides differ by|not the same on"):
        mirror_map(vertices + [30, 0, 0], sizes, corners)


def test_vertices_without_polygons_are_refused():
    vertices, sizes, corners = sphere()
    with pytest.raises(LwaeError, match="without polygons"):
        mirror_map(np.concatenate([vertices, [[0, 0, 0]]]), sizes, corners)


def test_without_the_odd_part_a_face_is_symmetric():
    vertices, sizes, corners = sphere()
    image = mirror_map(vertices, sizes, corners)
    face = (vertices + np.random.default_rng(0).normal(scale=5, size=vertices.shape)).astype(np.float32)
    even = face - odd_part(face, image)
    np.testing.assert_allclose(mirrored(even, image), even, atol=1e-4)
    np.testing.assert_allclose(odd_part(mirrored(face, image), image), -odd_part(face, image), atol=1e-5)
    assert np.abs(odd_part(face, image)).max() > 1


def symmetric_toy():
    """A linear toy whose bases come in mirrored pairs, so that codes can be mirrored exactly."""
    model = toy_model(parts=2, code_size=4, residuals=False)
    image = mirror_map(model.mean, model.polygon_sizes, model.polygon_vertices)
    for k in range(2):
        vertices, basis = model.network[f"part{k}/vertices"], model.network[f"part{k}/basis"].astype(np.float32)
        whole = np.zeros((2, model.vertex_count, 3), np.float32)
        whole[:, vertices] = basis[:2]
        pair = np.concatenate([whole, [mirrored(field, image) for field in whole]])
        model.network[f"part{k}/basis"] = np.ascontiguousarray(pair[:, vertices])
    model.header["network"]["sigma_n"] = 1e-5
    return model, image


def test_codes_are_mirrored_as_faces_are():
    model, image = symmetric_toy()
    matrix, decoder = mirror_matrix(model, image), NumpyDecoder(model)
    codes = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    np.testing.assert_allclose(
        decoder.decode((codes @ matrix.T).astype(np.float32)),
        [mirrored(face, image) for face in decoder.decode(codes)],
        atol=1e-2,
    )
    even = (codes[0] - odd_code(model, matrix, codes[0])).astype(np.float32)
    assert np.abs(odd_part(decoder.decode_one(even), image)).max() < 1e-2


def test_random_differences_are_odd_and_follow_the_seed():
    model, image = symmetric_toy()
    matrix = mirror_matrix(model, image)
    one = random_odd_code(model, matrix, 5)
    np.testing.assert_allclose(matrix @ one, -one, atol=1e-3)
    np.testing.assert_array_equal(one, random_odd_code(model, matrix, 5))
    assert np.abs(one - random_odd_code(model, matrix, 6)).max() > 0.1


@pytest.mark.skipif(not DEFAULT.is_file(), reason="no bundled model")
def test_the_default_model_is_symmetric():
    model = load_model(DEFAULT)
    image = mirror_map(model.mean, model.polygon_sizes, model.polygon_vertices)
    assert np.abs(model.mean - mirrored(model.mean, image)).max() < 0.2
    decoder, matrix = NumpyDecoder(model), mirror_matrix(model, image)
    codes = model.prior.sample(np.random.default_rng(0), 4)
    for code, face in zip(codes, decoder.decode(codes), strict=True):
        even = face - odd_part(face, image)
        assert np.abs(even - mirrored(even, image)).max() < 1e-4
        by_code = decoder.decode_one((code - odd_code(model, matrix, code)).astype(np.float32))
        assert np.linalg.norm(by_code - even, axis=1).mean() < 0.05
    added = decoder.decode_one((model.prior.mean + random_odd_code(model, matrix, 3)).astype(np.float32))
    base = decoder.decode_one(model.prior.mean)
    change = added - base
    assert np.abs(change).max() > 0.2
    assert np.abs(change + mirrored(change, image)).max() < 0.2 * np.abs(change).max()
