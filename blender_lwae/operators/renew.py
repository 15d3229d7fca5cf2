# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders of an older model."""

import bpy

from .. import animation, face, renew
from ..backend.errors import LwaeError
from .common import active_face, poll_face, poll_own_data


class LWAE_OT_renew_sliders(bpy.types.Operator):
    """Give this face the sliders that its model has today. It keeps its shape, and keyframes but those of donors,
symmetry and sliders that are gone"""

    bl_idname = "lwae.renew_sliders"
    bl_label = "Update Sliders"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not poll_face(cls, context):
            return False
        trouble = face.trouble(active_face(context))
        if trouble is None or trouble.kind != "SLIDERS":
            cls.poll_message_set(trouble.sentence if trouble else "The sliders of this face are up to date.")
            return False
        return poll_own_data(cls, active_face(context))

    def execute(self, context):
        mesh = active_face(context)
        animated = len(animation.animated_paths(mesh))
        try:
            readers = renew.renew_sliders(mesh)
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        lost = animated - len(animation.animated_paths(mesh))
        if lost:
            values = "1 value" if lost == 1 else f"{lost} values"
            self.report(
                {"WARNING"},
                f"Animation of {values} is gone (donors, symmetry, sliders that are no more); {context.object.name} is "
                "now what this frame showed of them",
            )
        if readers:
            self.report({"WARNING"}, f"Set drivers anew that read sliders that are gone ({readers})")
        return {"FINISHED"}


def register() -> None:
    bpy.utils.register_class(LWAE_OT_renew_sliders)


def unregister() -> None:
    bpy.utils.unregister_class(LWAE_OT_renew_sliders)
