# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of panels."""

from __future__ import annotations

import bpy


def whole_row(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """A row all of which its fields have, in a layout that splits others: narrow sidebars would cut their names."""
    row = layout.row()
    row.use_property_split = False
    return row
