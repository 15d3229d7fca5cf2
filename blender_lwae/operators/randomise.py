# SPDX-License-Identifier: GPL-3.0-or-later
"""Random faces and parts, drawn jointly: the parts of one person fit each other."""

import random
from functools import partial

import bpy
from bpy.props import StringProperty

from .. import face, shape, sync
from ..backend.synthesis import face_rng, sample_parts
from ..properties import MAX_SEED, seed_property, strength_property
from .common import active_face, change, change_selected, poll_unlocked_face, poll_writable_face


def randomise_face(mesh: bpy.types.Mesh, seed: int, strength: float) -> list[str]:
    """Draw all parts that are not locked, so that they fit the locked ones, and note the seed on the mesh.

    Kept traits of the whole face stay as they show, the other sliders of the whole face are set to what the new face
    shows. Without anything locked or kept this is face number 0 of `lwae synth` with the same seed and strength.

    Returns:
        Data paths of the sliders that were set; none when all is locked or the face cannot be written.
    """
    free = face.free_parts(mesh)
    if not free or face.trouble(mesh) is not None:
        return []
    model = face.model_of(mesh)
    kept = face.whole_kept(mesh.lwae)
    code = sample_parts(model, shape.read_code(mesh, model), free, face_rng(seed, 0), strength, kept)
    with sync.paused():
        paths = face.store_code(mesh, model, code, free, face.shown_whole(mesh, model, code))
        mesh.lwae.seed = seed
        mesh.lwae.strength = strength
    sync.follow(mesh)
    return paths


def randomise_part(mesh: bpy.types.Mesh, name: str, seed: int, strength: float) -> list[str]:
    """Draw one part so that it fits the others, and note the seed on it.

    Returns:
        Data paths of the sliders that were set; none when the part is locked or the face cannot be written.

    Raises:
        LwaeError: when no part has that name.
    """
    model = None if face.trouble(mesh) is not None else face.model_of(mesh)
    if model is None or mesh.lwae.parts[model.part_index(name)].locked:
        return []
    part = model.part_index(name)
    kept = face.whole_kept(mesh.lwae)
    code = sample_parts(model, shape.read_code(mesh, model), [part], face_rng(seed, part), strength, kept)
    with sync.paused():
        paths = face.store_code(mesh, model, code, [part])
        mesh.lwae.parts[part].seed = seed
    sync.follow(mesh)
    return paths


class DrawsNewSeed:
    """What a button does that was not told a seed or a strength: a new seed, and the face's own strength."""

    def invoke(self, context, _event):
        if not self.properties.is_property_set("seed"):
            self.seed = random.randrange(100_000)
        if not self.properties.is_property_set("strength"):
            self.strength = active_face(context).lwae.strength
        return self.execute(context)


class LWAE_OT_randomise_face(DrawsNewSeed, bpy.types.Operator):
    """Make the selected faces random people. Locked parts stay, and the others are drawn to fit them"""

    bl_idname = "lwae.randomise_face"
    bl_label = "Randomise Face"
    bl_options = {"REGISTER", "UNDO"}

    seed: seed_property("The same seed gives the same face", options={"SKIP_SAVE"})
    strength: strength_property(options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        return poll_unlocked_face(cls, context)

    def execute(self, context):
        def draw(mesh, number):
            return randomise_face(mesh, (self.seed + number) % MAX_SEED, self.strength)

        return change_selected(self, context, draw)


class LWAE_OT_randomise_part(DrawsNewSeed, bpy.types.Operator):
    """Make this part random, so that it fits the rest of the face"""

    bl_idname = "lwae.randomise_part"
    bl_label = "Randomise Part of Face"
    bl_options = {"REGISTER", "UNDO"}

    part: StringProperty(name="Part", options={"SKIP_SAVE"})
    seed: seed_property("The same seed gives the same part", options={"SKIP_SAVE"})
    strength: strength_property(
        "How far the part may go from what the rest of the face suggests", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context):
        return poll_writable_face(cls, context)

    def draw(self, _context):
        self.layout.use_property_split = True
        self.layout.prop(self, "seed")
        self.layout.prop(self, "strength")

    def execute(self, context):
        mesh = active_face(context)
        draw = partial(randomise_part, mesh, self.part, self.seed, self.strength)
        return change(self, context, mesh, draw)


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_randomise_face, LWAE_OT_randomise_part))
