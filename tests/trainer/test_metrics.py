# SPDX-License-Identifier: GPL-3.0-or-later
"""Each metric on made-up faces for which the answer is known."""

import numpy as np
import pytest

from backend.numpy_decoder import NumpyDecoder
from tests.toy import sphere, toy_model
from trainer.evaluation import bootstrap, metrics, mixing
from trainer.evaluation.ellipse import Ellipse
from trainer.evaluation.hausdorff import hausdorff_distance, interpolation_steps
from trainer.evaluation.regions import find_regions
from trainer.mesh.topology import polygon_edges, triangulate, umbrella_laplacian


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def faces(rng, count=40, vertices=30):
    return rng.normal(size=(count, vertices, 3)).astype(np.float32)


# Mixing


def test_each_face_gives_each_part_once_and_donors_differ(rng):
    donors = mixing.donor_mixes(rng, 11, 8)
    assert all(sorted(column) == list(range(11)) for column in donors.T)
    assert all(len(set(row)) == 8 for row in donors)


def test_fewer_faces_than_parts_still_mix(rng):
    donors = mixing.donor_mixes(rng, 3, 8)
    assert donors.shape == (3, 8) and donors.min() >= 0 and donors.max() <= 2


def test_one_part_swaps_change_that_part_and_no_other(rng):
    swaps = mixing.one_part_swaps(rng, 9, 4)
    foreign = swaps != np.arange(9)[None, :, None]
    assert (foreign == np.eye(4, dtype=bool)[:, None, :]).all()
    assert (mixing.pick_one_part(rng, swaps) != np.arange(9)[:, None]).sum(axis=1).tolist() == [1] * 9


def test_pair_swaps_exchange_some_parts_and_undo_themselves(rng):
    first, second = mixing.pair_swaps(rng, 50, 5)
    own = np.arange(50)[:, None]
    foreign = first != own
    assert (foreign.sum(axis=1) > 0).all() and (foreign.sum(axis=1) < 5).all()
    assert (np.where(foreign, second, first) == own).all()
    partner = np.where(foreign, first, second)
    assert (partner == partner[:, :1]).all() and (partner != own).all()


def test_mixed_codes_take_each_part_from_its_donor():
    model = toy_model()
    codes = np.arange(5)[:, None] * np.ones(model.code_size, dtype=np.float32)
    mixed = mixing.mix_codes(model, codes, np.array([[4, 0, 2]]))
    assert [set(mixed[0, model.part_slice(part)]) for part in range(3)] == [{4.0}, {0.0}, {2.0}]


def test_the_same_seed_gives_the_same_mixes():
    for function in (mixing.donor_mixes, mixing.one_part_swaps, mixing.pair_swaps):
        a, b, c = (function(np.random.default_rng(seed), 20, 4) for seed in (1, 1, 2))
        assert (a == b).all() and (a != c).any()


# Regions


def test_regions_are_cores_with_a_margin():
    model = toy_model()
    model.weights[:, 7] = [0.5, 0.4, 0.1]
    regions, none = find_regions(model), find_regions(model, margin=0.0)
    assert (none.inside == (model.weights.argmax(axis=0) == np.arange(3)[:, None])).all()
    assert (regions.inside >= none.inside).all() and regions.inside.sum() == none.inside.sum()
    wide = find_regions(model, margin=60.0)  # The toy's rings are 26 mm apart.
    assert (wide.coverage > regions.coverage).all()
    top = model.mean[wide.inside[0], 2].min()
    core = model.mean[none.inside[0], 2].min()
    assert core - 60 <= top < core - 20
    assert np.flatnonzero(regions.border).tolist() == [7]


# Distances


def test_reconstruction_statistics(rng):
    distances = rng.gamma(2.0, 0.1, size=(60, 500)).astype(np.float32)
    values = metrics.reconstruction(distances).values()
    assert values["reconstruction"] == pytest.approx(distances.mean(), rel=1e-5)
    assert values["reconstruction_std"] == pytest.approx(distances.std(), rel=1e-4)
    assert values["reconstruction_median"] == pytest.approx(np.median(distances), rel=4e-3)
    assert values["reconstruction_p95"] == pytest.approx(np.percentile(distances, 95), rel=4e-3)


def test_nearest_distance_finds_a_copy_and_measures_the_rest(rng):
    train = faces(rng, 70)
    made = train[[3, 69]] + np.array([0.0, 0.5], dtype=np.float32)[:, None, None] * [1, 0, 0]
    blocks = iter([train[:32], train[32:64], train[64:]])
    result = metrics.nearest_distances(made.astype(np.float32), blocks, train.mean(axis=0))
    np.testing.assert_allclose(result, [0, 0.5], atol=1e-5)


# Parts


