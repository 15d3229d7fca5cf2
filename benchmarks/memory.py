# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory something takes at most."""

from __future__ import annotations

import threading
from pathlib import Path

STATUS = Path("/proc/self/statm")
PAGE = 4096
EVERY = 0.002  # seconds


def resident() -> int:
    """Memory of this process now, bytes; Linux only."""
    return int(STATUS.read_text(encoding="ascii").split()[1]) * PAGE


class Peak:
    """While it is open a thread looks at the memory of the process every other millisecond.

    Attributes:
        grown: bytes by which the process was larger, at most, than when it was opened.
    """

    def __enter__(self) -> Peak:
        self._before = self._most = resident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._done.set()
        self._thread.join()
        self.grown = max(self._most, resident()) - self._before

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self._most = max(self._most, resident())
