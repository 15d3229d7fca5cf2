# SPDX-License-Identifier: GPL-3.0-or-later
"""Animated faces as ordinary meshes that play without the add-on: for render farms and other programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from .. import bake, face, playback
from ..backend.errors import LwaeError
from ..backend.files import made_folder
from ..backend.point_cache import PointCacheWriter
from ..chosen_path import chosen_path
from ..properties import BESIDE_FILE
from .common import poll_in_object_mode, poll_or_redo, refuses
from .stepped import Stepped

MOST_KEYS = 2000
FOLDER = "a folder for the files"  # as sentences call it


def poll_animation(cls, context) -> bool:
    return poll_in_object_mode(cls, context, "bake an animation")


class LWAE_OT_bake_animation(Stepped, bpy.types.Operator):
    """Make a plain copy of each selected face that plays its animation without this add-on"""

    bl_idname = "lwae.bake_animation"
    bl_label = "Bake Animation"
    bl_options = {"REGISTER", "UNDO"}

    method: EnumProperty(
        name="As",
        description="How the copy holds the frames",
        items=(
            ("KEYS", "Shape Keys", "A keyed shape key for each frame: inside the file, and in glTF and FBX"),
            ("CACHE", "Point Cache", "PC2 files beside the file, played by a Mesh Cache modifier: for long animations"),
            ("ALEMBIC", "Alembic", "An Alembic file for other programs, with modifiers; no copy is made"),
        ),
    )
    frame_start: IntProperty(name="Start", description="First frame")
    frame_end: IntProperty(name="End", description="Last frame")
    frame_step: IntProperty(
        name="Step",
        description="Frames from one sample to the next; between them the face goes straight",
        default=1,
        min=1,
    )
    folder: StringProperty(
        name="Folder",
        description="Where files are written",
        subtype="DIR_PATH",
        default="//face_cache/",
        options=BESIDE_FILE,
    )
    hide_faces: BoolProperty(
        name="Hide the Faces",
        description="Hide the faces, also in renders: the copies are in the same place",
        default=True,
    )
    # Whether a person pressed the button: then it runs in the window, else it is done when the call returns.
    asked = False

    @classmethod
    def poll(cls, context):
        return poll_or_redo(cls, context, poll_animation)

    def invoke(self, context, _event):
        if refuses(self, context, poll_animation):
            return {"CANCELLED"}
        self.take_range(context)
        self.asked = True
        return context.window_manager.invoke_props_dialog(self, width=360, confirm_text="Bake")

    def take_range(self, context) -> None:
        """The scene's frames, where no other were given."""
        for name in ("frame_start", "frame_end"):
            if not self.properties.is_property_set(name):
                setattr(self, name, getattr(context.scene, name))

    def draw(self, _context):
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "method", expand=False)
        if self.method == "ALEMBIC" and not bpy.app.build_options.alembic:
            layout.label(text="This Blender was built without Alembic.", icon="ERROR")
        column = layout.column(align=True)
        column.prop(self, "frame_start")
        column.prop(self, "frame_end")
        column.prop(self, "frame_step")
        if self.method != "KEYS":
            layout.prop(self, "folder")
        if self.method != "ALEMBIC":
            layout.prop(self, "hide_faces")

    def execute(self, context):
        if refuses(self, context, poll_animation):
            return {"CANCELLED"}
        self.take_range(context)
        problem = self.problem(context)
        if problem:
            self.report({"ERROR"}, problem)
            return {"CANCELLED"}
        asked, self.asked = self.asked, False  # The redo panel runs this again, and that must end before it returns.
        return self.start(context) if asked else Stepped.execute(self, context)

    def problem(self, context) -> str:
        """Why it cannot be baked so, as a sentence; "" when it can."""
        if self.frame_end < self.frame_start:
            return "The last frame comes before the first."
        if self.method != "CACHE" and len(self.frames()) > MOST_KEYS:  # Alembic is written from keys.
            return f"That makes {len(self.frames()):,} shape keys. Bake a point cache instead, or a larger step."
        if self.method == "ALEMBIC" and not bpy.app.build_options.alembic:
            return "This Blender was built without Alembic. Bake a point cache or shape keys instead."
        if self.method != "KEYS":
            try:
                chosen_path(self.folder, FOLDER)
            except LwaeError as error:
                return str(error)
        return ""

    def frames(self) -> list[int]:
        return list(range(self.frame_start, self.frame_end + 1, self.frame_step))

    def steps(self, context) -> Iterator[float]:
        items = animated_objects(context)
        frames = self.frames()
        folder = None if self.method == "KEYS" else chosen_path(self.folder, FOLDER)
        copies: list[bpy.types.Object] = []
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(playback.kept_frame(context.scene))
                readers = [stack.enter_context(playback.Reader(context, item)) for item in items]
                if self.method == "CACHE":
                    stack.enter_context(made_folder(folder))
                    paths = playback.free_paths(folder, [item.name for item in items], ".pc2")
                    counts = [len(item.data.vertices) for item in items]
                    files = [
                        stack.enter_context(
                            PointCacheWriter(path, count, self.frame_start, self.frame_step, len(frames))
                        )
                        for path, count in zip(paths, counts, strict=True)
                    ]
                samples: list[list[np.ndarray]] = [[] for _ in items]
                for done, frame in enumerate(frames):
                    context.scene.frame_set(frame)
                    for number, reader in enumerate(readers):
                        positions = reader.positions()
                        if self.method == "CACHE":
                            files[number].write(positions)
                        if self.method != "CACHE" or not done:
                            samples[number].append(positions)
                    yield 0.8 * (done + 1) / len(frames)
            for number, item in enumerate(items):
                copies.append(playback.copy_at_first_frame(item, samples[number][0]))
                if self.method == "CACHE":
                    playback.play_by_cache(copies[-1], paths[number], self.frame_start, self.frame_step)
                    continue
                for made in playback.play_by_keys(copies[-1], frames, samples[number]):
                    yield 0.8 + 0.2 * (number + made / len(frames)) / len(items)
            if self.method == "ALEMBIC":
                with made_folder(folder):
                    self.export(context, copies, *playback.free_paths(folder, [items[0].name], ".abc"))
                return
        except BaseException:
            playback.remove(copies)
            raise
        context.view_layer.update()
        bake.select_only(context, copies)
        if self.hide_faces:
            bake.hide(items)
        faces = "1 face" if len(items) == 1 else f"{len(items)} faces"
        where = f" in {folder}" if self.method == "CACHE" else ""
        self.report({"INFO"}, f"Baked {len(frames)} frames of {faces}{where}")

    def export(self, context, copies: list[bpy.types.Object], path: Path) -> None:
        """Write copies to an Alembic file and remove them; what was selected stays so."""
        active = context.view_layer.objects.active
        selected = [item for item in context.selected_objects if item not in copies]
        try:
            context.view_layer.update()
            bake.select_only(context, copies)
            bpy.ops.wm.alembic_export(
                filepath=str(path), start=self.frame_start, end=self.frame_end, selected=True, as_background_job=False
            )
        finally:
            playback.remove(copies)
            copies.clear()
            if selected:
                bake.select_only(context, selected)
            context.view_layer.objects.active = active
        self.report({"INFO"}, f"Wrote {path}")


def animated_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The active and the selected objects with faces of this file."""
    return [
        item
        for item in dict.fromkeys((context.object, *context.selected_objects))
        if item is not None and face.is_face(item.data) and not item.data.library and not item.data.override_library
    ]


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_bake_animation,))
