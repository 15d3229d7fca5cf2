# SPDX-License-Identifier: GPL-3.0-or-later
"""The mouse over a face in a 3D viewport, and the sidebars."""

from __future__ import annotations

import bpy
from bpy_extras.view3d_utils import location_3d_to_region_2d, region_2d_to_origin_3d, region_2d_to_vector_3d
from gpu_extras.presets import draw_circle_2d
from mathutils import Vector

COLOUR = (1.0, 0.55, 0.2, 0.9)


def redraw_sidebars() -> None:
    """Of all 3D viewports."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions if area.type == "VIEW_3D" else ():
                if region.type == "UI":
                    region.tag_redraw()


def is_open(context: bpy.types.Context, area: bpy.types.Area) -> bool:
    """Whether a 3D viewport is still one of the screen's. Nothing else may be asked of an area: it may be gone."""
    return any(area == other and other.type == "VIEW_3D" for other in context.screen.areas)


def view_under(area: bpy.types.Area, x: float, y: float) -> bpy.types.Region | None:
    """The view of a 3D viewport that has a place of the window; one of four in Quad View. Other editors have none."""
    for region in area.regions if area.type == "VIEW_3D" else ():
        if region.type == "WINDOW" and 0 <= x - region.x < region.width and 0 <= y - region.y < region.height:
            return region
    return None


def hit_face(
    context: bpy.types.Context, item: bpy.types.Object, region: bpy.types.Region, place: Vector
) -> tuple[Vector, int, bpy.types.Mesh] | None:
    """Where the line of sight through a place of a region meets an object, as it is seen.

    Returns:
        The point in the object's space, the polygon's number and the evaluated mesh; None where it misses, or the
        object is hidden.
    """
    if not item.visible_get(view_layer=context.view_layer):
        return None
    inverse = item.matrix_world.inverted_safe()
    origin = inverse @ region_2d_to_origin_3d(region, region.data, place)
    direction = (inverse.to_3x3() @ region_2d_to_vector_3d(region, region.data, place)).normalized()
    seen = item.evaluated_get(context.evaluated_depsgraph_get())
    hit, point, _normal, polygon = seen.ray_cast(origin, direction)
    return (point, polygon, seen.data) if hit else None


def first_hit(context: bpy.types.Context, region: bpy.types.Region, place: Vector) -> bpy.types.Object | None:
    """The object whose surface is nearest along the line of sight through a place of a region."""
    origin = region_2d_to_origin_3d(region, region.data, place)
    direction = region_2d_to_vector_3d(region, region.data, place)
    hit, *_, item, _matrix = context.scene.ray_cast(context.evaluated_depsgraph_get(), origin, direction)
    return item.original if hit else None


def circle_around(
    region: bpy.types.Region, place: Vector, radius: float, corner: tuple[float, float] = (0, 0)
) -> None:
    """Draw a circle of a radius in metres around a point of the world, where a region's drawing is under way.

    Args:
        corner: of the region, where the window's pixels count.
    """
    view = region.data
    aside = view.view_matrix.to_3x3().inverted() @ Vector((1, 0, 0))
    middle = location_3d_to_region_2d(region, view, place)
    rim = location_3d_to_region_2d(region, view, place + aside.normalized() * radius)
    if middle is not None and rim is not None:
        middle_of_all = middle + Vector(corner)
        draw_circle_2d(middle_of_all, COLOUR, (rim - middle).length, segments=64)
        draw_circle_2d(middle_of_all, COLOUR, 2.5, segments=12)
