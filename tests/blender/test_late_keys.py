# SPDX-License-Identifier: GPL-3.0-or-later
"""Shape keys that nothing shows wait while a slider is dragged, and have followed before anything can read them."""

import bpy
import numpy as np
import pytest
from helpers import camera_and_light, cycles, evaluated_positions, positions, slide


def points(mesh, name):
    result = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.shape_keys.key_blocks[name].points.foreach_get("co", result)
    return result.reshape(-1, 3)


def add_keys(face):
    """A basis that is active, and keys: two facial actions, where the model knows some, and an artist's own two."""
    face.shape_key_add(name="Basis", from_mix=False)
    for number, name in enumerate(("jawOpen", "eyeBlinkLeft", "scar", "bump")):
        key = face.shape_key_add(name=name, from_mix=False)
        key.value = 0
        key.points[100 + number].co.x += 0.01
    face.active_shape_key_index = 0


NAMES = {"jawOpen", "eyeBlinkLeft", "scar", "bump"}


@pytest.fixture
def face(new_face):
    item = new_face()
    add_keys(item)
    return item


@pytest.fixture
def sync(addon):
    return addon("sync")


@pytest.fixture
def waiting(addon):
    """Names of a mesh's keys that have not followed yet."""

    def names(mesh):
        found = set(addon("writer").waiting_keys(mesh))
        assert bool(found) == (addon("writer").WAITING in mesh.attributes)
        return found

    return names


STEPS = (0.5, 1.2, 2.0)


def drag(mesh, part=1):
    for value in STEPS:
        slide(mesh, value, part)


@pytest.fixture
def right(new_face, face, waiting):
    """Says that a mesh's keys are those of a face whose keys followed each step at once."""
    twin = new_face()
    add_keys(twin)
    bpy.context.view_layer.objects.active = face
    drag(twin.data)

    def check(mesh):
        assert not waiting(mesh)
        for name in ("Basis", *NAMES):
            assert np.allclose(points(mesh, name), points(twin.data, name), rtol=0, atol=1e-6), name

    return check


@pytest.fixture
def late(face, sync, right, waiting):
    """A face in the middle of a drag: its keys wait."""
    with sync.dragging():
        drag(face.data)
        assert waiting(face.data) == NAMES
        yield face


def test_a_scripts_keys_follow_at_once(face, right, waiting):
    for value in STEPS:
        slide(face.data, value, 1)
        assert not waiting(face.data)
    right(face.data)


def test_keys_follow_when_the_drag_ends(face, sync, right, waiting):
    before = {name: points(face.data, name) for name in NAMES}
    with sync.dragging():
        for value in STEPS:
            slide(face.data, value, 1)
            bpy.context.view_layer.update()
            assert waiting(face.data) == NAMES
            assert np.array_equal(points(face.data, "Basis"), positions(face.data))
            assert np.array_equal(evaluated_positions(face), positions(face.data))
        assert all(np.array_equal(points(face.data, name), before[name]) for name in NAMES)
    right(face.data)
    for _ in range(2):  # Once is enough, and more often does no harm.
        sync.settle_all()
        right(face.data)


def test_a_drag_that_fails_ends_too(face, sync, right):
    with pytest.raises(ZeroDivisionError), sync.dragging():
        drag(face.data)
        raise ZeroDivisionError
    right(face.data)


def test_drags_within_a_drag(face, sync, right, waiting):
    with sync.dragging():
        with sync.dragging():
            drag(face.data)
        assert waiting(face.data) == NAMES
    right(face.data)


def test_what_is_seen_is_right_at_each_step(face, new_face, sync, waiting):
    twin = new_face()
    add_keys(twin)
    for item in (face, twin):
        keys = item.data.shape_keys.key_blocks
        keys["scar"].value = 0.7
        keys["scar"].relative_key = keys["jawOpen"]
    with sync.dragging():
        for value in STEPS:
            slide(face.data, value, 1)
            assert waiting(face.data) == {"eyeBlinkLeft", "bump"}
            with_late_keys = evaluated_positions(face)
            slide(twin.data, value, 1)
            assert np.allclose(with_late_keys, evaluated_positions(twin), rtol=0, atol=1e-6)


def _on(face, keys):
    keys["scar"].value = 0.2


def _muted(face, keys):
    keys["scar"].value, keys["scar"].mute = 1, True


def _active(face, keys):
    face.active_shape_key_index = keys.find("scar")


def _pinned_elsewhere(face, keys):
    other = bpy.data.objects.new("Other", face.data)
    other.active_shape_key_index = keys.find("scar")
    other.show_only_shape_key = True


