# SPDX-License-Identifier: GPL-3.0-or-later
"""An artist's edit of a face is never overwritten unasked."""

import bpy
import numpy as np
import pytest
from helpers import evaluated_positions, expected, positions, slide
from mathutils import Matrix


def push(mesh, distance=0.01, vertex=5) -> None:
    """What a sculpt stroke leaves behind: a vertex elsewhere."""
    mesh.vertices[vertex].co.z += distance
    mesh.update()


def trouble(addon, mesh):
    found = addon("face").trouble(mesh)
    return found.kind if found else None


def test_sculpted_face_is_not_overwritten(new_face, addon):
    mesh = new_face().data
    slide(mesh, 1)
    push(mesh)
    sculpted = positions(mesh)
    assert trouble(addon, mesh) == "EDITED"
    slide(mesh, 2)
    bpy.context.scene.frame_set(3)
    assert np.array_equal(positions(mesh), sculpted)
    assert not bpy.ops.lwae.randomise_face.poll()
    assert not bpy.ops.lwae.reset_face.poll()


def test_a_vertex_that_is_nowhere_is_not_kept(new_face, addon):
    mesh = new_face().data
    before = positions(mesh)
    mesh.vertices[5].co = (np.nan,) * 3
    mesh.update()
    with pytest.raises(RuntimeError, match="Use Overwrite Edit"):
        bpy.ops.lwae.keep_edit()
    assert "lwae_offset" not in mesh.attributes
    assert bpy.ops.lwae.overwrite_edit() == {"FINISHED"}
    assert np.array_equal(positions(mesh), before)
    face = addon("face")
    face.store_offset(mesh, np.full(before.shape, np.nan, dtype=np.float32))  # of a former version
    assert not face.read_offset(mesh).any()


def test_keep_edit_as_offset(new_face, addon):
    mesh = new_face().data
    slide(mesh, 1)
    before = positions(mesh)
    push(mesh)
    edit = positions(mesh) - before
    assert bpy.ops.lwae.keep_edit() == {"FINISHED"}
    assert trouble(addon, mesh) is None
    assert np.allclose(positions(mesh), before + edit, atol=1e-6)
    slide(mesh, -1)
    assert np.allclose(positions(mesh), expected(mesh) + edit, atol=1e-6)
    push(mesh, 0.02, vertex=9)
    bpy.ops.lwae.keep_edit()
    slide(mesh, 0.5)
    assert np.allclose(positions(mesh)[5], expected(mesh)[5] + (0, 0, 0.01), atol=1e-6)
    assert np.allclose(positions(mesh)[9], expected(mesh)[9] + (0, 0, 0.02), atol=1e-6)
    bpy.ops.lwae.remove_offset()
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)
    assert not bpy.ops.lwae.remove_offset.poll()


def test_keep_after_a_slider_was_moved_too(new_face):
    mesh = new_face().data
    push(mesh)
    slide(mesh, 2)
    bpy.ops.lwae.keep_edit()
    assert np.allclose(positions(mesh)[5], expected(mesh)[5] + (0, 0, 0.01), atol=1e-6)
    others = np.arange(len(mesh.vertices)) != 5
    assert np.allclose(positions(mesh)[others], expected(mesh)[others], atol=1e-6)


def test_overwrite_when_asked(new_face, addon):
    mesh = new_face().data
    push(mesh)
    slide(mesh, 2)
    assert bpy.ops.lwae.overwrite_edit() == {"FINISHED"}
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-7)
    assert trouble(addon, mesh) is None
    assert not bpy.ops.lwae.overwrite_edit.poll()
    assert not bpy.ops.lwae.keep_edit.poll()


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT"])
def test_edit_and_sculpt_mode_wait(new_face, addon, mode):
    mesh = new_face().data
    before = positions(mesh)
    mesh.lwae.parts[0].controls[1].value = 1
    mesh.lwae.parts[0].controls[1].keyframe_insert("value", frame=1)
    mesh.lwae.parts[0].controls[1].value = 0
    assert np.array_equal(positions(mesh), before)
    bpy.ops.object.mode_set(mode=mode)
    assert trouble(addon, mesh) == "MODE"
    slide(mesh, 2)
    bpy.context.scene.frame_set(1)
    assert mode == "EDIT" or np.array_equal(positions(mesh), before)
    assert not bpy.ops.lwae.randomise_face.poll() and not bpy.ops.lwae.keep_edit.poll()
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.context.view_layer.update()
    assert trouble(addon, mesh) is None
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-7)


