# SPDX-License-Identifier: GPL-3.0-or-later
"""Donors: adding, amounts, animation, shuffling, baking, and what else acts on a mixed face."""

import bpy
import numpy as np
import pytest
from helpers import camera_and_light, cycles, evaluated_positions, pixels, positions, slide, values

AMOUNT = "lwae.donors[{}].amounts[{}].value"


@pytest.fixture
def mixed(new_face):
    """A random face with three random donors, which are selected; the face is active."""
    faces = []
    for seed, name in ((1, "Ana"), (2, "Ben"), (3, "Cleo"), (4, "Face")):
        face = new_face()
        face.name = name
        face.data.lwae.keep_lids = False  # Compared with what a decoder gives.
        bpy.ops.lwae.randomise_face(seed=seed)
        faces.append(face)
    for face in faces:
        face.select_set(True)
    assert bpy.ops.lwae.add_donors() == {"FINISHED"}
    return faces[-1], faces[:-1]


def code(addon, mesh, model):
    return addon("shape").read_code(mesh, model)


def code_of_whole(addon, mesh, model):
    """What the sliders of the whole face alone make of a face."""
    whole = addon("face").whole_values(mesh.lwae)
    controls = addon("models").tools(model).controls
    return controls[:, controls.shape[1] - len(whole) :] @ whole


def decoded(addon, model, flat):
    return addon("backend.numpy_decoder").NumpyDecoder(model).decode(flat[None])[0] / 1000


def test_selected_faces_become_donors_that_give_nothing_yet(mixed, addon, model):
    face, donors = mixed
    state = face.data.lwae
    assert sorted(donor.name for donor in state.donors) == ["Ana", "Ben", "Cleo"]
    shape = addon("shape")
    for donor in state.donors:
        source = bpy.data.objects[donor.name].data
        assert np.array_equal(shape.decode_numbers(donor.code), code(addon, source, model))
        assert [amount.name for amount in donor.amounts] == model.part_names
        assert not any(amount.value for amount in donor.amounts)
    assert np.allclose(positions(face.data), decoded(addon, model, shape.own_code(face.data, model)), atol=1e-6)


def test_an_amount_blends_one_part(mixed, addon, model):
    mesh = mixed[0].data
    own = code(addon, mesh, model)
    mesh.lwae.donors["Ben"].amounts[1].value = 0.75
    mesh.lwae.donors["Ana"].amounts[1].value = 0.5
    wanted = own.copy()
    part = model.part_slice(1)
    for name, amount in (("Ben", 0.75), ("Ana", 0.5)):
        wanted[part] += amount * (code(addon, bpy.data.objects[name].data, model) - own)[part]
    assert np.allclose(code(addon, mesh, model), wanted, atol=1e-5)
    assert np.allclose(positions(mesh), decoded(addon, model, wanted), atol=1e-6)


def test_a_donor_is_what_it_was_until_it_is_refreshed(mixed, addon, model):
    face, donors = mixed
    mesh, ana = face.data, bpy.data.objects["Ana"]
    bpy.ops.lwae.give_part(part=model.part_names[0], donor="Ana")
    before = positions(mesh)
    slide(ana.data, 3, control=1)
    assert np.array_equal(positions(mesh), before)
    assert bpy.ops.lwae.refresh_donors(donor="Ana") == {"FINISHED"}
    assert np.abs(positions(mesh) - before).max() > 1e-4
    assert len(mesh.lwae.donors) == 3
    own = model.part_slice(0)
    assert np.allclose(code(addon, mesh, model)[own], code(addon, ana.data, model)[own], atol=1e-5)
    bpy.data.objects.remove(ana)
    with pytest.raises(RuntimeError, match="No object is called 'Ana'"):
        bpy.ops.lwae.refresh_donors(donor="Ana")
    assert bpy.ops.lwae.refresh_donors() == {"FINISHED"}


