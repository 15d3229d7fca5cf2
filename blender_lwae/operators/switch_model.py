# SPDX-License-Identifier: GPL-3.0-or-later
"""Another model for a face."""

import bpy
from bpy.props import BoolProperty, EnumProperty

from .. import face, model_list, models
from .. import switch as switching
from ..backend.errors import LwaeError
from .common import active_face, poll_face, poll_or_redo, refuses


def _other_models(self, context) -> list[tuple]:
    """All but the one that the face has; in the redo panel it has the one that was chosen, which stays."""
    mesh = active_face(context)
    chosen = self.get("model") if self is not None else None  # Its number: reading the property would come back here.
    items = model_list.enum_items(self, context)
    _others[:] = [item for item in items if mesh is None or item[4] == chosen or not _is_model_of(item[0], mesh)] or [
        ("NONE", "No Other Model", "Install one in the add-on's preferences", "ERROR", 0)
    ]
    return _others


_others: list[tuple] = []  # Blender does not keep the strings of dynamic menus.


def _is_model_of(key: str, mesh: bpy.types.Mesh) -> bool:
    """Whether a file is no other model: the same code and the same sliders. Only likely files are loaded for that.

    Files from before headers stated the hash: the bundled one is loaded anyway, others by their name.
    """
    item = model_list.by_key(key)
    if item.facts is None:
        return True  # Nothing to switch to.
    is_likely = item.facts.hash == mesh.lwae.model_hash if item.facts.hash else item.name == mesh.lwae.model_name
    if not is_likely:
        return False
    try:
        model, own = models.load(item.path), face.model_of(mesh)
    except LwaeError:
        return True  # Nothing to switch to.
    return model.hash == own.hash and models.tools(model).sliders == models.tools(own).sliders


def poll_switch(cls, context) -> bool:
    if not poll_face(cls, context):
        return False
    if context.mode != "OBJECT":
        cls.poll_message_set("Switch to Object Mode first.")
        return False
    if len(model_list.usable()) < 2 and face.trouble(active_face(context)) is None:
        cls.poll_message_set("There is no other model. Install one in the add-on's preferences.")
        return False
    return True


class LWAE_OT_switch_model(bpy.types.Operator):
    """Give the face another model. Its shape stays where both models have the same vertices; elsewhere sliders of
the same part and name keep their values"""

    bl_idname = "lwae.switch_model"
    bl_label = "Switch Model"
    bl_options = {"REGISTER", "UNDO"}

    model: EnumProperty(
        name="Model", description="The model that the face shall have", items=_other_models, options={"SKIP_SAVE"}
    )
    result: EnumProperty(
        name="Result",
        description="What gets the other model",
        items=(
            ("COPY", "Copy", "A copy beside the face gets the other model; the face stays as it is"),
            ("FACE", "Selected Faces", "The face itself gets the other model, and all selected ones of its model"),
        ),
        default="COPY",
    )
    keep_offset: BoolProperty(
        name="Keep Exact Shape",
        description="Where the vertices are the same, keep as an offset what the other model cannot show",
        default=False,
    )

    @classmethod
    def poll(cls, context):
        return poll_or_redo(cls, context, poll_switch)

    def invoke(self, context, _event):
        if refuses(self, context, poll_switch):
            return {"CANCELLED"}
        self.take_first(context)
        return context.window_manager.invoke_props_dialog(self, width=380)

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "model")
        layout.prop(self, "result")
        layout.prop(self, "keep_offset")
        mesh = active_face(context)
        item = self.chosen()
        if mesh is None or item is None:
            return
        column = layout.box().column()
        column.scale_y = 0.85
        if item.facts.vertex_count == len(mesh.vertices):
            column.label(text="Same number of vertices: if the polygons are the same,", icon="INFO")
            column.label(text="the shape is encoded again and stays.", icon="BLANK1")
        else:
            counts = f"{item.facts.vertex_count:,} vertices instead of {len(mesh.vertices):,}"
            column.label(text=f"Another mesh ({counts}):", icon="INFO")
            column.label(text="sliders of the same part and name keep their values.", icon="BLANK1")
            if self.result == "FACE" and mesh.shape_keys:
                column.label(text="Shape keys of this face are lost.", icon="ERROR")

    def take_first(self, context) -> None:
        """The first other model, where none was chosen."""
        if not self.properties.is_property_set("model"):
            self.model = _other_models(None, context)[0][0]

    def chosen(self) -> model_list.ModelFile | None:
        try:
            item = model_list.by_key(self.model)
        except LwaeError:
            return None
        return item if item.facts else None

    def execute(self, context):
        if refuses(self, context, poll_switch):
            return {"CANCELLED"}
        self.take_first(context)
        item, source = self.chosen(), context.object
        if item is None:
            self.report({"ERROR"}, "There is no such model. Install one in the add-on's preferences.")
            return {"CANCELLED"}
        if self.result == "FACE" and source.data.override_library:
            self.report({"ERROR"}, "This face is an override of another file's. Make it local, or switch a copy.")
            return {"CANCELLED"}
        context.window_manager.progress_begin(0, 1)
        context.window_manager.progress_update(0)  # The cursor says that it takes a second or two.
        try:
            model = models.load(item.path)
            if self.result == "FACE":
                return self._switch_all(_faces_like(context, source.data), model)
            return self._switch_copy(context, source, model)
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        finally:
            context.window_manager.progress_end()

    def _switch_copy(self, context, source, model) -> set[str]:
        target = switching.copy_face(source)
        try:
            switched = switching.switch(target.data, model, self.keep_offset)
        except BaseException:
            bpy.data.meshes.remove(target.data)
            raise
        for other in context.selected_objects:
            other.select_set(False)
        target.select_set(True)
        context.view_layer.objects.active = target
        self._say(switched.sentence, switched.lost)
        return {"FINISHED"}

    def _switch_all(self, meshes, model) -> set[str]:
        first, *others = meshes
        switched = switching.switch(first, model, self.keep_offset)
        sentence, lost = switched.sentence, list(switched.lost)
        for mesh in others:
            name = mesh.name
            try:
                lost += [f"{what} of {name}" for what in switching.switch(mesh, model, self.keep_offset).lost]
            except LwaeError as error:
                lost.append(f"{name} ({error})")
        if others:
            sentence += f"; so were {len(others)} more"
        self._say(sentence, lost)
        return {"FINISHED"}

    def _say(self, sentence: str, lost: list[str]) -> None:
        if lost:
            self.report({"WARNING"}, f"{sentence}; left out: {', '.join(lost)}")
        else:
            self.report({"INFO"}, sentence)


def _faces_like(context, mesh: bpy.types.Mesh) -> list[bpy.types.Mesh]:
    """The mesh, then those of other selected faces with the same model that can be changed, each once."""
    found = [mesh]
    for item in context.selected_objects:
        other = item.data if item.type == "MESH" else None
        if other is None or other in found or other.lwae.model_hash != mesh.lwae.model_hash:
            continue
        if not (other.library or other.override_library):
            found.append(other)
    return found


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_switch_model,))
