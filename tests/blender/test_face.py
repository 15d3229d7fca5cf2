# SPDX-License-Identifier: GPL-3.0-or-later
"""One face: what Add Face makes, and sliders that move it."""

import bpy
import numpy as np
import pytest
from helpers import expected, face_controls, positions, slide


def test_add_face_makes_a_head(new_face, model):
    face = new_face()
    mesh = face.data
    sizes = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("loop_total", sizes)
    assert np.array_equal(sizes, model.polygon_sizes)
    assert len(mesh.uv_layers) == 1
    assert all(polygon.use_smooth for polygon in mesh.polygons)
    names = [material.name for material in mesh.materials]
    assert names[:2] == ["Face Skin", "Face Eyes"]
    used = {polygon.material_index for polygon in mesh.polygons}
    assert {0, 1} <= used
    assert [part.name for part in mesh.lwae.parts] == model.part_names
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-7)
    assert not mesh.validate()
    assert bpy.context.selected_objects == [face]


def test_size_and_direction_are_those_of_a_head(new_face, model):
    face = new_face(location=(1, 2, 3))
    assert tuple(face.location) == (1, 2, 3)
    bpy.context.view_layer.update()
    assert np.allclose(face.dimensions, np.ptp(model.mean, axis=0) / 1000, atol=0.002)


def test_materials_are_shared_and_the_artists(new_face):
    first = new_face().data.materials[0]
    first.diffuse_color = (0, 1, 0, 1)
    first.name = "My Skin"
    assert new_face().data.materials[0] == first
    assert first.diffuse_color[:] == (0, 1, 0, 1)


def test_a_material_of_the_same_name_is_not_ours(new_face):
    theirs = bpy.data.materials.new("Face Skin")
    assert new_face().data.materials[0] != theirs


def test_each_slider_moves_the_mesh_at_once(new_face, model):
    mesh = new_face().data
    for control in face_controls(mesh):
        before = positions(mesh)
        control.value = 1.5
        assert np.abs(positions(mesh) - before).max() > 1e-6
        assert np.allclose(positions(mesh), expected(mesh), atol=1e-7)


def test_bounding_box_follows(new_face):
    face = new_face()
    for control in face_controls(face.data):
        control.value = 3
    bpy.context.view_layer.update()
    corners = np.array(face.bound_box)
    assert np.allclose(corners.max(0), positions(face.data).max(0), atol=1e-5)
    assert np.allclose(corners.min(0), positions(face.data).min(0), atol=1e-5)


def test_typed_values_go_beyond_three(new_face):
    mesh = new_face().data
    slide(mesh, 7.5)
    assert mesh.lwae.parts[0].controls[0].value == 7.5
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_a_value_that_is_no_number_leaves_the_mesh_as_it_was(new_face):
    mesh = new_face().data
    slide(mesh, 1)
    before = positions(mesh)
    for bad in (float("nan"), float("inf")):
        slide(mesh, bad, part=1)
        bpy.context.view_layer.update()
        assert np.isfinite(positions(mesh)).all()
    slide(mesh, 0, part=1)
    assert np.allclose(positions(mesh), before, atol=1e-7)


def test_two_faces_at_once_are_independent(new_face):
    one, two = new_face().data, new_face().data
    still = positions(two)
    slide(one, 2)
    assert np.array_equal(positions(two), still)
    slide(two, -1)
    assert np.allclose(positions(one), expected(one), atol=1e-7)
    assert np.allclose(positions(two), expected(two), atol=1e-7)


def test_delete_leaves_nothing_that_fails(new_face):
    one, two = new_face(), new_face()
    mesh = one.data
    bpy.data.objects.remove(one)
    bpy.data.meshes.remove(mesh)
    bpy.context.view_layer.update()
    slide(two.data, 1)
    assert np.allclose(positions(two.data), expected(two.data), atol=1e-7)


def test_other_meshes_are_left_alone():
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    before = positions(cube.data)
    bpy.context.scene.frame_set(5)
    assert np.array_equal(positions(cube.data), before)
    assert not bpy.ops.lwae.randomise_face.poll()


def test_add_face_needs_object_mode(new_face):
    new_face()
    bpy.ops.object.mode_set(mode="EDIT")
    assert not bpy.ops.lwae.add_face.poll()
    with pytest.raises(RuntimeError, match="Object Mode"):
        bpy.ops.lwae.add_face()
