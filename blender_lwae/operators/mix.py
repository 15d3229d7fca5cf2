# SPDX-License-Identifier: GPL-3.0-or-later
"""Mixing in parts of other faces: donors, who gives what, shuffling, baking."""

import random
from functools import partial

import bpy
from bpy.props import StringProperty

from .. import animation, face, mix, sync
from ..backend.errors import LwaeError
from ..backend.mix import OWN
from ..properties import amount_property, seed_property
from .common import active_face, change, poll_own_data, poll_unlocked_face, poll_writable_face

NAMED = 6  # So many donors fit into one line of a report.


def _poll(cls, context) -> bool:
    return poll_writable_face(cls, context) and poll_own_data(cls, active_face(context))


def _poll_donors(cls, context) -> bool:
    if not poll_writable_face(cls, context):
        return False
    if not len(active_face(context).lwae.donors):
        cls.poll_message_set("Add donors first: other faces that parts come from.")
        return False
    return True


def _other_objects(context) -> list[bpy.types.Object]:
    return [item for item in context.selected_objects if item != context.object]


def _add_selected(operator, context, mesh) -> list[str]:
    """Names of the selected faces that are donors now; the others are reported."""
    added = []
    for item in _other_objects(context):
        try:
            added.append(mesh.lwae.donors[mix.add_face(mesh, item)].name)
        except LwaeError as error:
            operator.report({"WARNING"}, str(error))
    return added


class LWAE_OT_add_donors(bpy.types.Operator):
    """Let the other selected faces give parts to the active one"""

    bl_idname = "lwae.add_donors"
    bl_label = "Add Donors from Selection"
    bl_description = (
        "Let the other selected faces give parts to the active one. A donor is a copy of what the face looks like now; "
        "one that is a donor already is refreshed"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not _poll(cls, context):
            return False
        if not any(face.is_face(item.data) for item in _other_objects(context)):
            cls.poll_message_set("Select other faces first, and this one last so that it is the active one.")
            return False
        return True

    def execute(self, context):
        mesh = active_face(context)
        added = _add_selected(self, context, mesh)
        if not added:
            return {"CANCELLED"}
        mesh.lwae.donor_index = mesh.lwae.donors.find(added[0])
        sync.follow(mesh)
        names = [donor.name for donor in mesh.lwae.donors]
        listed = ", ".join(names) if len(names) <= NAMED else f"{len(names)} faces"
        self.report({"INFO"}, f"Donors of {context.object.name}: {listed}")
        return {"FINISHED"}


class LWAE_OT_add_donor(bpy.types.Operator):
    """Let this face give parts to the active one, as it looks now"""

    bl_idname = "lwae.add_donor"
    bl_label = "Add Donor"
    bl_options = {"REGISTER", "UNDO"}

    name: StringProperty(name="Face", description="Object with the face", options={"SKIP_SAVE"})
    origin: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context):
        return _poll(cls, context)

    def execute(self, context):
        mesh = active_face(context)
        try:
            mesh.lwae.donor_index = mix.add_face(mesh, _object(self.name, self.origin))
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        sync.follow(mesh)
        return {"FINISHED"}


def _object(name: str, origin: str) -> bpy.types.Object:
    return _known(mix.find_object(name, origin), name)


def _known(item: bpy.types.Object | None, name: str) -> bpy.types.Object:
    if item is None:
        raise LwaeError(f"No object is called {name!r}, or it is not that face any more.")
    return item