def test_full_half_and_wrong_transfer(rng):
    x = faces(rng, 400)
    core = np.arange(30) < 10
    wanted = np.roll(x, 1, axis=0) - x
    wrong = np.roll(x, 2, axis=0) - x
    sums = np.stack([metrics.transfer_sums(c, wanted, core) for c in (wanted, 0.5 * wanted, wrong)], axis=1)
    per_part = sums[..., 0].sum(axis=0) / sums[..., 1].sum(axis=0)
    np.testing.assert_allclose(per_part, [1, 0.5, 0.5], atol=0.02)
    values = metrics.responsiveness(sums[:, :2]).values()
    assert values["responsiveness"] == pytest.approx(0.75) and values["responsiveness_min"] == pytest.approx(
        0.5
    )


def test_change_outside_the_core_is_no_transfer(rng):
    x = faces(rng)
    core = np.arange(30) < 10
    change = np.where(core[:, None], 0, 1) * x
    assert metrics.transfer_sums(change, x, core)[:, 0].tolist() == [0] * 40


def test_leak_is_the_squared_share_outside():
    change = np.zeros((5, 4, 3), dtype=np.float32)
    change[:, 0, 0], change[:, 3, 1] = 3.0, 1.0
    inside = np.array([True, True, False, False])
    sums = np.stack([metrics.leak_sums(change, inside), metrics.leak_sums(change, ~inside)], axis=1)
    values = metrics.leak(sums).values()
    assert values == pytest.approx({"leak": 0.5, "leak_max": 0.9})


def test_retrieval_finds_donors_and_fails_on_strangers(rng):
    x = faces(rng, 20)
    core = np.arange(30) % 3
    donors = mixing.donor_mixes(rng, 20, 3)
    mixed = np.take_along_axis(x[donors], core[None, None, :, None], axis=1)[:, 0]
    right = metrics.donor_retrieval(mixed, x, donors, core).values()
    assert right == {"donor_retrieval": 1, "donor_retrieval_all": 1}
    wrong = metrics.donor_retrieval(mixed, x, (donors + 1) % 20, core).values()
    assert wrong["donor_retrieval_all"] == 0 and wrong["donor_retrieval"] < 0.6


def test_only_the_donors_of_a_mix_compete_for_a_part(rng):
    """A face that gave nothing is nearer than the donor: one reading counts it, the other does not."""
    x = faces(rng, 20)
    core = np.arange(30) % 3
    donors = mixing.donor_mixes(rng, 20, 3) % 10
    x[10:] = np.take_along_axis(x[donors], core[None, None, :, None], axis=1)[10:, 0]
    mixed = x[10:]
    x[:10] += 0.01
    values = metrics.donor_retrieval(mixed, x, donors[10:], core).values()
    assert values == {"donor_retrieval": 1, "donor_retrieval_all": 0}


def test_correspondence_of_right_and_exchanged_parts(rng):
    core = np.repeat(np.arange(3), 10)
    weights = rng.random((3, 30)) * 0.1 + (core == np.arange(3)[:, None])
    inside = core == np.arange(3)[:, None]
    right = metrics.correspondence(weights * 2, weights, core, inside)
    assert right["matched_parts"] == right["own_region"] == 3 and right["spearman"] == pytest.approx(1)
    exchanged = metrics.correspondence(weights[[1, 0, 2]], weights, core, inside)
    assert exchanged["matched_parts"] == exchanged["own_region"] == 1 and exchanged["spearman"] < 0.7
    still = metrics.correspondence(np.zeros((3, 30)), weights, core, inside)
    assert still["spearman"] == 0
    single = metrics.correspondence(rng.random((1, 30)), np.ones((1, 30)), 0 * core, inside[:1] | True)
    assert single["spearman"] is None


# Surface


def test_seam_sees_a_step_and_only_there(rng):
    model = toy_model()
    edges = polygon_edges(model.polygon_sizes, model.polygon_vertices)
    laplacian = umbrella_laplacian(edges, model.vertex_count)
    smooth = rng.normal(size=(80, 3, 4)) @ np.stack([np.ones(model.vertex_count), *model.mean.T / 100])
    x = (model.mean + smooth.transpose(0, 2, 1)).astype(np.float32)
    upper = model.mean[:, 2] > 5
    stepped = x + 3 * upper[:, None].astype(np.float32)
    real, made = (metrics.squared_roughness(laplacian, faces, model.mean) for faces in (x, stepped))
    border = np.abs(model.mean[:, 2]) < 30
    same = metrics.seam(real, real, border).values()
    assert same == pytest.approx(dict.fromkeys(same, 1.0))
    seam = metrics.seam(made, real, border).values()
    assert seam["seam_border"] > 1.5 * seam["seam_rms"] > 1.5 and seam["seam_max"] >= seam["seam_p95"] > 1
    ratio = np.sqrt(made.mean(axis=0) / real.mean(axis=0))
    assert seam["seam_rms"] == pytest.approx(np.sqrt((ratio**2).mean()), rel=1e-3)
    np.testing.assert_allclose(ratio[~border], 1, atol=1e-3)


