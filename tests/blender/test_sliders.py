# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders of the whole face: honest, kept, reset; faces from before there were any."""

import hashlib

import bpy
import numpy as np
import pytest
from helpers import expected, positions, slide, values


@pytest.fixture
def whole(addon, model):
    """What acts on and reads the whole face: directions [D, W] and readouts [W, D]."""
    controls = addon("backend.controls")
    directions = controls.whole_directions(model)
    if not directions.shape[1]:
        pytest.skip("the model has no controls of the whole face")
    return directions, controls.readouts(model)


def code(addon, mesh, model):
    return addon("shape").read_code(mesh, model)


def shown(mesh):
    return np.array([control.value for control in mesh.lwae.whole], dtype=np.float32)


def test_a_slider_of_the_whole_face_moves_all_of_it(new_face, addon, model, whole):
    mesh = new_face().data
    assert [control.name for control in mesh.lwae.whole][:2] == ["Age", "Femininity"]
    before = positions(mesh)
    mesh.lwae.whole["Femininity"].value = 2
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)
    assert np.allclose(whole[1] @ code(addon, mesh, model), 2 * whole[1] @ whole[0][:, 1], atol=1e-4)
    moved = np.linalg.norm(positions(mesh) - before, axis=1)
    for weights in model.weights:
        assert moved[weights > 0.5].max() > 0.0005
    mesh.lwae.whole["Femininity"].value = 0
    assert np.allclose(positions(mesh), before, atol=1e-6)


def test_after_a_draw_the_sliders_say_what_is_there(new_face, addon, model, whole):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=3)
    drawn = model.prior.sample(addon("backend.synthesis").face_rng(3, 0), 1)[0]
    assert np.allclose(shown(mesh), whole[1] @ drawn, atol=1e-4)
    assert np.allclose(code(addon, mesh, model), drawn, atol=1e-4)
    assert np.abs(shown(mesh)).max() > 0.3
    # Also beside a locked part, which stays as it is.
    mesh.lwae.parts[0].locked = True
    held = model.part_slice(0)
    sliders = [control.value for control in mesh.lwae.parts[0].controls]
    bpy.ops.lwae.randomise_face(seed=4)
    after = code(addon, mesh, model)
    assert np.allclose(shown(mesh), whole[1] @ after, atol=1e-4)
    assert np.allclose(after[held], drawn[held], rtol=0, atol=1e-4)
    assert [control.value for control in mesh.lwae.parts[0].controls] == sliders


def test_other_people_of_the_same_age(new_face, addon, model, whole):
    mesh = new_face().data
    mesh.lwae.whole["Age"].value = 1.5
    mesh.lwae.whole["Age"].locked = True
    seen = []
    for seed in range(4):
        bpy.ops.lwae.randomise_face(seed=seed)
        seen.append(whole[1] @ code(addon, mesh, model))
        assert mesh.lwae.whole["Age"].value == 1.5
    seen = np.array(seen)
    assert np.allclose(seen[:, 0], 1.5, atol=0.01)
    assert seen[:, 1:5].std(axis=0).min() > 0.2
    bpy.ops.lwae.reset_face()
    assert values(mesh).count(0) == len(values(mesh)) - 1 and mesh.lwae.whole["Age"].value == 1.5
    assert np.allclose(code(addon, mesh, model), 1.5 * whole[0][:, 0], atol=1e-5)


def test_reset_of_the_whole_faces_sliders_leaves_the_parts(new_face, whole):
    mesh = new_face().data
    slide(mesh, 2)
    part_only = positions(mesh)
    for control in mesh.lwae.whole:
        control.value = 1
    assert bpy.ops.lwae.reset_whole() == {"FINISHED"}
    assert not shown(mesh).any() and mesh.lwae.parts[0].controls[0].value == 2
    assert np.allclose(positions(mesh), part_only, atol=1e-6)
    for control in mesh.lwae.whole:
        control.locked = True
    with pytest.raises(RuntimeError, match="no slider of the whole face"):
        bpy.ops.lwae.reset_whole()


def test_reset_of_the_whole_faces_sliders_leaves_locked_parts(new_face, addon, model, whole):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=5)
    mesh.lwae.parts[1].locked = True
    mesh.lwae.whole["Weight"].value = 2
    before, locked = code(addon, mesh, model), model.part_slice(1)
    assert bpy.ops.lwae.reset_whole() == {"FINISHED"}
    after = code(addon, mesh, model)
    assert np.allclose(after[locked], before[locked], rtol=0, atol=1e-6)
    assert np.abs(after - before).max() > 0.1
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_auto_keying_keys_them(new_face, addon, whole):
    mesh = new_face().data
    preferences = bpy.context.preferences.edit
    before = preferences.use_keyframe_insert_available
    preferences.use_keyframe_insert_available = False
    bpy.context.scene.tool_settings.use_keyframe_insert_auto = True
    try:
        bpy.ops.lwae.randomise_face(seed=1)
    finally:
        preferences.use_keyframe_insert_available = before
        bpy.context.scene.tool_settings.use_keyframe_insert_auto = False
    paths = {f"lwae.whole[{index}].value" for index in range(len(mesh.lwae.whole))}
    assert paths <= addon("animation").animated_paths(mesh)


