# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that moves a face's vertices, and the stamp that tells our positions from an artist's."""

from __future__ import annotations

import json
import zlib

import bmesh
import bpy
import numpy as np

from .backend.errors import LwaeError
from .backend.expressions import Follower
from .backend.model import MM_PER_METRE
from .backend.similarity import Similarity

# Before 5.2 the bounding box stays stale when the attribute is written.
STALE_BOUNDS = bpy.app.version < (5, 2, 0)

# How far shape keys that wait have yet to go, metres, by vertex; `mesh.lwae.waiting` names them.
WAITING = "lwae_waiting"


def read_positions(mesh: bpy.types.Mesh) -> np.ndarray:
    """Vertex positions of the mesh, or of its basis shape key: float32 [N, 3] in metres.

    Raises:
        LwaeError: in edit mode, where a mesh has no positions to read.
    """
    if mesh.is_editmode:
        raise LwaeError("Leave edit mode first.")
    positions = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    if mesh.shape_keys:
        mesh.shape_keys.reference_key.points.foreach_get("co", positions)
    else:
        mesh.attributes["position"].data.foreach_get("vector", positions)
    return positions.reshape(-1, 3)


def write_positions(
    mesh: bpy.types.Mesh,
    positions: np.ndarray,
    expressions: Follower | None = None,
    wait: frozenset[str] = frozenset(),
) -> None:
    """Move all vertices of a mesh.

    A mesh with shape keys gets the same change in every key, so that what an artist made stays on the new face; keys
    that are named as an expression of the model change besides as that one does.

    Args:
        positions: float32 [N, 3] in mm, in the model's frame (Blender's, face along -Y).
        expressions: the model's.
        wait: names of shape keys that are not moved now but by `catch_up`, see `late_keys`; no linked mesh has any.

    Raises:
        LwaeError: in edit mode, for another number of vertices, or when the mesh did not take the positions.
    """
    if mesh.is_editmode:
        raise LwaeError("Leave edit mode first.")
    if positions.shape != (len(mesh.vertices), 3):
        raise LwaeError(f"{mesh.name} has {len(mesh.vertices)} vertices, but the face has {len(positions)}.")
    metres = np.ascontiguousarray(positions, dtype=np.float32) / np.float32(MM_PER_METRE)
    if mesh.library or mesh.override_library:
        _write_linked(mesh, metres, expressions)
    else:
        if mesh.shape_keys:
            _write_keys(mesh, metres, expressions, wait)
        mesh.attributes["position"].data.foreach_set("vector", metres.ravel())
        if STALE_BOUNDS:
            mesh.vertices[0].co = mesh.vertices[0].co
    mesh.update()
    found = read_positions(mesh)
    if not (np.array_equal(found, metres) or np.allclose(found, metres, rtol=0, atol=1e-6)):
        raise LwaeError(f"{mesh.name} cannot be changed here; make it local first.")


def transform(mesh: bpy.types.Mesh, pose: Similarity) -> None:
    """Move a mesh of this file, in metres, with all its shape keys, as Blender's Apply does. The caller updates it."""
    blocks = [(block.points, "co") for block in mesh.shape_keys.key_blocks] if mesh.shape_keys else []
    for points, name in (*blocks, (mesh.attributes["position"].data, "vector")):
        points.foreach_set(name, pose.apply(_read(points, name).reshape(-1, 3)).astype(np.float32).ravel())


def _write_keys(
    mesh: bpy.types.Mesh, metres: np.ndarray, expressions: Follower | None, wait: frozenset[str]
) -> None:
    if waiting_keys(mesh) != wait:
        catch_up(mesh, expressions)
    change, reference = metres - read_positions(mesh), mesh.shape_keys.reference_key
    if wait:
        _postpone(mesh, change, wait)
    keys = [key for key in mesh.shape_keys.key_blocks if key != reference and key.name not in wait]
    _shift(keys, change, expressions)
    # Exactly what the mesh gets: the stamp must hold when the keys are removed.
    reference.points.foreach_set("co", metres.ravel())


def _shift(keys: list[bpy.types.ShapeKey], change: np.ndarray, expressions: Follower | None) -> None:
    points, shift = np.empty(change.size, dtype=np.float32), change.ravel()
    for key in keys:
        key.points.foreach_get("co", points)
        points += shift
        _follow(points.reshape(-1, 3), key.name, change, expressions)
        key.points.foreach_set("co", points)


def waiting_keys(mesh: bpy.types.Mesh) -> frozenset[str]:
    """Names of shape keys that have not yet followed the face."""
    try:
        return frozenset(json.loads(mesh.lwae.waiting)) if mesh.lwae.waiting else frozenset()
    except (ValueError, TypeError):  # a damaged file
        return frozenset()


