# SPDX-License-Identifier: GPL-3.0-or-later
"""All state of a face. It lives on the Mesh, because the sliders decide that mesh's vertices: saving, copying,
appending, undo, keyframes and drivers then need no code of ours."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)
from bpy.types import PropertyGroup

from . import animation, sync

OVERRIDE = {"LIBRARY_OVERRIDABLE"}
MAX_SEED = 2**31 - 1
# Options of a folder that may begin with "//".
BESIDE_FILE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


def seed_property(description: str, name: str = "Seed", **options):
    """A seed, of a face or of an operator; `options` are those of `IntProperty`."""
    return IntProperty(name=name, description=description, min=0, max=MAX_SEED, **options)


def strength_property(description: str = "", most: float = 3.0, **options):
    """How far random faces go, of a face or of an operator; `options` are those of `FloatProperty`."""
    return FloatProperty(
        name="Strength",
        description=description or "How far random faces go from the average: 1 varies like real people",
        default=1.0,
        min=0.0,
        max=most,
        soft_max=1.5,
        precision=2,
        subtype="FACTOR",
        **options,
    )


def difference_property(description: str, **options):
    """How much faces differ, of a face or of an operator; `options` are those of `FloatProperty`."""
    return FloatProperty(
        name="Difference",
        description=description,
        default=0.5,
        min=0.0,
        max=1.0,
        precision=2,
        subtype="FACTOR",
        **options,
    )


def amount_property(description: str, most: float, soft: tuple[float, float], name: str = "Amount", **options):
    """How much of something, from -most to most; `options` are those of `FloatProperty`."""
    return FloatProperty(
        name=name,
        description=description,
        min=-most,
        max=most,
        soft_min=soft[0],
        soft_max=soft[1],
        step=5,
        precision=2,
        **options,
    )


def _slider_moved(control, _context) -> None:
    sync.follow(control.id_data, moved=True)


def _hold_changed(state, _context) -> None:
    sync.follow(state.id_data)


def _keep_neck_changed(state, _context) -> None:
    from .operators import neck

    if state.keep_neck and not sync.is_paused():
        neck.keep_edge(state.id_data)
    sync.follow(state.id_data)


def _seed_typed(state, _context) -> None:
    if not sync.is_paused():
        from .operators import randomise

        mesh = state.id_data
        animation.auto_key(bpy.context, mesh, randomise.randomise_face(mesh, state.seed, state.strength))


def _part_seed_typed(part, _context) -> None:
    if not sync.is_paused():
        from .operators import randomise

        mesh = part.id_data
        paths = randomise.randomise_part(mesh, part.name, part.seed, mesh.lwae.strength)
        animation.auto_key(bpy.context, mesh, paths)


def _gallery_seed_typed(state, _context) -> None:
    from .operators.common import active_face

    # The operator draws what is like the active face, whoever's number this is.
    if sync.is_paused() or active_face(bpy.context) != state.id_data or not bpy.ops.lwae.more_like_this.poll():
        return
    bpy.ops.lwae.more_like_this("INVOKE_DEFAULT", seed=state.gallery_seed)


def _mix_seed_typed(state, _context) -> None:
    if not sync.is_paused():
        from . import mix

        mesh = state.id_data
        animation.auto_key(bpy.context, mesh, mix.shuffle(mesh, state.mix_seed))


def _donor_renamed(donor, _context) -> None:
    """Buttons tell donors by their names: none without one, no two with the same."""
    taken = {other.name for other in donor.id_data.lwae.donors if other != donor}
    name = base = donor.name or "Donor"
    number = 0
    while name in taken:
        number += 1
        name = f"{base}.{number:03d}"
    if name != donor.name:
        donor.name = name


def _all_amounts(donor) -> float:
    locked = [part.locked for part in donor.id_data.lwae.parts]
    values = [amount.value for amount, held in zip(donor.amounts, locked, strict=False) if not held]
    return sum(values) / len(values) if values else 0.0


def _set_all_amounts(donor, value) -> None:
    from . import mix

    mesh = donor.id_data
    paths = mix.set_all(mesh, mesh.lwae.donors[:].index(donor), value)
    sync.follow(mesh)
    animation.auto_key(bpy.context, mesh, paths)


class LwaeControl(PropertyGroup):
    """One slider."""

    name: StringProperty(override=OVERRIDE)
    value: amount_property(
        "How much of this: 0 is the average face and 1 a usual difference between people. "
        "Type a number to go beyond 3",
        most=100.0,
        soft=(-3.0, 3.0),
        override=OVERRIDE,
        update=_slider_moved,
    )


class LwaeWholeControl(PropertyGroup):
    """One slider of the whole face."""

    name: StringProperty(override=OVERRIDE)
    value: amount_property(
        "How much of this, in all parts: 0 is the average face and 1 a usual difference between people. "
        "Type a number to go beyond 3",
        most=100.0,
        soft=(-3.0, 3.0),
        override=OVERRIDE,
        update=_slider_moved,
    )
    locked: BoolProperty(
        name="Keep",
        description="Randomise and Reset leave this as it is: other people of the same age, the same weight, ...",
        override=OVERRIDE,
        options=set(),
    )


class LwaePart(PropertyGroup):
    """One part of a face: nose, mouth, ..."""

    name: StringProperty(override=OVERRIDE)
    locked: BoolProperty(
        name="Lock Part",
        description="Randomise, Reset and other buttons leave this part exactly as it is, and draw other parts to "
        "fit it. Sliders that you move, those of the whole face too, still shape it",
        override=OVERRIDE,
        options=set(),
    )
    seed: seed_property(
        "Number that this part was last randomised from. Type one to get that part again",
        name="Part Seed",
        override=OVERRIDE,
        options=set(),
        update=_part_seed_typed,
    )
    controls: CollectionProperty(type=LwaeControl, override=OVERRIDE)


class LwaeAmount(PropertyGroup):
    """How much of a donor's part."""

    name: StringProperty(override=OVERRIDE)
    value: amount_property(
        "How much of this part comes from the donor: 0 none, 1 all. Type a number beyond to exaggerate",
        most=10.0,
        soft=(0.0, 1.0),
        override=OVERRIDE,
        update=_slider_moved,
    )


