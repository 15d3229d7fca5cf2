# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull: drag the surface of a face in the viewport, and its sliders follow as far as faces go."""

import bpy
import numpy as np
from bpy.props import BoolProperty, FloatProperty, FloatVectorProperty, PointerProperty
from bpy_extras.view3d_utils import region_2d_to_location_3d
from mathutils import Vector

from .. import pulling
from ..backend.errors import LwaeError
from ..backend.model import MM_PER_METRE
from ..viewport import circle_around, hit_face, view_under
from . import modals
from .common import active_face, change, poll_in_object_mode, poll_unlocked_face

LEAST_RADIUS, MOST_RADIUS = 5.0, 200.0  # mm
STEP = 1.15  # of the radius, for each turn of the wheel
PRECISE = 0.1  # of the mouse's way, with Shift
MIRROR_TOOLTIP = "Pull the same place on the other side too, as in a mirror"


def radius_property(**options):
    """The radius in mm, of the tool and of the operator; `options` are those of `FloatProperty`."""
    return FloatProperty(
        name="Radius",
        description="How far the surroundings come along. What lies beyond is held, more firmly the smaller this is",
        default=30.0,
        min=LEAST_RADIUS,
        max=MOST_RADIUS,
        subtype="DISTANCE_CAMERA",  # In mm, whatever the scene's unit is.
        precision=1,
        step=100,
        **options,
    )


def poll_pull(cls, context: bpy.types.Context) -> bool:
    """The active object is a face that can be pulled."""
    return poll_in_object_mode(cls, context, "pull a face", poll_unlocked_face)


def looks_around(event: bpy.types.Event) -> bool:
    """Alt and a click may stand for the middle button."""
    return event.alt or event.oskey


class LwaePullSettings(bpy.types.PropertyGroup):
    """How the Pull tool pulls; kept in the scene, as Blender keeps its tools' settings."""

    radius: radius_property(options=set())
    mirror: BoolProperty(name="Mirror", description=MIRROR_TOOLTIP, options=set())
    part_only: BoolProperty(
        name="Only This Part",
        description="Change nothing but the part that is pulled. Hold Ctrl for the other choice",
        options=set(),
    )


