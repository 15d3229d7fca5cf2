# SPDX-License-Identifier: GPL-3.0-or-later
"""A face as an asset of one of the user's libraries, for the Asset Browser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from .. import face, gallery, part_colours, sync, writer
from ..backend import blend_file
from ..backend.asset_catalogs import ensure_catalog
from ..backend.errors import LwaeError
from ..backend.files import atomic_path, file_stem, made_folder
from ..backend.model import MM_PER_METRE
from ..backend.thumbnail import blender_pixels
from .common import active_face, poll_face, poll_own_data

SIZE = 256  # Pixels of the picture in the Asset Browser, as Blender's own.
FOLDER = "Faces"  # Within the library.


def libraries(context: bpy.types.Context) -> list[bpy.types.UserAssetLibrary]:
    """The user's asset libraries that are folders of this computer."""
    return [
        library
        for library in context.preferences.filepaths.asset_libraries
        if library.path and not getattr(library, "use_remote_url", False) and getattr(library, "enabled", True)
    ]


_items: list[tuple[str, str, str]] = []


def _library_items(_operator, context) -> list[tuple[str, str, str]]:
    # Blender does not keep the texts alive.
    _items[:] = [(library.name, library.name, library.path) for library in libraries(context)]
    return _items


def asset_path(folder: Path, name: str, replace: bool) -> Path:
    """Where to save an asset: a file of its own, the next free one unless the asset there is to be replaced.

    Only a file that holds that one asset and nothing else to find is ever replaced.
    """
    stem = file_stem(name) or "Face"
    path, number = folder / f"{stem}.blend", 1
    while path.exists() and not (replace and _holds_only(path, name)):
        number += 1
        path = folder / f"{stem}-{number}.blend"
    return path


def _holds_only(path: Path, name: str) -> bool:
    try:
        with bpy.data.libraries.load(str(path), assets_only=True) as (found, _):
            names = {kind: list(getattr(found, kind)) for kind in dir(found) if kind != "version"}
    except OSError:
        return False  # Not Blender's.
    return {kind: value for kind, value in names.items() if value} == {"objects": [name]}


@contextlib.contextmanager
def asset_copy(item: bpy.types.Object, name: str) -> Iterator[tuple[bpy.types.Object, list[str]]]:
    """A copy of a face that needs nothing of this scene, called `name`, for the time of the block.

    Yields:
        The copy, at the origin and without animation, and the names of the modifiers that it lacks because they work
        with other objects.
    """
    sync.settle(item.data)
    copy = item.copy()
    mesh = copy.data = item.data.copy()
    # Linked blocks have names of their own beside those of this file.
    named = bpy.data.objects.get((name, None)), bpy.data.meshes.get((name, None))
    holders = [(block, block.name) for block in named if block]
    try:
        for block in filter(None, (copy, mesh, mesh.shape_keys)):
            block.animation_data_clear()
        copy.parent = None
        copy.constraints.clear()
        copy.location, copy.rotation_euler = (0, 0, 0), (0, 0, 0)
        copy.rotation_quaternion, copy.rotation_axis_angle = (1, 0, 0, 0), (0, 0, 1, 0)
        copy.delta_location, copy.delta_rotation_euler = (0, 0, 0), (0, 0, 0)
        copy.delta_rotation_quaternion = 1, 0, 0, 0
        copy.hide_viewport = copy.hide_render = False
        part_colours.hide(mesh)
        removed = [modifier.name for modifier in copy.modifiers if _uses_objects(modifier)]
        for modifier in removed:
            copy.modifiers.remove(copy.modifiers[modifier])
        for block, _ in holders:  # Two blocks cannot have one name.
            block.name = "lwae asset's namesake"
        copy.name = mesh.name = name
        yield copy, removed
    finally:
        bpy.data.objects.remove(copy)
        bpy.data.meshes.remove(mesh)
        for block, former in holders:
            block.name = former


def _uses_objects(modifier: bpy.types.Modifier) -> bool:
    pointers = (item.identifier for item in modifier.bl_rna.properties if item.type == "POINTER")
    values = [getattr(modifier, name) for name in pointers]
    if modifier.type == "NODES":
        values += _node_inputs(modifier)
    return any(isinstance(value, (bpy.types.Object, bpy.types.Collection)) for value in values)


def _node_inputs(modifier: bpy.types.NodesModifier) -> list:
    """What Geometry Nodes are given."""
    if not hasattr(modifier, "properties"):  # Before Blender 5.2.
        return list(modifier.values())
    if modifier.properties is None:  # It has no nodes.
        return []
    inputs = modifier.properties.inputs
    sockets = [getattr(inputs, item.identifier) for item in inputs.bl_rna.properties if item.type == "POINTER"]
    return [getattr(socket, "value", None) for socket in sockets]


