# SPDX-License-Identifier: GPL-3.0-or-later
"""Left and right."""

import bpy

from .. import analysis, face
from ..backend.errors import LwaeError
from ..operators.common import active_face
from .common import ActiveFaceTab, draw_message


class LWAE_PT_symmetry(ActiveFaceTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_symmetry"
    bl_label = "Symmetry"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        mesh, layout = active_face(context), self.layout
        try:
            known = analysis.ready(face.model_of(mesh))
        except LwaeError:
            known = None
        if known is not None and known.mirror is None:
            draw_message(layout, context, known.mirror_trouble, "INFO")
            return
        state = mesh.lwae
        column = layout.column(align=True)
        column.enabled = face.trouble_seen(mesh) is None and not mesh.library
        column.prop(state, "symmetry", slider=True)
        row = column.row(align=True)
        row.active = state.symmetry < 1
        row.prop(state, "asymmetry", slider=True)
        column.separator()
        row = column.row(align=True)
        row.prop(state, "random_asymmetry", slider=True)
        row.operator("lwae.randomise_asymmetry", text="", icon="FILE_REFRESH")
        row = column.row(align=True)
        row.active = state.random_asymmetry != 0
        row.prop(state, "asymmetry_seed")


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_symmetry,))