def test_modes_without_an_edit_change_nothing(new_face, addon):
    mesh = new_face().data
    slide(mesh, 1)
    for mode in ("EDIT", "SCULPT", "WEIGHT_PAINT", "VERTEX_PAINT", "OBJECT"):
        bpy.ops.object.mode_set(mode=mode)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert trouble(addon, mesh) is None


def test_moved_in_edit_mode_is_an_edit(new_face, addon):
    mesh = new_face().data
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.transform.translate(value=(0, 0, 0.1))
    bpy.ops.object.mode_set(mode="OBJECT")
    moved = positions(mesh)
    assert trouble(addon, mesh) == "EDITED"
    slide(mesh, 2)
    assert np.array_equal(positions(mesh), moved)


def world(item):
    """Vertices of a face, mixed with its shape keys, where they are seen."""
    bpy.context.view_layer.update()
    matrix = np.array(item.matrix_world)
    return evaluated_positions(item) @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.mark.parametrize("order", ["XYZ", "QUATERNION"])
def test_an_applied_transform_goes_back_to_the_object(new_face, addon, order):
    item = new_face(location=(1, 2, 3))
    mesh = item.data
    slide(mesh, 2)
    push(mesh)
    bpy.ops.lwae.keep_edit()
    item.shape_key_add(name="Basis")
    smile = item.shape_key_add(name="Smile")
    smile.points[7].co.z += 0.02
    smile.value = 1
    before, offset = positions(mesh), key_offsets(mesh)
    bpy.ops.object.empty_add()
    child = bpy.context.object
    child.parent = item
    child.matrix_parent_inverse = item.matrix_world.inverted()
    bpy.context.view_layer.objects.active = item
    child.select_set(False)
    item.select_set(True)
    item.rotation_mode = order
    item.matrix_basis = item.matrix_basis @ Matrix.Rotation(0.9, 4, (1, 2, 3)) @ Matrix.Scale(2, 4)
    item.delta_location = (0, 0.5, 0)
    bpy.context.view_layer.update()
    bpy.ops.object.transform_apply(location=False)
    seen, there = world(item), child.matrix_world.copy()
    assert item.scale.x == 1 and trouble(addon, mesh) == "EDITED"
    slide(mesh, -1)
    with pytest.raises(RuntimeError, match="Put Back on Object"):
        bpy.ops.lwae.keep_edit()
    slide(mesh, 2)
    assert bpy.ops.lwae.put_back() == {"FINISHED"}
    assert trouble(addon, mesh) is None and np.array_equal(positions(mesh), before)
    assert np.abs(key_offsets(mesh) - offset).max() < 1e-6
    assert np.abs(world(item) - seen).max() < 1e-5
    assert np.allclose(child.matrix_world, there, atol=1e-5)
    assert item.scale.x == pytest.approx(2)
    assert not bpy.ops.lwae.put_back.poll()


def key_offsets(mesh):
    smile = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.shape_keys.key_blocks["Smile"].points.foreach_get("co", smile)
    return smile.reshape(-1, 3) - key_positions(mesh)


def test_all_objects_of_a_turned_mesh_take_it(new_face, addon):
    item = new_face()
    other = item.copy()
    bpy.context.collection.objects.link(other)
    other.location.x, other.scale = 1, (2, 2, 2)
    turn = Matrix.Rotation(0.5, 4, "Z")
    item.data.transform(turn)
    seen = [world(item), world(other)]
    other.scale.y = 3
    assert trouble(addon, item.data) == "EDITED"
    with pytest.raises(RuntimeError, match="uneven scale"):
        bpy.ops.lwae.put_back()
    assert item.rotation_euler.z == 0 and trouble(addon, item.data) == "EDITED"
    other.scale.y = 2
    bpy.ops.lwae.put_back()
    assert np.abs([world(item) - seen[0], world(other) - seen[1]]).max() < 1e-5
    assert item.rotation_euler.z == pytest.approx(0.5) and other.rotation_euler.z == pytest.approx(0.5)


def test_a_moved_origin_may_be_kept_or_put_back(new_face, addon):
    item = new_face()
    bpy.ops.object.origin_set(type="ORIGIN_GEOMETRY")
    seen = world(item)
    assert addon("face").trouble(item.data).applied is not None
    assert bpy.ops.lwae.keep_edit.poll() and bpy.ops.lwae.put_back() == {"FINISHED"}
    assert np.abs(world(item) - seen).max() < 1e-6 and item.location.length < 1e-6


