# SPDX-License-Identifier: GPL-3.0-or-later
"""A face that is linked from another file, packed into this one or an override becomes this file's own."""

import bpy

from .. import animation, viewport
from .common import active_face, poll_any_face


class LWAE_OT_make_local(bpy.types.Operator):
    """Make a linked face this file's own, with its materials, so that its sliders work"""

    bl_idname = "lwae.make_local"
    bl_label = "Make Face Local"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not poll_any_face(cls, context):
            return False
        mesh = active_face(context)
        if not (mesh.library or mesh.override_library):
            cls.poll_message_set("This face is not linked: it belongs to this file already.")
            return False
        item = context.object
        if item.library and item.users_collection and all(one.library for one in item.users_collection):
            cls.poll_message_set(
                "This face is in a collection of another file. Make a library override of that collection first."
            )
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Switch to Object Mode to make a face local.")
            return False
        return True

    def execute(self, context):
        if active_face(context).library:
            with context.temp_override(selected_objects=[context.object]):
                bpy.ops.object.make_local(type="SELECT_OBDATA_MATERIAL")
        for block in (context.object, active_face(context)):
            if block is not None and block.override_library:
                block.make_local()
        mesh = active_face(context)
        if mesh is None or mesh.library or mesh.override_library:
            self.report({"ERROR"}, "Blender could not make this face local; append it instead")
            return {"CANCELLED"}
        _make_key_actions_local(mesh)
        viewport.redraw_sidebars()  # Blender tells nobody.
        return {"FINISHED"}


def _make_key_actions_local(mesh: bpy.types.Mesh) -> None:
    """What animates the shape keys: Blender leaves it linked."""
    data = mesh.shape_keys.animation_data if mesh.shape_keys else None
    for owner in animation.owners(data) if data else ():
        if owner.action is not None and owner.action.library:
            animation.make_action_single_user(owner)


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_make_local,))
