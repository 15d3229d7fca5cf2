# SPDX-License-Identifier: GPL-3.0-or-later
"""The sliders: of the whole face, then part after part."""

import bpy

from .. import face, part_colours
from ..operators import show_parts
from ..operators.common import active_face
from .common import ActiveFaceTab
from .plausibility import draw_mark


class LWAE_PT_parts(ActiveFaceTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_parts"
    bl_label = "Parts"

    def draw(self, context):
        mesh = active_face(context)
        usable = face.trouble_seen(mesh) is None and not mesh.library
        if mesh.lwae.whole:
            self.draw_whole(mesh.lwae, usable)
        coloured = show_parts.is_shown(context)
        for index in range(len(mesh.lwae.parts)):
            self.draw_part(mesh, index, usable, part_colours.icon(index) if coloured else 0)

    def draw_whole(self, state, usable):
        header, body = self.layout.panel("lwae_whole")
        header.label(text="Whole Face", translate=False)
        row = header.row(align=True)
        if body is not None:
            row.operator("lwae.explain", text="", icon="QUESTION", emboss=False)
        row.operator("lwae.reset_whole", text="", icon="LOOP_BACK", emboss=False)
        if body is None:
            return
        column = body.column(align=True)
        column.enabled = usable
        for control in state.whole:
            row = column.row(align=True)
            row.prop(control, "value", text=control.name, translate=False, slider=True)
            row.prop(control, "locked", text="", icon="LOCKED" if control.locked else "UNLOCKED")

    def draw_part(self, mesh, index, usable, icon):
        part = mesh.lwae.parts[index]
        header, body = self.layout.panel(f"lwae_part_{part.name}", default_closed=index > 0 or bool(mesh.lwae.whole))
        header.label(text=part.name.capitalize(), icon_value=icon, translate=False)
        draw_mark(header, mesh, index)
        row = header.row(align=True)
        buttons = row.row(align=True)
        buttons.enabled = not part.locked
        if body is not None:
            buttons.operator("lwae.explain", text="", icon="QUESTION", emboss=False).part = part.name
        buttons.operator("lwae.randomise_part", text="", icon="FILE_REFRESH", emboss=False).part = part.name
        buttons.operator("lwae.reset_part", text="", icon="LOOP_BACK", emboss=False).part = part.name
        row.prop(part, "locked", text="", icon="LOCKED" if part.locked else "UNLOCKED", emboss=False)
        if body is None:
            return
        column = body.column(align=True)
        column.enabled = usable
        for control in part.controls:
            column.prop(control, "value", text=control.name, translate=False, slider=True)
        row = body.row()
        row.enabled = usable and not part.locked
        row.prop(part, "seed", text="Seed", translate=False)


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_parts,))
