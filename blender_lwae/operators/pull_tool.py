# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pull tool of the toolbar: its keys, its circle, its settings."""

import math

import bpy
from mathutils import Vector

from ..layouts import whole_row
from ..viewport import circle_around, first_hit, hit_face, view_under
from . import modals
from .common import active_face, poll_any_face, poll_writable_face, refuses
from .pull import STEP, LwaePullSettings, face_under, looks_around, poll_pull, world_radius


class LWAE_OT_pull_radius(bpy.types.Operator):
    """Change the Pull tool's radius with the mouse"""

    bl_idname = "lwae.pull_radius"
    bl_label = "Pull Radius"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context):
        return poll_writable_face(cls, context)

    def invoke(self, context, event):
        self._settings = context.scene.lwae_pull
        self._before, self._start = self._settings.radius, event.mouse_x
        self._area = context.area
        modals.begin(self, context)
        return {"RUNNING_MODAL"}

    @modals.guarded
    def modal(self, context, event):
        if event.type == "MOUSEMOVE":
            factor = math.exp((event.mouse_x - self._start) / (200 * context.preferences.system.ui_scale))
            self._settings.radius = self._before * factor
            self._area.header_text_set(f"Radius {self._settings.radius:.0f} mm")
            self._area.tag_redraw()
        elif event.type in {"LEFTMOUSE", "RET", "NUMPAD_ENTER"} and event.value == "PRESS":
            self._leave()
            return {"FINISHED"}
        elif event.type in {"ESC", "RIGHTMOUSE"} and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        return {"RUNNING_MODAL"}

    def cancel(self, _context):
        self._settings.radius = self._before
        self._leave()

    def _leave(self) -> None:
        modals.end(self)
        self._area.header_text_set(None)


class LWAE_OT_pull_refused(bpy.types.Operator):
    """Say why the face that was pressed cannot be pulled"""

    bl_idname = "lwae.pull_refused"
    bl_label = "Cannot Pull Face"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context):
        return poll_any_face(cls, context)

    def invoke(self, context, event):
        if looks_around(event) or not self._is_on_face(context, event):
            return {"PASS_THROUGH"}
        return {"CANCELLED"} if refuses(self, context, poll_pull) else {"PASS_THROUGH"}

    @staticmethod
    def _is_on_face(context, event) -> bool:
        """Not where another object is in front, which can be clicked to select it."""
        item, region, found = face_under(context, event)
        place = Vector((event.mouse_x - region.x, event.mouse_y - region.y)) if found else None
        return found is not None and first_hit(context, region, place) == item


def draw_settings(layout: bpy.types.UILayout, settings: LwaePullSettings) -> None:
    """The tool's settings, in its header and in the sidebar."""
    layout.prop(settings, "radius")
    whole_row(layout).prop(settings, "mirror")
    whole_row(layout).prop(settings, "part_only")


class LWAE_WST_pull(bpy.types.WorkSpaceTool):
    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = "lwae.pull_tool"
    bl_label = "Pull Face"
    bl_description = (
        "Drag the surface of a face, and the whole face follows as faces do.\n"
        "Ctrl: only this part, or all where that is set. Shift: precise. F or the brackets: radius"
    )
    bl_icon = "brush.uv_sculpt.grab"
    bl_keymap = (
        ("lwae.pull", {"type": "LEFTMOUSE", "value": "PRESS", "any": True}, None),
        # Where the face cannot be pulled the one above is not even asked.
        ("lwae.pull_refused", {"type": "LEFTMOUSE", "value": "PRESS", "any": True}, None),
        ("lwae.pull_radius", {"type": "F", "value": "PRESS"}, None),
        *(
            (
                "wm.context_scale_float",
                {"type": key, "value": "PRESS", "repeat": True},
                {"properties": [("data_path", "scene.lwae_pull.radius"), ("value", factor)]},
            )
            for key, factor in (("LEFT_BRACKET", 1 / STEP), ("RIGHT_BRACKET", STEP))
        ),
        # A press beside the face comes this far.
        ("view3d.select", {"type": "LEFTMOUSE", "value": "CLICK"}, {"properties": [("deselect_all", True)]}),
        # So does a drag; without these Blender's own keys would move the object.
        *(
            ("view3d.select_box", {"type": "LEFTMOUSE", "value": "CLICK_DRAG"} | keys, {"properties": [("mode", mode)]})
            for mode, keys in (
                ("SET", {}),
                ("ADD", {"shift": True}),
                ("SUB", {"ctrl": True}),
                ("AND", {"shift": True, "ctrl": True}),
            )
        ),
    )

    def draw_settings(context, layout, _tool):
        draw_settings(layout, context.scene.lwae_pull)

    def draw_cursor(context, _tool, place):
        item, mesh = context.object, active_face(context)
        region = view_under(context.area, *place) if mesh is not None and context.area else None
        if region is None:
            return
        found = hit_face(context, item, region, Vector(place) - Vector((region.x, region.y)))
        if found is not None:
            radius = world_radius(context.scene.lwae_pull.radius, item)
            circle_around(region, item.matrix_world @ found[0], radius, (region.x, region.y))


CLASSES = (LWAE_OT_pull_radius, LWAE_OT_pull_refused)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.utils.register_tool(LWAE_WST_pull, after={"builtin.measure"}, separator=True)


def unregister() -> None:
    bpy.utils.unregister_tool(LWAE_WST_pull)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
