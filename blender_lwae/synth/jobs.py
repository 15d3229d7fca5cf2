# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes for one run: each is a Blender of its own that makes a share of the blocks."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import bpy

from ..backend.errors import LwaeError

# What `blender --command lwae` does, but also where the add-on was enabled only just now, and in the `bpy` module.
COMMAND = """
import os, sys
import addon_utils, bpy
arguments = sys.argv[sys.argv.index("--lwae") + 1 :]
package = arguments.pop(0)
if package + ".cli" not in sys.modules and addon_utils.enable(package) is None:
    sys.stderr.write("lwae: The add-on cannot be enabled in another Blender process.\\n")
    code = 1
else:
    code = sys.modules[package + ".cli"].main(arguments)
sys.stdout.flush(), sys.stderr.flush()
try:
    os.rmdir(bpy.app.tempdir)  # Which a Blender that ends by itself does.
except OSError:
    pass
os._exit(code)
"""


def lwae_command() -> list[str]:
    """Words that start a Blender of its own with the `lwae` command; its arguments follow them."""
    package = __package__.rpartition(".")[0]
    if bpy.app.binary_path:
        return [bpy.app.binary_path, "-b", "--python-expr", COMMAND, "--", "--lwae", package]
    return [sys.executable, "-c", f"import bpy\n{COMMAND}", "--lwae", package]


def run_workers(shares: list[list[str]], advance: Callable[..., None], check_stop: Callable[[], None]) -> None:
    """Run one `lwae` process for each list of arguments until all have ended.

    A worker writes lines that say how many faces it made and how many it found made since its last line.

    Args:
        advance: told how many faces were made and kept.
        check_stop: raises to stop; the workers are then stopped too.

    Raises:
        LwaeError: with a worker's own sentence, when it fails.
    """
    command = lwae_command()
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    text = {"text": True, "encoding": "utf-8", "errors": "replace"}
    workers, readers = [], []
    lines: queue.Queue[str | None] = queue.Queue()
    try:
        for arguments in shares:
            worker = subprocess.Popen([*command, *arguments], **pipes, **text)
            workers.append(worker)
            readers.append(threading.Thread(target=_read, args=(worker, lines), daemon=True))
            readers[-1].start()
        running = len(workers)
        while running:
            check_stop()
            try:
                line = lines.get(timeout=0.2)
            except queue.Empty:
                continue
            if line is None:
                running -= 1
            elif line.startswith("faces "):
                made, kept = line.split()[1:]
                advance(made=int(made), kept=int(kept))
            elif line.startswith("lwae: "):
                check_stop()  # Ctrl-C reaches the workers too.
                raise LwaeError(line.removeprefix("lwae: ").strip())
        failed = [worker for worker in workers if worker.wait()]
        if failed:
            raise LwaeError(f"A worker process ended with exit code {failed[0].returncode}; try --jobs 1.")
    finally:
        for worker in workers:
            worker.terminate()
        for worker, reader in zip(workers, readers, strict=True):
            worker.wait()
            reader.join()


def _read(worker: subprocess.Popen, lines: queue.Queue) -> None:
    try:
        for line in worker.stdout:
            lines.put(line)
    finally:
        lines.put(None)


class Reporter:
    """What a worker says instead of a progress line, a few times a second."""

    def __init__(self):
        self._made = self._kept = 0
        self._said = time.monotonic()

    def advance(self, made: int = 0, kept: int = 0) -> None:
        self._made += made
        self._kept += kept
        if time.monotonic() - self._said > 0.2:
            self.flush()

    def flush(self) -> None:
        sys.stdout.write(f"faces {self._made} {self._kept}\n")
        sys.stdout.flush()
        self._made = self._kept = 0
        self._said = time.monotonic()
