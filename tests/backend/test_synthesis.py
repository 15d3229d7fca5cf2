# SPDX-License-Identifier: GPL-3.0-or-later
import csv
import io
import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from backend import synthesis
from backend.controls import split_code
from backend.errors import LwaeError
from backend.numpy_decoder import NumpyDecoder
from backend.synthesis import (
    BLOCK,
    Plan,
    Table,
    block_ranges,
    decode_block,
    face_rng,
    sample_parts,
    sampling_hash,
    share_size,
    single_threaded_blas,
)
from tests.toy import toy_model


@pytest.fixture(scope="module")
def model():
    return toy_model()


def test_face_rng_is_its_own_for_every_face_and_stream():
    places = itertools.product((0, 1), repeat=3)
    draws = {face_rng(seed, index, stream).integers(2**63) for seed, index, stream in places}
    assert len(draws) == 8
    assert face_rng(7, 3).integers(2**63) == face_rng(7, 3).integers(2**63)


def test_a_face_does_not_depend_on_how_many_are_asked_for(model):
    few, many = Plan(model, seed=7, count=5).codes(0, 5), Plan(model, seed=7, count=500).codes(0, 500)
    np.testing.assert_array_equal(few, many[:5])
    np.testing.assert_array_equal(Plan(model, seed=7, count=500).codes(130, 140), many[130:140])
    assert not np.array_equal(few, Plan(model, seed=8, count=5).codes(0, 5))


def test_random_faces_follow_the_joint_prior(model):
    codes = Plan(model, seed=0, count=4000).codes(0, 4000)
    np.testing.assert_allclose(np.cov(codes.T), model.prior.covariance, atol=0.25)
    half = Plan(model, seed=0, count=4000, strength=0.5).codes(0, 4000)
    np.testing.assert_allclose(half - model.prior.mean, (codes - model.prior.mean) / 2, atol=1e-6)


@pytest.mark.parametrize(("strength", "looseness"), [(1, 3.0), (0.5, 0.75), (0, 1e-4)])
def test_some_parts_are_drawn_as_the_prior_conditions_them(model, strength, looseness):
    """Around the average face; the other parts stay average."""
    free = np.zeros(model.code_size, dtype=bool)
    free[model.part_slice(1)] = True
    codes = Plan(model, seed=7, count=5, strength=strength, parts=(1,)).codes(0, 5)
    for index, code in enumerate(codes):
        wanted = model.prior.sample_given(model.prior.mean, free, face_rng(7, index), looseness)
        np.testing.assert_array_equal(code, wanted)
    assert len(np.unique(codes[:, free], axis=0)) == 5


def test_parts_are_drawn_to_fit_the_face_that_has_them(model):
    code = model.prior.sample(np.random.default_rng(0), 1, 3.0)[0]
    free = np.ones(model.code_size, dtype=bool)
    free[model.part_slice(1)] = False
    drawn = sample_parts(model, code, (0, 2), np.random.default_rng(1), 2.0)
    np.testing.assert_array_equal(drawn, model.prior.sample_given(code, free, np.random.default_rng(1), 12.0))
    np.testing.assert_array_equal(drawn[~free], code[~free])


def test_all_parts_are_a_whole_face(model):
    drawn = sample_parts(model, np.ones(model.code_size), (0, 1, 2), np.random.default_rng(1), 0.5)
    np.testing.assert_array_equal(drawn, model.prior.sample(np.random.default_rng(1), 1, 0.5)[0])
    np.testing.assert_array_equal(Plan(model, 7, 1, parts=(0, 1, 2)).codes(0, 1), Plan(model, 7, 1).codes(0, 1))


def test_combinations_put_one_part_of_every_source_on_every_target(model):
    plan = Plan.combinations(model, seed=7, sources=2, targets=3, parts=(0, 2))
    assert plan.count == 2 * 3 * 2
    codes = plan.codes(0, plan.count)
    rows = {plan.combination(index): codes[index] for index in range(plan.count)}
    assert set(rows) == {(t, s, p) for t in range(3) for s in range(2) for p in (0, 2)}
    assert [plan.combination(i) for i in range(3)] == [(0, 0, 0), (0, 0, 2), (0, 1, 0)]
    middle = model.part_slice(1)
    for (target, source, part), code in rows.items():
        np.testing.assert_array_equal(code[middle], rows[target, 1 - source, part][middle])
        columns = model.part_slice(part)
        np.testing.assert_array_equal(code[columns], rows[(target + 1) % 3, source, part][columns])
        assert not np.array_equal(code[columns], rows[target, 1 - source, part][columns])


