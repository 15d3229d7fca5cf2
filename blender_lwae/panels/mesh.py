# SPDX-License-Identifier: GPL-3.0-or-later
"""What a face gives to other tools."""

import bpy

from .. import face
from ..operators.common import active_face
from .common import FacesTab


class LWAE_PT_mesh(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_mesh"
    bl_label = "Mesh"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return active_face(context) is not None

    def draw(self, context):
        mesh = active_face(context)
        column = self.layout.column()
        column.operator("lwae.part_vertex_groups", icon="GROUP_VERTEX")
        if face.OFFSET in mesh.attributes:
            column.operator("lwae.remove_offset", icon="TRASH")
        column.operator("lwae.apply", icon="MESH_DATA")
        column.separator()
        column.operator("lwae.add_face", text="Add Another Face", icon="USER")
        column.label(text=f"Model: {mesh.lwae.model_name}")


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_mesh,))
