# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks on a mesh of a head, picked with clicks, for *Fit to Mesh*."""

from __future__ import annotations

import blf
import bpy
from bpy.props import CollectionProperty, FloatVectorProperty, StringProperty
from bpy_extras.view3d_utils import location_3d_to_region_2d
from gpu_extras.presets import draw_circle_2d
from mathutils import Vector

from .. import models, viewport
from ..backend.errors import LwaeError
from ..backend.landmarks import landmarks_of
from . import modals
from .from_mesh import LOOKING, find_object, poll_source

COLOUR, SHADOW = (1.0, 0.55, 0.2, 1.0), (0.0, 0.0, 0.0, 0.9)
RADIUS = 5.0  # pixels


class LwaeLandmark(bpy.types.PropertyGroup):
    """A named place on a mesh, in the space of its object."""

    name: StringProperty(name="Name", description="Which place of the head this is", options=set())
    place: FloatVectorProperty(name="Place", description="Where it is on the mesh", subtype="XYZ", options=set())


def known_landmarks() -> list[str]:
    """Names of the landmarks of the model that new faces get; none when it has no known ones."""
    try:
        return list(landmarks_of(models.default()))
    except LwaeError:
        return []


class LWAE_OT_pick_landmarks(bpy.types.Operator):
    """Click named places of the head on the mesh, one after the other, to show Fit to Mesh where the head is.
    Landmarks that were picked before are replaced"""

    bl_idname = "lwae.pick_landmarks"
    bl_label = "Pick Landmarks"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context):
        if not poll_source(cls, context):
            return False
        if context.object.library:
            cls.poll_message_set("This object is linked from another file. Make it local first.")
            return False
        if not known_landmarks():
            cls.poll_message_set("The model names no landmarks. Fit to Mesh finds the head by its shape.")
            return False
        return True

    def invoke(self, context, _event):
        if context.area is None or context.area.type != "VIEW_3D":
            self.report({"ERROR"}, "Pick landmarks in a 3D viewport.")
            return {"CANCELLED"}
        item = context.object
        self._uid, self._names, self._next = item.session_uid, known_landmarks(), 0
        self._before = [(mark.name, tuple(mark.place)) for mark in item.lwae_landmarks]
        item.lwae_landmarks.clear()
        self._mouse = Vector((0, 0))
        self._area, self._workspace, self._wrong = context.area, context.workspace, ""
        self._handler = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")
        modals.begin(self, context)
        context.window.cursor_modal_set("CROSSHAIR")
        self._say(context)
        return {"RUNNING_MODAL"}

    @modals.guarded
    def modal(self, context, event):
        item = find_object(self._uid)
        if item is None:  # Removed, or undone to where it was not there.
            self._leave(context)
            return {"CANCELLED"}
        if not viewport.is_open(context, self._area):
            self.cancel(context)
            self.report({"WARNING"}, "Stopped picking landmarks: their 3D viewport is not shown any more")
            return {"CANCELLED"}
        if event.type in {"ESC", "RIGHTMOUSE"} and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        if event.type == "MOUSEMOVE":
            self._mouse = Vector((event.mouse_x, event.mouse_y))
            self._area.tag_redraw()
            return {"PASS_THROUGH"}
        if event.value != "PRESS" or event.type.startswith(LOOKING):
            return {"PASS_THROUGH"}
        self._wrong = ""
        if event.type == "LEFTMOUSE":
            if not self._click(context, event, item):
                return {"PASS_THROUGH"}
        elif event.type == "BACK_SPACE":
            self._take_back(item)
        elif event.type in {"SPACE", "S"}:
            self._next += 1
        elif event.type in {"RET", "NUMPAD_ENTER"}:
            self._next = len(self._names)
        else:
            return {"RUNNING_MODAL"}
        if self._next >= len(self._names):
            return self._done(context, item)
        self._say(context)
        return {"RUNNING_MODAL"}

    def cancel(self, context):
        item = find_object(self._uid)
        if item is not None:
            item.lwae_landmarks.clear()
            for name, place in self._before:
                mark = item.lwae_landmarks.add()
                mark.name, mark.place = name, place
        self._leave(context)

    def _click(self, context, event, item) -> bool:
        """Place the landmark that is asked for. False outside of the viewport, so that buttons work."""
        region = viewport.view_under(self._area, event.mouse_x, event.mouse_y)
        over_others = any(
            other.type not in {"WINDOW", "HEADER", "TOOL_HEADER"}
            and other.width > 1
            and 0 <= event.mouse_x - other.x < other.width
            and 0 <= event.mouse_y - other.y < other.height
            for other in self._area.regions
        )
        if region is None or over_others:
            return False
        mouse = Vector((event.mouse_x - region.x, event.mouse_y - region.y))
        found = viewport.hit_face(context, item, region, mouse)
        if found is None:  # A report would be seen only at the end.
            seen = item.visible_get(view_layer=context.view_layer)
            self._wrong = f"That is beside {item.name}" if seen else f"{item.name} is hidden"
            return True
        mark = item.lwae_landmarks.add()
        mark.name, mark.place = self._names[self._next], found[0]
        self._next += 1
        return True

    def _take_back(self, item) -> None:
        """One step back: what was picked there is removed; a skipped one is asked for again."""
        if self._next == 0:
            return
        self._next -= 1
        marks = item.lwae_landmarks
        if len(marks) and marks[-1].name == self._names[self._next]:
            marks.remove(len(marks) - 1)

    def _done(self, context, item):
        self._leave(context)
        count = len(item.lwae_landmarks)
        if count < 3:
            self.report({"WARNING"}, f"{count} landmarks: with fewer than 3 Fit to Mesh finds the head by its shape")
        else:
            self.report({"INFO"}, f"{count} landmarks on {item.name}. Next: Fit to Mesh")
        return {"FINISHED"}

    def _leave(self, context) -> None:
        modals.end(self)
        bpy.types.SpaceView3D.draw_handler_remove(self._handler, "WINDOW")
        context.window.cursor_modal_restore()
        if self._workspace in bpy.data.workspaces.values():
            self._workspace.status_text_set(None)
        if viewport.is_open(context, self._area):
            self._area.tag_redraw()

    def _say(self, context) -> None:
        text = f"Click: {self._names[self._next]} ({self._next + 1} of {len(self._names)})"
        keys = "Space: Skip     Backspace: Back     Enter: Enough     Esc: Cancel"
        context.workspace.status_text_set("     ".join(filter(None, (self._wrong, text, keys))))
        self._area.tag_redraw()

    def _draw(self) -> None:
        context = bpy.context
        if context.area != self._area or context.region.type != "WINDOW":
            return
        item = find_object(self._uid)
        if item is None:
            return
        draw_landmarks(context, item)
        if self._next < len(self._names):
            place = self._mouse - Vector((context.region.x, context.region.y))
            _text(context, place + Vector((16, 12)), self._names[self._next], 14)
            if self._wrong:
                _text(context, place + Vector((16, -8)), self._wrong, 11)


