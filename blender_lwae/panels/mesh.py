# SPDX-License-Identifier: GPL-3.0-or-later
"""What a face gives to other tools."""

import bpy

from .. import face
from ..operators.add_face import draw_button
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
        draw_button(column, "Add Another Face")


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_mesh,))
