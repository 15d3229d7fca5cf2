# SPDX-License-Identifier: GPL-3.0-or-later
"""Random faces, and what keeps a face from being shaped."""

import bpy

from .. import face, models
from ..backend.errors import LwaeError
from ..operators.add_face import draw_button
from ..operators.common import active_face, linked_sentence
from .common import FacesTab, draw_message, pair


class LWAE_PT_face(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_face"
    bl_label = "Face"

    def draw(self, context):
        layout = self.layout
        mesh = active_face(context)
        if mesh is None:
            self.draw_add(context)
            return
        trouble = face.trouble_seen(mesh)
        if mesh.library:
            draw_message(layout, context, linked_sentence(context), "LINKED")
            layout.operator("lwae.make_local", icon="FILE_BLEND")
        elif trouble is not None:
            self.draw_trouble(context, mesh, trouble)
        if mesh.override_library:
            message = "An override of another file's face: its sliders work; what changes its mesh needs it local."
            draw_message(layout, context, message, "LIBRARY_DATA_OVERRIDE")
            layout.operator("lwae.make_local", icon="FILE_BLEND")

        state = mesh.lwae
        row = layout.row(align=True)
        row.scale_y = 1.3
        row.operator("lwae.randomise_face", text="Randomise", translate=False, icon="FILE_REFRESH")
        row.operator("lwae.reset_face", text="", icon="LOOP_BACK")
        fields = pair(layout, context)
        fields.enabled = trouble is None and not mesh.library
        fields.prop(state, "seed")
        fields.prop(state, "strength", slider=True)

    def draw_add(self, context):
        layout = self.layout
        row = layout.row()
        row.scale_y = 1.3
        draw_button(row, "Add Face")
        try:
            models.default()
        except LwaeError as error:
            draw_message(layout, context, str(error), "ERROR")

    def draw_trouble(self, context, mesh, trouble):
        layout = self.layout
        draw_message(layout, context, trouble.sentence, "INFO" if trouble.kind == "MODE" else "ERROR")
        if trouble.kind == "EDITED":
            column = layout.column(align=True)
            if trouble.applied is not None:
                column.operator("lwae.put_back", icon="OBJECT_ORIGIN")
            column.operator("lwae.keep_edit", icon="CHECKMARK")
            column.operator("lwae.overwrite_edit", icon="X")
        elif trouble.kind == "SLIDERS":
            layout.operator("lwae.renew_sliders", icon="FILE_REFRESH")
        elif trouble.kind == "MODEL":
            column = layout.column(align=True)
            text = "Switch Model..."
            button = column.operator("lwae.switch_model", text=text, translate=False, icon="ARROW_LEFTRIGHT")
            button.result = "FACE"
            column.operator("lwae.apply", icon="MESH_DATA")
        elif trouble.kind != "MODE":
            layout.operator("lwae.apply", icon="MESH_DATA")


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_face,))
