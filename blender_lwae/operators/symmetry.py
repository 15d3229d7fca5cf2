# SPDX-License-Identifier: GPL-3.0-or-later
"""Other differences between left and right."""

import random
from functools import partial

import bpy

from .. import analysis, face, sync
from ..properties import amount_property, seed_property
from .common import active_face, change, poll_writable_face


def set_asymmetry(mesh: bpy.types.Mesh, seed: int, amount: float) -> list[str]:
    """Returns: data paths of what was set and can be animated."""
    with sync.paused():
        mesh.lwae.asymmetry_seed = seed
        mesh.lwae.random_asymmetry = amount
    return ["lwae.random_asymmetry"]


class LWAE_OT_randomise_asymmetry(bpy.types.Operator):
    """Make the left and right side of the whole face differ by chance, as those of people do; locked parts too"""

    bl_idname = "lwae.randomise_asymmetry"
    bl_label = "Randomise Asymmetry"
    bl_options = {"REGISTER", "UNDO"}

    seed: seed_property("The same seed gives the same differences", options={"SKIP_SAVE"})
    amount: amount_property(
        "How much the sides differ: 1 is as much as usual",
        most=20.0,
        soft=(0.0, 5.0),
        default=1.0,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context):
        if not poll_writable_face(cls, context):
            return False
        # Before that is known the button stays: the operator says it then.
        known = analysis.ready(face.model_of(active_face(context)))
        if known is not None and known.mirror_matrix is None:
            cls.poll_message_set(known.mirror_trouble or "This model's codes have no left and right.")
            return False
        return True

    def invoke(self, context, _event):
        if not self.properties.is_property_set("seed"):
            self.seed = random.randrange(100_000)
        if not self.properties.is_property_set("amount"):
            self.amount = active_face(context).lwae.random_asymmetry or 1.0
        return self.execute(context)

    def execute(self, context):
        mesh = active_face(context)
        known = analysis.of(face.model_of(mesh))
        if known.mirror_matrix is None:
            self.report({"ERROR"}, known.mirror_trouble or "This model's codes have no left and right.")
            return {"CANCELLED"}
        return change(self, context, mesh, partial(set_asymmetry, mesh, self.seed, self.amount))


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_randomise_asymmetry,))
