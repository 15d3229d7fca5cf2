# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.scatter import add_rows, set_rows, take_rows, turns


def test_rows_are_those_of_numpy():
    rng = np.random.default_rng(0)
    field, rows = rng.random((20, 3), dtype=np.float32), rng.random((7, 3), dtype=np.float32)
    places = rng.permutation(20)[:7]
    expected = field.copy()
    expected[places] += rows
    np.testing.assert_array_equal(take_rows(field, places), field[places])
    add_rows(field, places, rows)
    np.testing.assert_array_equal(field, expected)
    expected[places] = rows
    set_rows(field, places, rows)
    np.testing.assert_array_equal(field, expected)


def test_rows_of_a_part_of_a_larger_array_are_written_there():
    whole = np.zeros((2, 5, 3), dtype=np.float32)
    set_rows(whole[1], np.array([4, 0]), np.ones((2, 3)))
    np.testing.assert_array_equal(whole[1].sum(axis=1), [3, 0, 0, 0, 3])
    assert not whole[0].any()


def test_a_field_whose_numbers_lie_apart_is_refused_not_copied():
    with pytest.raises(ValueError):
        add_rows(np.zeros((3, 5), dtype=np.float32).T, np.array([0]), np.ones((1, 3), dtype=np.float32))


def test_turns_name_no_vertex_twice():
    vertices = np.array([7, 2, 9, 2, 7, 2, 5, 9])
    order, runs = turns(vertices)
    assert sorted(order) == list(range(8)) and [run.stop - run.start for run in runs] == [4, 3, 1]
    rows = np.arange(24, dtype=np.float32).reshape(8, 3)
    field, want = np.ones((10, 3), dtype=np.float32), np.ones((10, 3), dtype=np.float32)
    np.add.at(want, vertices, rows)
    for run in runs:
        assert len(set(vertices[order][run])) == run.stop - run.start
        add_rows(field, vertices[order][run], rows[order][run])
    np.testing.assert_array_equal(field, want)
    assert turns(np.zeros(0, dtype=np.int64))[1] == []
