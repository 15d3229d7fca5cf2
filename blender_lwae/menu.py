# SPDX-License-Identifier: GPL-3.0-or-later
"""Object > Face: the tab's commands once more, since the search (F3) looks through menus only."""

from __future__ import annotations

import bpy

# With a line between groups.
COMMANDS = (
    ("randomise_face", "more_like_this", "randomise_asymmetry", "harmonise", "reset_face"),
    ("add_donors", "refresh_donors", "shuffle_parts", "bake_mix"),
    ("make_editable", "fit_to_mesh"),
    ("add_expressions", "relax_expressions"),
    ("keep_edit", "overwrite_edit", "remove_offset", "put_back", "renew_sliders", "make_local"),
    ("part_vertex_groups", "part_colours", "show_parts", "average_neck"),
    ("bake_controls", "bake_animation", "apply"),
    ("save_asset", "export_face", "import_face"),
)


class LWAE_MT_face(bpy.types.Menu):
    bl_label = "Face"

    def draw(self, _context) -> None:
        for number, names in enumerate(COMMANDS):
            if number:
                self.layout.separator()
            for name in names:
                self.layout.operator(f"lwae.{name}")


def menu(self, _context) -> None:
    self.layout.separator()
    self.layout.menu(LWAE_MT_face.__name__)


def register() -> None:
    bpy.utils.register_class(LWAE_MT_face)
    bpy.types.VIEW3D_MT_object.append(menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_object.remove(menu)
    bpy.utils.unregister_class(LWAE_MT_face)