def test_an_uneven_scale_is_named(new_face, addon):
    item = new_face()
    item.scale.x = 1.2
    bpy.ops.object.transform_apply()
    assert "Object > Apply" in addon("face").trouble(item.data).sentence
    assert bpy.ops.lwae.keep_edit.poll() and not bpy.ops.lwae.put_back.poll()
    bpy.ops.lwae.overwrite_edit()
    push(item.data)
    assert "by hand" in addon("face").trouble(item.data).sentence
    bpy.ops.lwae.overwrite_edit()
    item.scale.x = -1
    bpy.ops.object.transform_apply()
    assert "Object > Apply" in addon("face").trouble(item.data).sentence


def test_subdivided_mesh_is_left_alone_and_said(new_face, addon, model):
    mesh = new_face().data
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.subdivide()
    bpy.ops.object.mode_set(mode="OBJECT")
    before = positions(mesh)
    found = addon("face").trouble(mesh)
    assert found.kind == "TOPOLOGY"
    assert f"{len(mesh.vertices):,}" in found.sentence and f"{model.vertex_count:,}" in found.sentence
    slide(mesh, 2)
    bpy.context.scene.frame_set(2)
    assert np.array_equal(positions(mesh), before)
    for name in ("randomise_face", "reset_face", "keep_edit", "overwrite_edit", "part_vertex_groups"):
        assert not getattr(bpy.ops.lwae, name).poll()
    assert bpy.ops.lwae.apply() == {"FINISHED"}
    assert np.array_equal(positions(mesh), before)


def test_same_count_other_polygons_is_left_alone(new_face, addon):
    mesh = new_face().data
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.flip_normals()
    bpy.ops.object.mode_set(mode="OBJECT")
    before = positions(mesh)
    assert trouble(addon, mesh) == "TOPOLOGY"
    slide(mesh, 2)
    assert np.array_equal(positions(mesh), before)


def test_subdivision_modifier_just_works(new_face):
    face = new_face()
    face.modifiers.new("Subdivision", "SUBSURF").levels = 1
    before = evaluated_positions(face)
    slide(face.data, 2)
    after = evaluated_positions(face)
    assert len(after) > len(face.data.vertices)
    assert np.abs(after - before).max() > 1e-5
    assert np.allclose(positions(face.data), expected(face.data), atol=1e-7)


def test_shape_keys_ride_along(new_face, addon):
    face = new_face()
    mesh = face.data
    face.shape_key_add(name="Basis")
    smile = face.shape_key_add(name="Smile")
    smile.points[7].co.z += 0.02
    smile.value = 1
    before = evaluated_positions(face)
    assert trouble(addon, mesh) is None
    slide(mesh, 2)
    after = evaluated_positions(face)
    assert np.allclose(after, expected(mesh) + smile_offset(len(before)), atol=1e-6)
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)
    smile.value = 0
    assert np.allclose(evaluated_positions(face), expected(mesh), atol=1e-6)


def smile_offset(count):
    offset = np.zeros((count, 3))
    offset[7, 2] = 0.02
    return offset


def test_removing_shape_keys_is_no_edit(new_face, addon):
    face = new_face()
    face.shape_key_add(name="Basis")
    face.shape_key_add(name="Smile")
    for value in (2, -1.3, 0.7):
        slide(face.data, value)
        assert np.array_equal(key_positions(face.data), positions(face.data))
    bpy.ops.object.shape_key_remove(all=True)
    assert trouble(addon, face.data) is None


def key_positions(mesh):
    result = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.shape_keys.reference_key.points.foreach_get("co", result)
    return result.reshape(-1, 3)


def test_sculpted_basis_key_is_an_edit(new_face, addon):
    face = new_face()
    basis = face.shape_key_add(name="Basis")
    face.shape_key_add(name="Smile")
    basis.points[7].co.z += 0.02
    assert trouble(addon, face.data) == "EDITED"
    slide(face.data, 2)
    assert abs(basis.points[7].co.z - expected(face.data)[7, 2]) > 1e-3


