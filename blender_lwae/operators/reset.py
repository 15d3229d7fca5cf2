# SPDX-License-Identifier: GPL-3.0-or-later
"""Back to the average face."""

from functools import partial

import bpy
import numpy as np
from bpy.props import StringProperty

from .. import face, sync
from .common import active_face, change, poll_writable_face, selected_faces


def reset_parts(mesh: bpy.types.Mesh, names: list[str]) -> list[str]:
    """Make parts average; locked ones stay.

    Returns:
        Data paths of the sliders that were set.

    Raises:
        LwaeError: when no part has such a name.
    """
    model = face.model_of(mesh)
    parts = [model.part_index(name) for name in names]
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
            names = [part.name for part in mesh.lwae.parts]
            change(self, context, mesh, partial(reset_parts, mesh, names))
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
        return change(self, context, mesh, partial(reset_parts, mesh, [self.part]))


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_reset_face, LWAE_OT_reset_part))