def test_a_donor_is_its_face_whatever_that_is_called(new_face, addon, model):
    face, donor, other = new_face(), new_face(), new_face()
    mesh, mix, shape = face.data, addon("mix"), addon("shape")
    donor.name, other.name = "Ana", "Eva"
    mix.add_face(mesh, donor)
    donor.name, other.name = "Bea", "Ana"
    for item, seed in ((donor, 5), (other, 6)):
        bpy.context.view_layer.objects.active = item
        bpy.ops.lwae.randomise_face(seed=seed)
    bpy.context.view_layer.objects.active = face
    assert bpy.ops.lwae.refresh_donors() == {"FINISHED"}
    now = shape.decode_numbers(mesh.lwae.donors[0].code)
    assert np.allclose(now, code(addon, donor.data, model), atol=1e-6)
    assert mix.add_face(mesh, donor) == 0 and len(mesh.lwae.donors) == 1, "it is a donor already"
    assert mix.add_face(mesh, other) == 1 and mesh.lwae.donors[1].name == "Ana (this file)"
    third = new_face()
    other.name, third.name = "Eva", "Ana"
    assert mix.add_face(mesh, third) == 2 and mesh.lwae.donors[2].name == "Ana.001", "no donor is overwritten"


def test_copies_of_a_donor_are_other_donors(new_face, addon):
    face, donor = new_face(), new_face()
    mesh, mix = face.data, addon("mix")
    donor.name = "Ana"
    mix.add_face(mesh, donor)
    twin = donor.copy()
    twin.data = donor.data.copy()
    bpy.context.collection.objects.link(twin)
    assert mix.find_donor(mesh.lwae, twin) == -1 and mix.find_original(mesh.lwae.donors[0]) == donor
    assert mix.add_face(mesh, twin) == 1 and mix.find_original(mesh.lwae.donors[1]) == twin
    donor.name = "Bea"
    bpy.context.view_layer.objects.active = face
    with pytest.raises(RuntimeError, match="No object is called 'Ana' any more, and .* are copies of it"):
        bpy.ops.lwae.refresh_donors(donor="Ana")
    bpy.data.objects.remove(donor)
    bpy.data.objects.remove(twin)
    new_face().name = "Ana"
    bpy.context.view_layer.objects.active = face
    with pytest.raises(RuntimeError, match="No object is called 'Ana', or it is not that face any more"):
        bpy.ops.lwae.refresh_donors(donor="Ana")


@pytest.mark.parametrize("press", ["remove_donor", "refresh_donors", "add_donors"])
def test_locked_parts_stay_when_their_donor_changes_or_goes(mixed, addon, model, press):
    face, _ = mixed
    mesh, ana = face.data, bpy.data.objects["Ana"]
    for part in model.part_names[:2]:
        bpy.ops.lwae.give_part(part=part, donor="Ana")
    mesh.lwae.donors["Ana"].amounts[0].value = 0.7
    mesh.lwae.parts[0].locked = True
    before = code(addon, mesh, model)
    slide(ana.data, 3, control=1)
    slide(ana.data, 3, part=1)
    getattr(bpy.ops.lwae, press)(**{} if press == "add_donors" else {"donor": "Ana"})
    moved = np.abs(code(addon, mesh, model) - before)
    assert moved[model.part_slice(0)].max() < 1e-5 < 0.1 < moved[model.part_slice(1)].max()
    assert np.allclose(positions(mesh), decoded(addon, model, code(addon, mesh, model)), atol=1e-6)


def test_faces_of_another_model_are_refused(mixed):
    face, donors = mixed
    donors[0].name = "Stranger"
    donors[0].data.lwae.model_hash = "0" * 16
    donors[0].data.lwae.model_name = "baboons"
    with pytest.raises(RuntimeError, match="baboons"):
        bpy.ops.lwae.add_donor(name="Stranger")
    assert "Stranger" not in face.data.lwae.donors
    with pytest.raises(RuntimeError, match="this face itself"):
        bpy.ops.lwae.add_donor(name=face.name)


def test_codes_of_saved_faces_can_be_donors(new_face, addon, model):
    mesh, add_donor = new_face().data, addon("mix").add_donor
    saved = model.prior.sample(np.random.default_rng(0), 1)[0]
    assert add_donor(mesh, "Saved", saved) == 0
    mesh.lwae.donors[0].amounts[2].value = 1
    part = model.part_slice(2)
    assert np.allclose(code(addon, mesh, model)[part], saved[part], atol=1e-5)
    assert add_donor(mesh, "Saved", 2 * saved) == 0 and len(mesh.lwae.donors) == 1
    with pytest.raises(Exception, match="another model"):
        add_donor(mesh, "Wrong", saved[:-1])


