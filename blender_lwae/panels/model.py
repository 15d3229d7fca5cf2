# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model a face has."""

import bpy

from .. import runtime
from ..operators.common import active_face
from .common import ActiveFaceTab, FacesTab, draw_message


class LWAE_PT_model(ActiveFaceTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_model"
    bl_label = "Model"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        mesh = active_face(context)
        column = self.layout.column()
        column.label(text=mesh.lwae.model_name, icon="USER")
        column.operator("lwae.switch_model", text="Switch Model...", translate=False, icon="ARROW_LEFTRIGHT")
        column.operator("lwae.show_preferences", text="Models...", translate=False, icon="PREFERENCES")
        session = runtime.session()
        if runtime.is_chosen() and session is not None and session.is_ready:
            column.label(text=f"Computed on {runtime.device_name()}", icon="MEMORY")


class LWAE_PT_runtime(FacesTab, bpy.types.Panel):
    """Only there when the worker was lost, above all others: the one message about it"""

    bl_idname = "LWAE_PT_runtime"
    bl_label = "GPU Runtime"
    bl_order = 0

    @classmethod
    def poll(cls, _context):
        session = runtime.session()
        return runtime.is_chosen() and session is not None and bool(session.lost)

    def draw(self, context):
        sentence = f"{runtime.session().lost} Faces are computed with NumPy now."
        draw_message(self.layout, context, sentence, "ERROR")
        row = self.layout.row(align=True)
        row.operator("lwae.restart_worker", text="Try Again", translate=False, icon="FILE_REFRESH")
        row.operator("lwae.use_device", text="Stay with NumPy", translate=False).device = ""


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_runtime, LWAE_PT_model))
