# SPDX-License-Identifier: GPL-3.0-or-later
"""One line that says how far a long job is."""

from __future__ import annotations

import time
from typing import TextIO


class Progress:
    """`done/total faces, rate, time left`: rewritten in place on a terminal, a new line now and then elsewhere."""

    def __init__(self, total: int, stream: TextIO, terminal_interval: float = 0.1, log_interval: float = 10.0):
        self.total = total
        self.done = 0
        self.made = 0
        self._shown_done = -1
        self._stream = stream
        self._terminal = stream.isatty()
        self._interval = terminal_interval if self._terminal else log_interval
        self._start = self._shown = time.monotonic()

    def advance(self, made: int = 0, kept: int = 0) -> None:
        """Count faces made now and faces that an earlier run had made."""
        self.made += made
        self.done += made + kept
        if time.monotonic() - self._shown >= self._interval:
            self._show()

    def finish(self) -> None:
        if self._terminal or self._shown_done != self.done:
            self._show()
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def line(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-6)
        rate = self.made / seconds
        digits = f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
        text = f"synth {self.done}/{self.total} faces, {digits} faces/s"
        if self.made and self.done < self.total:
            left = round((self.total - self.done) / rate)
            text += f", {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
        return text

    def _show(self) -> None:
        self._shown, self._shown_done = time.monotonic(), self.done
        self._stream.write(f"\r{self.line()}\x1b[K" if self._terminal else self.line() + "\n")
        self._stream.flush()