class LWAE_OT_refresh_donors(bpy.types.Operator):
    """Make donors what their faces look like now. Donors whose face is gone stay as they are"""

    bl_idname = "lwae.refresh_donors"
    bl_label = "Refresh Donors"
    bl_options = {"REGISTER", "UNDO"}

    donor: StringProperty(name="Donor", description="Only this one; empty means all", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        return _poll_donors(cls, context) and poll_own_data(cls, active_face(context))

    def execute(self, context):
        mesh = active_face(context)
        donors = [donor for donor in mesh.lwae.donors if self.donor in ("", donor.name)]
        done, last = 0, ""
        for donor in donors:
            try:
                mix.add_face(mesh, _known(mix.find_original(donor), donor.name), donor.name)
                done += 1
            except LwaeError as error:
                last = str(error)
        if not done:
            self.report({"ERROR"}, last or f"No donor is called {self.donor!r}.")
            return {"CANCELLED"}
        sync.follow(mesh)
        self.report({"INFO"}, f"Refreshed {done} of {len(donors)} donors. {last}".strip())
        return {"FINISHED"}


class LWAE_OT_remove_donor(bpy.types.Operator):
    """Remove the donor and what it gives, with its keyframes"""

    bl_idname = "lwae.remove_donor"
    bl_label = "Remove Donor"
    bl_options = {"REGISTER", "UNDO"}

    donor: StringProperty(name="Donor", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        return _poll_donors(cls, context) and poll_own_data(cls, active_face(context))

    def execute(self, context):
        mesh = active_face(context)
        index = mesh.lwae.donors.find(self.donor)
        if index < 0:
            self.report({"ERROR"}, f"No donor is called {self.donor!r}.")
            return {"CANCELLED"}
        readers = mix.remove_donor(mesh, index)
        sync.follow(mesh)
        if readers:
            self.report({"WARNING"}, f"Set drivers anew that read amounts of {self.donor} ({readers})")
        return {"FINISHED"}


class LWAE_OT_give_part(bpy.types.Operator):
    """Take this part from this face alone"""

    bl_idname = "lwae.give_part"
    bl_label = "Take Part from Face"
    bl_options = {"REGISTER", "UNDO"}

    part: StringProperty(name="Part", options={"SKIP_SAVE", "HIDDEN"})
    donor: StringProperty(
        name="Face",
        description="Donor or object that gives the part; empty for the face's own",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    # Of an object that is no donor yet: `mix.origin_of`.
    origin: StringProperty(options={"SKIP_SAVE", "HIDDEN"})
    amount: amount_property(
        "How much of the part: 0 none, 1 all. Type a number beyond to exaggerate",
        most=10.0,
        soft=(0.0, 1.0),
        default=1.0,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context):
        return poll_writable_face(cls, context)

    def execute(self, context):
        mesh = active_face(context)
        if not self.donor and not len(mesh.lwae.donors):
            return {"CANCELLED"}  # The part is the face's own already.
        return change(self, context, mesh, partial(self.give, mesh))

    def give(self, mesh):
        part = face.model_of(mesh).part_index(self.part)
        donor = -1 if self.origin else mesh.lwae.donors.find(self.donor) if self.donor else OWN
        if self.donor and donor < 0:
            if mesh.override_library:
                raise LwaeError("This face is an override of another file's. Make it local to add donors.")
            donor = mix.add_face(mesh, _object(self.donor, self.origin))
        paths = mix.give_part(mesh, part, donor)
        if donor >= 0:
            mesh.lwae.donor_index = donor
            with sync.paused():
                mesh.lwae.donors[donor].amounts[part].value = self.amount
        return paths


class LWAE_OT_shuffle_parts(bpy.types.Operator):
    """Let chance decide who gives each part"""

    bl_idname = "lwae.shuffle_parts"
    bl_label = "Shuffle Parts"
    bl_description = (
        "Make a new person: each part that is not locked comes from this face or one of its donors, by chance. "
        "Other selected faces become donors first"
    )
    bl_options = {"REGISTER", "UNDO"}

    seed: seed_property("The same seed and donors give the same face", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        if not poll_unlocked_face(cls, context):
            return False
        mesh = active_face(context)
        if mesh.override_library and not len(mesh.lwae.donors):
            return poll_own_data(cls, mesh)
        if not len(mesh.lwae.donors) and not any(face.is_face(item.data) for item in _other_objects(context)):
            cls.poll_message_set("Select other faces too, or add donors: parts come from them.")
            return False
        return True

    def invoke(self, context, _event):
        if not self.properties.is_property_set("seed"):
            self.seed = random.randrange(100_000)
        return self.execute(context)

    def execute(self, context):
        mesh = active_face(context)
        if not mesh.override_library:
            _add_selected(self, context, mesh)
        if not len(mesh.lwae.donors):
            return {"CANCELLED"}
        return change(self, context, mesh, partial(mix.shuffle, mesh, self.seed))


class LWAE_OT_bake_mix(bpy.types.Operator):
    """Make what the donors give the face's own and forget the donors. The shape stays; the sliders then show it"""

    bl_idname = "lwae.bake_mix"
    bl_label = "Bake Mix into Sliders"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return _poll_donors(cls, context) and poll_own_data(cls, active_face(context))

    def execute(self, context):
        mesh = active_face(context)
        animated = any(path.startswith("lwae.donors[") for path in animation.animated_paths(mesh))
        result = change(self, context, mesh, partial(mix.bake, mesh))
        if animated and result == {"FINISHED"}:
            self.report({"WARNING"}, f"The mix of {context.object.name} was animated; it is now what this frame shows")
        return result


register, unregister = bpy.utils.register_classes_factory(
    (
        LWAE_OT_add_donors,
        LWAE_OT_add_donor,
        LWAE_OT_refresh_donors,
        LWAE_OT_remove_donor,
        LWAE_OT_give_part,
        LWAE_OT_shuffle_parts,
        LWAE_OT_bake_mix,
    )
)
