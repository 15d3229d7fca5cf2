# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker process that decodes in place of NumPy, if the preferences choose one.

It starts when a face is first decoded, in the background: until it is ready, and whenever it is lost, NumPy decodes.
Threads here never touch bpy; what they found is read by a timer.
"""

from __future__ import annotations

import atexit
import logging
import threading
from pathlib import Path

import bpy

from . import model_list, viewport
from .backend.decoder import Decoder
from .backend.errors import LwaeError
from .backend.model import FaceModel
from .backend.numpy_decoder import NumpyDecoder
from .backend.runtime_install import RuntimeInstall, clear_removed, runtime_python
from .backend.worker_client import Worker
from .backend.worker_decoder import FallbackDecoder, WorkerDecoder

log = logging.getLogger(__name__)

LOG_NAME = "worker.log"
POLL_SECONDS = 0.5
CLEAN_UP_AFTER = 10.0  # Seconds after the start, when Blender has nothing more to do for it.
PATIENCE = 3.0  # Seconds for an installation to clean up at the end; the next one does it otherwise.


class Session:
    """One worker process and the models that it has loaded.

    Attributes:
        python, device: what was chosen.
        lost: the sentence that says why it decodes no more; empty while it may.
        is_busy: a thread starts it or loads a model there; NumPy decodes meanwhile.
        has_started: its versions and devices are known.
    """

    def __init__(self, python: str, device: str):
        self.python, self.device = python, device
        self.worker = Worker(python, log_file())
        self.lost = ""
        self.is_busy = False
        self.has_started = False
        self._decoders: dict[int, FallbackDecoder] = {}

    @property
    def is_ready(self) -> bool:
        return self.has_started and not self.lost and not self.is_busy

    def decoder(self, model: FaceModel, steady: NumpyDecoder, path: str) -> Decoder:
        """The worker's decoder of a model if it is ready; asks for it otherwise and gives `steady`."""
        if self.lost or self.is_busy:
            return steady
        found = self._decoders.get(id(model))
        if found is None:
            self.is_busy = True
            threading.Thread(target=self._prepare, args=(model, steady, path), daemon=True).start()
            return steady
        return found

    def start(self) -> None:
        """Only start the process, in the background, to learn what devices there are."""
        if not (self.lost or self.is_busy or self.has_started):
            self.is_busy = True
            threading.Thread(target=self._prepare, daemon=True).start()

    def close(self) -> None:
        self.lost = self.lost or "It was stopped."
        self.worker.close()

    def forget(self, model: FaceModel) -> None:
        """Drop the decoder of a model that was removed or replaced."""
        self._decoders.pop(id(model), None)

    def _prepare(self, model: FaceModel | None = None, steady: NumpyDecoder | None = None, path: str = "") -> None:
        try:
            if not self.has_started:
                self.worker.start()
                self.has_started = True
            if model is not None:
                decoder = WorkerDecoder(model, self.worker, self.device, path)
                self._decoders[id(model)] = FallbackDecoder(decoder, steady, self._on_loss)
        except (LwaeError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            # Whatever is wrong there, it is not tried again and again.
            self._on_loss(error)
        finally:
            if self.lost:  # Stopped while the process was being started.
                self.worker.close()
            self.is_busy = False

    def _on_loss(self, error: Exception) -> None:
        if not self.lost:
            self.lost = str(error) or "It could not be started."
            log.warning("%s Faces are computed with NumPy now.", error)
        self.worker.close()


_session: Session | None = None


def folder(create: bool = True) -> Path:
    """Where the add-on keeps the installed runtime and the worker's log."""
    return Path(bpy.utils.extension_path_user(__package__, path="gpu_runtime", create=create))


def log_file() -> Path:
    return folder() / LOG_NAME


def python_path() -> str:
    """The Python of the preferences: the person's own, or that of the installed runtime; "" when there is none."""
    settings = model_list.preferences()
    if settings is None:
        return ""
    if settings.gpu_python_source == "OWN":
        return bpy.path.abspath(settings.gpu_python) if settings.gpu_python else ""
    return runtime_python(folder(create=False))


def session() -> Session | None:
    """The one that runs or was lost, to show its state."""
    return _session


def forget(model: FaceModel) -> None:
    """Drop what the worker's session holds of a model that was removed or replaced."""
    if _session is not None:
        _session.forget(model)


def is_chosen() -> bool:
    settings = model_list.preferences()
    return settings is not None and bool(settings.gpu_device)


def decoder(model: FaceModel, steady: NumpyDecoder, path: str) -> Decoder:
    """What decodes a model now; called for each slider move.

    Args:
        steady: its NumPy decoder.
        path: its file.
    """
    settings = model_list.preferences()
    if settings is None or not settings.gpu_device:
        return steady
    if _session is None:
        connect()
    return _session.decoder(model, steady, path) if _session else steady


def connect() -> Session | None:
    """Start the worker that the preferences choose, unless it runs or was lost; None when they name no Python."""
    global _session
    if _session is None:
        python = python_path()
        if not python:
            return None
        _session = Session(python, model_list.preferences().gpu_device or "cpu")
        _watch()
    return _session


def device_name() -> str:
    """What the running worker computes on, for people."""
    found = [device.name for device in _session.worker.devices if device.id == _session.device] if _session else []
    return found[0] if found else "NumPy"


_installation: RuntimeInstall | None = None


def installation() -> RuntimeInstall | None:
    """The last one of this Blender, to show how far it is."""
    return _installation


def install(python: str, options: list[str]) -> None:
    """Begin an installation: first its size."""
    global _installation
    _installation = RuntimeInstall(folder(), python, options=options)
    _installation.start()
    _watch()


def stop() -> None:
    """End the worker; the next slider move starts the one that is chosen then."""
    global _session
    ended, _session = _session, None
    if ended is not None:
        ended.close()


_seen: tuple | None = None


def _watch() -> None:
    if not bpy.app.background and not bpy.app.timers.is_registered(_poll):
        bpy.app.timers.register(_poll, first_interval=POLL_SECONDS, persistent=True)


def _poll() -> float | None:
    """Redraw what shows the state of the worker and of an installation when that has changed; ends with them."""
    global _seen
    job = _installation
    worker = None if _session is None else (id(_session), _session.is_busy, _session.has_started, _session.lost)
    now = worker, None if job is None else (job.state, job.phase, round(job.progress, 2))
    if now != _seen:
        _seen = now
        redraw()
    goes_on = (_session is not None and not _session.lost) or (job is not None and job.is_running)
    return POLL_SECONDS if goes_on else None


def redraw() -> None:
    """Redraw the preferences and the sidebars."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
    viewport.redraw_sidebars()


def end() -> None:
    """Leave no process running."""
    global _installation
    job, _installation = _installation, None
    if job is not None and job.is_running:
        job.cancel(wait=False)
        job.join(PATIENCE)
    stop()


def clean_up() -> None:
    """Remove, in a thread, what is left of a runtime that was deleted just before Blender ended."""
    clear_removed(folder(create=False))


def register() -> None:
    atexit.register(end)
    if not bpy.app.background:
        bpy.app.timers.register(clean_up, first_interval=CLEAN_UP_AFTER, persistent=True)


def unregister() -> None:
    atexit.unregister(end)
    for timer in (_poll, clean_up):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    end()