def _cloth(face, keys):
    face.modifiers.new("Cloth", "CLOTH").settings.rest_shape_key = keys["scar"]


@pytest.mark.parametrize("show", [_on, _muted, _active, _pinned_elsewhere, _cloth])
def test_a_key_that_is_used_does_not_wait(face, sync, right, waiting, show):
    show(face, face.data.shape_keys.key_blocks)
    with sync.dragging():
        drag(face.data)
        assert waiting(face.data) == NAMES - {"scar"}
    right(face.data)


def _animated(face, keys):
    keys["bump"].keyframe_insert("value", frame=1)


def _driven(face, keys):
    keys["bump"].driver_add("value")


def _absolute(face, keys):
    face.data.shape_keys.use_relative = False


def _painted(face, keys):
    bpy.ops.object.mode_set(mode="WEIGHT_PAINT")


@pytest.mark.parametrize("show", [_animated, _driven, _absolute, _painted])
def test_no_key_waits_where_any_may_be_needed_next(face, sync, right, waiting, show):
    show(face, face.data.shape_keys.key_blocks)
    with sync.dragging():
        drag(face.data)
        assert not waiting(face.data)
        right(face.data)
    if face.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")


def test_a_key_that_is_switched_on_in_a_drag_follows(late, right):
    late.data.shape_keys.key_blocks["bump"].value = 1
    bpy.context.view_layer.update()
    right(late.data)


def test_whatever_writes_a_face_lets_its_keys_follow(late, waiting, sync):
    sync.write(late.data)
    assert not waiting(late.data)


def test_without_a_drag_an_update_lets_keys_follow(late, right, addon, monkeypatch):
    monkeypatch.setattr(addon("late_keys"), "_held", 0)
    late.data.update()
    bpy.context.view_layer.update()
    right(late.data)


def test_saving_and_frames(late, right, waiting, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "face.blend"))
    right(late.data)
    slide(late.data, STEPS[0], 1)
    slide(late.data, STEPS[-1], 1)
    assert waiting(late.data) == NAMES
    bpy.context.scene.frame_set(5)
    right(late.data)


def test_rendering(late, right):
    camera_and_light()
    cycles()
    seen = []

    def look(*_arguments):
        seen.append(right(late.data))

    bpy.app.handlers.render_pre.append(look)
    try:
        bpy.ops.render.render()
    finally:
        bpy.app.handlers.render_pre.remove(look)
    assert seen == [None]
    right(late.data)


def test_a_file_saved_unasked_catches_up_when_it_is_opened(late, right, addon, sync, tmp_path):
    """As Blender saves while one works: no handler hears of that."""
    path, mesh_name = tmp_path / "face.blend", late.data.name
    bpy.app.handlers.save_pre.remove(sync.settle_all)
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path))
    finally:
        bpy.app.handlers.save_pre.append(sync.settle_all)
    names = [mesh.name for mesh in bpy.data.meshes if mesh.lwae.waiting]
    assert names == [mesh_name]
    twin = next(mesh for mesh in bpy.data.meshes if mesh.lwae.is_face and mesh.name != mesh_name).name
    bpy.ops.wm.open_mainfile(filepath=str(path))
    mesh, twin = bpy.data.meshes[mesh_name], bpy.data.meshes[twin]
    assert not mesh.lwae.waiting
    for name in NAMES:
        assert np.allclose(points(mesh, name), points(twin, name), rtol=0, atol=1e-6)


def test_undo_steps_that_were_made_in_a_drag(face, sync, new_face):
    name = face.data.name
    twin = new_face()
    add_keys(twin)
    drag(twin.data)
    wanted = {key: points(twin.data, key) for key in NAMES}
    before = {key: points(face.data, key) for key in NAMES}

    def check(expected):
        mesh = bpy.data.meshes[name]
        assert not mesh.lwae.waiting
        for key in NAMES:
            assert np.allclose(points(mesh, key), expected[key], rtol=0, atol=1e-6), key

    bpy.ops.ed.undo_push(message="Add")
    with sync.dragging():
        drag(bpy.data.meshes[name])
        bpy.ops.ed.undo_push(message="Slide")  # As the release does, while keys wait.
        assert bpy.data.meshes[name].lwae.waiting
    check(wanted)
    slide(bpy.data.meshes[name], -1, 2)
    bpy.ops.ed.undo_push(message="Slide again")
    bpy.ops.ed.undo()
    check(wanted)
    bpy.ops.ed.undo()
    check(before)
    bpy.ops.ed.redo()
    check(wanted)