def test_one_face_gives_a_part_and_the_others_leave(mixed, addon, model):
    mesh = mixed[0].data
    own = code(addon, mesh, model)
    name, part = model.part_names[2], model.part_slice(2)
    mesh.lwae.donors["Ben"].amounts[2].value = 0.4
    bpy.ops.lwae.give_part(part=name, donor="Cleo")
    assert [donor.amounts[2].value for donor in mesh.lwae.donors] == [
        float(donor.name == "Cleo") for donor in mesh.lwae.donors
    ]
    cleo = code(addon, bpy.data.objects["Cleo"].data, model)
    assert np.allclose(code(addon, mesh, model)[part], cleo[part], atol=1e-5)
    bpy.ops.lwae.give_part(part=name, donor="Cleo", amount=1.5)
    assert np.allclose(code(addon, mesh, model)[part], (own + 1.5 * (cleo - own))[part], atol=1e-5)
    bpy.ops.lwae.give_part(part=name)
    assert np.array_equal(code(addon, mesh, model), own)


def test_choosing_a_face_of_the_scene_makes_it_a_donor(new_face, model):
    giver = new_face()
    giver.name = "Giver"
    bpy.ops.lwae.randomise_face(seed=5)
    mesh = new_face().data
    before = positions(mesh)
    bpy.ops.lwae.give_part(part=model.part_names[1], donor="Giver")
    assert mesh.lwae.donors["Giver"].amounts[1].value == 1
    assert np.abs(positions(mesh) - before).max() > 1e-4


def test_one_slider_for_all_parts_leaves_locked_ones(mixed, addon, model):
    mesh = mixed[0].data
    own = code(addon, mesh, model)
    mesh.lwae.parts[0].locked = True
    donor = mesh.lwae.donors["Ana"]
    donor.all_amounts = 0.5
    assert donor.all_amounts == pytest.approx(0.5)
    assert [amount.value for amount in donor.amounts] == [0] + [0.5] * (model.part_count - 1)
    wanted = (own + code(addon, bpy.data.objects["Ana"].data, model)) / 2
    wanted[model.part_slice(0)] = own[model.part_slice(0)]
    assert np.allclose(positions(mesh), decoded(addon, model, wanted), atol=1e-6)


def test_a_part_travels_between_three_faces(mixed, addon, model, tmp_path):
    """Keyed amounts: on each donor's frame the part is that donor's; every rendered frame shows its own shape."""
    face = mixed[0]
    mesh = face.data
    for item in list(bpy.data.objects):
        item.hide_render = item != face
    part = 0
    own = code(addon, mesh, model)
    for frame in (1, 11, 21, 31):
        for number in range(3):
            mesh.lwae.donors[number].amounts[part].value = float(frame == 11 + 10 * number)
            mesh.keyframe_insert(AMOUNT.format(number, part), frame=frame)
    names = [None, *(donor.name for donor in mesh.lwae.donors)]
    columns = model.part_slice(part)
    for name, frame in zip(names, (1, 11, 21, 31), strict=True):
        bpy.context.scene.frame_set(frame)
        wanted = own.copy()
        if name:
            wanted[columns] = code(addon, bpy.data.objects[name].data, model)[columns]
        assert np.allclose(evaluated_positions(face), decoded(addon, model, wanted), atol=2e-6), (name, frame)
    bpy.context.scene.frame_set(16)
    one, two = (code(addon, bpy.data.objects[name].data, model)[columns] for name in names[1:3])
    wanted = own.copy()
    wanted[columns] += 0.5 * (one - own[columns]) + 0.5 * (two - own[columns])
    assert np.allclose(evaluated_positions(face), decoded(addon, model, wanted), atol=1e-5)

    camera_and_light()
    cycles()
    bpy.context.scene.camera.location.y = -0.6
    pictures = []
    for frame in (1, 11, 21, 31):
        bpy.context.scene.frame_set(frame)
        bpy.context.scene.render.filepath = str(tmp_path / f"{frame}.png")
        bpy.ops.render.render(write_still=True)
        pictures.append(pixels(tmp_path / f"{frame}.png"))
    differences = [np.abs(one - two).max() for i, one in enumerate(pictures) for two in pictures[:i]]
    assert min(differences) > 0.02


