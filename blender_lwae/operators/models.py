# SPDX-License-Identifier: GPL-3.0-or-later
"""The preferences' list of models: put files in, take them out, choose the one for new faces."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, CollectionProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from .. import analysis, gallery, model_list, models, pulling, runtime, sides
from ..backend.errors import LwaeError
from ..backend.model_folder import install_model


def forget(path: Path) -> None:
    """Drop the model of a file that was removed or replaced, and all that was made for it."""
    for model in models.forget(path):
        for module in (analysis, pulling, gallery, sides, runtime):
            module.forget(model)


class LWAE_OT_install_model(ImportHelper, bpy.types.Operator):
    """Check face models (.lwae files) and copy them into the folder of models"""

    bl_idname = "lwae.install_model"
    bl_label = "Install Model..."
    bl_options = {"REGISTER"}

    filter_glob: StringProperty(default="*.lwae", options={"HIDDEN"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    overwrite: BoolProperty(
        name="Replace",
        description="Replace installed models whose files have the same name",
        default=False,
        options={"SKIP_SAVE"},
    )

    def execute(self, _context):
        names = [item.name for item in self.files if item.name]
        paths = [Path(self.directory) / name for name in names] if names and self.directory else [Path(self.filepath)]
        done, failed = [], []
        for path in paths:
            try:
                target = install_model(bpy.path.abspath(str(path)), model_list.folder(create=True), self.overwrite)
                forget(target)
                done.append(target.name)
            except LwaeError as error:
                failed.append(str(error))
        for sentence in failed:
            self.report({"ERROR"}, sentence)
        if done:
            self.report({"INFO"}, f"Installed {', '.join(done)}")
        return {"FINISHED"} if done else {"CANCELLED"}


class OfModel:
    """What acts on one model of the list."""

    model: StringProperty(
        name="Model", description="Its file in the folder of models", options={"HIDDEN", "SKIP_SAVE"}
    )

    def find(self) -> model_list.ModelFile | None:
        try:
            return model_list.by_key(self.model)
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return None


class LWAE_OT_remove_model(OfModel, bpy.types.Operator):
    """Delete the file of this model. Faces that were made with it keep their shape, but their sliders stop"""

    bl_idname = "lwae.remove_model"
    bl_label = "Delete Model"
    bl_options = {"REGISTER"}

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, _context):
        item = self.find() if self.model else None  # Without a name it would be the one that new faces get.
        if item is None:
            return {"CANCELLED"}
        if item.key == model_list.BUNDLED or not item.key:
            self.report({"ERROR"}, "The model that came with the add-on cannot be deleted.")
            return {"CANCELLED"}
        try:
            item.path.unlink()
        except OSError as error:
            self.report({"ERROR"}, f"Cannot delete {item.path.name}: {error.strerror or error}.")
            return {"CANCELLED"}
        forget(item.path)
        self.report({"INFO"}, f"Deleted {item.path.name}")
        return {"FINISHED"}


class LWAE_OT_default_model(OfModel, bpy.types.Operator):
    """Make new faces with this model"""

    bl_idname = "lwae.default_model"
    bl_label = "Use Model for New Faces"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context):
        if model_list.preferences() is None:
            cls.poll_message_set("Enable the add-on in the preferences first.")
            return False
        return True

    def execute(self, context):
        item = self.find()
        if item is None:
            return {"CANCELLED"}
        model_list.preferences().default_model = "" if item.key == model_list.BUNDLED else item.key
        context.preferences.is_dirty = True
        return {"FINISHED"}


class LWAE_OT_refresh_models(bpy.types.Operator):
    """Look again at the folder of models"""

    bl_idname = "lwae.refresh_models"
    bl_label = "Refresh Models"
    bl_options = {"REGISTER"}

    def execute(self, _context):
        model_list.clear()
        return {"FINISHED"}


class LWAE_OT_open_models_folder(bpy.types.Operator):
    """Open the folder of models in the file browser of the system"""

    bl_idname = "lwae.open_models_folder"
    bl_label = "Open Models Folder"
    bl_options = {"REGISTER"}

    def execute(self, _context):
        try:
            folder = model_list.folder(create=True)
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return bpy.ops.wm.path_open(filepath=str(folder))


register, unregister = bpy.utils.register_classes_factory(
    (
        LWAE_OT_install_model,
        LWAE_OT_remove_model,
        LWAE_OT_default_model,
        LWAE_OT_refresh_models,
        LWAE_OT_open_models_folder,
    )
)
