# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull: the point goes where it is wanted, locked parts stay to the last bit, a cancelled pull leaves no trace."""

import time
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from helpers import evaluated_positions, expected, positions, slide, values


def nose_tip(mesh) -> int:
    return int(positions(mesh)[:, 1].argmin())


def pull(mesh, vertex, move, **options):
    """Pull as the redo panel does, in metres."""
    place = positions(mesh)[vertex].tolist()
    return bpy.ops.lwae.pull(place=place, move=move, **options)


def codes(addon, model, mesh):
    return addon("shape").read_code(mesh, model)


def state(mesh):
    lwae = mesh.lwae
    return values(mesh), lwae.rest, lwae.applied, lwae.stamp


def test_the_nose_follows_and_the_ears_stay(new_face, addon, model):
    mesh = new_face().data
    before, tip = positions(mesh), nose_tip(mesh)
    assert pull(mesh, tip, (0, -0.01, 0)) == {"FINISHED"}
    moved = (positions(mesh) - before) * 1000
    assert np.linalg.norm(moved[tip] - (0, -10, 0)) < 0.5
    ears = model.weights[model.part_index("ears")] > 0.9
    assert np.linalg.norm(moved[ears], axis=1).max() < 1
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6), "the sliders say what is seen"
    assert addon("face").trouble(mesh) is None
    distance = model.prior.mahalanobis(codes(addon, model, mesh))[0]
    assert distance < 1, "it is still like a person"


def test_locked_parts_stay_to_the_last_bit(new_face, addon, model):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=4)
    locked = [index for index, name in enumerate(model.part_names) if name in ("mouth", "cheeks")]
    for part in locked:
        mesh.lwae.parts[part].locked = True
    before, sliders, place = codes(addon, model, mesh), values(mesh), positions(mesh)
    tip = nose_tip(mesh)
    assert pull(mesh, tip, (0, -0.006, 0)) == {"FINISHED"}
    after = codes(addon, model, mesh)
    for part in locked:
        assert np.array_equal(after[model.part_slice(part)], before[model.part_slice(part)])
    kept = [n for n, control in enumerate(model.controls) if control.part in locked]
    assert [values(mesh)[n] for n in kept] == [sliders[n] for n in kept]
    assert np.linalg.norm((positions(mesh) - place)[tip] * 1000 - (0, -6, 0)) < 0.5


def test_kept_traits_stay_what_they_show(new_face, addon, model):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=4)
    readings = addon("backend.controls").readouts(model)
    if not len(readings):
        pytest.skip("this model has no sliders of the whole face")
    before, values = codes(addon, model, mesh), [control.value for control in mesh.lwae.whole]
    mesh.lwae.whole[0].locked = True
    tip, place = nose_tip(mesh), positions(mesh)
    pull(mesh, tip, (0, -0.006, 0))
    change = readings @ (codes(addon, model, mesh) - before)
    assert abs(change[0]) < 1e-3 < np.abs(change[1:]).max()
    assert mesh.lwae.whole[0].value == values[0]
    assert np.linalg.norm((positions(mesh) - place)[tip] * 1000 - (0, -6, 0)) < 0.5


def test_only_the_part_that_is_pulled(new_face, addon, model):
    mesh = new_face().data
    before = codes(addon, model, mesh)
    tip = nose_tip(mesh)
    place = positions(mesh)[tip]
    pull(mesh, tip, (0, -0.005, 0), part_only=True)
    changed = codes(addon, model, mesh) != before
    nose = model.part_slice(model.part_index("nose"))
    assert changed[nose].any() and changed.sum() == changed[nose].sum()
    assert np.linalg.norm((positions(mesh)[tip] - place) * 1000 - (0, -5, 0)) < 0.5
    mesh.lwae.parts["nose"].locked = True
    with pytest.raises(RuntimeError, match="nose cannot be pulled: this part is locked"):
        pull(mesh, tip, (0, -0.005, 0), part_only=True)


