# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts as colours: kept on the mesh, or only shown in a viewport.

What a viewport looked like before is kept on its screen, so that it comes back in a saved file too.
"""

import json

import bpy

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
            for mesh in _paintable_faces(context):
                part_colours.show(mesh, face.model_of(mesh))
        _store_record(screen, record)
        for other in bpy.data.screens:
            _store_record(other, viewport_record(other))
        if not any(SHOWN in other for other in bpy.data.screens):
            for mesh in bpy.data.meshes:
                part_colours.hide(mesh)
        return {"FINISHED"}


def _paintable_faces(context: bpy.types.Context) -> list[bpy.types.Mesh]:
    """All faces of the view layer that can take colours."""
    meshes = dict.fromkeys(item.data for item in context.view_layer.objects if face.is_face(item.data))
    return [
        mesh for mesh in meshes if not mesh.library and not mesh.override_library and face.trouble(mesh) is None
    ]


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_part_colours, LWAE_OT_show_parts))
