# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping faces: as assets and as small text files."""

import bpy

from ..operators.common import active_face
from .common import FacesTab


class LWAE_PT_library(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_library"
    bl_label = "Library"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        column = self.layout.column()
        if active_face(context) is not None:
            column.operator("lwae.save_asset", text="Save as Asset...", translate=False, icon="ASSET_MANAGER")
            column.separator()
            column = column.column(align=True)
            column.operator("lwae.export_face", text="Export Face...", translate=False, icon="EXPORT")
            text = "Import into This Face..."
            column.operator("lwae.import_face", text=text, translate=False, icon="IMPORT").target = "ACTIVE"
        column.operator("lwae.import_face", text="Import as New Face...", translate=False, icon="IMPORT").target = "NEW"


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_library,))
