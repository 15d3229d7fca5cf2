# SPDX-License-Identifier: GPL-3.0-or-later
"""An artist's own edit of a face's vertices: keep it, overwrite it, or leave the sliders behind."""

import bpy
import numpy as np
from mathutils import Matrix

from .. import bake, face, shape, sync, writer
from ..backend.model import MM_PER_METRE
from .common import active_face, poll_face, poll_in_object_mode, poll_own_data, poll_writable_face, say_animated

TRANSFORM = ["location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle", "scale"]


def _poll_edited(cls, context) -> bool:
    if not poll_face(cls, context):
        return False
    trouble = face.trouble_seen(active_face(context))
    if trouble is None or trouble.kind != "EDITED":
        cls.poll_message_set(trouble.sentence if trouble else "The mesh is as the sliders say: there is no edit.")
        return False
    return poll_own_data(cls, active_face(context))


class LWAE_OT_keep_edit(bpy.types.Operator):
    """Keep what you sculpted as an offset on top of the sliders, which then work again"""

    bl_idname = "lwae.keep_edit"
    bl_label = "Keep Edit as Offset"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not _poll_edited(cls, context):
            return False
        applied = face.trouble_seen(active_face(context)).applied
        if applied is not None and not np.allclose(applied.scale * applied.rotation, np.eye(3), atol=1e-5):
            cls.poll_message_set("Sliders would twist a face that is turned or scaled. Use Put Back on Object.")
            return False
        return True

    def execute(self, context):
        mesh = active_face(context)
        shown = shape.shape(mesh, face.model_of(mesh), face.applied_values(mesh.lwae)) / np.float32(MM_PER_METRE)
        edit = writer.read_positions(mesh) - shown
        if not np.isfinite(edit).all():
            name = context.object.name
            self.report({"ERROR"}, f"Some vertices of {name} are nowhere (NaN or infinite). Use Overwrite Edit")
            return {"CANCELLED"}
        face.store_offset(mesh, edit)
        sync.write(mesh)
        return {"FINISHED"}


class LWAE_OT_put_back(bpy.types.Operator):
    """Let the object have what was applied to its mesh: nothing is seen to move, and the sliders work again"""

    bl_idname = "lwae.put_back"
    bl_label = "Put Back on Object"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not _poll_edited(cls, context):
            return False
        if face.trouble_seen(active_face(context)).applied is None:
            cls.poll_message_set("This is an edit of the shape: no object can have it. Keep it as an offset.")
            return False
        return True

    def execute(self, context):
        mesh = active_face(context)
        applied = face.trouble(mesh).applied
        matrix = Matrix(applied.matrix)
        wanted = {item: item.matrix_basis @ matrix for item in bpy.data.objects if item.data == mesh}
        for item, basis in wanted.items():
            if not np.allclose(Matrix.LocRotScale(*basis.decompose()), basis, atol=1e-5):
                self.report({"ERROR"}, f"{item.name} has an uneven scale, which cannot be turned. Set it to 1 first")
                return {"CANCELLED"}
        for child in bpy.data.objects:  # They stay where they are.
            if child.parent in wanted and child.parent_type == "OBJECT":
                child.matrix_parent_inverse = matrix.inverted() @ child.matrix_parent_inverse
        for item, basis in wanted.items():
            item.matrix_basis = basis
            say_animated(self, item, TRANSFORM, 0, f"values of {item.name}")
        writer.transform(mesh, applied.inverse())
        sync.write(mesh)
        return {"FINISHED"}


class LWAE_OT_overwrite_edit(bpy.types.Operator):
    """Discard what you sculpted since the sliders last moved the mesh"""

    bl_idname = "lwae.overwrite_edit"
    bl_label = "Overwrite Edit"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return _poll_edited(cls, context)

    def execute(self, context):
        sync.write(active_face(context))
        return {"FINISHED"}


class LWAE_OT_remove_offset(bpy.types.Operator):
    """Discard the edit that was kept on top of the sliders"""

    bl_idname = "lwae.remove_offset"
    bl_label = "Remove Kept Edit"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not poll_writable_face(cls, context):
            return False
        if face.OFFSET not in active_face(context).attributes:
            cls.poll_message_set("No edit is kept on this face.")
            return False
        return poll_own_data(cls, active_face(context))

    def execute(self, context):
        mesh = active_face(context)
        face.store_offset(mesh, None)
        mesh.lwae_source.has_offset = False
        sync.write(mesh)
        return {"FINISHED"}


class LWAE_OT_apply(bpy.types.Operator):
    """Keep the shape and remove the sliders and their animation: an ordinary mesh stays"""

    bl_idname = "lwae.apply"
    bl_label = "Apply Face"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return poll_in_object_mode(cls, context, "apply a face")

    def execute(self, context):
        mesh = active_face(context)
        bake.make_plain(mesh)
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (LWAE_OT_keep_edit, LWAE_OT_put_back, LWAE_OT_overwrite_edit, LWAE_OT_remove_offset, LWAE_OT_apply)
)
