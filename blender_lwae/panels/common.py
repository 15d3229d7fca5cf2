# SPDX-License-Identifier: GPL-3.0-or-later
"""What all panels of the Faces tab have in common."""

import textwrap

import bpy

from ..operators.common import active_face


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


class ActiveFaceTab(FacesTab):
    """Shown while a face is active."""

    @classmethod
    def poll(cls, context):
        return active_face(context) is not None
