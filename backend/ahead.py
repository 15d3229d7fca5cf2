# SPDX-License-Identifier: GPL-3.0-or-later
"""Computing what comes next in threads while what is there is used. NumPy lets several threads compute at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")

MOST_THREADS = 4  # More of them wait for the one that writes.


def usable_cores() -> int:
    """Processors that this process may use: a share of a computer's in a job of SLURM, or under `taskset`."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order; `threads` results are computed or kept ahead, with 0 none.

    Items are taken in the caller's thread. When the caller ends early, what is under way is waited for. Where the
    system gives no more threads, the caller's computes.
    """
    if not threads:
        yield from ((item, function(item)) for item in items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        waiting = deque()
        for item in items:
            waiting.append((item, _begin(pool, function, item)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        for item, future in waiting:
            yield item, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(pool: ThreadPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        return pool.submit(function, item)
    except RuntimeError:
        done = Future()
        done.set_result(function(item))
        return done
