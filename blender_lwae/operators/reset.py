# SPDX-License-Identifier: GPL-3.0-or-later
"""Back to the average face."""

import bpy
import numpy as np
from bpy.props import StringProperty

from .. import face, sync
from ..backend.errors import LwaeError
from .common import active_face, poll_writable_face, selected_faces, show


def reset_parts(mesh: bpy.types.Mesh, parts: list[int]) -> list[str]:
    """Make parts average; locked ones stay. Returns the data paths of the sliders that were set."""
    model = face.model_of(mesh)
    free = [part for part in parts if not mesh.lwae.parts[part].locked]
    with sync.paused():
        return face.store_code(mesh, model, np.zeros(model.code_size, dtype=np.float32), free)


class LWAE_OT_reset_face(bpy.types.Operator):
    """Make all parts of the selected faces average again. Locked parts stay"""

    bl_idname = "lwae.reset_face"
    bl_label = "Reset Face"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return poll_writable_face(cls, context)

    def execute(self, context):
        for mesh in selected_faces(context):
            show(self, context, mesh, reset_parts(mesh, list(range(len(mesh.lwae.parts)))))
        return {"FINISHED"}


class LWAE_OT_reset_part(bpy.types.Operator):
    """Make this part average again"""

    bl_idname = "lwae.reset_part"
    bl_label = "Reset Part of Face"
    bl_options = {"REGISTER", "UNDO"}

    part: StringProperty(name="Part", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context):
        return poll_writable_face(cls, context)

    def execute(self, context):
        mesh = active_face(context)
        try:
            paths = reset_parts(mesh, [face.model_of(mesh).part_index(self.part)])
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not paths:
            self.report({"WARNING"}, f"{self.part} is locked")
            return {"CANCELLED"}
        show(self, context, mesh, paths)
        return {"FINISHED"}


CLASSES = (LWAE_OT_reset_face, LWAE_OT_reset_part)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