def test_removing_a_donor_keeps_the_animation_of_the_others(mixed, addon, model):
    mesh = mixed[0].data
    own = code(addon, mesh, model)
    for number in range(3):
        for frame, value in ((1, 0.0), (11, 0.2 + 0.1 * number)):
            mesh.lwae.donors[number].amounts[1].value = value
            mesh.keyframe_insert(AMOUNT.format(number, 1), frame=frame)
    driven = mesh.driver_add(AMOUNT.format(2, 0))
    driven.driver.expression = "0.25"
    names = [donor.name for donor in mesh.lwae.donors]
    reader = mixed[0].driver_add("location", 0).driver.variables.new().targets[0]
    reader.id_type, reader.id, reader.data_path = "MESH", mesh, AMOUNT.format(2, 1)
    assert bpy.ops.lwae.remove_donor(donor=names[0]) == {"FINISHED"}
    assert reader.data_path == AMOUNT.format(1, 1), "it reads the same donor"
    assert [donor.name for donor in mesh.lwae.donors] == names[1:]
    paths = addon("animation").animated_paths(mesh)
    assert paths == {AMOUNT.format(0, 1), AMOUNT.format(1, 1), AMOUNT.format(1, 0)}
    bpy.context.scene.frame_set(11)
    amounts = [donor.amounts[1].value for donor in mesh.lwae.donors]
    assert np.allclose(amounts, [0.3, 0.4])
    wanted = own.copy()
    for name, amount in zip(names[1:], amounts, strict=True):
        wanted[model.part_slice(1)] += amount * (code(addon, bpy.data.objects[name].data, model) - own)[
            model.part_slice(1)
        ]
    last = code(addon, bpy.data.objects[names[2]].data, model)
    wanted[model.part_slice(0)] += 0.25 * (last - own)[model.part_slice(0)]
    assert np.allclose(evaluated_positions(mixed[0]), decoded(addon, model, wanted), atol=1e-5)
    assert bpy.ops.lwae.remove_donor(donor=names[2]) == {"FINISHED"}
    assert bpy.ops.lwae.remove_donor(donor=names[1]) == {"FINISHED"}
    assert not addon("animation").animated_paths(mesh)
    assert np.allclose(positions(mesh), decoded(addon, model, own), atol=1e-6)


def test_donors_of_one_name_are_told_apart(mixed):
    donors = mixed[0].data.lwae.donors
    first, last = donors[0].name, donors[2].code
    donors[2].name = first
    donors[1].name = ""
    assert [donor.name for donor in donors] == [first, "Donor", f"{first}.001"]
    donors[1].name = first
    assert [donor.name for donor in donors] == [first, f"{first}.002", f"{first}.001"]
    donors[1].name = donors[1].name
    assert donors[1].name == f"{first}.002"
    assert bpy.ops.lwae.remove_donor(donor=donors[1].name) == {"FINISHED"}
    assert bpy.ops.lwae.remove_donor(donor=first) == {"FINISHED"}
    assert [donor.code for donor in donors] == [last]


def test_shuffle_takes_whole_parts_from_all_faces(mixed, addon, model):
    face, donors = mixed
    mesh = face.data
    people = [code(addon, mesh, model), *(code(addon, donor.data, model) for donor in donors)]
    mesh.lwae.parts[1].locked = True
    bpy.ops.lwae.shuffle_parts(seed=12)
    assert mesh.lwae.mix_seed == 12
    shown = code(addon, mesh, model)
    givers = []
    for part in range(model.part_count):
        columns = model.part_slice(part)
        away = [np.abs(shown[columns] - person[columns]).max() for person in people]
        assert min(away) < 1e-4
        givers.append(int(np.argmin(away)))
    assert givers[1] == 0, "a locked part stays its own"
    assert len(set(givers)) >= min(3, model.part_count - 1)
    assert np.allclose(positions(mesh), decoded(addon, model, shown), atol=1e-6)
    first = positions(mesh)
    bpy.ops.lwae.shuffle_parts(seed=13)
    assert np.abs(positions(mesh) - first).max() > 1e-4
    mesh.lwae.mix_seed = 12
    assert np.array_equal(positions(mesh), first)


def test_shuffle_makes_donors_of_selected_faces(new_face, model):
    faces = [new_face() for _ in range(3)]
    for seed, face in enumerate(faces):
        bpy.context.view_layer.objects.active = face
        bpy.ops.lwae.randomise_face(seed=seed)
        face.select_set(True)
    mesh = bpy.context.object.data
    before = positions(mesh)
    assert bpy.ops.lwae.shuffle_parts(seed=3) == {"FINISHED"}
    assert len(mesh.lwae.donors) == 2
    assert np.abs(positions(mesh) - before).max() > 1e-4


