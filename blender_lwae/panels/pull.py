# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pull tool, for those who look for it here and not in the toolbar."""

import bpy

from ..operators.pull_tool import LWAE_WST_pull, draw_settings
from .common import ActiveFaceTab


class LWAE_PT_pull(ActiveFaceTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_pull"
    bl_label = "Pull"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        tool = context.workspace.tools.from_space_view3d_mode(context.mode, create=False)
        active = tool is not None and tool.idname == LWAE_WST_pull.bl_idname
        row = layout.row()
        row.scale_y = 1.3
        row.enabled = context.mode == "OBJECT"
        name = "builtin.select_box" if active else LWAE_WST_pull.bl_idname
        text = "Stop Pulling" if active else "Pull the Surface"
        row.operator("wm.tool_set_by_id", text=text, translate=False, icon="VIEW_PAN", depress=active).name = name
        layout.use_property_split = True
        layout.use_property_decorate = False
        draw_settings(layout.column(), context.scene.lwae_pull)


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_pull,))
