# SPDX-License-Identifier: GPL-3.0-or-later
"""A colour for each part: icons, and colours of vertices blended by the local weights."""

from __future__ import annotations

import colorsys
import json

import bpy
import bpy.utils.previews
import numpy as np

from .backend.model import FaceModel

ATTRIBUTE = "Face Parts"
GOLDEN = 0.618034  # Hues this far apart around the circle: neighbours in number differ most, however many there are.

_icons = None


def colour(part: int) -> tuple[float, float, float]:
    """sRGB of part number `part`: soft, and equally light but for every other one."""
    hue = (0.02 + part * GOLDEN) % 1
    return colorsys.hls_to_rgb(hue, 0.68 if part % 2 == 0 else 0.58, 0.6)


def linear(rgb: np.ndarray) -> np.ndarray:
    """sRGB to linear (IEC 61966-2-1)."""
    rgb = np.asarray(rgb, dtype=np.float64)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def vertex_colours(model: FaceModel) -> np.ndarray:
    """Colours of all vertices: float32 [N, 4], linear, parts blended by their weights."""
    palette = linear([colour(part) for part in range(model.part_count)])
    colours = model.weights.T.astype(np.float64) @ palette
    return np.column_stack([colours, np.ones(len(colours))]).astype(np.float32)


def paint(mesh: bpy.types.Mesh, model: FaceModel) -> bpy.types.Attribute:
    """The colour attribute of the parts on a mesh of the model, made or renewed."""
    attribute = mesh.color_attributes.get(ATTRIBUTE)
    if attribute is not None and (attribute.domain, attribute.data_type) != ("POINT", "BYTE_COLOR"):
        mesh.color_attributes.remove(attribute)
        attribute = None
    if attribute is None:
        attribute = mesh.color_attributes.new(ATTRIBUTE, "BYTE_COLOR", "POINT")
    attribute.data.foreach_set("color", vertex_colours(model).ravel())
    return attribute


def show(mesh: bpy.types.Mesh, model: FaceModel) -> None:
    """Give a face the colours, and note what its colours were before."""
    if mesh.lwae.shown_parts:
        paint(mesh, model)
        return
    attributes = mesh.color_attributes
    had = ATTRIBUTE in attributes
    before = [mesh.attributes.active_color_name, mesh.attributes.default_color_name]
    attribute = paint(mesh, model)
    mesh.attributes.active_color_name = attribute.name
    if before[1]:
        mesh.attributes.default_color_name = before[1]
    mesh.lwae.shown_parts = json.dumps([had, *before])


def hide(mesh: bpy.types.Mesh) -> None:
    """Take the colours away again, unless they were there before."""
    if not mesh.lwae.shown_parts:
        return
    try:
        had, active, rendered = json.loads(mesh.lwae.shown_parts)
    except (TypeError, ValueError):  # Not what `show` wrote.
        had, active, rendered = False, "", ""
    mesh.lwae.shown_parts = ""
    attributes = mesh.color_attributes
    if not had and ATTRIBUTE in attributes:
        attributes.remove(attributes[ATTRIBUTE])
    if active in attributes:
        mesh.attributes.active_color_name = active
    if rendered in attributes:
        mesh.attributes.default_color_name = rendered


def icon(part: int) -> int:
    """A small square in a part's colour, as `icon_value`."""
    global _icons
    if _icons is None:
        _icons = bpy.utils.previews.new()
    name = str(part)
    if name not in _icons:
        size = 16
        pixels = np.zeros((size, size, 4), dtype=np.float32)
        pixels[3:13, 3:13] = (*colour(part), 1)
        preview = _icons.new(name)
        preview.icon_size = (size, size)
        preview.icon_pixels_float = pixels.ravel().tolist()
    return _icons[name].icon_id


def register() -> None:
    """Nothing: icons are made when they are first drawn."""


def unregister() -> None:
    global _icons
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
        _icons = None
