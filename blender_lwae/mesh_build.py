# SPDX-License-Identifier: GPL-3.0-or-later
"""A new face mesh and object from a model: quads, UVs, smooth shading, materials."""

from __future__ import annotations

import bpy
import numpy as np

from . import materials
from .backend.eyes import IRIS_RADIUS, eye_coordinates
from .backend.model import MM_PER_METRE, FaceModel

MODIFIER_NAME = "Face Motion Blur"


def new_face_mesh(model: FaceModel, name: str) -> bpy.types.Mesh:
    """A mesh with the model's mean face, in metres; no sliders yet.

    Returns:
        A new mesh data-block with the model's polygons, UV map, smooth shading and material slots Face Skin,
        Face Eyes and Face Iris (the eye slots only when the model has eyes).
    """
    mesh = bpy.data.meshes.new(name)
    fill_face_mesh(mesh, model)
    return mesh


def fill_face_mesh(mesh: bpy.types.Mesh, model: FaceModel) -> None:
    """Give an empty mesh the model's mean face; material slots that it has already stay as they are."""
    starts = np.concatenate([[0], np.cumsum(model.polygon_sizes)[:-1]]).astype(np.int32)
    mesh.vertices.add(model.vertex_count)
    mesh.loops.add(len(model.polygon_vertices))
    mesh.polygons.add(len(model.polygon_sizes))
    metres = model.mean.astype(np.float32) / np.float32(MM_PER_METRE)
    mesh.attributes["position"].data.foreach_set("vector", metres.ravel())
    mesh.loops.foreach_set("vertex_index", model.polygon_vertices)
    mesh.polygons.foreach_set("loop_start", starts)
    if len(model.uv):
        layer = mesh.uv_layers.new(name="UVMap", do_init=False)
        layer.uv.foreach_set("vector", np.ascontiguousarray(model.uv, dtype=np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.shade_smooth()
    _assign_materials(mesh, model, starts)


def prepare_object(face: bpy.types.Object) -> None:
    """Make an object with a face mesh ready for motion blur.

    Renderers look for moving vertices only where a modifier or shape keys may deform: this one does nothing but say so.
    """
    modifier = face.modifiers.new(MODIFIER_NAME, "SMOOTH")
    modifier.iterations = 0
    modifier.show_viewport = False
    modifier.show_expanded = False


def restore_modifier(mesh: bpy.types.Mesh) -> None:
    """`prepare_object` for all objects of a mesh that had shape keys and has none now."""
    for item in bpy.data.objects:
        if item.data == mesh and MODIFIER_NAME not in item.modifiers and not (item.library or item.override_library):
            prepare_object(item)


def drop_modifier(mesh: bpy.types.Mesh) -> None:
    """Remove what `prepare_object` added from all objects of a mesh that has shape keys or is no face any more.

    Shape keys count as deforming by themselves, and Blender's FBX exporter drops them where there is a modifier.
    """
    for item in bpy.data.objects:
        modifier = item.modifiers.get(MODIFIER_NAME) if item.data == mesh else None
        if modifier is not None and not (item.library or item.override_library):
            item.modifiers.remove(modifier)


def _assign_materials(mesh: bpy.types.Mesh, model: FaceModel, starts: np.ndarray) -> None:
    eye_polygons = np.flatnonzero(model.polygon_material == 1)
    wanted = (materials.skin, materials.eyes, materials.iris) if len(eye_polygons) else (materials.skin,)
    for make in wanted[len(mesh.materials) :]:
        mesh.materials.append(make())
    if not len(eye_polygons):
        return
    polygons = [
        model.polygon_vertices[starts[polygon] : starts[polygon] + model.polygon_sizes[polygon]]
        for polygon in eye_polygons
    ]
    coordinates = eye_coordinates(model.mean, polygons)
    attribute = mesh.attributes.new(materials.EYE_ATTRIBUTE, "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", coordinates.ravel())
    slots = (model.polygon_material == 1).astype(np.int32)
    for polygon, vertices in zip(eye_polygons, polygons, strict=True):
        centre = coordinates[vertices].mean(axis=0)
        if centre[2] == 1 and np.hypot(centre[0], centre[1]) < IRIS_RADIUS:
            slots[polygon] = 2
    mesh.polygons.foreach_set("material_index", slots)
