# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders of an older model."""

import bpy

from .. import face, renew
from ..backend.errors import LwaeError
from .common import active_face, poll_face, poll_own_data


class LWAE_OT_renew_sliders(bpy.types.Operator):
    """Give this face the sliders that its model has today. It keeps its shape, and keyframes but those of donors"""

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
        try:
            renew.renew_sliders(active_face(context))
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def register() -> None:
    bpy.utils.register_class(LWAE_OT_renew_sliders)


def unregister() -> None:
    bpy.utils.unregister_class(LWAE_OT_renew_sliders)