class LwaeDonor(PropertyGroup):
    """Another face whose parts are mixed in, as it was when it was picked."""

    name: StringProperty(name="Name", description="Name of the donor", override=OVERRIDE, update=_donor_renamed)
    # float32 [D], as `shape.encode_numbers` writes.
    code: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    # Where the object of that name is, see `mix.origin_of`; empty when nobody knows.
    origin: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    # `identity` of the face that it is a copy of, which objects keep when they are renamed; empty when it has none.
    source: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    amounts: CollectionProperty(type=LwaeAmount, override=OVERRIDE)
    all_amounts: amount_property(
        "How much of this donor in all parts at once that are not locked",
        most=10.0,
        soft=(0.0, 1.0),
        name="All Parts",
        options={"SKIP_SAVE"},
        get=_all_amounts,
        set=_set_all_amounts,
    )


class LwaeFace(PropertyGroup):
    """The face that a mesh shows. Empty, with `is_face` off, on other meshes."""

    is_face: BoolProperty(options={"HIDDEN"}, override=OVERRIDE)
    # Given to a face when it becomes a donor, and kept by its copies.
    identity: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    model_name: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    model_hash: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    sliders: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    parts: CollectionProperty(type=LwaePart, override=OVERRIDE)
    # Sliders of the whole face: age, weight, ...
    whole: CollectionProperty(type=LwaeWholeControl, override=OVERRIDE)
    donors: CollectionProperty(type=LwaeDonor, override=OVERRIDE)
    donor_index: IntProperty(options={"HIDDEN"}, override=OVERRIDE)
    mix_view: EnumProperty(
        name="Show",
        items=(
            ("PARTS", "By Part", "Who gives each part, and how much"),
            ("DONORS", "By Donor", "What the chosen donor gives to each part"),
        ),
        override=OVERRIDE,
        options=set(),
    )
    mix_seed: seed_property(
        "Number that the parts were last shuffled from. Type one to get that shuffle of these donors again",
        override=OVERRIDE,
        options=set(),
        update=_mix_seed_typed,
    )
    symmetry: FloatProperty(
        name="Symmetry",
        description="How alike the left and right side are made: 0 leaves the face as it is, 1 makes it symmetric",
        default=0.0,
        min=0.0,
        max=1.0,
        step=5,
        precision=2,
        subtype="FACTOR",
        override=OVERRIDE,
        update=_slider_moved,
    )
    asymmetry: FloatProperty(
        name="Exaggerate",
        description="How much more the left and right side differ than they do by themselves: 1 doubles the difference",
        default=0.0,
        min=0.0,
        max=20.0,
        soft_max=5.0,
        step=5,
        precision=2,
        override=OVERRIDE,
        update=_slider_moved,
    )
    random_asymmetry: amount_property(
        "Adds differences between the left and right side as people have them: 1 is as much as usual",
        most=20.0,
        soft=(0.0, 5.0),
        name="Random",
        override=OVERRIDE,
        update=_slider_moved,
    )
    asymmetry_seed: seed_property(
        "Another number gives other differences between left and right",
        override=OVERRIDE,
        options=set(),
        update=_slider_moved,
    )
    # What no slider holds of the code: float32 [D], as `shape.encode_numbers` writes; empty means zeros.
    rest: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    keep_lids: BoolProperty(
        name="Keep Lids over Eyeballs",
        description="Where sliders push an eyeball through its lids, drape the lids over it",
        default=True,
        override=OVERRIDE,
        options=set(),
        update=_hold_changed,
    )
    keep_neck: BoolProperty(
        name="Keep Neck Edge",
        description="Hold the open edge of the neck where it is now, so that the head stays welded to a body",
        default=False,
        override=OVERRIDE,
        options=set(),
        update=_keep_neck_changed,
    )
    # Where: float32 [R, 3] in mm, as `shape.encode_numbers` writes; empty means as on the average face.
    neck_edge: StringProperty(options={"HIDDEN"}, override=OVERRIDE)
    # While colours of the parts are shown, what was there before, see `operators.show_parts`.
    shown_parts: StringProperty(options={"HIDDEN"})
    # What the vertices show (see face.signature), and the hash of where they were put. Not overridable: they
    # belong to the positions, and those come from the library again when a file is opened.
    applied: StringProperty(options={"HIDDEN"})
    stamp: StringProperty(options={"HIDDEN"})
    # Names of shape keys that have yet to follow, as JSON, see `late_keys`; empty but for the time of a drag.
    waiting: StringProperty(options={"HIDDEN"})
    seed: seed_property(
        "Number that this face was last randomised from. Type one to get that face again",
        override=OVERRIDE,
        options=set(),
        update=_seed_typed,
    )
    strength: strength_property(override=OVERRIDE, options=set())
    difference: difference_property(
        "How much faces like this one differ from it: 0 not at all, 1 as much as two people do",
        override=OVERRIDE,
        options=set(),
    )
    gallery_seed: seed_property(
        "Number of the first face that More Like This drew; the others have the numbers after it. "
        "Type one to get these faces again",
        override=OVERRIDE,
        options=set(),
        update=_gallery_seed_typed,
    )


CLASSES = (LwaeControl, LwaeWholeControl, LwaePart, LwaeAmount, LwaeDonor, LwaeFace)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Mesh.lwae = PointerProperty(type=LwaeFace, override=OVERRIDE)


def unregister() -> None:
    del bpy.types.Mesh.lwae
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
