# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting, asking and ending the process that decodes in a Python of its own (`worker_server`)."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import worker_protocol as protocol
from .errors import LwaeError

START_TIMEOUT = 120.0  # Seconds: importing PyTorch from a cold disk takes half a minute.
LOAD_TIMEOUT = 120.0

# Loads this package under a name of its own and by its place, so that no folder of ours hides the other Python's
# modules.
BOOTSTRAP = """
import sys
sys.path[:] = [path for path in sys.path if path]
import importlib.util, os
folder = sys.argv[1]
spec = importlib.util.spec_from_file_location(
    "lwae_backend", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
package = importlib.util.module_from_spec(spec)
sys.modules["lwae_backend"] = package
spec.loader.exec_module(package)
from lwae_backend.worker_server import main
main()
"""
# What would make the other Python use this one's files.
FOREIGN_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")


class WorkerError(LwaeError):
    """The worker is of no use any more; decode with NumPy."""


@dataclass(frozen=True)
class Device:
    """What a worker can compute on.

    Attributes:
        id: PyTorch's name, such as "cuda:0".
        name: for people.
        memory: bytes; 0 when unknown.
    """

    id: str
    name: str
    memory: int


class Worker:
    """One child process. Methods may be called from any thread; each call waits for its answer.

    Attributes:
        python, torch: versions, after `start`.
        devices: after `start`.
    """

    def __init__(self, python: str | os.PathLike, log: str | os.PathLike | None = None):
        """
        Args:
            python: the executable.
            log: file for what the process says on stderr; written anew.
        """
        self._command = [str(python), "-c", BOOTSTRAP, str(Path(__file__).parent)]
        self._log = Path(log) if log else None
        self._process: subprocess.Popen | None = None
        self._answers: queue.Queue[dict | None] = queue.Queue()
        self._lock = threading.Lock()
        self._arena: protocol.Arena | None = None
        self._count = 0
        self.python = self.torch = ""
        self.devices: list[Device] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start the process and wait until PyTorch is imported there.

        Raises:
            WorkerError: when it is no Python with PyTorch, or does not answer in `timeout` seconds.
        """
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
        environment["PYTHONIOENCODING"] = "utf-8"
        try:
            with open(self._log or os.devnull, "wb") as log:
                process = self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    cwd=tempfile.gettempdir(),
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            sentence = f"Cannot start {self._command[0]}: {reason}; choose the executable of a Python."
            raise WorkerError(sentence) from error
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()
        try:
            hello = self._answer(timeout)
            if hello.get("protocol") != protocol.VERSION:
                raise WorkerError("The worker process speaks another version of the protocol; restart Blender.")
            if "error" in hello:
                raise WorkerError(
                    f"{self._command[0]} cannot decode faces: {hello['error']}. Choose a Python with PyTorch."
                )
            devices = [
                Device(str(device["id"]), str(device["name"]), int(device["memory"])) for device in hello["devices"]
            ]
        except WorkerError:
            self.close()
            raise
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            self.close()
            raise WorkerError(f"{self._command[0]} says nothing of its devices; choose another Python.") from error
        self.python, self.torch, self.devices = str(hello.get("python")), str(hello.get("torch")), devices

    def load(self, model: str, path: str, model_hash: str, device: str) -> None:
        """Load a model file there under the name `model`.

        Raises:
            WorkerError: when it is another model than the hash says, or the device has no room.
        """
        request = {"do": "load", "model": model, "path": path, "hash": model_hash, "device": device}
        with self._lock:
            try:
                self._ask(request, LOAD_TIMEOUT)
            except WorkerError:
                raise
            except LwaeError as error:
                raise WorkerError(str(error)) from error

    def compute(self, do: str, model: str, rows: np.ndarray, shape: tuple[int, ...], timeout: float) -> np.ndarray:
        """Decode or encode some rows, float32 [B, ...], to float32 [B, *shape].

        Raises:
            WorkerError: when the process ended, did not answer in `timeout` seconds, ran out of memory, refused rows or
                gave numbers that are not finite; it is ended.
        """
        result = np.empty((len(rows), *shape), dtype=np.float32)
        with self._lock:
            try:
                arena = self._share(max(rows.nbytes, result.nbytes), timeout)
                # No view lives while it asks: it would keep the memory of a worker that is lost then, and so, on
                # Windows, its file.
                _floats(arena, rows.size)[:] = rows.ravel()
                self._ask({"do": do, "model": model, "rows": len(rows)}, timeout)
                result.reshape(-1)[:] = _floats(arena, result.size)
            except WorkerError:
                raise
            except LwaeError as error:  # The rows were checked before they came here.
                self.close()
                raise WorkerError(str(error)) from error
        if not np.isfinite(result).all():
            self.close()
            raise WorkerError("The worker process gives numbers that are not finite.")
        return result

    def close(self) -> None:
        """End the process at once."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.kill()
            process.wait()
        if self._arena is not None:
            with contextlib.suppress(BufferError):  # A thread is copying from or to it.
                self._arena.close()
            self._arena = None

    def _read(self, stream) -> None:
        while True:
            try:
                message = protocol.receive(stream)
            except (protocol.ProtocolError, OSError, ValueError):
                message = None
            self._answers.put(message)
            if message is None:
                stream.close()
                return

    def _share(self, size: int, timeout: float) -> protocol.Arena:
        known = self._arena  # Another thread may close it at any moment.
        if known is not None and known.size >= size:
            return known
        try:
            arena = protocol.Arena.create(max(size, 1 << 20))
        except OSError as error:
            self.close()
            reason = error.strerror or error
            raise WorkerError(f"There is no memory to share with the worker process: {reason}.") from error
        with contextlib.ExitStack() as failure:
            failure.callback(arena.close)
            self._ask({"do": "map", "path": arena.path, "size": arena.size}, timeout)
            failure.pop_all()
        if os.name != "nt":
            arena.unlink()
        if self._arena is not None:
            self._arena.close()
        self._arena = arena
        return arena

    def _ask(self, request: dict, timeout: float) -> None:
        process = self._process
        if process is None:
            raise WorkerError("The worker process was ended.")
        self._count += 1
        try:
            protocol.send(process.stdin, {"id": self._count, **request})
        except (OSError, ValueError):
            raise self._lost() from None
        answer = self._answer(timeout)
        if answer.get("id") != self._count:
            self.close()
            raise WorkerError("The worker process answered something else than it was asked.")
        kind = answer.get("kind")
        if kind == "input":
            raise LwaeError(str(answer.get("error", "The worker process refused its input.")))
        if kind is not None:
            self.close()
            full = kind == "memory"
            raise WorkerError(
                "The device that decodes faces has no memory left."
                if full
                else f"The worker process failed ({answer.get('error')})."
            )

    def _answer(self, timeout: float) -> dict:
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise WorkerError(f"The worker process did not answer within {timeout:.0f} s.") from None
        if answer is None:
            raise self._lost()
        return answer

    def _lost(self) -> WorkerError:
        process, code = self._process, None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=2)
        self.close()
        said = self._last_words()
        return WorkerError(f"The worker process ended unexpectedly (exit code {code}{f': {said}' if said else ''}).")

    def _last_words(self) -> str:
        """The last line of the log."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n") if self._log else []
        except OSError:
            return ""
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def _floats(arena: protocol.Arena, count: int) -> np.ndarray:
    """The first numbers of an arena, float32 [count]."""
    try:
        return np.frombuffer(arena.memory, np.float32, count)
    except ValueError:  # It was closed.
        raise WorkerError("The worker process was ended.") from None
