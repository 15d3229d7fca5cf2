# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls of a face as shape keys of an ordinary mesh, for rigs, games and glTF."""

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, IntProperty, StringProperty

from .. import bake, face, shape
from ..backend.model import WHOLE
from .common import active_face, poll_in_object_mode, poll_or_redo, poll_writable_face, refuses


class LwaeBakeControl(bpy.types.PropertyGroup):
    """A control in the dialog."""

    name: StringProperty()
    index: IntProperty()
    use: BoolProperty(name="Bake", description="Make a shape key of this control", default=True)


class LwaeBakePart(bpy.types.PropertyGroup):
    """A part in the dialog."""

    name: StringProperty()
    use: BoolProperty(name="Part", description="Make shape keys of the controls ticked in this part", default=True)
    controls: CollectionProperty(type=LwaeBakeControl)


def poll_controls(cls, context) -> bool:
    return poll_in_object_mode(cls, context, "bake a face", poll_writable_face)


class LWAE_OT_bake_controls(bpy.types.Operator):
    """Make shape keys of the controls you choose, named after them, on an ordinary mesh that needs no add-on"""

    bl_idname = "lwae.bake_controls"
    bl_label = "Bake Controls to Shape Keys"
    bl_options = {"REGISTER", "UNDO"}

    target: EnumProperty(
        name="To",
        description="Which mesh gets the shape keys",
        items=(
            ("COPY", "Plain Copy", "A copy without sliders; the face stays as it is"),
            ("FACE", "This Face, Applied", "The face itself, which becomes an ordinary mesh and loses its sliders"),
        ),
    )
    drivers: EnumProperty(
        name="Drivers",
        description="What moves the shape keys",
        items=(
            ("NONE", "None", "You do"),
            ("PROPERTIES", "Custom Properties", "Properties of the object with the names of the keys, for a rig"),
            ("SLIDERS", "The Face's Sliders", "The sliders of this face: the copy follows it"),
        ),
    )
    hide_face: BoolProperty(
        name="Hide the Face",
        description="Hide the face, also in renders: the copy is in the same place",
        default=True,
    )
    parts: CollectionProperty(type=LwaeBakePart, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        return poll_or_redo(cls, context, poll_controls)

    def invoke(self, context, _event):
        if refuses(self, context, poll_controls):
            return {"CANCELLED"}
        if not self.parts:
            self.list_controls(face.model_of(active_face(context)))
        return context.window_manager.invoke_props_dialog(self, width=620, confirm_text="Bake")

    def list_controls(self, model) -> None:
        """All controls, those that have a meaning ticked."""
        for number in (*range(model.part_count), WHOLE):
            controls = [index for index, control in enumerate(model.controls) if control.part == number]
            if not controls:
                continue
            part = self.parts.add()
            part.name = "Whole Face" if number == WHOLE else model.part_names[number].capitalize()
            for index in controls:
                choice = part.controls.add()
                choice.name, choice.index = model.controls[index].name, index
                choice.use = not choice.name.startswith("Shape ")

    def draw(self, _context):
        layout = self.layout
        row = layout.row()
        row.prop(self, "target", expand=True)
        row = layout.row()
        row.prop(self, "drivers")
        row = row.row()
        row.enabled = self.target == "COPY"
        row.prop(self, "hide_face")
        grid = layout.grid_flow(row_major=True, columns=2, even_columns=True)
        for part in self.parts:
            box = grid.box().column(align=True)
            box.prop(part, "use", text=part.name, translate=False)
            flow = box.grid_flow(row_major=True, columns=3, even_columns=True, align=True)
            flow.enabled = part.use
            for choice in part.controls:
                flow.prop(choice, "use", text=choice.name, translate=False)

    def execute(self, context):
        if refuses(self, context, poll_controls):
            return {"CANCELLED"}
        mesh, source = active_face(context), context.object
        model = face.model_of(mesh)
        if not self.parts:  # From a script that chose none.
            self.list_controls(model)
        chosen = [choice.index for part in self.parts if part.use for choice in part.controls if choice.use]
        if not chosen or max(chosen) >= len(model.controls) or min(chosen) < 0:
            self.report({"ERROR"}, "Tick at least one control of this face's model.")
            return {"CANCELLED"}
        if self.target == "FACE" and self.drivers == "SLIDERS":
            self.report({"ERROR"}, "A face that is applied has no sliders to drive its keys. Bake to a copy instead.")
            return {"CANCELLED"}

        now = shape.read_values(mesh.lwae)
        changes, errors = [], []
        context.window_manager.progress_begin(0, len(chosen))
        for done, index in enumerate(chosen):
            context.window_manager.progress_update(done)
            change, error = bake.control_change(mesh, model, index)
            changes.append(change)
            errors.append((error, bake.control_label(model, index)))
        context.window_manager.progress_end()

        if self.target == "COPY":
            item = bake.plain_copy(source, f"{source.name} Keys")
            bake.select_only(context, [item])
        else:
            item = source
            bake.make_plain(mesh)
        for index, change in zip(chosen, changes, strict=True):
            follows = self.drivers == "SLIDERS"
            key = bake.add_control_key(item, bake.control_label(model, index), change, reach=10 if follows else 3)
            if self.drivers == "PROPERTIES":
                bake.drive_by_property(item, key)
            elif follows:
                bake.drive_by_slider(key, mesh, bake.slider_path(model, index), float(now[index]))
        if self.target == "COPY" and self.hide_face:
            bake.hide([source])
        worst, label = max(errors)
        self.report({"INFO"}, f"{len(chosen)} shape keys; within 3 units at most {worst:.2f} mm off ({label})")
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory((LwaeBakeControl, LwaeBakePart, LWAE_OT_bake_controls))