def test_apply_leaves_an_ordinary_mesh(new_face):
    face = new_face()
    mesh = face.data
    slide(mesh, 2)
    mesh.keyframe_insert("lwae.parts[0].controls[0].value", frame=1)
    mesh.driver_add("lwae.parts[1].controls[0].value")
    before = positions(mesh)
    bpy.ops.lwae.apply()
    assert not mesh.lwae.is_face and not mesh.lwae.parts and not mesh.lwae.rest and not mesh.lwae.stamp
    assert not face.modifiers
    assert not mesh.animation_data or not mesh.animation_data.drivers
    bpy.context.scene.frame_set(5)
    assert np.array_equal(positions(mesh), before)
    assert not bpy.ops.lwae.apply.poll()


@pytest.mark.parametrize("in_strip", [False, True])
def test_apply_leaves_an_action_that_another_face_shares(new_face, in_strip):
    face = new_face()
    path = "lwae.parts[0].controls[0].value"
    for frame, value in ((1, 0), (9, 2)):
        slide(face.data, value)
        face.data.keyframe_insert(path, frame=frame)
    if in_strip:
        data = face.data.animation_data
        action = data.action
        data.action = None
        data.nla_tracks.new().strips.new("Strip", 1, action)
    other = face.copy()
    other.data = face.data.copy()
    bpy.context.collection.objects.link(other)
    bpy.ops.lwae.apply()
    assert not face.data.animation_data
    bpy.context.scene.frame_set(1)
    before = positions(other.data)
    bpy.context.scene.frame_set(9)
    assert np.abs(positions(other.data) - before).max() > 1e-4


@pytest.mark.parametrize("missing", [True, False])
def test_missing_or_damaged_model_gets_its_sentence(new_face, addon, monkeypatch, tmp_path, missing):
    mesh = new_face().data
    before = positions(mesh)
    models = addon("models")
    broken = tmp_path / "default.lwae"
    if not missing:
        broken.write_bytes(b"PK\x03\x04 not a model")
    models.clear()
    monkeypatch.setattr(addon("model_list"), "BUNDLED_PATH", broken)
    found = addon("face").trouble(mesh)
    assert found.kind == "MODEL" and "default.lwae" in found.sentence
    slide(mesh, 2)
    assert np.array_equal(positions(mesh), before)
    with pytest.raises(RuntimeError, match="default.lwae"):
        bpy.ops.lwae.add_face()
    monkeypatch.undo()
    assert trouble(addon, mesh) is None


def test_face_of_another_model_is_left_alone(new_face, addon):
    mesh = new_face().data
    before = positions(mesh)
    mesh.lwae.model_hash, mesh.lwae.model_name = "0" * 16, "somebody's heads"
    found = addon("face").trouble(mesh)
    assert found.kind == "MODEL" and "somebody's heads" in found.sentence
    slide(mesh, 2)
    assert np.array_equal(positions(mesh), before)


def test_face_with_other_sliders_is_left_alone(new_face, addon):
    mesh = new_face().data
    before = positions(mesh)
    mesh.lwae.parts[0].controls.remove(0)
    assert trouble(addon, mesh) == "SLIDERS"
    mesh.lwae.parts[1].controls[0].value = 1
    bpy.context.scene.frame_set(4)
    assert np.array_equal(positions(mesh), before)
    assert bpy.ops.lwae.apply() == {"FINISHED"}


@pytest.mark.parametrize("damage", ["damaged", "AAAA", "no number"])
def test_a_damaged_face_is_said_and_stops_no_other(new_face, addon, model, damage):
    bad, donor_bad, good = (new_face().data for _ in range(3))
    shape = addon("shape")
    text = shape.encode_numbers(np.full(model.code_size, np.nan)) if damage == "no number" else damage
    before = positions(donor_bad)
    bad.lwae.rest = text
    donor = donor_bad.lwae.donors.add()
    donor.code = text
    for part in donor_bad.lwae.parts:
        donor.amounts.add().name = part.name
    donor.amounts[0].value = 1
    for mesh in (bad, donor_bad):
        assert trouble(addon, mesh) == "SLIDERS"
    with addon("sync").paused():
        slide(good, 2)
    addon("sync").follow_all()
    assert np.allclose(positions(good), expected(good), atol=1e-6)
    for mesh in (bad, donor_bad):
        addon("renew").renew_sliders(mesh)
        assert trouble(addon, mesh) is None
    assert not donor_bad.lwae.donors
    assert np.abs(positions(donor_bad) - before).max() < 2e-4
    slide(donor_bad, 2)
    assert np.abs(positions(donor_bad) - before).max() > 1e-4