def test_mirrored_pull_moves_both_sides_alike(new_face, model):
    mesh = new_face().data
    before = positions(mesh)
    left = int(np.linalg.norm(before - (0.038, -0.033, -0.045), axis=1).argmin())
    right = int(np.linalg.norm(before - before[left] * (-1, 1, 1), axis=1).argmin())
    pull(mesh, left, (0.004, 0, 0), mirror=True)
    moved = (positions(mesh) - before) * 1000
    assert np.linalg.norm(moved[left] - (4, 0, 0)) < 0.5
    assert np.linalg.norm(moved[right] - (-4, 0, 0)) < 0.5


def test_far_pulls_give_way(new_face, addon, model):
    mesh = new_face().data
    tip, lengths = nose_tip(mesh), []
    start = positions(mesh)[tip]
    for _ in range(4):
        pull(mesh, tip, (0, -0.02, 0))
        lengths.append(float(start[1] - positions(mesh)[tip, 1]) * 1000)
    steps = np.diff([0, *lengths])
    assert steps[0] > 10, "the first goes far"
    assert steps[-1] < 2, "pulled again and again it ends"
    assert model.prior.mahalanobis(codes(addon, model, mesh))[0] < 1.5


def test_wider_radius_takes_more_along(new_face):
    mesh = new_face().data
    before, tip = positions(mesh), nose_tip(mesh)
    around = np.linalg.norm(before - before[tip], axis=1)
    ring = (around > 0.02) & (around < 0.04)
    moved = []
    for radius in (10, 60):
        bpy.ops.lwae.reset_face()
        pull(mesh, tip, (0, -0.008, 0), radius=radius)
        moved.append(np.linalg.norm(positions(mesh) - before, axis=1)[ring].mean())
    assert moved[1] > 1.5 * moved[0]


def test_kept_edit_shape_keys_and_subdivision_come_along(new_face, addon):
    face = new_face()
    mesh = face.data
    mesh.vertices[5].co.z += 0.01
    mesh.update()
    bpy.ops.lwae.keep_edit()
    face.shape_key_add(name="Basis")
    face.shape_key_add(name="Smile").points[7].co.z += 0.02
    face.modifiers.new("Subdivision", "SUBSURF").levels = 1
    before, seen = positions(mesh), evaluated_positions(face)
    tip = nose_tip(mesh)
    assert pull(mesh, tip, (0, -0.005, 0)) == {"FINISHED"}
    assert np.linalg.norm((positions(mesh) - before)[tip] * 1000 - (0, -5, 0)) < 0.5
    assert np.abs(evaluated_positions(face) - seen).max() > 0.003
    smile = mesh.shape_keys.key_blocks["Smile"]
    assert abs(smile.points[7].co.z - positions(mesh)[7, 2] - 0.02) < 1e-6
    assert addon("face").trouble(mesh) is None


def test_cancelled_pull_leaves_no_trace(new_face, addon):
    face = new_face()
    mesh = face.data
    bpy.ops.lwae.randomise_face(seed=2)
    slide(mesh, 0.7)
    face.shape_key_add(name="Basis")
    face.shape_key_add(name="Smile").points[7].co.z += 0.02
    before, place = state(mesh), positions(mesh)
    keys = [np.array([point.co for point in block.points]) for block in mesh.shape_keys.key_blocks]
    pulling = addon("pulling")
    begun = pulling.FacePull(mesh, pulling.handle_near(mesh, place[nose_tip(mesh)]))
    for step in range(1, 8):
        begun.prepare(30, step % 2 == 0, step % 3 == 0)
        begun.follow(np.array([0, -step, 0.3 * step]))
    assert np.abs(positions(mesh) - place).max() > 1e-3
    begun.restore()
    assert state(mesh) == before
    assert np.array_equal(positions(mesh), place)
    for block, points in zip(mesh.shape_keys.key_blocks, keys, strict=True):
        assert np.array_equal(np.array([point.co for point in block.points]), points)
    assert addon("face").trouble(mesh) is None