def test_variance_ratio_leaves_out_what_never_moves(rng):
    x = faces(rng, 100)
    x[:, 5] = 7
    mixed = x.copy()
    mixed[:, :10] *= 0.5
    values = metrics.variance(mixed, x).values()
    total = ((x - x.mean(axis=0)) ** 2).sum(axis=(0, 2))
    assert values["variance"] == pytest.approx(1 - 0.75 * total[:10].sum() / total.sum(), rel=1e-3)
    assert values["variance_p5"] == pytest.approx(0.25, rel=1e-3)


def test_mixes_are_resampled_with_their_donors(rng):
    x, core = faces(rng, 30), np.repeat(np.arange(3), 10)
    donors, weights = mixing.donor_mixes(rng, 30, 3), np.eye(3)[:, core]
    mixed = x[donors[:, core], np.arange(30)]
    np.testing.assert_array_equal(mixing.by_donor(mixed, donors, weights), x)
    rough = rng.uniform(1, 2, (30, 30)).astype(np.float32)
    mixed_rough = rough[donors[:, core], np.arange(30)]
    for measure in (
        metrics.variance(mixing.by_donor(mixed, donors, weights), x),
        metrics.seam(mixing.by_donor(mixed_rough, donors, weights), rough, core == 1),
    ):  # Each part is exactly as in its donor: nothing depends on which faces were drawn.
        for draws in measure.resampled(0, 50).values():
            np.testing.assert_allclose(draws, 1, rtol=1e-4)


@pytest.mark.filterwarnings("error")
def test_resamples_of_what_does_not_vary_have_no_ratio(rng):
    distances = metrics.pairwise_distances(faces(rng, 2), np.zeros((30, 3), np.float32))
    rough = rng.uniform(1, 2, (2, 9)).astype(np.float32)
    rough[0, 3] = 0  # bends in one of them alone
    moved = np.zeros((3, 30, 3), np.float32)
    moved[:2, 4, 0] = 1, -1  # and the third is their mean
    for measure in (
        metrics.pairwise(distances, distances),
        metrics.seam(rough, rough, np.ones(9, bool)),
        metrics.variance(moved + faces(rng, 3), moved),
    ):
        for name, draws in measure.resampled(0, 50).items():
            assert 0 < np.isnan(draws).sum() < 50 and np.nanmax(draws) < 1e3, name


def test_pairwise_distance_is_that_of_all_pairs(rng):
    x, y = faces(rng, 12), 3 * faces(rng, 12)
    mean = x.mean(axis=0)
    for distances, points in ((metrics.pairwise_distances(x, mean), x), (metrics.pairwise_distances(y, mean), y)):
        square = ((points[:, None] - points) ** 2).sum(axis=3).mean(axis=2)
        np.testing.assert_allclose(distances, np.sqrt(square), rtol=1e-4, atol=1e-6)
    a, b = (metrics.pairwise_distances(points, mean) for points in (x, y))
    measure = metrics.pairwise(b, a)
    assert measure.values()["pairwise"] == pytest.approx(b.sum() / a.sum())
    share = bootstrap._shares(4, 0, 12, 1)[0], bootstrap._shares(4, 1, 12, 1)[0]
    expected = (share[0] @ b @ share[0]) / (share[1] @ a @ share[1])
    assert measure.resampled(4, 1)["pairwise"][0] == pytest.approx(expected)


def test_ellipse_area_and_what_it_contains(rng):
    train = rng.normal(size=(500, 2)) @ [[2.0, 0.3], [0.0, 1.0]]
    made = 1.5 * train + [0.1, 0.0]
    assert metrics.ellipse_area("area", made, train).values()["area"] == pytest.approx(2.25)
    large, small = Ellipse.of(made), Ellipse.of(train)
    assert large.area / small.area == pytest.approx(2.25)
    assert large.contains(small) and not small.contains(large)
    assert not large.contains(Ellipse.of(train + [3.0, 0.0]))  # As small, but beside it.
    assert np.mean(small.inside(train)) == pytest.approx(0.95, abs=0.02)
    flat = Ellipse.of(np.stack([train[:, 0], train[:, 0]], axis=1))
    assert flat.area == pytest.approx(0, abs=1e-6) and not flat.contains(small)


