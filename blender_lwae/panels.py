# SPDX-License-Identifier: GPL-3.0-or-later
"""The Faces tab of the 3D viewport's sidebar."""

import textwrap

import bpy

from . import face, models
from .backend.errors import LwaeError
from .operators.common import active_face


def draw_message(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str) -> None:
    """A sentence in a box, broken to the width of the sidebar."""
    scale = context.preferences.system.ui_scale
    width = max(16, int((context.region.width / scale - 70) / 6.2))
    column = layout.box().column(align=True)
    column.scale_y = 0.85
    for index, line in enumerate(textwrap.wrap(sentence, width)):
        column.label(text=line, icon=icon if index == 0 else "BLANK1")


class FacesTab:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Faces"


class LWAE_PT_face(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_face"
    bl_label = "Face"

    def draw(self, context):
        layout = self.layout
        mesh = active_face(context)
        if mesh is None:
            self.draw_add(context)
            return
        trouble = face.trouble(mesh)
        if mesh.library:
            draw_message(layout, context, "Linked from another file. Make it local or override it.", "LINKED")
        elif trouble is not None:
            self.draw_trouble(context, mesh, trouble)

        state = mesh.lwae
        row = layout.row(align=True)
        row.scale_y = 1.3
        row.operator("lwae.randomise_face", text="Randomise", icon="FILE_REFRESH")
        row.operator("lwae.reset_face", text="", icon="LOOP_BACK")
        row = layout.row(align=True)
        row.enabled = trouble is None and not mesh.library
        row.prop(state, "seed")
        row.prop(state, "strength", slider=True)

    def draw_add(self, context):
        layout = self.layout
        row = layout.row()
        row.scale_y = 1.3
        row.operator("lwae.add_face", icon="USER")
        try:
            models.default()
        except LwaeError as error:
            draw_message(layout, context, str(error), "ERROR")

    def draw_trouble(self, context, mesh, trouble):
        layout = self.layout
        draw_message(layout, context, trouble.sentence, "INFO" if trouble.kind == "EDIT_MODE" else "ERROR")
        if trouble.kind == "EDITED":
            column = layout.column(align=True)
            column.operator("lwae.keep_edit", icon="CHECKMARK")
            column.operator("lwae.overwrite_edit", icon="X")
        elif trouble.kind != "EDIT_MODE":
            layout.operator("lwae.apply", icon="MESH_DATA")


class LWAE_PT_parts(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_parts"
    bl_label = "Parts"

    @classmethod
    def poll(cls, context):
        return active_face(context) is not None

    def draw(self, context):
        mesh = active_face(context)
        usable = face.trouble(mesh) is None and not mesh.library
        for index, part in enumerate(mesh.lwae.parts):
            self.draw_part(part, usable, default_closed=index > 0)

    def draw_part(self, part, usable, default_closed):
        header, body = self.layout.panel(f"lwae_part_{part.name}", default_closed=default_closed)
        header.label(text=part.name.capitalize())
        row = header.row(align=True)
        buttons = row.row(align=True)
        buttons.enabled = not part.locked
        buttons.operator("lwae.randomise_part", text="", icon="FILE_REFRESH", emboss=False).part = part.name
        buttons.operator("lwae.reset_part", text="", icon="LOOP_BACK", emboss=False).part = part.name
        row.prop(part, "locked", text="", icon="LOCKED" if part.locked else "UNLOCKED", emboss=False)
        if body is None:
            return
        column = body.column(align=True)
        column.enabled = usable
        for control in part.controls:
            column.prop(control, "value", text=control.name, slider=True)
        row = body.row()
        row.enabled = usable and not part.locked
        row.prop(part, "seed", text="Seed")


class LWAE_PT_tools(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_tools"
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


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_face, LWAE_PT_parts, LWAE_PT_tools))