def test_back_at_the_start_is_the_face_as_it_was(new_face, addon):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=2)
    place = positions(mesh)
    pulling = addon("pulling")
    begun = pulling.FacePull(mesh, pulling.handle_near(mesh, place[nose_tip(mesh)]))
    begun.prepare(30, False, False)
    begun.follow(np.array([0, -8, 0]))
    begun.follow(np.zeros(3))
    assert np.abs(positions(mesh) - place).max() < 1e-6


def test_donors_are_pulled_through(new_face, addon, model):
    """Half of the nose is a donor's: the point follows all the same. A part that is all the donor's is left out."""
    mesh = new_face().data
    donor = mesh.lwae.donors.add()
    donor.name = "Other"
    donor.code = addon("shape").encode_numbers(model.prior.sample(np.random.default_rng(5), 1)[0])
    for name in model.part_names:
        donor.amounts.add().name = name
    donor.amounts["nose"].value = 0.5
    donor.amounts["ears"].value = 1.0
    addon("sync").follow(mesh)
    before, tip = positions(mesh), nose_tip(mesh)
    own = addon("shape").own_code(mesh, model)
    pull(mesh, tip, (0, -0.005, 0))
    assert np.linalg.norm((positions(mesh) - before)[tip] * 1000 - (0, -5, 0)) < 0.5
    ears = model.part_slice(model.part_index("ears"))
    assert np.array_equal(addon("shape").own_code(mesh, model)[ears], own[ears])
    assert donor.amounts["nose"].value == 0.5, "the donor goes on giving"


@pytest.mark.parametrize("symmetry", [0.5, 1.0])
def test_point_follows_under_symmetry(new_face, symmetry):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=8)
    mesh.lwae.symmetry = symmetry
    before = positions(mesh)
    cheek = int(np.linalg.norm(before - (0.038, -0.033, -0.045), axis=1).argmin())
    pull(mesh, cheek, (0.003, 0, 0))
    assert np.linalg.norm((positions(mesh) - before)[cheek] * 1000 - (3, 0, 0)) < 0.4


def test_one_undo_step(new_face):
    face = new_face()
    bpy.ops.ed.undo_push(message="Face")
    before = positions(face.data)
    pull(face.data, nose_tip(face.data), (0, -0.008, 0))
    bpy.ops.ed.undo_push(message="Pull")
    after = positions(face.data)
    bpy.ops.ed.undo()
    assert np.array_equal(positions(bpy.context.object.data), before)
    bpy.ops.ed.redo()
    assert np.allclose(positions(bpy.context.object.data), after, atol=1e-7)


def test_pull_says_why_not(new_face, addon):
    face = new_face()
    assert bpy.ops.lwae.pull.poll()
    with pytest.raises(RuntimeError, match="no such place"):
        bpy.ops.lwae.pull(place=(np.nan,) * 3, move=(0, 0, 0.01))
    for part in face.data.lwae.parts:
        part.locked = True
    assert not bpy.ops.lwae.pull.poll()
    for part in face.data.lwae.parts:
        part.locked = False
    bpy.ops.object.mode_set(mode="SCULPT")
    assert not bpy.ops.lwae.pull.poll()
    bpy.ops.object.mode_set(mode="OBJECT")
    face.data.vertices[3].co.z += 0.01
    face.data.update()
    assert not bpy.ops.lwae.pull.poll(), "an edit by hand is not overwritten"


def test_auto_keying(new_face, monkeypatch):
    mesh = new_face().data
    monkeypatch.setattr(bpy.context.preferences.edit, "use_keyframe_insert_available", False)
    bpy.context.scene.tool_settings.use_keyframe_insert_auto = True
    pull(mesh, nose_tip(mesh), (0, -0.005, 0))
    assert mesh.animation_data.action is not None


