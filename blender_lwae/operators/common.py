# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faces an operator works on, and the sentence on its button when it cannot."""

from __future__ import annotations

import bpy

from .. import animation, face, sync


def active_face(context: bpy.types.Context) -> bpy.types.Mesh | None:
    """The face mesh of the active object."""
    active = context.object
    return active.data if active is not None and face.is_face(active.data) else None


def selected_faces(context: bpy.types.Context) -> list[bpy.types.Mesh]:
    """Face meshes of the active and the selected objects that can be written, each once, the active first."""
    objects = [context.object, *context.selected_objects]
    meshes = dict.fromkeys(item.data for item in objects if item is not None and face.is_face(item.data))
    return [mesh for mesh in meshes if not mesh.library and face.trouble(mesh) is None]


def poll_face(cls, context: bpy.types.Context) -> bool:
    """The active object is a face that belongs to this file."""
    mesh = active_face(context)
    if mesh is None:
        cls.poll_message_set("Select a face first, or add one with Add > Mesh > Face.")
        return False
    if mesh.library:
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
    trouble = face.trouble(active_face(context))
    if trouble is not None:
        cls.poll_message_set(trouble.sentence)
        return False
    return True


def show(operator: bpy.types.Operator, context: bpy.types.Context, mesh: bpy.types.Mesh, paths: list[str]) -> None:
    """After sliders were set: move the vertices, honour Auto Keying, and say when an animation wins."""
    keyed = animation.auto_key(context, mesh, paths)
    sync.follow(mesh)
    overruled = len(animation.animated_paths(mesh).intersection(paths))
    if keyed:
        operator.report({"INFO"}, f"Keyed {keyed} sliders of {mesh.name}")
    elif overruled:
        operator.report(
            {"WARNING"},
            f"{overruled} sliders of {mesh.name} are animated: their keyframes or drivers win on the next frame",
        )
