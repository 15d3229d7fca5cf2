# SPDX-License-Identifier: GPL-3.0-or-later
"""A `lwae synth` in a process of its own, so that a window stays alive: starting, hearing from and stopping it."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
from dataclasses import dataclass

from .jobs import lwae_command

PROGRESS = re.compile(r"synth (\d+)/(\d+) faces, (.*)")
PATIENCE = 20  # Seconds in which a process ends by itself once it was told to.


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        done, total: faces; total is 0 as long as nothing is known.
        pace: faces a second and the time left, as a sentence says it.
        error: the sentence of a run that failed.
    """

    done: int = 0
    total: int = 0
    pace: str = ""
    error: str = ""

    @property
    def factor(self) -> float:
        """Share of the faces, 0 to 1."""
        return self.done / self.total if self.total else 0.0


class SynthProcess:
    """One run of the command. It ends with us: when our end of its standard input closes, it stops."""

    def __init__(self, arguments: list[str]):
        """
        Args:
            arguments: what follows `lwae` on the command line.
        """
        self.progress = Progress()
        self.stopped = False
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        hidden = {"creationflags": subprocess.CREATE_NO_WINDOW} if hasattr(subprocess, "CREATE_NO_WINDOW") else {}
        self._process = subprocess.Popen(
            [*lwae_command(), *arguments, "--leash"], text=True, encoding="utf-8", errors="replace", **pipes, **hidden
        )
        self._last = ""
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def poll(self) -> bool:
        """Read what the run said since the last call.

        Returns:
            Whether it has ended; `progress.error` then says why if it failed.
        """
        ended = not self._reader.is_alive() and self._process.poll() is not None
        while not self._lines.empty():
            line = self._last = self._lines.get() or self._last
            found = PROGRESS.match(line)
            if found:
                self.progress.done, self.progress.total = int(found[1]), int(found[2])
                self.progress.pace = found[3]
            elif line.startswith("lwae: "):
                self.progress.error = line.removeprefix("lwae: ")
        if ended and self._process.returncode and not self.progress.error:
            code = self._process.returncode
            self.progress.error = f"The process that makes the faces ended with exit code {code}: {self._last}"
        return ended

    def stop(self) -> None:
        """Ask the run to end; no file is cut, and the same run continues later. `wait` for it, or `poll`."""
        if not self.stopped:
            self.stopped = True
            self._process.stdin.close()

    def wait(self) -> None:
        """Until the run has ended, which it does soon when it was stopped."""
        try:
            self._process.wait(PATIENCE if self.stopped else None)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.strip())
