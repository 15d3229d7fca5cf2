# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.mix import OWN, kinship, main_donors, share_kept, shuffled
from backend.numpy_decoder import NumpyDecoder
from tests.toy import toy_model


def test_the_main_donor_gives_most():
    amounts = np.array([[0.0, 0.4, 0.7, 0.5, 2.0], [0.0, 0.4, 0.2, 0.0, 0.0]])
    assert main_donors(amounts).tolist() == [OWN, 0, 0, OWN, 0]
    assert main_donors(np.zeros((0, 3))).tolist() == [OWN] * 3


def test_kinship_is_what_parts_have_in_common():
    amounts = np.array([[0.0, 1.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.5]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(kinship(amounts), [[1, 0, 0, 0], [0, 1, 1, half], [0, 1, 1, half], [0, half, half, 1]])
    np.testing.assert_array_equal(kinship(np.zeros((0, 3))), np.ones((3, 3)))


def test_a_shuffle_takes_from_all_and_follows_its_seed():
    draws = [shuffled(np.random.default_rng(seed), [OWN, 3, 5], 8) for seed in range(20)]
    for draw in draws:
        assert sorted(np.unique(draw, return_counts=True)[1]) == [2, 3, 3]
    assert len({tuple(draw) for draw in draws}) > 15
    assert np.array_equal(draws[4], shuffled(np.random.default_rng(4), [OWN, 3, 5], 8))
    first = [draw[0] for draw in draws]
    assert {OWN, 3, 5} == set(first)


def test_more_faces_than_parts():
    draw = shuffled(np.random.default_rng(0), range(5), 3)
    assert len(set(draw)) == 3


@pytest.fixture
def decoder():
    return NumpyDecoder(toy_model(residuals=False, sharpness=4))


def test_price_of_moving_half_way_back(decoder):
    rng = np.random.default_rng(0)
    own, mixed = rng.normal(size=(2, 12)).astype(np.float32)
    mixed[4:] = own[4:]
    distance, kept = share_kept(decoder, own, mixed, (own + mixed) / 2)
    faces = decoder.decode(np.stack([own, mixed]))
    assert kept == pytest.approx(0.5, abs=1e-4)
    assert distance == pytest.approx(np.linalg.norm(faces[1] - faces[0], axis=1).mean() / 2, rel=1e-4)


def test_no_move_costs_nothing(decoder):
    own, mixed = np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)
    assert share_kept(decoder, own, mixed, mixed) == (0, pytest.approx(1))
    assert np.isnan(share_kept(decoder, own, own, mixed)[1])