def test_a_move_is_quick(new_face, addon):
    """Not a benchmark: no step of a drag may be noticed, however busy the machine is with other things."""
    mesh = new_face().data
    pulling = addon("pulling")
    begun = pulling.FacePull(mesh, pulling.handle_near(mesh, positions(mesh)[nose_tip(mesh)]))
    begun.prepare(30, False, False)
    begun.follow(np.array([0, -0.1, 0]))
    times = []
    for step in range(1, 31):
        start = time.process_time()
        begun.follow(np.array([0, -step / 5, 0]))
        times.append(time.process_time() - start)
    print(f"a move of the mouse: {min(times) * 1e3:.2f} ms at best, median {np.median(times) * 1e3:.2f} ms")
    assert min(times) < 0.03


def mouse(**keys):
    modifiers = dict.fromkeys(("alt", "oskey", "ctrl"), False)
    return SimpleNamespace(**{"type": "LEFTMOUSE", "value": "PRESS", "mouse_x": 5, "mouse_y": 5} | modifiers | keys)


def test_a_press_with_alt_looks_around(new_face, addon):
    new_face()
    invoke = addon("operators.pull").LWAE_OT_pull.invoke
    for key in ("alt", "oskey"):
        assert invoke(SimpleNamespace(), bpy.context, mouse(**{key: True})) == {"PASS_THROUGH"}


def test_a_refused_press_is_not_passed_on(new_face, addon):
    """Passed on, the drag would move the object."""
    new_face()
    said = []

    def press(_context, _event):
        raise addon("backend.errors").LwaeError("The nose cannot be pulled: this part is locked.")

    cls = addon("operators.pull").LWAE_OT_pull
    pressed = SimpleNamespace(
        _press=press,
        properties=SimpleNamespace(is_property_set=lambda name: True),
        report=lambda kind, sentence: said.append(sentence),
        cancel=lambda context: said.append("ended"),
        poll=cls.poll,
        _pull=None,
    )
    context = SimpleNamespace(
        scene=bpy.context.scene, area=SimpleNamespace(type="VIEW_3D"), object=bpy.context.object, mode="OBJECT"
    )
    assert cls.invoke(pressed, context, mouse()) == {"CANCELLED"}
    assert said == ["The nose cannot be pulled: this part is locked."]
    assert cls.modal(pressed, context, mouse()) == {"CANCELLED"}
    assert said[1:] == ["ended", said[0]], "a report is seen once the operator ended"


def test_a_press_on_a_face_that_cannot_be_pulled_says_why(new_face, addon, monkeypatch):
    mesh, said = new_face().data, []
    tool = addon("operators.pull_tool")
    cls = tool.LWAE_OT_pull_refused
    pressed = SimpleNamespace(_is_on_face=lambda *_: True, report=lambda kind, sentence: said.append(sentence))
    assert cls.invoke(pressed, bpy.context, mouse()) == {"PASS_THROUGH"} and not said
    for part in mesh.lwae.parts:
        part.locked = True
    assert cls.invoke(pressed, bpy.context, mouse(alt=True)) == {"PASS_THROUGH"} and not said
    assert cls.invoke(pressed, bpy.context, mouse()) == {"CANCELLED"}
    assert said == ["All parts are locked. Unlock one first."]
    pressed._is_on_face = lambda *_: False
    assert cls.invoke(pressed, bpy.context, mouse()) == {"PASS_THROUGH"}


def test_while_it_waits_other_things_can_be_clicked(new_face, addon):
    face, left = new_face(), []
    cls = addon("operators.pull").LWAE_OT_pull
    waiting = SimpleNamespace(_pull=None, poll=cls.poll, cancel=left.append)
    waiting._press = lambda context, event: cls._press(waiting, context, event)
    nowhere = SimpleNamespace(area=None, object=face, mode="OBJECT")
    assert cls.modal(waiting, nowhere, mouse()) == {"PASS_THROUGH"} and not left
    waiting._press = lambda context, event: True
    assert cls.modal(waiting, nowhere, mouse()) == {"RUNNING_MODAL"} and not left
    nowhere.object = None  # What was clicked made another object the active one.
    assert cls.modal(waiting, nowhere, mouse()) == {"CANCELLED"} and left == [nowhere]
