# SPDX-License-Identifier: GPL-3.0-or-later
"""What the code has no room for is told from the whole of it, and parts stay strangers to each other."""

import dataclasses

import numpy as np
import pytest

from backend.local_network import linear_gram
from backend.numpy_decoder import NumpyDecoder
from backend.prior import Prior
from tests.toy import toy_model
from trainer.closed_form import local_arrays
from trainer.mesh.topology import triangulate
from trainer.mirror import find_image, mirror_images
from trainer.refit import leave_residual
from trainer.tails import with_tails

SIZE = 5  # numbers of a part
DIRECTIONS = 12  # in which the people of `people` differ, of which a part's code holds `SIZE`


@pytest.fixture(scope="module")
def people():
    """200 and 50 faces whose parts belong together, float32 [S, N, 3] mm around the mean of a toy model."""
    base, rng = toy_model(), np.random.default_rng(0)
    waves = np.sin(base.mean @ rng.normal(scale=0.02, size=(3, DIRECTIONS)) + rng.uniform(0, 6, DIRECTIONS)).T
    modes = waves[:, :, None] * rng.normal(size=(DIRECTIONS, 1, 3)) * np.geomspace(4, 0.4, DIRECTIONS)[:, None, None]
    amounts = rng.normal(size=(250, DIRECTIONS))
    faces = np.tensordot(amounts, modes, 1).astype(np.float32)
    return faces[:200] - faces[:200].mean(axis=0), faces[200:] - faces[:200].mean(axis=0)


def toy_image():
    base = toy_model()
    template = type("Template", (), {"polygon_sizes": base.polygon_sizes, "polygon_vertices": base.polygon_vertices})
    return find_image(base.mean, template)


def closed_form(displacements, image=None, size=SIZE):
    """A linear model of such faces."""
    base = toy_model(residuals=False)
    triangles = triangulate(base.polygon_sizes, base.polygon_vertices)
    weights = base.weights if image is None else (base.weights + base.weights[:, image]) / 2
    arrays = local_arrays(displacements, base.mean, triangles, weights, size, image=image)
    sizes = [len(arrays[f"part{k}/basis"]) for k in range(base.part_count)]
    prior = Prior(np.zeros(sum(sizes), np.float32), np.eye(sum(sizes), dtype=np.float32), 1.0)
    return dataclasses.replace(base, weights=weights, code_sizes=sizes, prior=prior, controls=[], network=arrays)


def fitted(displacements, count=8, leak=0.01, image=None, size=SIZE):
    """The closed form without and with tails, what it leaves of the faces, and what tails leave."""
    model, rest = closed_form(displacements, image, size), displacements.copy()
    codes = leave_residual(model, rest)
    left = rest.copy()
    return model, with_tails(model, rest, codes, count, leak, image), left, rest


def misses(model, displacements):
    """Mean distance of faces from what their codes decode to, mm."""
    decoder = NumpyDecoder(model)
    made = decoder.decode(decoder.encode(model.mean + displacements))
    return np.linalg.norm(made - model.mean - displacements, axis=2).mean()


def test_other_people_are_met_far_better_and_the_rest_is_what_tails_leave(people):
    train, test = people
    model, tailed, left, rest = fitted(train, size=9)
    assert misses(tailed, test) < 0.5 * misses(model, test)
    assert tailed.code_sizes == model.code_sizes
    decoder, before = NumpyDecoder(tailed), NumpyDecoder(model)
    codes = before.encode(model.mean + train)
    added = decoder.decode(codes) - before.decode(codes)
    np.testing.assert_allclose(left - added, rest, atol=1e-4)


@pytest.mark.parametrize("most", [0.1, 0.01, 0.001])
def test_a_stranger_s_part_moves_the_others_no_more_than_it_may(people, most):
    train, test = people
    model, tailed, _, _ = fitted(train, leak=most)
    decoders = NumpyDecoder(model), NumpyDecoder(tailed)
    shares = []
    for part in range(model.part_count):
        squares = []
        for decoder in decoders:
            codes = decoder.encode(model.mean + test)
            swapped, own = codes.copy(), model.part_slice(part)
            swapped[:, own] = np.roll(codes, 1, axis=0)[:, own]
            squares.append(((decoder.decode(swapped) - decoder.decode(codes)) ** 2).sum(axis=2).mean(axis=0))
        elsewhere = model.weights[part] == 0
        assert squares[0][elsewhere].max() == 0 < squares[1][elsewhere].max()
        shares.append(squares[1][elsewhere].sum() / squares[1].sum())
    assert most / 20 < np.mean(shares) < 1.5 * most


def test_codes_are_read_through_tails(people):
    train, _ = people
    _, tailed, _, _ = fitted(train)
    decoder = NumpyDecoder(tailed)
    codes = np.random.default_rng(3).normal(size=(4, tailed.code_size)).astype(np.float32)
    faces = decoder.decode(codes)
    np.testing.assert_allclose(decoder.decode(decoder.encode(faces)), faces, atol=0.02)
    moved = (decoder.decode(np.eye(tailed.code_size, dtype="f4")) - tailed.mean).reshape(tailed.code_size, -1)
    mass = np.repeat(tailed.network["mass"], 3)
    np.testing.assert_allclose(linear_gram(tailed), (moved * mass) @ moved.T, rtol=1e-3, atol=1e-2)


def test_tails_prefer_no_side(people):
    train, test = people
    image = toy_image()
    _, tailed, _, _ = fitted(train, image=image, size=8)
    assert "tails/map" in tailed.network
    decoder = NumpyDecoder(tailed)
    faces = tailed.mean + test
    made, mirrored = (decoder.decode(decoder.encode(f)) for f in (faces, mirror_images(faces, image)))
    np.testing.assert_allclose(mirror_images(made, image), mirrored, atol=2e-3)


def test_there_are_no_tails_where_nothing_is_left_or_nothing_tells_it(people):
    train, _ = people
    model, tailed, _, _ = fitted(train, size=DIRECTIONS + 4)
    assert np.abs(leave_residual(model, train.copy())).max() > 0  # rounding
    assert misses(tailed, train) <= misses(model, train) + 1e-4
    noise = np.random.default_rng(0).normal(size=train.shape).astype(np.float32)
    model, tailed, left, rest = fitted(noise)
    assert tailed is model
    np.testing.assert_array_equal(left, rest)


@pytest.mark.parametrize("faces", [4, 12, 30])
def test_few_faces(people, faces):
    train, test = people
    model, tailed, _, _ = fitted(train[:faces])
    assert misses(tailed, test) < 1.05 * misses(model, test)
