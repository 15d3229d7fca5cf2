# SPDX-License-Identifier: GPL-3.0-or-later
"""Edit > Preferences > Add-ons > LWAE Faces: sections in order, each drawn by the module that owns it."""

import bpy


class LwaePreferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    def draw(self, _context):
        pass


register, unregister = bpy.utils.register_classes_factory((LwaePreferences,))
