# SPDX-License-Identifier: GPL-3.0-or-later
"""Results computed ahead are those computed one by one, in order, and never too many."""

import threading
import time

import pytest

from backend.ahead import map_ahead, usable_cores


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_order_is_that_of_the_items(threads):
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    assert list(map_ahead(slow_first, range(10), threads)) == [(item, item * item) for item in range(10)]
    assert list(map_ahead(slow_first, [], threads)) == []


@pytest.mark.parametrize("threads", [0, 2])
def test_few_results_are_kept(threads):
    taken = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    for used, (item, _) in enumerate(map_ahead(str, items(), threads)):
        assert item == used
        assert len(taken) <= used + 1 + threads


def test_two_are_computed_at_once():
    both = threading.Barrier(2, timeout=20)

    assert [item for item, _ in map_ahead(lambda _: both.wait(), range(4), 2)] == [0, 1, 2, 3]


def test_an_error_comes_at_its_item():
    found = []
    with pytest.raises(ZeroDivisionError):
        for item, _ in map_ahead(lambda number: 1 / (number - 3), range(10), 2):
            found.append(item)
    assert found == [0, 1, 2]


def test_nothing_runs_on_after_an_early_end():
    running = threading.active_count()
    for item, _ in map_ahead(lambda _: time.sleep(0.05), range(100), 3):
        if item == 1:
            break
    assert threading.active_count() == running


@pytest.mark.parametrize("granted", [0, 1])
def test_it_goes_on_where_the_system_gives_no_threads(monkeypatch, granted):
    start, started = threading.Thread.start, []

    def refuse(thread):
        if thread.name.startswith("ahead") and len(started) == granted:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert list(map_ahead(lambda item: 2 * item, range(9), 3)) == [(item, 2 * item) for item in range(9)]


def test_there_is_a_core():
    assert usable_cores() >= 1
