# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faces an operator works on, and the sentence on its button when it cannot."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from .. import animation, face, sync
from ..backend.errors import LwaeError


def active_face(context: bpy.types.Context) -> bpy.types.Mesh | None:
    """The face mesh of the active object."""
    active = context.object
    return active.data if active is not None and face.is_face(active.data) else None


def selected_faces(context: bpy.types.Context) -> list[bpy.types.Mesh]:
    """Face meshes of the active and the selected objects that can be written, each once, the active first."""
    objects = [context.object, *context.selected_objects]
    meshes = dict.fromkeys(item.data for item in objects if item is not None and face.is_face(item.data))
    return [mesh for mesh in meshes if not mesh.library and face.trouble(mesh) is None]


def poll_any_face(cls, context: bpy.types.Context) -> bool:
    """The active object is a face, also one that is linked from another file."""
    if active_face(context) is None:
        cls.poll_message_set("Select a face first, or add one with Add > Mesh > Face.")
        return False
    return True


def poll_face(cls, context: bpy.types.Context) -> bool:
    """The active object is a face that belongs to this file."""
    if not poll_any_face(cls, context):
        return False
    if active_face(context).library:
        cls.poll_message_set("This face is linked from another file. Make it local or override it first.")
        return False
    return True


def poll_own_data(cls, mesh: bpy.types.Mesh) -> bool:
    """The mesh's data, not only its properties, belong to this file."""
    if mesh.override_library:
        cls.poll_message_set("This face is an override of another file's. Make it local first.")
        return False
    return True


def poll_writable_face(cls, context: bpy.types.Context) -> bool:
    """The active object is a face that sliders may move."""
    if not poll_face(cls, context):
        return False
    trouble = face.trouble_seen(active_face(context))
    if trouble is not None:
        cls.poll_message_set(trouble.sentence)
        return False
    return True


def poll_unlocked_face(cls, context: bpy.types.Context) -> bool:
    """The active object is a face that sliders may move, and not all of its parts are locked."""
    if not poll_writable_face(cls, context):
        return False
    if not face.free_parts(active_face(context)):
        cls.poll_message_set("All parts are locked. Unlock one first.")
        return False
    return True


def change(
    operator: bpy.types.Operator,
    context: bpy.types.Context,
    mesh: bpy.types.Mesh,
    set_sliders: Callable[[], list[str]],
) -> set[str]:
    """Set sliders, move the vertices, honour Auto Keying, and say what an animation does to that.

    Args:
        set_sliders: sets them and returns their data paths; none when all it would set is locked.

    Returns:
        What `execute` of an operator for one face returns.
    """
    rest = mesh.lwae.rest
    try:
        paths = set_sliders()
    except LwaeError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    if not paths:
        operator.report({"WARNING"}, f"{mesh.name} stays as it is: what you chose is locked")
        return {"CANCELLED"}
    keyed = animation.auto_key(context, mesh, paths)
    sync.follow(mesh)
    if keyed and mesh.lwae.rest != rest and animation.is_keyed_elsewhere(mesh, context.scene.frame_current_final):
        operator.report(
            {"WARNING"},
            f"Keyed {keyed} sliders of {mesh.name}, but its other keyframes show another face now: sliders do not hold "
            "all of a person. To go from one person to another, mix in a donor and key its amounts",
        )
    else:
        say_animated(operator, mesh, paths, keyed, f"sliders of {mesh.name}")
    return {"FINISHED"}


def say_animated(
    operator: bpy.types.Operator, data: bpy.types.Mesh | bpy.types.Key, paths: list[str], keyed: int, what: str
) -> None:
    """Report what an animation does to data paths that were set.

    Args:
        keyed: how many of them were keyed.
        what: they are, as "sliders of Face".
    """
    overruled = len(animation.animated_paths(data).intersection(paths))
    if keyed:
        operator.report({"INFO"}, f"Keyed {keyed} {what}")
    elif overruled:
        operator.report(
            {"WARNING"}, f"{overruled} {what} are animated: their keyframes or drivers win on the next frame"
        )
