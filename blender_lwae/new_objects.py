# SPDX-License-Identifier: GPL-3.0-or-later
"""Where new objects go: a collection that is linked from another file, or an override of one, takes none."""

from __future__ import annotations

import bpy
from bpy_extras.object_utils import object_data_add


def collection_for_new(context: bpy.types.Context) -> bpy.types.Collection:
    """The active collection, or that of the scene where it takes no objects."""
    active = context.collection
    return active if active is not None and _takes_objects(active) else context.scene.collection


def add_object(context: bpy.types.Context, mesh: bpy.types.Mesh, **options) -> bpy.types.Object:
    """A new object at the 3D cursor, active and alone selected.

    Args:
        options: of `object_data_add`.
    """
    layer = context.view_layer
    active = layer.active_layer_collection
    if not _takes_objects(active.collection):
        layer.active_layer_collection = layer.layer_collection
    try:
        return object_data_add(context, mesh, **options)
    finally:
        layer.active_layer_collection = active


def link_beside(copy: bpy.types.Object, item: bpy.types.Object) -> None:
    """Put a copy into the collections that another object is in."""
    for collection in item.users_collection:
        if _takes_objects(collection):
            collection.objects.link(copy)
    if not copy.users_collection:
        collection_for_new(bpy.context).objects.link(copy)


def _takes_objects(collection: bpy.types.Collection) -> bool:
    return not (collection.library or collection.override_library)