def test_copies_of_a_mesh_whose_keys_wait(late, sync, right):
    copy = late.copy()
    copy.data = late.data.copy()
    bpy.context.scene.collection.objects.link(copy)
    sync.settle_all()
    right(late.data)
    right(copy.data)


def test_edit_mode_in_between(late, right, sync):
    bpy.ops.object.mode_set(mode="EDIT")
    sync.settle_all()
    assert late.data.lwae.waiting
    bpy.ops.object.mode_set(mode="OBJECT")
    sync.settle_all()
    right(late.data)


def test_what_is_edited_meanwhile_stays(late, sync, waiting, addon):
    """The basis is no measure of what keys have yet to do."""
    mesh = late.data
    mesh.shape_keys.reference_key.points[7].co.z += 0.02
    mesh.shape_keys.key_blocks["bump"].points[8].co.z += 0.02
    sync.settle_all()
    assert not waiting(mesh)
    edit = points(mesh, "bump") - points(mesh, "Basis")
    assert abs(edit[7, 2] + 0.02) < 1e-6 and abs(edit[8, 2] - 0.02) < 1e-6
    assert addon("face").trouble(mesh).kind == "EDITED"


def test_keys_that_are_new_or_gone(late, sync, right):
    late.shape_key_add(name="new", from_mix=False)
    fresh = points(late.data, "new")
    sync.settle_all()
    right(late.data)
    assert np.array_equal(points(late.data, "new"), fresh)


def test_all_keys_removed(late, sync, waiting):
    late.shape_key_clear()
    sync.settle_all()
    assert not waiting(late.data)


@pytest.mark.parametrize("damaged", ["[", "7", "[[]]"])
def test_a_damaged_list_of_keys_is_forgotten(face, sync, right, damaged):
    face.data.lwae.waiting = damaged
    face.data.attributes.new("lwae_waiting", "INT", "FACE")
    drag(face.data)
    sync.settle_all()
    assert not face.data.lwae.waiting and "lwae_waiting" not in face.data.attributes
    right(face.data)


def test_our_own_readers(late, right, sync, addon, waiting):
    bpy.ops.object.select_all(action="DESELECT")
    late.select_set(True)
    copy = addon("bake").plain_copy(late, "Plain")
    assert not copy.data.lwae.is_face and addon("writer").WAITING not in copy.data.attributes
    own = points(copy.data, "scar") - points(copy.data, "Basis")
    assert abs(own[102, 0] - 0.01) < 1e-6 and np.abs(np.delete(own, 102, axis=0)).max() < 1e-6
    assert waiting(late.data) == NAMES
    addon("pulling").Snapshot(late.data)
    right(late.data)


def test_adding_an_expression_anew_in_a_drag(late, right, addon, model, waiting):
    if not model.expressions:
        pytest.skip("the model knows no expressions")
    follower = addon("models").tools(model).expressions
    addon("expressions").add_keys(late, ["jawOpen"], rebuild=True)
    assert not waiting(late.data)
    vertices, deltas = follower.delta(follower.numbers["jawOpen"], points(late.data, "Basis") * 1000)
    wanted = points(late.data, "Basis")
    wanted[vertices] += deltas / 1000
    assert np.allclose(points(late.data, "jawOpen"), wanted, atol=1e-6)


def test_keys_wait_for_a_missing_model(late, right, sync, waiting):
    mesh, model_hash = late.data, late.data.lwae.model_hash
    mesh.lwae.model_hash = "0" * 16
    sync.settle_all()
    assert waiting(mesh) == NAMES
    mesh.lwae.model_hash = model_hash
    sync.settle_all()
    right(mesh)


def test_disabling_the_add_on(late, right, sync):
    sync.unregister()
    try:
        right(late.data)
    finally:
        sync.register()


def test_a_hand_that_stops(face, right, sync, addon, waiting, monkeypatch):
    """In a window a slider under the mouse is dragged, and nobody says when it is let go."""
    monkeypatch.setattr(addon("late_keys"), "_is_under_the_mouse", lambda mesh: True)
    drag(face.data)
    bpy.context.view_layer.update()
    assert waiting(face.data) == NAMES
    assert bpy.app.timers.is_registered(sync._settle_when_still)
    assert sync._settle_when_still() > 0  # Moved only now.
    assert waiting(face.data) == NAMES
    monkeypatch.setattr(sync, "_moved_at", sync._moved_at - 1)
    assert sync._settle_when_still() is None
    bpy.app.timers.unregister(sync._settle_when_still)
    right(face.data)
