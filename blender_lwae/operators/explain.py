# SPDX-License-Identifier: GPL-3.0-or-later
"""What each slider does: a property's tooltip is the same for all sliders, an operator's is not."""

import bpy
from bpy.props import StringProperty

from .. import face
from ..backend.errors import LwaeError
from ..backend.model import WHOLE
from .common import active_face, poll_any_face


def explanations(mesh: bpy.types.Mesh, part: str) -> list[str]:
    """A line for each slider of a part, or of the whole face ("")."""
    model = face.model_of(mesh)
    number = model.part_index(part) if part else WHOLE
    return [f"{control.name}: {control.description}" for control in model.controls if control.part == number]


class LWAE_OT_explain(bpy.types.Operator):
    """What these sliders do"""

    bl_idname = "lwae.explain"
    bl_label = "What These Sliders Do"
    bl_options = {"INTERNAL"}

    part: StringProperty(name="Part", description="Name of the part; empty for the whole face", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, context, properties):
        try:
            return "\n".join(explanations(active_face(context), properties.part))
        except LwaeError as error:
            return str(error)

    @classmethod
    def poll(cls, context):
        return poll_any_face(cls, context)

    def execute(self, context):
        try:
            lines = explanations(active_face(context), self.part)
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

        if bpy.app.background:  # There Blender has no menus, and crashes.
            self.report({"INFO"}, "; ".join(lines))
            return {"FINISHED"}

        def draw(menu, _context):
            for line in lines:
                menu.layout.label(text=line)

        context.window_manager.popup_menu(draw, title=self.part.capitalize() or "Whole Face", icon="INFO")
        return {"FINISHED"}


def register() -> None:
    bpy.utils.register_class(LWAE_OT_explain)


def unregister() -> None:
    bpy.utils.unregister_class(LWAE_OT_explain)