def _postpone(mesh: bpy.types.Mesh, change: np.ndarray, names: frozenset[str]) -> None:
    """Add to what is on the mesh itself, so that undo, copies and files know what their keys have yet to do."""
    attribute = mesh.attributes.get(WAITING)
    if not mesh.lwae.waiting:
        if attribute is not None:
            mesh.attributes.remove(attribute)  # Of keys that are gone.
        attribute = mesh.attributes.new(WAITING, "FLOAT_VECTOR", "POINT")
        mesh.lwae.waiting = json.dumps(sorted(names))
    attribute.data.foreach_set("vector", _read(attribute.data, "vector") + change.ravel())


def catch_up(mesh: bpy.types.Mesh, expressions: Follower | None) -> None:
    """Let shape keys that wait follow the face to where it is; not in edit mode. The caller updates the mesh."""
    names, attribute = waiting_keys(mesh), mesh.attributes.get(WAITING)
    is_ours = attribute is not None and (attribute.data_type, attribute.domain) == ("FLOAT_VECTOR", "POINT")
    if names and is_ours and mesh.shape_keys:
        change = _read(attribute.data, "vector")
        reference = mesh.shape_keys.reference_key
        keys = [key for key in mesh.shape_keys.key_blocks if key != reference and key.name in names]
        _shift([key for key in keys if 3 * len(key.points) == change.size], change.reshape(-1, 3), expressions)
    if mesh.lwae.waiting:
        mesh.lwae.waiting = ""
    if attribute is not None:
        mesh.attributes.remove(attribute)


def _follow(points: np.ndarray, name: str, change: np.ndarray, expressions: Follower | None) -> None:
    """Let the shape key of an expression follow a change [N, 3] of the face."""
    if expressions is None or name not in expressions.numbers:
        return
    own = expressions.change(expressions.numbers[name], change)
    if own is not None:
        points[own[0]] += own[1]


def _write_linked(mesh: bpy.types.Mesh, metres: np.ndarray, expressions: Follower | None) -> None:
    """Blender's foreach_set silently writes nothing on linked and overridden data; what a BMesh holds is taken."""
    copy, whole = mesh.copy(), bmesh.new()
    try:
        if copy.override_library:
            copy.make_local()
        if copy.shape_keys:
            _write_keys(copy, metres, expressions, frozenset())
        copy.attributes["position"].data.foreach_set("vector", metres.ravel())
        whole.from_mesh(copy)
        whole.to_mesh(mesh)
    finally:
        whole.free()
        bpy.data.meshes.remove(copy)


def topology_matches(mesh: bpy.types.Mesh, sizes: np.ndarray, corners: np.ndarray, vertex_count: int) -> bool:
    """Whether a mesh still has the vertices and polygons of its model.

    Args:
        sizes: int32 [F], corners of each polygon.
        corners: int32 [L], vertex of each polygon corner.
    """
    if (len(mesh.vertices), len(mesh.polygons), len(mesh.loops)) != (vertex_count, len(sizes), len(corners)):
        return False
    vertices = np.empty(len(corners), dtype=np.int32)
    mesh.attributes[".corner_vert"].data.foreach_get("value", vertices)
    return np.array_equal(vertices, corners)


def stamp(mesh: bpy.types.Mesh) -> str:
    """Checksum of where the vertices are now, to the last bit.

    CRC-32, because it is asked for at every step of a drag: five times as fast as a hash, and an edit goes unnoticed
    once in four thousand million.
    """
    return f"{zlib.crc32(read_positions(mesh)):08x}"


class Positions:
    """Where the vertices of a mesh of this file and its shape keys are, to put them back to the last bit."""

    def __init__(self, mesh: bpy.types.Mesh):
        self._mesh = mesh
        keys = mesh.shape_keys
        self._vertices = _read(mesh.attributes["position"].data, "vector")
        self._keys = [_read(block.points, "co") for block in keys.key_blocks] if keys else []

    def restore(self) -> None:
        keys = self._mesh.shape_keys
        for block, points in zip(keys.key_blocks if keys else (), self._keys, strict=True):
            block.points.foreach_set("co", points)
        self._mesh.attributes["position"].data.foreach_set("vector", self._vertices)
        if STALE_BOUNDS:
            self._mesh.vertices[0].co = self._mesh.vertices[0].co
        self._mesh.update()


def _read(points: bpy.types.bpy_prop_collection, name: str) -> np.ndarray:
    numbers = np.empty(len(points) * 3, dtype=np.float32)
    points.foreach_get(name, numbers)
    return numbers
