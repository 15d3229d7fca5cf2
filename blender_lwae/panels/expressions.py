# SPDX-License-Identifier: GPL-3.0-or-later
"""Facial actions: added on request, then a slider each."""

import bpy

from .. import expressions, face
from ..backend.errors import LwaeError
from ..operators.common import active_face
from .common import FacesTab


class LWAE_PT_expressions(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_expressions"
    bl_label = "Expressions"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        mesh = active_face(context)
        try:
            return mesh is not None and bool(face.model_of(mesh).expressions)
        except LwaeError:
            return False

    def draw(self, context):
        mesh = active_face(context)
        keys = expressions.key_blocks(mesh)
        row = self.layout.row(align=True)
        row.operator("lwae.add_expressions", icon="SHAPEKEY_DATA")
        if keys:
            row.operator("lwae.relax_expressions", text="", icon="LOOP_BACK")
        for identifier, label, _, _ in expressions.GROUPS:
            own = [key for key in keys if expressions.group_of(key.name) == identifier]
            if not own:
                continue
            header, body = self.layout.panel(f"lwae_expressions_{identifier}", default_closed=True)
            header.label(text=label, translate=False)
            if body is not None:
                column = body.column(align=True)
                column.enabled = not mesh.library
                for key in own:
                    column.prop(key, "value", text=key.name, translate=False, slider=True)


def register() -> None:
    bpy.utils.register_class(LWAE_PT_expressions)


def unregister() -> None:
    bpy.utils.unregister_class(LWAE_PT_expressions)
