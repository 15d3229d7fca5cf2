# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures of the models' mean faces, drawn in a thread while somebody looks at the list."""

from __future__ import annotations

import logging
import queue
import threading
import time

import bpy
import bpy.utils.previews
import numpy as np

from . import model_list, runtime
from .backend.errors import LwaeError
from .backend.lwae_file import load_model
from .backend.thumbnail import Portraits, blender_pixels

log = logging.getLogger(__name__)

SIZE = 128
POLL_SECONDS = 0.2
LOOKED_AWAY = 3.0  # Seconds without a redraw, after which no more pictures are made.

_pictures = None
_asked: set[tuple] = set()
_wanted: queue.LifoQueue = queue.LifoQueue()
_made: queue.SimpleQueue = queue.SimpleQueue()
_thread: threading.Thread | None = None
_last_look = 0.0


def icon(item: model_list.ModelFile) -> int:
    """The icon of a model's picture; 0 until there is one. Asks for it then."""
    global _pictures, _last_look, _thread
    _last_look = time.monotonic()
    try:
        key = model_list.file_key(item.path)
    except OSError:
        return 0
    name = str(key)
    if _pictures is not None and name in _pictures:
        return _pictures[name].icon_id
    if key not in _asked:
        _asked.add(key)
        _wanted.put((key, item.path))
        if _pictures is None:
            _pictures = bpy.utils.previews.new()
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_draw_all, daemon=True)
            _thread.start()
        if not bpy.app.background and not bpy.app.timers.is_registered(_show):
            bpy.app.timers.register(_show, first_interval=POLL_SECONDS, persistent=True)
    return 0


def _draw_all() -> None:
    """In a thread: it reads files and computes, and never touches bpy."""
    while time.monotonic() - _last_look < LOOKED_AWAY:
        try:
            key, path = _wanted.get(timeout=0.5)
        except queue.Empty:
            continue
        try:
            model = load_model(path)
            _made.put((key, path, Portraits(model).picture(model.mean, SIZE)))
        except LwaeError as error:
            _made.put((key, path, str(error)))
        except (ValueError, ArithmeticError, IndexError, MemoryError, np.linalg.LinAlgError) as error:
            # A mesh of a stranger may be too odd or too large to be drawn and still be a model.
            log.warning("No picture of %s: %s", path.name, str(error) or "no memory left")


def _show() -> float | None:
    changed = False
    while not _made.empty():
        key, path, result = _made.get()
        changed = True
        if isinstance(result, str):
            model_list.mark_damaged(path, result)
            continue
        if str(key) in _pictures:  # Asked for twice, as after enabling the add-on again.
            continue
        picture = _pictures.new(str(key))
        picture.image_size = picture.icon_size = result.shape[1], result.shape[0]
        picture.image_pixels_float = blender_pixels(result)
        picture.icon_pixels_float = blender_pixels(result)
    if changed:
        runtime.redraw()
    if _thread is not None and _thread.is_alive():
        return POLL_SECONDS
    while not _wanted.empty():  # Asked for again when somebody looks again.
        _asked.discard(_wanted.get()[0])
    return None


def register() -> None:
    pass


def unregister() -> None:
    global _pictures, _last_look
    _last_look = 0.0
    if bpy.app.timers.is_registered(_show):
        bpy.app.timers.unregister(_show)
    if _pictures is not None:
        bpy.utils.previews.remove(_pictures)
        _pictures = None
    _asked.clear()
    for waiting in (_wanted, _made):
        while not waiting.empty():
            waiting.get()
