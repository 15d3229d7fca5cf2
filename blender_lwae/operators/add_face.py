# SPDX-License-Identifier: GPL-3.0-or-later
"""Add > Mesh > Face."""

import bpy
from bpy.props import EnumProperty
from bpy_extras.object_utils import AddObjectHelper

from .. import face, mesh_build, model_list, models, sync
from ..backend.errors import LwaeError
from ..new_objects import add_object


class LWAE_OT_add_face(bpy.types.Operator, AddObjectHelper):
    """Add a head whose parts have sliders, in the sidebar's Faces tab"""

    bl_idname = "lwae.add_face"
    bl_label = "Add Face"
    bl_options = {"REGISTER", "UNDO"}

    model: EnumProperty(
        name="Model",
        description="Which people the face is made of. The preferences list the models and which one comes first",
        items=model_list.enum_items,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context):
        if context.mode != "OBJECT":
            cls.poll_message_set("Switch to Object Mode to add a face.")
            return False
        return True

    def execute(self, context):
        is_chosen = self.properties.is_property_set("model")
        try:
            model = models.by_key(self.model if is_chosen else "")
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not is_chosen:
            self.model = model_list.default_key()  # The redo panel shows it, and keeps it.
        mesh = mesh_build.new_face_mesh(model, "Face")
        face.make_face(mesh, model)
        sync.write(mesh)
        mesh_build.prepare_object(add_object(context, mesh, operator=self))
        return {"FINISHED"}


def draw_button(layout: bpy.types.UILayout, text: str) -> None:
    """A button, or a menu of the models where there are several."""
    if len(model_list.usable()) > 1:
        layout.operator_menu_enum(LWAE_OT_add_face.bl_idname, "model", text=text, translate=False, icon="USER")
    else:
        layout.operator(LWAE_OT_add_face.bl_idname, text=text, translate=False, icon="USER")


def menu(self, _context) -> None:
    draw_button(self.layout, "Face")


def register() -> None:
    bpy.utils.register_class(LWAE_OT_add_face)
    bpy.types.VIEW3D_MT_mesh_add.append(menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_mesh_add.remove(menu)
    bpy.utils.unregister_class(LWAE_OT_add_face)
