# SPDX-License-Identifier: GPL-3.0-or-later
"""A face from a mesh: shown beside any mesh that is no face yet, and what a face was made from."""

import bpy

from .. import face
from ..operators import from_mesh
from ..operators.landmarks import known_landmarks
from .common import FacesTab


class LWAE_PT_from_mesh(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_from_mesh"
    bl_label = "From a Mesh"

    @classmethod
    def poll(cls, context):
        item = context.object
        return item is not None and item.type == "MESH" and (not item.data.lwae.is_face or item.data.lwae_source.name)

    def draw(self, context):
        if face.is_face(context.object.data):
            self.draw_source(context.object.data.lwae_source)
        else:
            self.draw_buttons(context.object)

    def draw_buttons(self, item):
        layout = self.layout
        job = from_mesh.running
        if job is not None:
            layout.progress(factor=job.progress.share, text=job.progress.what)
            layout.label(text="Esc: Cancel")
            return
        column = layout.column()
        column.scale_y = 1.2
        column.operator("lwae.fit_to_mesh", icon="MOD_SHRINKWRAP")
        row = layout.row(align=True)
        count, most = len(item.lwae_landmarks), len(known_landmarks())
        text = f"Landmarks: {count} of {most}" if count else "Pick Landmarks"
        row.operator("lwae.pick_landmarks", text=text, translate=False, icon="PIVOT_CURSOR")
        if count:
            row.operator("lwae.clear_landmarks", text="", icon="X")
        layout.operator("lwae.make_editable", icon="GREASEPENCIL")

    def draw_source(self, source):
        column = self.layout.column(align=True)
        column.label(text=source.name, icon="MESH_DATA")
        column.label(text=f"Sliders: {source.error:.2f} mm from it")
        if source.largest:
            column.label(text=f"95 % of it: {source.largest:.2f} mm")
        if source.has_offset:
            text = f"With offset: {source.with_offset:.2f} mm" if source.with_offset else "With offset: exact"
            column.label(text=text)


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_from_mesh,))