def test_nearest_neighbours_recognise_strangers_and_copies(rng):
    real = rng.normal(size=(300, 6))
    same = metrics.nearest_neighbour_accuracy("nn", rng.normal(size=(300, 6)), real).values()
    assert 43 < same["nn"] < 57
    far = metrics.nearest_neighbour_accuracy("nn", real + 10, real).values()
    assert far == {"nn": 100, "nn_made": 100, "nn_real": 100}
    assert metrics.nearest_neighbour_accuracy("nn", real + 1e-3, real).values()["nn"] == 0
    wide = rng.normal(size=(300, 40))
    crowd = metrics.nearest_neighbour_accuracy("nn", 0.3 * rng.normal(size=(300, 40)), wide).values()
    assert crowd["nn_made"] > 95 and crowd["nn_real"] < 5  # The mean alone says that nobody can tell.


def test_classifiers_tell_only_what_differs(rng):
    real, test = rng.normal(size=(400, 6)), rng.normal(size=(200, 6))
    same = metrics.realism("told", rng.normal(size=(400, 6)), real, rng.normal(size=(200, 6)), test, 0)
    assert 40 < same.values()["told"] < 60
    correlated = np.full((6, 6), 0.9) + 0.1 * np.eye(6)  # Equal in every single number, not together.
    made = rng.multivariate_normal(np.zeros(6), correlated, size=600)
    assert metrics.realism("told", made[:400], real, made[400:], test, 0).values()["told"] > 85
    flat = np.concatenate([rng.normal(size=(600, 3)), np.zeros((600, 3))], axis=1)  # Few codes span few directions.
    assert metrics.realism("told", flat[:400], real, flat[400:], test, 0).values()["told"] > 95


def test_ctrl_c_stops_a_classifier(rng, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn.neural_network.MLPClassifier._backprop", interrupted)
    faces = [rng.normal(size=(60, 3)) for _ in range(4)]
    with pytest.raises(KeyboardInterrupt):
        metrics.realism("told", *faces, 0)


# Interpolation


def test_hausdorff_distance_of_two_surfaces():
    vertices, sizes, corners = sphere()
    triangles = triangulate(sizes, corners)
    assert hausdorff_distance(vertices, vertices, triangles) == 0
    bump = vertices.copy()
    bump[0] *= 1.2  # Both ways 20 mm at most; from the sphere to the bump less.
    assert hausdorff_distance(bump, vertices, triangles) == pytest.approx(20, abs=1e-3)
    assert hausdorff_distance(vertices, bump, triangles) == pytest.approx(20, abs=1e-3)
    # Sliding along the surface is no distance, though vertices move by centimetres.
    segments = 24
    turned = vertices.copy()
    turned[: -2] = np.roll(vertices[:-2].reshape(-1, segments, 3), 1, axis=1).reshape(-1, 3)
    assert hausdorff_distance(turned, vertices, triangles) < 1e-3 < np.abs(turned - vertices).max()


def test_interpolation_steps_of_a_linear_model_are_even():
    model = toy_model(residuals=False)
    triangles = triangulate(model.polygon_sizes, model.polygon_vertices)
    target, source = model.prior.sample(np.random.default_rng(0), 2)
    decoder = NumpyDecoder(model)
    steps = interpolation_steps(decoder, target, source, 1, triangles, steps=4)
    assert steps.shape == (4,) and steps.min() > 0.01
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.1)
    assert interpolation_steps(decoder, target, target, 1, triangles).tolist() == [0] * 4
    values = metrics.interpolation(np.array([[1.0, 1, 1, 1], [1, 1, 1, 5]])).values()
    assert values == pytest.approx({"interpolation_step": 1.5, "interpolation_evenness": 3 / 1.5})


# Intervals


def test_interval_of_a_mean_is_the_textbook_one(rng):
    values = rng.normal(size=(400, 1))
    draws = metrics.mean_distance("mean", values).resampled(seed=3)["mean"]
    low, high = bootstrap.interval(draws)
    half = 1.96 * values.std() / 20
    assert len(draws) == bootstrap.RESAMPLES
    assert low == pytest.approx(values.mean() - half, abs=0.25 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.25 * half)


def test_differences_are_paired_and_blocks_do_not_matter(rng, monkeypatch):
    x = rng.gamma(2.0, size=(50, 40)).astype(np.float32)
    a, b = (metrics.reconstruction(d).resampled(seed=1)["reconstruction"] for d in (x, x + 0.01))
    np.testing.assert_allclose(b - a, 0.01, atol=1e-6)
    assert a.std() > 0.01
    monkeypatch.setattr(bootstrap, "BLOCK_NUMBERS", 1)
    again = metrics.reconstruction(x).resampled(seed=1)
    np.testing.assert_allclose(again["reconstruction"], a, rtol=1e-6)
    assert not np.allclose(metrics.reconstruction(x).resampled(seed=2)["reconstruction"], a)
