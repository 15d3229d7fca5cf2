# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faces an operator works on, and the sentence on its button when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import bpy

from .. import animation, face, sync
from ..backend.errors import LwaeError

# Kinds of `face.Trouble` in a list of faces.
WHY = {
    "MODEL": "model missing",
    "SLIDERS": "sliders of an older model",
    "MODE": "not in Object Mode",
    "TOPOLOGY": "other vertices",
    "EDITED": "edited by hand",
}


def active_face(context: bpy.types.Context) -> bpy.types.Mesh | None:
    """The face mesh of the active object."""
    active = context.object
    return active.data if active is not None and face.is_face(active.data) else None


def all_selected_faces(context: bpy.types.Context) -> list[bpy.types.Mesh]:
    """Face meshes of the active and the selected objects, each once, the active first."""
    objects = [context.object, *context.selected_objects]
    return list(dict.fromkeys(item.data for item in objects if item is not None and face.is_face(item.data)))


def shown_name(context: bpy.types.Context, mesh: bpy.types.Mesh) -> str:
    """What people call a face: the name of the active or a selected object that shows it."""
    objects = (context.object, *context.selected_objects)
    return next((item.name for item in objects if item is not None and item.data == mesh), mesh.name)


def selected_faces(context: bpy.types.Context) -> list[bpy.types.Mesh]:
    """Those of them that can be written."""
    return [mesh for mesh in all_selected_faces(context) if not why_not(mesh)]


def why_not(mesh: bpy.types.Mesh) -> str:
    """Why a face cannot be written, in a word or two; "" when it can."""
    if mesh.library:
        return "linked"
    trouble = face.trouble(mesh)
    return WHY[trouble.kind] if trouble else ""


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
        cls.poll_message_set(linked_sentence(context))
        return False
    return True


def linked_sentence(context: bpy.types.Context) -> str:
    """What to do about the active face, whose mesh is linked."""
    if context.object.override_library:
        return "The object is an override, but its mesh is still linked: override that too, or use Make Face Local."
    return "This face is linked from another file. Make it local or override it first."


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


def poll_in_object_mode(cls, context: bpy.types.Context, purpose: str, poll: Callable = poll_face) -> bool:
    """`poll(cls, context)`, for what needs Object Mode and changes what is the face's own.

    Args:
        purpose: for the sentence "Switch to Object Mode to ...".
    """
    if not poll(cls, context):
        return False
    if context.mode != "OBJECT":
        cls.poll_message_set(f"Switch to Object Mode to {purpose}.")
        return False
    return poll_own_data(cls, active_face(context))


def poll_or_redo(cls, context: bpy.types.Context, poll: Callable) -> bool:
    """`poll(cls, context)`, or the operator was the last one: its redo panel may be asking.

    Blender asks before it undoes, when what the operator made is active. `execute` then asks `refuses`.
    """
    return _is_last(cls, context) or poll(cls, context)


def _is_last(cls, context: bpy.types.Context) -> bool:
    done = context.window_manager.operators
    module, name = cls.bl_idname.split(".")
    return len(done) > 0 and done[-1].bl_idname == f"{module.upper()}_OT_{name}"


def as_errors(operator: bpy.types.Operator) -> SimpleNamespace:
    """Stands in for the class that a poll is told: what the poll says is reported."""
    return SimpleNamespace(poll_message_set=lambda sentence: operator.report({"ERROR"}, sentence))


def refuses(operator: bpy.types.Operator, context: bpy.types.Context, poll: Callable) -> bool:
    """Whether a poll refuses; its sentence is reported."""
    return not poll(as_errors(operator), context)


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
        operator.report({"WARNING"}, f"{shown_name(context, mesh)} stays as it is: what you chose is locked")
        return {"CANCELLED"}
    keyed, what = animation.auto_key(context, mesh, paths), f"sliders of {shown_name(context, mesh)}"
    sync.follow(mesh)
    if keyed and mesh.lwae.rest != rest and animation.is_keyed_elsewhere(mesh, context.scene.frame_current_final):
        operator.report(
            {"WARNING"},
            f"Keyed {_counted(keyed, what)}, but its other keyframes show another face now: sliders do not hold "
            "all of a person. To go from one person to another, mix in a donor and key its amounts",
        )
    else:
        say_animated(operator, mesh, paths, keyed, what)
    return {"FINISHED"}


def change_selected(
    operator: bpy.types.Operator,
    context: bpy.types.Context,
    set_sliders: Callable[[bpy.types.Mesh, int], list[str]],
) -> set[str]:
    """`change` for each selected face, and say which ones stay because they cannot be written.

    Args:
        set_sliders: of a mesh and its number among all selected faces.

    Returns:
        What `execute` returns.
    """
    done, stayed = set(), []
    for number, mesh in enumerate(all_selected_faces(context)):
        why = why_not(mesh)
        if why:
            stayed.append(f"{shown_name(context, mesh)} ({why})")
        else:
            done |= change(operator, context, mesh, partial(set_sliders, mesh, number))
    _say_stayed(operator, stayed)
    return {"FINISHED"} if "FINISHED" in done else {"CANCELLED"}


def selected_owners(operator: bpy.types.Operator, context: bpy.types.Context) -> list[bpy.types.Object]:
    """An object of each selected face whose own data can be changed, the active first; says which ones stay."""
    owners, stayed = {}, []
    for item in (context.object, *context.selected_objects):
        if item is not None and face.is_face(item.data):
            owners.setdefault(item.data, item)
    for mesh in list(owners):
        why = "an override" if mesh.override_library else why_not(mesh)
        if why:
            stayed.append(f"{owners.pop(mesh).name} ({why})")
    _say_stayed(operator, stayed)
    return list(owners.values())


def _say_stayed(operator: bpy.types.Operator, stayed: list[str]) -> None:
    if stayed:
        count = len(stayed)
        said = "1 selected face stayed as it is" if count == 1 else f"{count} selected faces stayed as they are"
        operator.report({"WARNING"}, f"{said}: {', '.join(stayed)}")


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
        operator.report({"INFO"}, f"Keyed {_counted(keyed, what)}")
    elif overruled:
        are = "is animated: its" if overruled == 1 else "are animated: their"
        operator.report({"WARNING"}, f"{_counted(overruled, what)} {are} keyframes or drivers win on the next frame")


def _counted(count: int, what: str) -> str:
    """3 "sliders of Face", or one of them."""
    return f"{count} {what.replace('s of ', ' of ', 1) if count == 1 else what}"
