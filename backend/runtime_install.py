# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python environment of its own with PyTorch, made by pip in child processes: its size first, then the installation
with progress. It appears complete or not at all, and what a killed Blender left is cleaned up by the next one.

pip decides where packages come from, by its own configuration and the options given here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .errors import LwaeError
from .worker_client import FOREIGN_VARIABLES, Worker

PACKAGES = ("torch", "numpy")
ENVIRONMENT, UNFINISHED, HEARTBEAT = "environment", "environment.part", "heartbeat"
REMOVED = "environment.removed"  # A number follows.
BEAT_SECONDS = 1.0
STALE_SECONDS = 60.0  # Without a heartbeat nobody is at work there any more.
UNPACKED = 2.2  # Bytes on disk for one byte downloaded, measured on wheels of PyTorch with CUDA.
SIZE_TIMEOUT = 20.0

# Runs a module as `python -m` does, but ends when stdin does: with Blender, however that ended.
WATCHED = """
import os, runpy, sys, threading
# Children get an empty stdin: on Windows a Python hangs at its start whose stdin another thread is reading.
pipe = os.dup(0)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
def watch():
    while os.read(pipe, 1):
        pass
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
sys.path[:] = [path for path in sys.path if path]
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def default_python() -> str:
    """The Python that runs this, also inside Blender, whose `sys.executable` is not always one; "" if none is found."""
    name = "python.exe" if os.name == "nt" else f"python{sys.version_info[0]}.{sys.version_info[1]}"
    candidates = [Path(sys.executable), Path(sys.prefix) / "bin" / name, Path(sys.base_prefix) / "bin" / name]
    for path in candidates:
        if path.name.lower().startswith("python") and path.is_file():
            return str(path)
    return ""


def runtime_python(folder: str | os.PathLike) -> str:
    """The executable of the environment installed in a folder; "" when there is none."""
    path = _executable(Path(folder) / ENVIRONMENT)
    return str(path) if path.is_file() else ""


def remove_runtime(folder: str | os.PathLike) -> threading.Thread:
    """Remove the environment and what unfinished installations left; gigabytes go in a thread, which is returned.

    Raises:
        LwaeError: when another program uses it.
    """
    folder = Path(folder)
    _refuse_work_in_progress(folder)
    for path in (folder / UNFINISHED, folder / ENVIRONMENT):
        _set_aside(path, "remove it again")
    return _start_clearing(folder)


def _set_aside(path: Path, remedy: str) -> Path | None:
    """Rename an environment, so that from now on nobody takes it for one; None when there is none."""
    if not path.exists():
        return None
    try:
        return path.rename(path.with_name(f"{REMOVED}-{time.time_ns()}"))
    except OSError as error:
        reason = error.strerror or error
        raise LwaeError(f"The GPU runtime is in use ({reason}); restart Blender and {remedy}.") from error


def clear_removed(folder: str | os.PathLike) -> threading.Thread | None:
    """Go on with what `remove_runtime` had begun when Blender ended: a thread, or None when nothing is left of it.

    One look at the folder; it need not exist.
    """
    folder = Path(folder)
    return _start_clearing(folder) if next(folder.glob(f"{REMOVED}-*"), None) else None


def _start_clearing(folder: Path) -> threading.Thread:
    thread = threading.Thread(target=_clear_removed, args=(folder,), daemon=True)
    thread.start()
    return thread


def check_python(python: str) -> None:
    """Whether PyTorch works there.

    Raises:
        LwaeError: when it does not.
    """
    worker = Worker(python)
    try:
        worker.start()
    finally:
        worker.close()


class Cancelled(Exception):
    pass


class RuntimeInstall:
    """One installation, in a thread of its own. `start`, wait for READY, show the size, then `go_on` or `cancel`.

    Attributes:
        state: CHECKING, READY, INSTALLING, DONE, FAILED or CANCELLED.
        phase: what it does, for people.
        download_bytes: of all packages that will be fetched; those of unknown size count nothing.
        is_size_known: whether that is all of them.
        packages: "name==version" of what will be installed.
        progress: 0 to 1 while packages are fetched.
        error: the sentence of FAILED.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        python: str,
        packages: Sequence[str] = PACKAGES,
        options: Sequence[str] = (),
        check: Callable[[str], None] = check_python,
    ):
        """
        Args:
            folder: gets the environment.
            python: makes it; the environment runs on it from then on.
            options: of pip, such as another index.
            check: raises LwaeError when the finished environment is of no use.
        """
        self._folder, self._python = Path(folder), python
        self._wanted, self._options, self._check = list(packages), list(options), check
        self._go, self._stop = threading.Event(), threading.Event()
        self._process: subprocess.Popen | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.state, self.phase, self.error = "CHECKING", "Making a Python environment", ""
        self.download_bytes, self.is_size_known, self.progress = 0, True, 0.0
        self.packages: list[str] = []

    @property
    def is_running(self) -> bool:
        return self.state in {"CHECKING", "READY", "INSTALLING"}

    @property
    def disk_bytes(self) -> int:
        """What it will take on disk, roughly."""
        return int(self.download_bytes * UNPACKED)

    def start(self) -> None:
        """Find out what would be installed and how large it is."""
        self._thread.start()

    def go_on(self) -> None:
        """Install what was found."""
        self._go.set()

    def cancel(self, wait: bool = True) -> None:
        """End it at once and remove what it made; that may take seconds.

        Args:
            wait: until that is done.
        """
        self.phase = "Cleaning up"
        self._stop.set()
        self._go.set()
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
        if wait and self._thread.is_alive():
            self._thread.join()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    @property
    def _part(self) -> Path:
        return self._folder / UNFINISHED

    def _run(self) -> None:
        mine, state, sentence = False, "FAILED", ""
        try:
            _clear_unfinished(self._folder)
            self._part.mkdir(parents=True)
            mine = True
            self._find_packages()
            self._wait_for_go()
            self._install()
            state = "DONE"
        except Cancelled:
            state = "CANCELLED"
        except LwaeError as error:
            sentence = str(error)
        except (OSError, ValueError, KeyError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            sentence = f"The installation failed: {reason}."
        except Exception as error:  # Nobody else sees what happens in this thread.
            logging.getLogger(__name__).exception("Installing the GPU runtime failed")
            sentence = f"The installation failed unexpectedly ({type(error).__name__}); Blender's terminal says more."
        finally:
            if mine and state != "DONE":
                shutil.rmtree(self._part, ignore_errors=True)
            # Only now, because another installation may begin once this one does not run.
            self.error, self.state = sentence, state

    def _find_packages(self) -> None:
        self._call(self._python, "venv", str(self._part), failed="Blender's Python cannot make an environment")
        self.phase = "Asking what is needed"
        report = self._part / "report.json"
        arguments = ["install", "--dry-run", "--ignore-installed", "--report", str(report), *self._pip_options()]
        self._call(_executable(self._part), "pip", *arguments, *self._wanted, failed="pip finds no PyTorch to install")
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        self.packages = [f"{item['metadata']['name']}=={item['metadata']['version']}" for item in found]
        for item in found:
            self._beat()
            size = _download_size(item["download_info"]["url"])
            self.download_bytes += size
            self.is_size_known = self.is_size_known and size > 0
        free = shutil.disk_usage(self._folder).free
        needed = self.download_bytes + self.disk_bytes
        if free < needed:
            raise LwaeError(f"It needs {as_size(needed)} while it installs, but only {as_size(free)} are free.")

    def _wait_for_go(self) -> None:
        self.state = "READY"
        while not self._go.wait(BEAT_SECONDS):
            self._beat()
        self._beat()
        self.state = "INSTALLING"

    def _install(self) -> None:
        self.phase = "Downloading"
        python = _executable(self._part)
        arguments = ["install", "--no-cache-dir", "--progress-bar", "off", *self._pip_options(), *self.packages]
        self._call(python, "pip", *arguments, failed="pip cannot install PyTorch", watch=self._measure)
        self.phase, self.progress = "Trying it", 1.0
        with self._beating():
            shutil.rmtree(self._part / "tmp", ignore_errors=True)
            self._check(str(python))
        self._beat()
        place = self._folder / ENVIRONMENT
        old = _set_aside(place, "install it again")
        try:
            (self._part / HEARTBEAT).unlink()
            self._part.rename(place)
        except OSError:
            if old:
                old.rename(place)
            raise
        _clear_removed(self._folder)

    def _measure(self, log: str) -> None:
        if "Installing collected packages" in log:
            self.phase, self.progress = "Unpacking", 1.0
        elif self.download_bytes:
            # pip keeps what it has fetched in its temporary folder until all is there.
            self.progress = min(1.0, _folder_size(self._part / "tmp") / self.download_bytes)

    def _pip_options(self) -> list[str]:
        return ["--no-input", "--disable-pip-version-check", *self._options]

    def _call(
        self, python: str | Path, module: str, *arguments: str, failed: str, watch: Callable[[str], None] | None = None
    ) -> None:
        """Run a module in a child process until it ends; raises LwaeError with its last words when it fails."""
        self._beat()
        temporary, log = self._part / "tmp", self._part / "log.txt"
        temporary.mkdir(exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
        environment.update({name: str(temporary) for name in ("TMPDIR", "TEMP", "TMP")}, PYTHONIOENCODING="utf-8")
        with open(log, "wb") as stream:
            self._process = subprocess.Popen(
                [str(python), "-c", WATCHED, module, *arguments],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._part,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if self._process.wait(timeout=0.5) is not None:
                        break
                self._beat()
                if watch:
                    watch(log.read_text(encoding="utf-8", errors="replace"))
        finally:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            process.stdin.close()
        self._beat()
        if process.returncode:
            said = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").split("\n")]
            errors = [line for line in said if line.startswith("ERROR:")] or [line for line in said if line] or ["?"]
            raise LwaeError(f"{failed}: {errors[-1].removeprefix('ERROR:').strip()[:300]}")

    def _beat(self) -> None:
        if self._stop.is_set():
            raise Cancelled
        (self._part / HEARTBEAT).touch()

    @contextlib.contextmanager
    def _beating(self) -> Iterator[None]:
        """Beat from another thread, during what may take longer than `STALE_SECONDS` and does not beat itself."""
        done = threading.Event()

        def beat():
            while not done.wait(BEAT_SECONDS):
                with contextlib.suppress(OSError):  # A full disk is told by what needs it.
                    (self._part / HEARTBEAT).touch()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def as_size(count: float) -> str:
    """Bytes for people: 812 MB, 2.9 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _executable(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _clear_unfinished(folder: Path) -> None:
    _refuse_work_in_progress(folder)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    _clear_removed(folder)  # Blender may have ended meanwhile.


def _clear_removed(folder: Path) -> None:
    for path in folder.glob(f"{REMOVED}-*"):
        shutil.rmtree(path, ignore_errors=True)


def _refuse_work_in_progress(folder: Path) -> None:
    part = folder / UNFINISHED
    try:
        age = time.time() - max(part.stat().st_mtime, (part / HEARTBEAT).stat().st_mtime)
    except OSError:
        age = STALE_SECONDS  # No heartbeat: it was being removed.
    if part.exists() and age < STALE_SECONDS:
        raise LwaeError("Another Blender is installing the GPU runtime now; wait for it to finish.")


def _folder_size(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # pip moves files about.
                total += os.stat(os.path.join(where, name)).st_size
    return total


def _download_size(url: str) -> int:
    """Bytes; 0 when the server does not say."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=SIZE_TIMEOUT) as answer:
            return int(answer.headers.get("Content-Length", 0))
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return 0