def make_old(mesh):
    """As a face was saved before there were sliders of the whole face: fewer sliders, a shorter id."""
    state = mesh.lwae
    if np.allclose(positions(mesh), expected(mesh), atol=1e-6):
        state.stamp = hashlib.blake2b(positions(mesh), digest_size=8).hexdigest()
    state.whole.clear()
    state.sliders = "0badf00d"
    state.applied = "00000000:"


def test_a_face_from_an_older_file_gets_its_sliders_and_keeps_its_shape(new_face, addon, whole, tmp_path):
    faces = [new_face() for _ in range(3)]
    plain, edited, offset = (face.data for face in faces)
    for number, face in enumerate(faces):
        bpy.context.view_layer.objects.active = face
        bpy.ops.lwae.randomise_face(seed=number)
    plain.lwae.parts[2].locked = True
    for mesh in (edited, offset):
        mesh.vertices[7].co.z += 0.02
        mesh.update()
    bpy.ops.lwae.keep_edit()
    before = [positions(mesh) for mesh in (plain, edited, offset)]
    names = [mesh.name for mesh in (plain, edited, offset)]
    for mesh in (plain, edited, offset):
        make_old(mesh)
    assert addon("face").trouble(plain).kind == "SLIDERS"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "old.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "old.blend"))
    for name, seen in zip(names, before, strict=True):
        mesh = bpy.data.meshes[name]
        assert addon("face").trouble(mesh) is None
        assert len(mesh.lwae.whole) and any(values(mesh))
        assert np.abs(positions(mesh) - seen).max() < 2e-4
        assert np.abs(positions(mesh) - seen).mean() < 5e-5
    assert bpy.data.meshes[names[0]].lwae.parts[2].locked
    assert addon("face").OFFSET not in bpy.data.meshes[names[0]].attributes
    # The edit by hand was kept as an offset, exactly.
    mesh = bpy.data.meshes[names[1]]
    assert np.allclose(positions(mesh), before[1], atol=1e-6) and addon("face").OFFSET in mesh.attributes
    mesh.lwae.whole["Weight"].value += 2
    assert np.abs(positions(mesh) - before[1]).max() > 1e-3


def test_the_button_updates_an_old_face(new_face, addon, whole):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=9)
    before = positions(mesh)
    with pytest.raises(RuntimeError, match="up to date"):
        bpy.ops.lwae.renew_sliders()
    make_old(mesh)
    assert bpy.ops.lwae.renew_sliders() == {"FINISHED"}
    assert addon("face").trouble(mesh) is None
    assert np.abs(positions(mesh) - before).mean() < 5e-5


def test_every_slider_is_explained(new_face, addon, model):
    mesh = new_face().data
    explain = addon("operators.explain")
    for part in (*model.part_names, ""):
        lines = explain.explanations(mesh, part)
        own = mesh.lwae.parts[part].controls if part else mesh.lwae.whole
        assert [line.partition(":")[0] for line in lines] == [control.name for control in own]
        assert all(len(line.partition(": ")[2]) > 10 for line in lines)


def test_an_update_shows_what_was_seen_and_nothing_twice(new_face, addon, model, whole):
    """Symmetry, lids, the neck, kept sliders of the whole face, animated donors, an edit by hand."""
    donor, item = new_face(), new_face()
    donor.name = "Donor"
    bpy.ops.lwae.randomise_face(seed=9)
    mesh = item.data
    bpy.ops.lwae.add_donor(name="Donor")
    for frame, value in ((1, 0.5), (11, 1)):
        mesh.lwae.donors[0].amounts[0].value = value
        mesh.keyframe_insert("lwae.donors[0].amounts[0].value", frame=frame)
    bpy.context.scene.frame_set(1)
    mesh.lwae.asymmetry, mesh.lwae.random_asymmetry, mesh.lwae.keep_neck = 3, 2, True
    mesh.lwae.whole["Weight"].locked = True
    mesh.keyframe_insert("lwae.asymmetry", frame=1)
    for is_edited in (False, True):
        if is_edited:
            mesh.vertices[7].co.z += 0.02
            mesh.update()
        before = positions(mesh)
        mesh.lwae.sliders = "0badf00d"
        assert bpy.ops.lwae.renew_sliders() == {"FINISHED"}
        bpy.context.scene.frame_set(2)
        # Above the held edge of the neck a code is fitted to what is free.
        assert np.abs(positions(mesh) - before).max() < (1e-6 if is_edited else 4e-4)
        assert mesh.lwae.whole["Weight"].locked and mesh.lwae.whole["Weight"].value
        assert not mesh.animation_data
        assert len(mesh.lwae.donors) == 1
        mesh.lwae.random_asymmetry = 2
