# SPDX-License-Identifier: GPL-3.0-or-later
"""Back to the average face."""

from functools import partial

import bpy
import numpy as np
from bpy.props import StringProperty

from .. import face, shape, sync
from ..backend.controls import join_code, part_controls
from ..backend.model import WHOLE
from .common import active_face, change, change_selected, poll_unlocked_face, poll_writable_face


def reset_parts(mesh: bpy.types.Mesh, names: list[str]) -> list[str]:
    """Make parts average; locked ones stay.

    All parts together are the average person, the sliders of the whole face at zero but for kept ones. Some parts are
    what the sliders of the whole face make of them.

    Returns:
        Data paths of the sliders that were set; none when all these parts are locked.

    Raises:
        LwaeError: when no part has such a name.
    """
    model = face.model_of(mesh)
    parts = [model.part_index(name) for name in names]
    free = set(parts).intersection(face.free_parts(mesh))
    if not free:
        return []
    whole = face.whole_values(mesh.lwae)
    if len(set(parts)) == model.part_count:
        whole = np.where(face.whole_kept(mesh.lwae), whole, np.float32(0))
    with sync.paused():
        # As `split_code` adds it up, so that sliders and rest come out as zeros to the last bit.
        values = np.zeros(len(model.controls), dtype=np.float32)
        values[part_controls(model, WHOLE)] = whole
        code = join_code(model, values, np.zeros(model.code_size, dtype=np.float32))
        return face.store_code(mesh, model, code, free, whole)


def reset_whole(mesh: bpy.types.Mesh) -> list[str]:
    """Set the sliders of the whole face to zero, but for kept ones; the parts' own sliders stay, and locked parts.

    Returns:
        Data paths of the sliders that were set.
    """
    model, paths = face.model_of(mesh), []
    was = shape.own_code(mesh, model)
    with sync.paused():
        for index, control in enumerate(mesh.lwae.whole):
            if not control.locked:
                control.value = 0
                paths.append(f"lwae.whole[{index}].value")
        face.keep_code(mesh, model, was, face.locked_parts(mesh))
    return paths


class LWAE_OT_reset_face(bpy.types.Operator):
    """Make all of the selected faces average again. Locked parts stay"""

    bl_idname = "lwae.reset_face"
    bl_label = "Reset Face"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return poll_unlocked_face(cls, context)

    def execute(self, context):
        return change_selected(
            self, context, lambda mesh, _number: reset_parts(mesh, [part.name for part in mesh.lwae.parts])
        )


class LWAE_OT_reset_part(bpy.types.Operator):
    """Set the sliders of this part to zero. It is average then, but for what the sliders of the whole face say"""

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


class LWAE_OT_reset_whole(bpy.types.Operator):
    """Set the sliders of the whole face to zero. Parts keep their own sliders, and locked parts stay"""

    bl_idname = "lwae.reset_whole"
    bl_label = "Reset Whole Face Sliders"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not poll_writable_face(cls, context):
            return False
        if all(control.locked for control in active_face(context).lwae.whole):
            cls.poll_message_set("There is no slider of the whole face that may change.")
            return False
        return True

    def execute(self, context):
        mesh = active_face(context)
        return change(self, context, mesh, partial(reset_whole, mesh))


register, unregister = bpy.utils.register_classes_factory(
    (LWAE_OT_reset_face, LWAE_OT_reset_part, LWAE_OT_reset_whole)
)
