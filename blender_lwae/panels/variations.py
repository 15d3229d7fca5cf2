# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces like this one, to choose from."""

import bpy

from .. import face, gallery, shape
from ..backend.variations import COUNT
from ..operators.common import active_face
from .common import ActiveFaceTab, pair

COLUMNS = 3
BLANK = bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items["BLANK1"].value


class LWAE_PT_variations(ActiveFaceTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_variations"
    bl_label = "More Like This"
    bl_parent_id = "LWAE_PT_face"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        mesh = active_face(context)
        found = gallery.of(mesh)
        row = layout.row(align=True)
        text = "Eight More" if found else "Eight Faces"
        row.operator("lwae.more_like_this", text=text, translate=False, icon="COMMUNITY")
        row.operator("lwae.close_gallery", text="", icon="X")
        fields = pair(layout, context)
        fields.enabled = face.trouble_seen(mesh) is None and not mesh.library and bool(face.free_parts(mesh))
        fields.prop(mesh.lwae, "gallery_seed")
        fields.prop(mesh.lwae, "difference", slider=True)
        if found is not None:
            self.draw_gallery(context, mesh, found)

    def draw_gallery(self, context, mesh, found):
        """The face in the middle, and around it those that resemble it."""
        layout = self.layout
        if found.running:
            done = len(found.icons)
            layout.progress(factor=done / (COUNT + 1), text="Drawing faces (Esc stops)")
        units = context.region.width / (20 * context.preferences.system.ui_scale)
        size = min(max((units - 3.2) / COLUMNS, 2), 12)
        cells = found.seeds[: COUNT // 2] + [gallery.ORIGINAL] + found.seeds[COUNT // 2 :]
        now = face.signature(mesh.lwae, shape.read_values(mesh.lwae))
        grid = layout.grid_flow(row_major=True, columns=COLUMNS, even_columns=True, even_rows=True, align=False)
        for seed in cells:
            cell = grid.column(align=True)
            cell.template_icon(icon_value=found.icons.get(seed, BLANK), scale=size)
            is_original = seed == gallery.ORIGINAL
            use = cell.operator(
                "lwae.use_variation",
                text="Original" if is_original else str(seed),
                depress=found.shown.get(seed) == now,
                translate=False,
            )
            use.seed = max(seed, 0)
            use.difference = 0 if is_original else found.difference


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_variations,))
