# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from backend.local_network import linear_gram
from backend.plausibility import PART_LIMIT, Plausibility, grade
from backend.prior import Prior
from tests.toy import toy_model


def coupled_model():
    model = toy_model(parts=3, code_size=3)
    rng = np.random.default_rng(0)
    model.prior = Prior(np.zeros(9, np.float32), rng.normal(size=(9, 3)).astype(np.float32), 0.01)
    return model


def test_faces_of_the_prior_are_plausible():
    model = coupled_model()
    codes = model.prior.sample(np.random.default_rng(1), 4000)
    assert abs(np.mean(Plausibility(model)(codes)[0] ** 2) - 1) < 0.05
    np.testing.assert_allclose(np.mean(Plausibility(model)(codes)[1] ** 2, axis=0), 1, atol=0.1)


def test_a_part_of_somebody_else_shows():
    model = coupled_model()
    codes = model.prior.sample(np.random.default_rng(1), 200)
    strange = codes.copy()
    columns = model.part_slice(1)
    strange[:, columns] = np.roll(codes[:, columns], 1, axis=0)
    plausibility = Plausibility(model)
    (faces, parts), (others, _) = plausibility(strange), plausibility(codes)
    assert np.median(faces) > 3 * np.median(others)
    assert np.median(parts[:, 1]) > 3


def test_without_tolerance_a_face_is_measured_as_the_prior_does():
    model = coupled_model()
    codes = np.random.default_rng(3).normal(size=(5, 9)).astype(np.float32)
    np.testing.assert_allclose(Plausibility(model, 0)(codes)[0], model.prior.mahalanobis(codes), rtol=1e-4)


def test_what_nobody_sees_weighs_nothing():
    """A change of the code that moves the surface by a hundredth of a millimetre stays a real face."""
    model = coupled_model()
    model.prior.tau = 1e-7
    code = model.prior.sample(np.random.default_rng(1), 1)
    gram = linear_gram(model)
    unlikely = np.linalg.eigh(model.prior.covariance)[1][:, 0]
    tiny = 0.01 * np.sqrt(model.network["mass"].sum() / (unlikely @ gram @ unlikely)) * unlikely
    moved = (code + tiny).astype(np.float32)
    assert model.prior.mahalanobis(moved)[0] > 2
    assert abs(Plausibility(model)(moved)[0] - Plausibility(model)(code)[0])[0] < 0.1


def test_grades_go_up_with_the_distance():
    assert [grade(distance) for distance in (0, 1.2, 2, 4, 9)] == [0, 0, 1, 2, 3]


def test_only_the_strange_parts_are_odd():
    """A strange part makes its neighbours look strange; setting it aside shows that they are not."""
    model = toy_model(parts=5, code_size=3)
    rng = np.random.default_rng(0)
    model.prior = Prior(np.zeros(15, np.float32), rng.normal(size=(15, 3)).astype(np.float32), 0.01)
    plausibility = Plausibility(model)
    one, two = model.prior.sample(rng, 40), model.prior.sample(rng, 40)
    assert not any(plausibility.odd_parts(code)[0] for code in one)
    alone = both = dragged = 0
    for code, other in zip(one, two, strict=True):
        strange = code.copy()
        strange[model.part_slice(1)] = other[model.part_slice(1)]
        dragged += (plausibility(strange)[1][0] > PART_LIMIT).sum() > 1
        alone += plausibility.odd_parts(strange)[0] == [1]
        strange[model.part_slice(3)] = -2 * other[model.part_slice(3)]
        both += sorted(plausibility.odd_parts(strange)[0]) == [1, 3]
    assert dragged > 20 and alone > 30 and both > 30, (dragged, alone, both)


def test_what_is_missing_is_told_without_waiting():
    model = coupled_model()
    strange = model.prior.sample(np.random.default_rng(1), 1)[0]
    strange[model.part_slice(1)] += 5
    plausibility = Plausibility(model)
    odd, missing = plausibility.odd_parts(strange, wait=False)
    assert len(odd) == 1 and missing == tuple(part for part in range(3) if part not in odd)
    plausibility.look_at(missing)
    assert plausibility.odd_parts(strange, wait=False) == Plausibility(model).odd_parts(strange)


def test_conditional_distances_agree_with_conditioning_by_hand():
    model = coupled_model()
    code = np.random.default_rng(2).normal(size=9).astype(np.float32)
    covariance, own = model.prior.covariance, np.arange(3, 6)
    rest = np.setdiff1d(np.arange(9), own)
    gain = covariance[np.ix_(own, rest)] @ np.linalg.inv(covariance[np.ix_(rest, rest)])
    spread = covariance[np.ix_(own, own)] - gain @ covariance[np.ix_(rest, own)]
    off = code[own] - gain @ code[rest]
    expected = np.sqrt(off @ np.linalg.solve(spread, off) / 3)
    np.testing.assert_allclose(Plausibility(model, 0)(code)[1][0, 1], expected, rtol=1e-4)