def test_five_sources_eleven_targets_and_four_parts_make_220_faces():
    assert Plan.combinations(toy_model(parts=4), 7, sources=5, targets=11).count == 220


def test_a_huge_plan_costs_nothing_until_its_faces_are_asked_for(model):
    plan = Plan.combinations(model, seed=7, sources=2**30, targets=1, parts=(0,))
    assert plan.codes(plan.count - 1, plan.count).shape == (1, model.code_size)
    with pytest.raises(LwaeError, match="at most"):
        Plan.combinations(model, seed=7, sources=70_000, targets=70_000)


def test_sampling_hash_changes_with_the_prior_and_the_controls(model):
    prior, control = model.prior, model.controls[-1]
    others = [
        *({"prior": replace(prior, **{name: getattr(prior, name) + 0.5})} for name in ("mean", "factors", "tau")),
        {"controls": [*model.controls[:-1], replace(control, direction=-control.direction)]},
        {"controls": [*model.controls[:-1], replace(control, name="Other")]},
    ]
    assert sampling_hash(toy_model()) == sampling_hash(model)
    assert len({sampling_hash(replace(model, **other)) for other in [{}, *others]}) == 6


def test_plans_refuse_nonsense(model):
    for wrong in ({"count": -1}, {"seed": -1}, {"sources": 2}, {"targets": 2}):
        with pytest.raises(LwaeError):
            Plan(model, **({"seed": 0, "count": 1} | wrong))


@pytest.mark.parametrize("count", [0, 1, BLOCK, BLOCK + 1, 5 * BLOCK - 1])
@pytest.mark.parametrize("shards", [1, 2, 7])
def test_shards_share_the_faces_and_keep_the_blocks(count, shards):
    ranges = [found for shard in range(shards) for found in block_ranges(count, shard, shards)]
    assert sorted(i for start, stop in ranges for i in range(start, stop)) == list(range(count))
    for shard in range(shards):
        made = [stop - start for start, stop in block_ranges(count, shard, shards)]
        assert share_size(count, shard, shards) == (len(made), sum(made))
    assert all(start % BLOCK == 0 and 0 < stop - start <= BLOCK for start, stop in ranges)


def test_blocks_decode_to_the_same_bytes_whatever_else_is_asked_for(model):
    decoder = NumpyDecoder(model)
    long, short = Plan(model, 7, 200).codes(64, 128), Plan(model, 7, 70).codes(64, 70)
    with single_threaded_blas():
        whole, start = decode_block(decoder, long), decode_block(decoder, short)
    assert start.tobytes() == whole[:6].tobytes()
    np.testing.assert_allclose(start, decoder.decode(short), atol=1e-4)


@pytest.mark.parametrize("system", ["posix", "nt"])
def test_blas_is_held_to_one_thread_and_let_go(monkeypatch, system):
    """Found as on Windows too, where numpy's own library does not show OpenBLAS's functions."""
    monkeypatch.setattr(synthesis, "os", SimpleNamespace(name=system))
    functions = synthesis._blas_threads()
    if functions is None:
        pytest.skip("this numpy has no OpenBLAS of its own")
    set_threads, get_threads = functions
    before = get_threads()
    try:
        set_threads(2)
        with single_threaded_blas():
            assert get_threads() == 1
        assert get_threads() == 2
        with pytest.raises(KeyError), single_threaded_blas():
            raise KeyError
        assert get_threads() == 2
    finally:
        set_threads(before)


def test_table_holds_the_labels_exactly(model):
    plan = Plan.combinations(model, seed=7, sources=2, targets=2)
    codes, table = plan.codes(0, plan.count), Table(plan)
    text = table.header() + table.rows(0, codes, [(f"face_{i:06d}.ply", 0) for i in range(plan.count)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["index"]) for row in rows] == list(range(plan.count))
    for index, (row, code) in enumerate(zip(rows, codes, strict=True)):
        read = [row[f"{name}[{i}]"] for name in model.part_names for i in range(4)]
        np.testing.assert_array_equal(np.array(read, dtype=np.float32), code)
        values = [float(row[name]) for name in table.controls]
        np.testing.assert_allclose(values, split_code(model, code)[0], atol=1e-5)
        target, source, part = plan.combination(index)
        assert (int(row["target"]), int(row["source"]), row["part"]) == (target, source, model.part_names[part])
        assert row["file"] == f"face_{index:06d}.ply" and row["seed"] == "7"


def test_table_quotes_names():
    model = toy_model()
    model.part_names[0] = 'left, "upper"'
    header = Table(Plan(model, 0, 1)).header()
    assert 'left, "upper".Width' in next(csv.reader([header]))
