# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes that a face is made from: read as they are seen, and the face that comes of them."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix
from mathutils.bvhtree import BVHTree

from . import face, mesh_build, shape, sync
from .backend.model import MM_PER_METRE, FaceModel
from .backend.similarity import Similarity
from .backend.surface import Closest
from .new_objects import collection_for_new


def read_triangles(context: bpy.types.Context, item: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """A mesh object as it is seen, modifiers and shape keys applied.

    Returns:
        Vertices float64 [N, 3] in the world, metres, and triangles int64 [T, 3].
    """
    seen = item.evaluated_get(context.evaluated_depsgraph_get())
    mesh = seen.to_mesh()
    try:
        mesh.calc_loop_triangles()
        triangles = np.empty(len(mesh.loop_triangles) * 3, dtype=np.int32)
        mesh.loop_triangles.foreach_get("vertices", triangles)
        vertices = _world(item, mesh)
    finally:
        seen.to_mesh_clear()
    return vertices, triangles.reshape(-1, 3).astype(np.int64)


def read_vertices(context: bpy.types.Context, item: bpy.types.Object) -> np.ndarray:
    """Vertices of a mesh object in the world, float64 [N, 3] in metres, in the order of its mesh: as they are seen
    without the modifiers that add or remove any."""

    def seen(shown: bpy.types.Object) -> bpy.types.Mesh:
        return shown.evaluated_get(context.evaluated_depsgraph_get()).data

    count = len(item.data.vertices)
    if len(seen(item).vertices) == count:
        return _world(item, seen(item))
    helper = item.copy()
    context.scene.collection.objects.link(helper)
    try:
        for modifier in reversed(helper.modifiers):
            before = len(seen(helper).vertices)
            if before == count:
                break
            shown, modifier.show_viewport = modifier.show_viewport, False
            if len(seen(helper).vertices) == before:
                modifier.show_viewport = shown  # It moves vertices only.
        mesh = seen(helper)
        return _world(item, mesh if len(mesh.vertices) == count else item.data)
    finally:
        bpy.data.objects.remove(helper)


def make_closest(vertices: np.ndarray, triangles: np.ndarray) -> Closest:
    """Closest points on a mesh, by Blender's tree. Reads no data of Blender's, so that a thread may do it."""
    find = BVHTree.FromPolygons(np.asarray(vertices, dtype=np.float64).tolist(), triangles.tolist()).find_nearest

    def closest(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [find(point) for point in points.tolist()]
        return np.array([item[0] for item in found]), np.array([item[2] for item in found], dtype=np.int64)

    return closest


def new_face(
    context: bpy.types.Context, model: FaceModel, code: np.ndarray, goal: np.ndarray | None, pose: Similarity, source
) -> bpy.types.Object:
    """A face with a code, where the mesh is that it was made from; active and alone selected.

    Args:
        code: float32 [D].
        goal: [N, 3] mm in the model's frame, what the face shall show by an offset that is kept on top of it, or None.
        pose: moves the mesh, in world metres, into the model's frame (mm).
        source: the object that it was made from.
    """
    name = f"{source.name} Face"
    mesh = mesh_build.new_face_mesh(model, name)
    face.make_face(mesh, model)
    with sync.paused():
        face.store_code(mesh, model, code, range(model.part_count))
    if goal is not None:
        shown = shape.shape(mesh, model, shape.read_values(mesh.lwae))  # lids held
        face.store_offset(mesh, ((goal - shown) / MM_PER_METRE).astype(np.float32))
    sync.write(mesh)
    item = bpy.data.objects.new(name, mesh)
    mesh_build.prepare_object(item)
    collection_for_new(context).objects.link(item)
    # From metres of the model's frame to those of the world.
    item.matrix_world = Matrix((pose.inverse().matrix @ np.diag([MM_PER_METRE] * 3 + [1.0])).tolist())
    for other in context.selected_objects:
        other.select_set(False)
    item.select_set(True)
    context.view_layer.objects.active = item
    return item


def _world(item: bpy.types.Object, mesh: bpy.types.Mesh) -> np.ndarray:
    positions = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", positions)
    matrix = np.array(item.matrix_world, dtype=np.float64)
    return positions.reshape(-1, 3).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