def test_a_face_that_cannot_be_read_gives_nothing(new_face, addon):
    old, edited, face = new_face(), new_face(), new_face()
    old.data.lwae.parts[0].controls.remove(0)
    edited.data.vertices[3].co.x += 0.01
    edited.data.update()
    donor = edited.data.lwae.donors.add()  # What the vertices show is older than that.
    donor.code = addon("shape").encode_numbers(np.zeros(addon("face").model_of(edited.data).code_size))
    for part in edited.data.lwae.parts:
        donor.amounts.add().name = part.name
    for item in (old, edited):
        with pytest.raises(RuntimeError, match=f"{item.name} cannot give parts now"):
            bpy.ops.lwae.add_donor(name=item.name)
    bpy.context.view_layer.objects.active = old
    bpy.ops.object.mode_set(mode="EDIT")  # Which hides that its sliders are old.
    with pytest.raises(addon("backend.errors").LwaeError, match=f"{old.name} cannot give parts now"):
        addon("mix").add_face(face.data, old)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert not face.data.lwae.donors


def test_buttons_say_what_is_missing(new_face, model):
    mesh = new_face().data
    for name in ("add_donors", "shuffle_parts", "bake_mix", "refresh_donors", "remove_donor"):
        assert not getattr(bpy.ops.lwae, name).poll(), name
    with pytest.raises(RuntimeError, match="Select other faces"):
        bpy.ops.lwae.add_donors()
    with pytest.raises(RuntimeError, match="Add donors first"):
        bpy.ops.lwae.bake_mix()
    with pytest.raises(RuntimeError, match="No object is called"):
        bpy.ops.lwae.give_part(part=model.part_names[0], donor="Nobody")
    assert not len(mesh.lwae.donors)


def test_bake_keeps_the_shape_and_forgets_the_donors(mixed, addon, model):
    mesh = mixed[0].data
    bpy.ops.lwae.shuffle_parts(seed=2)
    mesh.lwae.donors[0].amounts[0].value = 0.3
    mesh.keyframe_insert(AMOUNT.format(0, 0), frame=1)
    before, shown = positions(mesh), code(addon, mesh, model)
    bpy.ops.lwae.bake_mix()
    assert not len(mesh.lwae.donors)
    assert not addon("animation").animated_paths(mesh)
    assert np.abs(positions(mesh) - before).max() < 1e-6
    assert np.allclose(addon("shape").own_code(mesh, model), shown, atol=1e-4)
    part = addon("backend.controls").split_code(model, shown)[0]
    assert np.allclose(values(mesh), part[: len(values(mesh))], atol=1e-3)


def test_randomise_and_reset_show_also_where_donors_gave(mixed, addon, model):
    mesh = mixed[0].data
    for part in range(model.part_count):
        mesh.lwae.donors[0].amounts[part].value = 1
    donor = code(addon, mesh, model)
    bpy.ops.lwae.reset_part(part=model.part_names[0])
    shown = code(addon, mesh, model)
    average = code_of_whole(addon, mesh, model)
    assert np.allclose(shown[model.part_slice(0)], average[model.part_slice(0)], atol=1e-5)
    assert np.allclose(shown[model.part_slice(1)], donor[model.part_slice(1)], atol=1e-6)
    assert mesh.lwae.donors[0].amounts[0].value == 0 and mesh.lwae.donors[0].amounts[1].value == 1
    mesh.lwae.parts[1].locked = True
    bpy.ops.lwae.randomise_face(seed=8)
    shown = code(addon, mesh, model)
    assert np.allclose(shown[model.part_slice(1)], donor[model.part_slice(1)], atol=1e-6)
    free = np.ones(model.code_size, dtype=bool)
    free[model.part_slice(1)] = False
    before = donor.copy()
    before[model.part_slice(0)] = average[model.part_slice(0)]
    drawn = model.prior.sample_given(before, free, addon("backend.synthesis").face_rng(8, 0), 3.0)
    assert np.allclose(shown, drawn, atol=1e-3), "drawn to fit the part that a donor gives"
    bpy.ops.lwae.reset_face()
    assert [bool(amount.value) for amount in mesh.lwae.donors[0].amounts] == [
        part.locked for part in mesh.lwae.parts
    ]


