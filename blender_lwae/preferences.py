# SPDX-License-Identifier: GPL-3.0-or-later
"""Edit > Preferences > Add-ons > LWAE Faces: sections in order, each drawn by the module that owns it."""

import bpy

from . import model_preferences, runtime_preferences

SECTIONS = (model_preferences, runtime_preferences)


class LwaePreferences(
    model_preferences.ModelPreferences, runtime_preferences.RuntimePreferences, bpy.types.AddonPreferences
):
    bl_idname = __package__

    def draw(self, context):
        for section in SECTIONS:
            section.draw(self, self.layout, context)


register, unregister = bpy.utils.register_classes_factory((LwaePreferences,))
