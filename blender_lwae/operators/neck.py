# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the open edge of a neck is kept (Keep Neck Edge)."""

import bpy

from .. import face, models, shape, sync
from ..backend.errors import LwaeError
from .common import active_face, poll_writable_face


def keep_edge(mesh: bpy.types.Mesh) -> None:
    """Note the edge of the neck as the face shows it now, as the place where it is kept.

    An edit by hand is no part of it. A face whose model is missing or another one keeps the average edge; one that is
    kept already stays so.
    """
    state = mesh.lwae
    if state.applied and face.signature(state, face.applied_values(state)) == state.applied:
        return
    state.neck_edge = ""
    trouble = face.trouble(mesh)
    if trouble is not None and trouble.kind not in ("EDITED", "MODE"):
        return
    model = face.model_of(mesh)
    today, values = shape.read_values(state), face.applied_values(state)
    values = values if values.size == today.size else today  # A new or damaged face.
    neck = models.tools(model).neck
    edge = shape.free_shape(mesh, model, values)[neck.edge]
    if abs(edge - neck.mean_edge).max(initial=0) > 1e-4:
        state.neck_edge = shape.encode_numbers(edge.ravel())


def has_open_neck(mesh: bpy.types.Mesh) -> bool:
    """Whether the model of a face is there and has an open neck."""
    try:
        return len(models.tools(face.model_of(mesh)).neck.edge) > 0
    except LwaeError:
        return False


def poll_neck(cls, context) -> bool:
    """The active face can be shaped and its model has an open neck."""
    if not poll_writable_face(cls, context):
        return False
    if not has_open_neck(active_face(context)):
        cls.poll_message_set("This model has no open neck.")
        return False
    return True


class LWAE_OT_average_neck(bpy.types.Operator):
    """Keep the edge of the neck where it is on the average face: all faces of this model then fit one body"""

    bl_idname = "lwae.average_neck"
    bl_label = "Average Neck Edge"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return poll_neck(cls, context)

    def execute(self, context):
        mesh = active_face(context)
        with sync.paused():
            mesh.lwae.keep_neck = True
            mesh.lwae.neck_edge = ""
        sync.follow(mesh)
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_average_neck,))