class LWAE_OT_pull(bpy.types.Operator):
    """Drag the surface of the face, and the whole face follows as faces do. Locked parts stay"""

    bl_idname = "lwae.pull"
    bl_label = "Pull Face"
    bl_options = {"REGISTER", "UNDO"}

    place: FloatVectorProperty(
        name="Place",
        description="Which point of the surface is pulled: the one nearest to this, in the space of the mesh",
        subtype="XYZ_LENGTH",
        unit="LENGTH",
        precision=4,
        options={"SKIP_SAVE", "HIDDEN"},
    )
    move: FloatVectorProperty(
        name="Move",
        description="How far to pull, along the axes of the object",
        subtype="XYZ_LENGTH",
        unit="LENGTH",
        precision=4,
        options={"SKIP_SAVE"},
    )
    radius: radius_property(options={"SKIP_SAVE"})
    mirror: BoolProperty(name="Mirror", description=MIRROR_TOOLTIP, options={"SKIP_SAVE"})
    part_only: BoolProperty(
        name="Only This Part", description="Change nothing but the part that is pulled", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context):
        return poll_pull(cls, context)

    def execute(self, context):
        mesh = active_face(context)
        try:
            pull = pulling.FacePull(mesh, pulling.handle_near(mesh, self.place))
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return self._finish(context, pull)

    def invoke(self, context, event):
        if looks_around(event):
            return {"PASS_THROUGH"}
        if context.area is None or context.area.type != "VIEW_3D":
            self.report({"ERROR"}, "Pull a face in a 3D viewport.")
            return {"CANCELLED"}
        settings = context.scene.lwae_pull
        for name in ("radius", "mirror", "part_only"):
            if not self.properties.is_property_set(name):
                setattr(self, name, getattr(settings, name))
        self._pull, self._handler = None, None
        if event.type == "LEFTMOUSE" and event.value in {"PRESS", "CLICK_DRAG"}:
            try:
                if not self._press(context, event):
                    return {"PASS_THROUGH"}  # Not on the face: the click may select something.
            except LwaeError as error:  # Passed on, the drag would move the object.
                self.report({"ERROR"}, str(error))
                return {"CANCELLED"}
        else:
            context.workspace.status_text_set("Press on the face and drag     Esc: Cancel")
        modals.begin(self, context)
        return {"RUNNING_MODAL"}

    @modals.guarded
    def modal(self, context, event):
        if event.type in {"ESC", "RIGHTMOUSE"} and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        if self._pull is None and not self.poll(context):  # What is free to click meanwhile may have changed that.
            self.cancel(context)
            return {"CANCELLED"}
        if self._pull is not None and event.type == "LEFTMOUSE" and event.value == "RELEASE":
            return self._release(context)
        try:
            if self._pull is None:
                pressed = event.type == "LEFTMOUSE" and event.value == "PRESS" and self._press(context, event)
                return {"RUNNING_MODAL"} if pressed else {"PASS_THROUGH"}
            if event.type == "MOUSEMOVE":
                self._mouse = self._mouse_after(event)
                self._drag(context, event)
            elif event.type in {"WHEELUPMOUSE", "WHEELDOWNMOUSE"}:
                factor = STEP if event.type == "WHEELUPMOUSE" else 1 / STEP
                self.radius = min(max(self.radius * factor, LEAST_RADIUS), MOST_RADIUS)
                context.scene.lwae_pull.radius = self.radius
                self._drag(context, event)
            elif event.type == "X" and event.value == "PRESS":
                self.mirror = context.scene.lwae_pull.mirror = not self.mirror
                self._drag(context, event)
            elif event.type in {"LEFT_CTRL", "RIGHT_CTRL"}:
                self._drag(context, event)
        except LwaeError as error:
            self.cancel(context)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"RUNNING_MODAL"}

    def cancel(self, context):
        if self._pull is not None:
            self._pull.restore()
        self._leave(context)

    def _press(self, context, event) -> bool:
        """Begin the drag where the face is under the mouse; False where it is not.

        Raises:
            LwaeError: when this place of the face cannot be pulled.
        """
        item, region, found = face_under(context, event)
        if found is None:
            return False
        mesh, mouse = item.data, Vector((event.mouse_x, event.mouse_y))
        context.window.cursor_set("WAIT")  # The first pull of a model takes a moment.
        try:
            pull = pulling.FacePull(mesh, pulling.handle_at(item, *found))
            pull.prepare(self.radius, self.mirror, self._part_only(context, event))
        finally:
            context.window.cursor_set("DEFAULT")
        self._pull, self._object, self._region, self._area = pull, item, region, context.area
        self._mouse, self._last = mouse, mouse
        self._depth = item.matrix_world @ found[0]
        self._origin = self._at(mouse)
        self._handler = bpy.types.SpaceView3D.draw_handler_add(self._draw, (context,), "WINDOW", "POST_PIXEL")
        self._say(context, 0.0)
        return True

    def _part_only(self, context, event) -> bool:
        return context.scene.lwae_pull.part_only != event.ctrl

    def _mouse_after(self, event) -> Vector:
        """Where the mouse counts as being: with Shift it goes slowly."""
        there = Vector((event.mouse_x, event.mouse_y))
        way, self._last = there - self._last, there
        return self._mouse + way * (PRECISE if event.shift else 1.0)

    def _at(self, mouse: Vector) -> Vector:
        """The point of the object's space under the mouse, as deep as where the drag began."""
        corner = Vector((self._region.x, self._region.y))
        place = region_2d_to_location_3d(self._region, self._region.data, mouse - corner, self._depth)
        return self._object.matrix_world.inverted_safe() @ place

    def _drag(self, context, event) -> None:
        self.part_only = self._part_only(context, event)
        self.move = self._at(self._mouse) - self._origin
        self._pull.prepare(self.radius, self.mirror, self.part_only)
        self._say(context, self._pull.follow(np.array(self.move, dtype=np.float64) * MM_PER_METRE))

    def _say(self, context, left: float) -> None:
        moved = float(np.linalg.norm(self._pull.point - self._pull.start))
        text = f"{self._pull.part_name.capitalize()}: {moved:.1f} mm"
        if left > 0.5:
            text += f", {left:.1f} mm short: no face goes there"
        self._area.header_text_set(text)
        other = "All Parts" if context.scene.lwae_pull.part_only else "Only This Part"
        context.workspace.status_text_set(
            f"Wheel: Radius {self.radius:.0f} mm     X: Mirror {'on' if self.mirror else 'off'}     "
            f"Ctrl: {other}     Shift: Precise     Esc: Cancel"
        )
        self._area.tag_redraw()

    def _release(self, context) -> set[str]:
        pull = self._pull
        self._leave(context)
        self.place = Vector(pull.start / MM_PER_METRE)
        moved = np.linalg.norm(pull.point - pull.start) > 0
        pull.restore()
        return self._finish(context, pull) if moved else {"CANCELLED"}

    def _finish(self, context, pull: pulling.FacePull) -> set[str]:
        def pulled() -> list[str]:
            pull.prepare(self.radius, self.mirror, self.part_only)
            pull.follow(np.array(self.move, dtype=np.float64) * MM_PER_METRE)
            return pull.paths

        return change(self, context, pull.mesh, pulled)

    def _leave(self, context) -> None:
        modals.end(self)
        context.workspace.status_text_set(None)
        if self._handler is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handler, "WINDOW")
            self._area.header_text_set(None)
            self._area.tag_redraw()
        self._handler = self._pull = None

    def _draw(self, context) -> None:
        if context.area == self._area and self._pull is not None:
            place = self._object.matrix_world @ Vector(self._pull.point / MM_PER_METRE)
            circle_around(self._region, place, world_radius(self.radius, self._object))


def face_under(context: bpy.types.Context, event: bpy.types.Event) -> tuple:
    """The active object, the view under the mouse, and what `hit_face` finds there: None without any of them."""
    item, area = context.object, context.area
    region = view_under(area, event.mouse_x, event.mouse_y) if item is not None and area is not None else None
    if region is None:
        return item, None, None
    return item, region, hit_face(context, item, region, Vector((event.mouse_x - region.x, event.mouse_y - region.y)))


def world_radius(radius: float, item: bpy.types.Object) -> float:
    """A radius in mm of the mesh as metres of the world; objects may be scaled."""
    return radius / MM_PER_METRE * abs(item.matrix_world.to_3x3().determinant()) ** (1 / 3)


CLASSES = (LwaePullSettings, LWAE_OT_pull)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.lwae_pull = PointerProperty(type=LwaePullSettings)


def unregister() -> None:
    del bpy.types.Scene.lwae_pull
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    pulling.clear()
