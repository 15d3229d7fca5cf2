# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders to vertices, whatever moved the sliders: a drag, a script, undo, a keyframe, a driver, a loaded file.

`follow` may be called at any time and any number of times: it writes only when the sliders say something else
than what the mesh shows. Animated and driven values exist on the evaluated mesh only, so handlers read that.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import face, late_keys, models, shape, writer
from .backend.errors import LwaeError
from .backend.model import MM_PER_METRE

log = logging.getLogger(__name__)

# A render and the window run handlers in different threads.
_lock = threading.RLock()
_pauses = 0

# Blender says nothing when a slider is let go: shape keys that wait follow when it has stood still that long, seconds.
STANDS_STILL = 0.2
_moved_at: float | None = None  # while keys wait for that


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """While many sliders are set: their update callbacks do nothing. Call `follow` after it."""
    global _pauses
    with _lock:
        _pauses += 1
        try:
            yield
        finally:
            _pauses -= 1


def is_paused() -> bool:
    return _pauses > 0


@contextlib.contextmanager
def dragging() -> Iterator[None]:
    """While a script moves sliders as a hand does: shape keys that cannot be seen follow at the end, as in a window."""
    try:
        with late_keys.held():
            yield
    finally:
        if not late_keys.is_held():
            settle_all()


def follow(mesh: bpy.types.Mesh, evaluated: bpy.types.Mesh | None = None, moved: bool = False) -> None:
    """Make the vertices show what the sliders say, unless that would lose an artist's edit (`face.trouble`).

    Args:
        mesh: an original mesh data-block; does nothing when it is no face.
        evaluated: its evaluated copy, to follow animation and drivers.
        moved: a slider has just moved, perhaps by hand.
    """
    if not mesh.lwae.is_face:
        return
    with _lock:
        if _pauses:  # Asked here, so that a render waits for the sliders instead of showing the old shape.
            return
        values = shape.read_values((evaluated or mesh).lwae)
        if face.signature(mesh.lwae, values) != mesh.lwae.applied and face.trouble(mesh) is None:
            try:
                write(mesh, values, late_keys.may_wait(mesh) if moved else late_keys.NONE)
            except LwaeError as error:
                log.warning("%s", error)


def write(
    mesh: bpy.types.Mesh, values: np.ndarray | None = None, wait: frozenset[str] = late_keys.NONE
) -> None:
    """Write the vertices without asking whether they were edited.

    Args:
        values: as `shape.read_values` gives; the mesh's own when left out.
        wait: names of shape keys that follow later (`settle`).

    Raises:
        LwaeError: when the model is missing or the mesh cannot take the positions.
    """
    with _lock:
        if values is None:
            values = shape.read_values(mesh.lwae)
        positions = shape.shape(mesh, face.model_of(mesh), values)
        offset = face.read_offset(mesh)
        if offset is not None:
            positions = positions + offset * np.float32(MM_PER_METRE)
        writer.write_positions(mesh, positions, models.tools(face.model_of(mesh)).expressions, wait)
        face.store_stamp(mesh, face.signature(mesh.lwae, values))
        if wait and not late_keys.is_held():
            _settle_soon()


def settle(mesh: bpy.types.Mesh) -> None:
    """Let shape keys that wait follow now. Call it before anything reads or copies them; any number of times."""
    if not mesh.lwae.waiting or mesh.library or mesh.override_library or mesh.is_editmode:
        return
    with _lock:
        try:
            expressions = models.tools(face.model_of(mesh)).expressions
        except LwaeError as error:  # They wait for it, and for `on_load`.
            log.info("Shape keys of %s have yet to follow the face: %s", mesh.name, error)
            return
        writer.catch_up(mesh, expressions)
        mesh.update()


@persistent
def settle_all(*_arguments) -> None:
    for mesh in bpy.data.meshes:
        settle(mesh)


def _settle_soon() -> None:
    global _moved_at
    _moved_at = time.monotonic()
    if not bpy.app.timers.is_registered(_settle_when_still):
        bpy.app.timers.register(_settle_when_still, first_interval=STANDS_STILL, persistent=True)


def _settle_when_still() -> float | None:
    global _moved_at
    left = _moved_at + STANDS_STILL - time.monotonic()
    if left > 0:
        return left
    settle_all()
    if any(mesh.lwae.waiting and mesh.is_editmode for mesh in bpy.data.meshes):
        return STANDS_STILL  # Edit mode holds the keys.
    _moved_at = None
    return None


def _settle_what_is_seen(mesh: bpy.types.Mesh) -> None:
    """Keys go on waiting only during the drag that let them wait, and while nothing shows them."""
    names = writer.waiting_keys(mesh)
    if names and not ((late_keys.is_held() or _moved_at is not None) and names <= late_keys.unseen(mesh)):
        settle(mesh)


def follow_all() -> None:
    """Follow every face of the file, by its own values."""
    for mesh in bpy.data.meshes:
        follow(mesh)


def _is_outvoted(depsgraph) -> bool:
    """While a render job runs, it decides: the window may show another frame."""
    return depsgraph.mode == "VIEWPORT" and bpy.app.is_job_running("RENDER")


@persistent
def on_frame_change(_scene, depsgraph) -> None:
    if _is_outvoted(depsgraph):
        return
    for mesh in _animated_faces():
        follow(mesh, mesh.evaluated_get(depsgraph))


@persistent
def on_depsgraph_update(_scene, depsgraph) -> None:
    if not depsgraph.id_type_updated("MESH") or _is_outvoted(depsgraph):
        return
    face.forget_seen()
    # First the list: writing tags the depsgraph that is read here.
    for evaluated in [update.id for update in depsgraph.updates if isinstance(update.id, bpy.types.Mesh)]:
        if evaluated.lwae.is_face:
            follow(evaluated.original, evaluated)
            _settle_what_is_seen(evaluated.original)


@persistent
def on_change_of_file(*_arguments) -> None:
    face.forget_seen()
    settle_all()
    follow_all()


@persistent
def on_load(*_arguments) -> None:
    """Besides the sliders as saved: a file saved without the add-on may be at a frame that no handler saw."""
    from . import renew  # which needs this module

    settle_all()
    renew.renew_old_faces()
    follow_all()
    animated = _animated_faces()
    if not animated:
        return
    # Blender evaluates the animation of a file only after this handler, and no other handler hears of it.
    for mesh in animated:
        mesh.update_tag(refresh={"TIME"})
    depsgraph = bpy.context.evaluated_depsgraph_get()
    for mesh in animated:
        follow(mesh, mesh.evaluated_get(depsgraph))


def _animated_faces() -> list[bpy.types.Mesh]:
    # Without animation data a new frame changes no slider.
    return [mesh for mesh in bpy.data.meshes if mesh.animation_data and mesh.lwae.is_face]


HANDLERS = (
    ("save_pre", settle_all),
    ("render_init", settle_all),
    ("frame_change_pre", settle_all),
    ("frame_change_post", on_frame_change),
    ("depsgraph_update_post", on_depsgraph_update),
    ("load_post", on_load),
    ("undo_post", on_change_of_file),
    ("redo_post", on_change_of_file),
    ("render_complete", on_change_of_file),
    ("render_cancel", on_change_of_file),
)


def register() -> None:
    for name, handler in HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)
    # A file may be open already, but Blender shows no data to an add-on that is being enabled.
    bpy.app.timers.register(on_load)


def unregister() -> None:
    global _moved_at
    for timer in (on_load, _settle_when_still):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    _moved_at = None
    settle_all()
    for name, handler in reversed(HANDLERS):
        getattr(bpy.app.handlers, name).remove(handler)