def test_undo_takes_a_mix_back_in_one_step(mixed, model):
    face = mixed[0]
    bpy.ops.ed.undo_push(message="before")
    before = positions(face.data)
    bpy.ops.lwae.shuffle_parts("EXEC_DEFAULT", True, seed=5)
    assert np.abs(positions(face.data) - before).max() > 1e-4
    bpy.ops.ed.undo()
    mesh = bpy.data.objects["Face"].data
    assert np.array_equal(positions(mesh), before)
    assert len(mesh.lwae.donors) == 3 and not any(
        amount.value for donor in mesh.lwae.donors for amount in donor.amounts
    )


def test_donors_survive_saving_and_copying(mixed, tmp_path):
    face = mixed[0]
    bpy.ops.lwae.shuffle_parts(seed=5)
    shown = positions(face.data)
    face.data.copy().name = "Copy"
    bpy.data.meshes["Copy"].use_fake_user = True
    path = str(tmp_path / "mix.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=path)
    for mesh in (bpy.data.objects["Face"].data, bpy.data.meshes["Copy"]):
        assert np.array_equal(positions(mesh), shown)
        mesh.lwae.donors[0].all_amounts = 0.5
        assert np.abs(positions(mesh) - shown).max() > 1e-5


def test_auto_keying_keys_amounts(mixed, addon):
    mesh = mixed[0].data
    settings, preferences = bpy.context.scene.tool_settings, bpy.context.preferences.edit
    kept = preferences.use_keyframe_insert_available
    settings.use_keyframe_insert_auto, preferences.use_keyframe_insert_available = True, False
    try:
        bpy.ops.lwae.shuffle_parts(seed=1)
        assert AMOUNT.format(0, 0) in addon("animation").animated_paths(mesh)
        amounts = addon("mix").read_amounts(mesh.lwae)
        bpy.context.scene.frame_set(11)
        mesh.lwae.mix_seed = 2
        assert not np.array_equal(addon("mix").read_amounts(mesh.lwae), amounts)
        bpy.context.scene.frame_set(1)
        assert np.array_equal(addon("mix").read_amounts(mesh.lwae), amounts)
    finally:
        settings.use_keyframe_insert_auto, preferences.use_keyframe_insert_available = False, kept


@pytest.fixture
def library(mixed, tmp_path):
    """A file with the mixed face and its donors."""
    mixed[0].data.lwae.donors["Ana"].amounts[0].value = 1
    path = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return path


def linked(path, name):
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.objects = [name]
    bpy.context.collection.objects.link(wanted.objects[0])
    bpy.context.view_layer.update()
    return wanted.objects[0]


def test_a_linked_face_can_give(library, new_face, addon, model):
    ben = linked(library, "Ben")
    mesh = new_face().data
    bpy.ops.lwae.give_part(part=model.part_names[0], donor="Ben")
    part = model.part_slice(0)
    assert np.allclose(code(addon, mesh, model)[part], code(addon, ben.data, model)[part], atol=1e-5)
    assert np.allclose(positions(mesh), decoded(addon, model, code(addon, mesh, model)), atol=1e-6)


def test_a_linked_face_takes_nothing(library, new_face):
    other = new_face()
    face = linked(library, "Face")
    bpy.context.view_layer.objects.active = face
    other.select_set(True)
    for name in ("add_donors", "add_donor", "shuffle_parts", "bake_mix", "harmonise", "randomise_asymmetry"):
        assert not getattr(bpy.ops.lwae, name).poll(), name


def test_an_overridden_face_has_amounts_of_its_own_but_no_new_donors(library, new_face, addon, model, tmp_path):
    face = linked(library, "Face").override_create(remap_local_usages=True)
    face.data = face.data.override_create(remap_local_usages=True)
    bpy.context.view_layer.objects.active = face
    bpy.context.view_layer.update()
    mesh = face.data
    mesh.lwae.donors["Ben"].amounts[1].value = 0.5
    mesh.lwae.symmetry = 0.25
    settings, shown = addon("shape").read_values(mesh.lwae), positions(mesh)
    assert np.allclose(shown, addon("shape").shape(mesh, model, settings) / 1000, atol=1e-6)
    new_face().name = "Local"
    bpy.context.view_layer.objects.active = face
    for name in ("add_donors", "remove_donor", "bake_mix"):
        assert not getattr(bpy.ops.lwae, name).poll(), name
    with pytest.raises(RuntimeError, match="override"):
        bpy.ops.lwae.give_part(part=model.part_names[0], donor="Local")
    path = str(tmp_path / "user.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    mesh = bpy.data.objects["Face"].data
    assert mesh.lwae.donors["Ben"].amounts[1].value == 0.5
    assert np.allclose(positions(mesh), shown, atol=1e-6)


def test_a_sculpted_face_is_not_mixed_unasked(mixed, model):
    mesh = mixed[0].data
    mesh.vertices[0].co.z += 0.01
    mesh.update()
    before = positions(mesh)
    mesh.lwae.donors["Ben"].amounts[0].value = 1
    assert np.array_equal(positions(mesh), before)
    for name in ("add_donors", "shuffle_parts", "bake_mix", "harmonise", "give_part", "randomise_asymmetry"):
        assert not getattr(bpy.ops.lwae, name).poll(), name
    mesh.lwae.mix_seed = 77
    assert np.array_equal(positions(mesh), before)


def test_shape_keys_follow_the_mix(mixed, addon, model):
    face = mixed[0]
    face.shape_key_add(name="Basis")
    smile = face.shape_key_add(name="Smile")
    smile.data[5].co.z += 0.02
    before = positions(face.data)
    face.data.lwae.donors["Cleo"].all_amounts = 1
    change = positions(face.data) - before
    assert np.abs(change).max() > 1e-4
    keys = face.data.shape_keys.key_blocks
    moved = np.array([point.co for point in keys["Smile"].data]) - [point.co for point in keys["Basis"].data]
    assert abs(moved[5, 2] - 0.02) < 1e-5 and np.abs(np.delete(moved, 5, axis=0)).max() < 1e-6


def test_faces_like_a_mixed_one_start_from_what_is_seen(mixed, addon, model):
    mesh = mixed[0].data
    for amount in mesh.lwae.donors["Ana"].amounts:
        amount.value = 0.8
    mesh.lwae.parts[1].locked = True
    before, seen = positions(mesh), code(addon, mesh, model)
    bpy.ops.lwae.use_variation(seed=6, difference=0)
    assert np.abs(positions(mesh) - before).max() < 2e-6
    bpy.ops.lwae.use_variation(seed=6, difference=0.4)
    assert np.abs(positions(mesh) - before).max() > 1e-4
    part = model.part_slice(1)
    assert np.allclose(code(addon, mesh, model)[part], seen[part], atol=1e-5)


def test_linked_faces_of_one_name_are_different_donors(new_face, addon, model, tmp_path):
    for number in (1, 2):
        new_face().name = "Twin"
        bpy.ops.lwae.randomise_face(seed=number)
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / f"file{number}.blend"))
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    face = new_face()
    twins = [linked(str(tmp_path / f"file{number}.blend"), "Twin") for number in (1, 2)]
    mesh, mix, shape = face.data, addon("mix"), addon("shape")
    for item in (*twins, face):
        item.select_set(True)
    for _ in range(2):
        assert bpy.ops.lwae.add_donors() == {"FINISHED"}
        assert len(mesh.lwae.donors) == 2
    for item in twins:
        donor = mesh.lwae.donors[mix.find_donor(mesh.lwae, item)]
        assert np.allclose(shape.decode_numbers(donor.code), code(addon, item.data, model), atol=1e-6)
    assert {donor.name for donor in mesh.lwae.donors} in ({"Twin", "Twin (file1)"}, {"Twin", "Twin (file2)"})
    codes = [donor.code for donor in mesh.lwae.donors]
    for donor in mesh.lwae.donors:
        donor.code = shape.encode_numbers(np.zeros(model.code_size, dtype=np.float32))
    assert bpy.ops.lwae.refresh_donors() == {"FINISHED"}
    assert [donor.code for donor in mesh.lwae.donors] == codes
    # The menus name the file too.
    mix.remove_donors(mesh)
    for item in twins:
        bpy.ops.lwae.give_part(part=model.part_names[0], donor="Twin", origin=mix.origin_of(item))
    assert [donor.name for donor in mesh.lwae.donors] == ["Twin", "Twin (file2)"]
    assert mesh.lwae.donors[1].amounts[0].value == 1
    # One of this file, and donors of older files, go by their names.
    new_face().name = "Twin"
    bpy.context.view_layer.objects.active = face
    bpy.ops.lwae.add_donor(name="Twin", origin=mix.HERE)
    assert [donor.name for donor in mesh.lwae.donors] == ["Twin", "Twin (file2)", "Twin (this file)"]
    mesh.lwae.donors[0].origin = ""
    bpy.ops.lwae.add_donor(name="Twin", origin=mix.HERE)
    assert len(mesh.lwae.donors) == 3
