# SPDX-License-Identifier: GPL-3.0-or-later
"""Facial actions as shape keys."""

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from .. import animation, expressions, face, models
from ..backend.errors import LwaeError
from .common import active_face, poll_face, poll_own_data, poll_writable_face, say_animated, selected_owners

GROUPS = [(identifier, label, tip, 1 << bit) for bit, (identifier, label, tip, _) in enumerate(expressions.GROUPS)]


class LWAE_OT_add_expressions(bpy.types.Operator):
    """Add shape keys of facial actions to the selected faces, named as ARKit names them. They follow when you shape the
    face, and what you sculpt into them stays"""

    bl_idname = "lwae.add_expressions"
    bl_label = "Add Expressions"
    bl_options = {"REGISTER", "UNDO"}

    groups: EnumProperty(
        name="Groups",
        description="Which expressions to add",
        items=GROUPS,
        default={identifier for identifier, *_ in GROUPS},
        options={"ENUM_FLAG"},
    )
    names: StringProperty(
        name="Names",
        description="Names of single expressions, with commas between them, such as jawOpen, mouthSmileLeft. "
        "When empty, whole groups are added",
        options={"SKIP_SAVE"},
    )
    rebuild: BoolProperty(
        name="Rebuild",
        description="Make expressions anew that are there already. What was sculpted into them is lost",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context):
        if not poll_writable_face(cls, context):
            return False
        mesh = active_face(context)
        if not face.model_of(mesh).expressions:
            cls.poll_message_set("The model of this face knows no expressions.")
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Switch to Object Mode to add expressions.")
            return False
        return poll_own_data(cls, mesh)

    def draw(self, _context):
        layout = self.layout
        column = layout.column()
        column.enabled = not self.names
        column.prop(self, "groups")
        layout.use_property_split = True
        layout.prop(self, "names")
        layout.prop(self, "rebuild")

    def execute(self, context):
        typed = [name.strip() for name in self.names.split(",") if name.strip()]
        made, refused = 0, []
        for item in selected_owners(self, context):
            known = face.model_of(item.data).expressions.names
            chosen = typed or [name for name in known if expressions.group_of(name) in self.groups]
            try:
                made += len(expressions.add_keys(item, chosen, self.rebuild))
            except LwaeError as error:
                refused.append(f"{item.name}: {error}")
        if refused:
            self.report({"WARNING" if made else "ERROR"}, " ".join(refused))
        elif not made:
            self.report({"WARNING"}, "These expressions are there already")
        if not made:
            return {"CANCELLED"}
        self.report({"INFO"}, f"Made {made} expressions")
        return {"FINISHED"}


class LWAE_OT_relax_expressions(bpy.types.Operator):
    """Set all expressions of this face to 0"""

    bl_idname = "lwae.relax_expressions"
    bl_label = "Relax Face"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not poll_face(cls, context):
            return False
        mesh = active_face(context)
        if not mesh.shape_keys:
            cls.poll_message_set("Select a face with expressions first.")
            return False
        try:
            models.tools(face.model_of(mesh))
        except LwaeError as error:
            cls.poll_message_set(str(error))
            return False
        return True

    def execute(self, context):
        mesh = active_face(context)
        keys = expressions.key_blocks(mesh)
        for key in keys:
            key.value = 0.0
        paths = [key.path_from_id("value") for key in keys]
        keyed = animation.auto_key(context, mesh.shape_keys, paths)
        say_animated(self, mesh.shape_keys, paths, keyed, f"expressions of {context.object.name}")
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_add_expressions, LWAE_OT_relax_expressions))
