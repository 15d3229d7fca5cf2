# SPDX-License-Identifier: GPL-3.0-or-later
"""What all panels of the Faces tab have in common."""

import blf
import bpy

from ..operators.common import active_face


def draw_message(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str) -> None:
    """A sentence in a box, broken to the width of the sidebar."""
    scale = context.preferences.system.ui_scale
    blf.size(0, context.preferences.ui_styles[0].widget.points * scale)
    column = layout.box().column(align=True)
    column.scale_y = 0.85
    # Beside the text: the tabs, the margins of panel and box, and the icon.
    for index, line in enumerate(broken(sentence, context.region.width - 88 * scale)):
        column.label(text=line, icon=icon if index == 0 else "BLANK1")


def broken(sentence: str, width: float) -> list[str]:
    """Lines of at most so many pixels in the font as it is set; only a word longer than a line is torn."""
    lines = [""]
    for word in sentence.split():
        gap = " " if lines[-1] else ""
        for piece in [word] if blf.dimensions(0, word)[0] <= width else word:
            if lines[-1] and blf.dimensions(0, lines[-1] + gap + piece)[0] > width:
                lines.append(piece)
            else:
                lines[-1] += gap + piece
            gap = ""
    return lines


def is_narrow(context: bpy.types.Context) -> bool:
    """Whether the sidebar has no room for two fields side by side."""
    return context.region.width < 230 * context.preferences.system.ui_scale


def pair(layout: bpy.types.UILayout, context: bpy.types.Context) -> bpy.types.UILayout:
    """For two fields: side by side, or one above the other where the sidebar is narrow."""
    return layout.column(align=True) if is_narrow(context) else layout.row(align=True)


class FacesTab:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Faces"


class ActiveFaceTab(FacesTab):
    """Shown while a face is active."""

    @classmethod
    def poll(cls, context):
        return active_face(context) is not None