class LWAE_OT_clear_landmarks(bpy.types.Operator):
    """Forget the landmarks that were picked on this mesh"""

    bl_idname = "lwae.clear_landmarks"
    bl_label = "Clear Landmarks"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not poll_source(cls, context):
            return False
        if not len(context.object.lwae_landmarks):
            cls.poll_message_set("No landmarks were picked on this mesh.")
            return False
        return True

    def execute(self, context):
        context.object.lwae_landmarks.clear()
        return {"FINISHED"}


def draw_landmarks(context: bpy.types.Context, item: bpy.types.Object) -> None:
    """Show the landmarks of a mesh, and the name of the last one, where a viewport's drawing is under way."""
    place = None
    for mark in item.lwae_landmarks:
        place = location_3d_to_region_2d(
            context.region, context.region_data, item.matrix_world @ Vector(mark.place)
        )
        if place is not None:
            draw_circle_2d(place, SHADOW, RADIUS + 1, segments=16)
            draw_circle_2d(place, COLOUR, RADIUS, segments=16)
            draw_circle_2d(place, COLOUR, 1.5, segments=8)
    if place is not None:  # Names of all of them would cover each other.
        _text(context, place + Vector((RADIUS + 4, -4)), mark.name, 11)


def _text(context: bpy.types.Context, place: Vector, text: str, size: float) -> None:
    scale = context.preferences.system.ui_scale
    blf.size(0, size * scale)
    blf.enable(0, blf.SHADOW)
    blf.shadow(0, 5, *SHADOW)
    blf.color(0, *COLOUR)
    blf.position(0, place.x, place.y, 0)
    blf.draw(0, text)
    blf.disable(0, blf.SHADOW)


CLASSES = (LwaeLandmark, LWAE_OT_pick_landmarks, LWAE_OT_clear_landmarks)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Object.lwae_landmarks = CollectionProperty(type=LwaeLandmark)


def unregister() -> None:
    del bpy.types.Object.lwae_landmarks
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
