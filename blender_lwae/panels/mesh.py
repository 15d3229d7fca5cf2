# SPDX-License-Identifier: GPL-3.0-or-later
"""What a face gives to other tools."""

import bpy

from .. import face
from ..operators import show_parts
from ..operators.add_face import draw_button
from ..operators.common import active_face
from ..operators.neck import has_open_neck
from .common import ActiveFaceTab


class LWAE_PT_mesh(ActiveFaceTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_mesh"
    bl_label = "Mesh"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        mesh = active_face(context)
        layout = self.layout
        self.draw_held(mesh)
        column = layout.column(align=True)
        shown = show_parts.is_shown(context)
        column.operator("lwae.show_parts", icon="HIDE_OFF" if shown else "HIDE_ON", depress=shown)
        row = column.row(align=True)
        row.operator("lwae.part_vertex_groups", text="Vertex Groups", translate=False, icon="GROUP_VERTEX")
        row.operator("lwae.part_colours", text="Colours", translate=False, icon="GROUP_VCOL")
        column = layout.column(align=True)
        column.operator("lwae.bake_controls", text="Controls to Shape Keys...", translate=False, icon="SHAPEKEY_DATA")
        column.operator("lwae.bake_animation", text="Bake Animation...", translate=False, icon="RENDER_ANIMATION")
        column = layout.column(align=True)
        if face.OFFSET in mesh.attributes:
            column.operator("lwae.remove_offset", icon="TRASH")
        column.operator("lwae.apply", icon="MESH_DATA")
        column.separator()
        draw_button(column, "Add Another Face")

    def draw_held(self, mesh):
        """What stays in place while sliders move."""
        column = self.layout.column(align=True)
        column.enabled = not mesh.library and face.trouble_seen(mesh) is None
        if has_open_neck(mesh):
            row = column.row(align=True)
            row.prop(mesh.lwae, "keep_neck")
            if mesh.lwae.keep_neck:
                row.operator("lwae.average_neck", text="", icon="LOOP_BACK")
        column.prop(mesh.lwae, "keep_lids")


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_mesh,))