class LWAE_OT_save_asset(bpy.types.Operator):
    """Save this face in one of your asset libraries, to be dragged in from the Asset Browser, sliders and all"""

    bl_idname = "lwae.save_asset"
    bl_label = "Save Face as Asset"
    bl_options = {"REGISTER"}

    name: StringProperty(name="Name", description="What the asset is called")
    library: EnumProperty(
        name="Library",
        description="One of your asset libraries, see Asset Libraries in the Preferences",
        items=_library_items,
    )
    catalogue: StringProperty(
        name="Catalog",
        description="Catalog of the library, added if it is not there yet; / makes levels",
        default="Faces",
    )
    tags: StringProperty(name="Tags", description="Words to find it by, separated by commas", default="face")
    author: StringProperty(name="Author", description="Who made it")
    description: StringProperty(name="Description", description="What there is to say about it")
    replace: BoolProperty(
        name="Replace Existing",
        description="Replace the asset of the same name that was saved here before, instead of adding another one",
        default=False,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context):
        if not poll_face(cls, context):
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Switch to Object Mode to save a face.")
            return False
        trouble = face.trouble(active_face(context))
        if trouble is not None and trouble.kind != "EDITED":
            cls.poll_message_set(trouble.sentence)
            return False
        if not libraries(context):
            cls.poll_message_set("Add a folder under Asset Libraries in the Preferences first.")
            return False
        return poll_own_data(cls, active_face(context))

    def invoke(self, context, _event):
        self.name = context.object.name
        return context.window_manager.invoke_props_dialog(self, width=360, confirm_text="Save")

    def draw(self, _context):
        layout = self.layout
        layout.use_property_split = True
        for name in ("name", "library", "catalogue", "tags", "author", "description", "replace"):
            layout.prop(self, name)

    def execute(self, context):
        name = self.name.strip() or context.object.name
        library = next(library for library in libraries(context) if library.name == self.library)
        root = Path(bpy.path.abspath(library.path))
        manager = context.window_manager
        manager.progress_begin(0, 1)
        try:
            if not root.is_dir():
                raise LwaeError(f"The folder of the library {library.name} is not there: {root}. Make it first.")
            with made_folder(root / FOLDER):
                path = asset_path(root / FOLDER, name, self.replace)
                removed = self.save(context.object, name, path, ensure_catalog(root, self.catalogue))
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).strip().removeprefix("Error: ")
            self.report({"ERROR"}, f"Cannot save the asset in {root}: {reason}")
            return {"CANCELLED"}
        finally:
            manager.progress_end()
        refresh_asset_browsers(context)
        if removed:
            lost = ", ".join(removed)
            self.report({"WARNING"}, f"Saved {name} without the modifiers that need other objects: {lost}")
        else:
            self.report({"INFO"}, f"Saved {name} in the library {library.name}, file {path.name}")
        return {"FINISHED"}

    def save(self, item: bpy.types.Object, name: str, path: Path, catalog: str) -> list[str]:
        """Write the asset's file; returns the modifiers that were left out."""
        vertices = writer.read_positions(item.data) * MM_PER_METRE
        picture = gallery.portraits(face.model_of(item.data)).picture(vertices, SIZE)
        with asset_copy(item, name) as (copy, removed):
            copy.asset_mark()
            data = copy.asset_data
            if catalog:
                data.catalog_id = catalog
            data.author, data.description = self.author, self.description
            for tag in filter(None, (tag.strip() for tag in self.tags.split(","))):
                data.tags.new(tag, skip_if_exists=True)
            preview = copy.preview_ensure()
            preview.image_size = (SIZE, SIZE)
            preview.image_pixels_float.foreach_set(blender_pixels(picture))
            with atomic_path(path) as beside:
                bpy.data.libraries.write(str(beside), {copy}, path_remap="ABSOLUTE", compress=True)
                if not (blend_file.is_whole(beside) and _holds_only(beside, copy.name)):
                    raise OSError("Blender could not write all of the file")
        return removed


def refresh_asset_browsers(context: bpy.types.Context) -> None:
    """Let open Asset Browsers see what is new."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type != "FILE_BROWSER" or area.ui_type != "ASSETS":
                continue
            region = next(region for region in area.regions if region.type == "WINDOW")
            with context.temp_override(window=window, area=area, region=region):
                if bpy.ops.asset.library_refresh.poll():
                    bpy.ops.asset.library_refresh()


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_save_asset,))
