# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts as colours: kept on the mesh, or only shown in a viewport.

What a viewport looked like before is kept on its screen, so that it comes back in a saved file too.
"""

import json
from collections.abc import Iterable

import bpy
from bpy.app.handlers import persistent

from .. import face, part_colours
from .common import active_face, poll_own_data, poll_writable_face, selected_faces

SHOWN = "lwae_shown_parts"  # On a screen: {area's number: [shading type, colour type]}.


class LWAE_OT_part_colours(bpy.types.Operator):
    """Keep the parts as a colour attribute, blended as their sliders act, for shaders, painting and export"""

    bl_idname = "lwae.part_colours"
    bl_label = "Part Colours"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return poll_writable_face(cls, context) and poll_own_data(cls, active_face(context))

    def execute(self, context):
        for mesh in selected_faces(context):
            if not mesh.override_library:
                part_colours.paint(mesh, face.model_of(mesh))
                mesh.lwae.shown_parts = ""
        return {"FINISHED"}


def viewport_record(screen: bpy.types.Screen) -> dict[str, list[str]]:
    """Which areas of a screen show parts, and how they looked before.

    Areas are known by their place among the others: what was noted of one that is gone, or that shows something else
    by now, counts no more.
    """
    try:
        record = json.loads(screen.get(SHOWN, "{}"))
    except (TypeError, ValueError):  # Not ours.
        return {}
    shown = [str(number) for number, area in enumerate(screen.areas) if _is_coloured(area)]
    return {number: record[number] for number in shown if number in record} if isinstance(record, dict) else {}


def _is_coloured(area: bpy.types.Area) -> bool:
    if area.type != "VIEW_3D":
        return False
    shading = area.spaces.active.shading
    return (shading.type, shading.color_type) == ("SOLID", "VERTEX")


def _store_record(screen: bpy.types.Screen, record: dict[str, list[str]]) -> None:
    if record:
        screen[SHOWN] = json.dumps(record)
    elif SHOWN in screen:
        del screen[SHOWN]


def is_shown(context: bpy.types.Context) -> bool:
    """Whether this viewport shows the parts."""
    area, screen = context.area, context.screen
    if area is None or screen is None or area.type != "VIEW_3D" or SHOWN not in screen:
        return False
    return str(list(screen.areas).index(area)) in viewport_record(screen)


class LWAE_OT_show_parts(bpy.types.Operator):
    """Show in this viewport which part each place of the face belongs to, or show it as before"""

    bl_idname = "lwae.show_parts"
    bl_label = "Show Parts"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if context.area is None or context.area.type != "VIEW_3D":
            cls.poll_message_set("Parts are shown in a 3D viewport.")
            return False
        return is_shown(context) or (poll_writable_face(cls, context) and poll_own_data(cls, active_face(context)))

    def execute(self, context):
        screen, shading = context.screen, context.space_data.shading
        number = str(list(screen.areas).index(context.area))
        record = viewport_record(screen)
        if number in record:
            kind, colours = record.pop(number)
            shading.color_type = colours
            shading.type = kind
        else:
            kind = shading.type
            shading.type = "SOLID"
            record[number] = [kind, shading.color_type]
            shading.color_type = "VERTEX"
            for mesh in _paintable(item.data for item in context.view_layer.objects):
                part_colours.show(mesh, face.model_of(mesh))
        _store_record(screen, record)
        for other in bpy.data.screens:
            _store_record(other, viewport_record(other))
        if not any(SHOWN in other for other in bpy.data.screens):
            for mesh in bpy.data.meshes:
                part_colours.hide(mesh)
        return {"FINISHED"}


def _paintable(data: Iterable[bpy.types.ID]) -> list[bpy.types.Mesh]:
    """The faces that can take colours."""
    meshes = dict.fromkeys(mesh for mesh in data if face.is_face(mesh))
    return [
        mesh for mesh in meshes if not mesh.library and not mesh.override_library and face.trouble(mesh) is None
    ]


@persistent
def on_undo(*_arguments) -> None:
    """Undo takes the meshes back, but no viewport: these say what is shown."""
    if not any(viewport_record(screen) for screen in bpy.data.screens):
        for mesh in bpy.data.meshes:
            part_colours.hide(mesh)
        return
    for mesh in _paintable(mesh for mesh in bpy.data.meshes if not mesh.lwae.shown_parts):
        part_colours.show(mesh, face.model_of(mesh))


CLASSES = (LWAE_OT_part_colours, LWAE_OT_show_parts)
HANDLERS = (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    for handlers in HANDLERS:
        handlers.append(on_undo)


def unregister() -> None:
    for handlers in HANDLERS:
        handlers.remove(on_undo)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
