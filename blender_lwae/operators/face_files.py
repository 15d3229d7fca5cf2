# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces to and from small text files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from .. import animation, face, mesh_build, models, records, sync
from ..backend.errors import LwaeError
from ..backend.face_file import FaceRecord, read_face, write_face
from ..backend.files import file_stem
from ..backend.model import FaceModel
from ..chosen_path import chosen_path
from ..new_objects import add_object
from ..properties import BESIDE_FILE
from .common import active_face, as_errors, change, poll_face, poll_own_data


class LWAE_OT_export_face(ExportHelper, bpy.types.Operator):
    """Write what the sliders of the active face say to a small text file"""

    bl_idname = "lwae.export_face"
    bl_label = "Export Face"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File Path", subtype="FILE_PATH", maxlen=1024, options=BESIDE_FILE)
    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})

    @classmethod
    def poll(cls, context):
        mesh = active_face(context)
        if mesh is None:
            return poll_face(cls, context)
        trouble = face.trouble(mesh)
        if trouble is not None and trouble.kind in ("MODEL", "SLIDERS"):
            cls.poll_message_set(trouble.sentence)
            return False
        return True

    def invoke(self, context, event):
        if not self.filepath:
            self.filepath = (file_stem(context.object.name) or "Face") + self.filename_ext
        return super().invoke(context, event)

    def execute(self, context):
        mesh = active_face(context)
        try:
            path = chosen_path(self.filepath, "a file")
            record = records.read_record(mesh, context.object.name)
            records.add_shape(record, mesh)
            write_face(record, path)
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        trouble, written = face.trouble(mesh), path.name
        if face.OFFSET in mesh.attributes or (trouble is not None and trouble.kind == "EDITED"):
            self.report({"WARNING"}, f"Wrote {written}; your own edit of the mesh is not in it, only the sliders are")
        else:
            self.report({"INFO"}, f"Wrote {written}")
        return {"FINISHED"}


def model_for(record: FaceRecord) -> FaceModel:
    """The model for a new face from a file: its own, else the one that new faces get.

    Raises:
        LwaeError: when no model can be loaded.
    """
    try:
        return records.model_of(record)
    except LwaeError:
        return models.default()


class LWAE_OT_import_face(ImportHelper, bpy.types.Operator):
    """Read a face from a text file that Export Face wrote"""

    bl_idname = "lwae.import_face"
    bl_label = "Import Face"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(name="File Path", subtype="FILE_PATH", maxlen=1024, options=BESIDE_FILE)
    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})
    target: EnumProperty(
        name="Into",
        description="What becomes that face",
        items=(
            ("NEW", "New Face", "Add a face at the 3D cursor"),
            ("ACTIVE", "Active Face", "Set the sliders of the active face. Locked parts stay"),
        ),
        default="NEW",
        options={"SKIP_SAVE"},  # File > Import makes a new face, whatever was imported before.
    )

    @classmethod
    def poll(cls, context):
        if context.mode != "OBJECT":
            cls.poll_message_set("Switch to Object Mode to import a face.")
            return False
        return True

    def draw(self, _context):
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "target")

    def execute(self, context):
        if self.target == "ACTIVE" and not self.can_set_active(context):
            return {"CANCELLED"}
        try:
            record = read_face(chosen_path(self.filepath, "a file"))
            model = face.model_of(active_face(context)) if self.target == "ACTIVE" else model_for(record)
            carried = records.carried_to(record, model)
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if self.target == "ACTIVE":
            mesh = active_face(context)
            result = change(self, context, mesh, partial(self.set_sliders, mesh, model, carried.record))
        else:
            result = self.add_face(context, model, carried.record)
        if carried.sentence():
            missing = "" if record.model_hash == model.hash or is_installed(record) else self.missing(record)
            self.report({"WARNING"}, f"{missing}{carried.sentence()}")
        return result

    def can_set_active(self, context) -> bool:
        mesh = active_face(context)
        if mesh is None:
            self.report({"ERROR"}, "Select the face that shall take these sliders, or import it as a new face")
            return False
        trouble = face.trouble(mesh)
        if mesh.library or trouble is not None:
            self.report({"ERROR"}, trouble.sentence if trouble else "This face is linked; import it as a new face")
            return False
        return poll_own_data(as_errors(self), mesh)

    @staticmethod
    def set_sliders(mesh: bpy.types.Mesh, model: FaceModel, record: FaceRecord) -> list[str]:
        if len(face.free_parts(mesh)) == model.part_count:  # Other donors come: keyframes are not theirs.
            animation.remove_animation(mesh, "lwae.donors[")
        return records.write_record(mesh, model, record)

    def missing(self, record: FaceRecord) -> str:
        named = record.model_name or record.model_hash
        return f"The model {named} of this face is not installed. " if named else "This face names no model. "

    def add_face(self, context, model: FaceModel, record: FaceRecord) -> set[str]:
        name = record.name or Path(self.filepath).stem
        mesh = mesh_build.new_face_mesh(model, name)
        face.make_face(mesh, model)
        records.write_record(mesh, model, record)
        sync.write(mesh)
        mesh_build.prepare_object(add_object(context, mesh, name=name))
        return {"FINISHED"}


def is_installed(record: FaceRecord) -> bool:
    """Whether the model that a face was made with is here."""
    try:
        records.model_of(record)
    except LwaeError:
        return False
    return True


def export_menu(self, _context) -> None:
    self.layout.operator(LWAE_OT_export_face.bl_idname, text="Face (.json)", translate=False)


def import_menu(self, _context) -> None:
    self.layout.operator(LWAE_OT_import_face.bl_idname, text="Face (.json)", translate=False)


CLASSES = (LWAE_OT_export_face, LWAE_OT_import_face)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.TOPBAR_MT_file_export.append(export_menu)
    bpy.types.TOPBAR_MT_file_import.append(import_menu)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(import_menu)
    bpy.types.TOPBAR_MT_file_export.remove(export_menu)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
