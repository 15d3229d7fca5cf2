# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts as vertex groups."""

import bpy
import numpy as np

from .. import face
from .common import active_face, poll_own_data, poll_writable_face, selected_owners


class LWAE_OT_part_vertex_groups(bpy.types.Operator):
    """Add to the selected faces a vertex group for each part, weighted as its sliders act. Groups that exist already
    are kept"""

    bl_idname = "lwae.part_vertex_groups"
    bl_label = "Part Vertex Groups"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return poll_writable_face(cls, context) and poll_own_data(cls, active_face(context))

    def execute(self, context):
        kept = set()
        for item in selected_owners(self, context):
            model = face.model_of(item.data)
            for name, weights in zip(model.part_names, model.weights, strict=True):
                if name in item.vertex_groups:
                    kept.add(name)
                    continue
                group = item.vertex_groups.new(name=name)
                for vertex in np.flatnonzero(weights > 0):
                    group.add([int(vertex)], float(weights[vertex]), "REPLACE")
        if kept:
            self.report({"INFO"}, f"Kept the groups that were there: {', '.join(sorted(kept))}")
        return {"FINISHED"}


def register() -> None:
    bpy.utils.register_class(LWAE_OT_part_vertex_groups)


def unregister() -> None:
    bpy.utils.unregister_class(LWAE_OT_part_vertex_groups)
