# SPDX-License-Identifier: GPL-3.0-or-later
"""Add > Mesh > Face."""

import bpy
from bpy_extras.object_utils import AddObjectHelper, object_data_add

from .. import face, mesh_build, models, sync
from ..backend.errors import LwaeError


class LWAE_OT_add_face(bpy.types.Operator, AddObjectHelper):
    """Add a head whose parts have sliders, in the sidebar's Faces tab"""

    bl_idname = "lwae.add_face"
    bl_label = "Add Face"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if context.mode != "OBJECT":
            cls.poll_message_set("Switch to Object Mode to add a face.")
            return False
        return True

    def execute(self, context):
        try:
            model = models.default()
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        mesh = mesh_build.new_face_mesh(model, "Face")
        face.make_face(mesh, model)
        sync.write(mesh)
        mesh_build.prepare_object(object_data_add(context, mesh, operator=self))
        return {"FINISHED"}


def menu(self, _context) -> None:
    self.layout.operator(LWAE_OT_add_face.bl_idname, text="Face", icon="USER")


def register() -> None:
    bpy.utils.register_class(LWAE_OT_add_face)
    bpy.types.VIEW3D_MT_mesh_add.append(menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_mesh_add.remove(menu)
    bpy.utils.unregister_class(LWAE_OT_add_face)
