# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo, copies, and the way of a face through files."""

from types import SimpleNamespace

import addon_utils
import bpy
import numpy as np
import pytest
from conftest import ADDON
from helpers import expected, positions, slide, values


def reopen(path):
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))


def test_undo_and_redo(new_face):
    name = new_face().name
    bpy.ops.ed.undo_push(message="Add")
    slide(bpy.data.objects[name].data, 2)
    bpy.ops.ed.undo_push(message="Slide")
    slid = positions(bpy.data.objects[name].data)
    bpy.ops.lwae.randomise_face(seed=3)
    bpy.ops.ed.undo_push(message="Randomise")
    drawn = positions(bpy.data.objects[name].data)
    bpy.ops.ed.undo()
    mesh = bpy.data.objects[name].data
    assert np.array_equal(positions(mesh), slid)
    assert mesh.lwae.parts[0].controls[0].value == 2
    bpy.ops.ed.undo()
    mesh = bpy.data.objects[name].data
    assert not any(values(mesh))
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-7)
    bpy.ops.ed.redo()
    bpy.ops.ed.redo()
    assert np.array_equal(positions(bpy.data.objects[name].data), drawn)
    slide(bpy.data.objects[name].data, -1)
    mesh = bpy.data.objects[name].data
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_save_and_reopen(new_face, addon, tmp_path):
    face = new_face()
    bpy.ops.lwae.randomise_face(seed=8)
    slide(face.data, 1.25)
    before, sliders = positions(face.data), values(face.data)
    reopen(tmp_path / "face.blend")
    mesh = bpy.data.objects["Face"].data
    assert np.array_equal(positions(mesh), before)
    assert values(mesh) == sliders
    assert mesh.lwae.seed == 8
    assert addon("face").trouble(mesh) is None
    slide(mesh, -1)
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_opening_a_file_loads_no_model(new_face, addon, tmp_path):
    new_face()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "face.blend"))
    addon("models").clear()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "face.blend"))
    bpy.context.view_layer.update()
    assert not addon("models")._loaded


def test_duplicate_is_independent(new_face):
    one = new_face()
    slide(one.data, 1)
    bpy.ops.object.duplicate()
    two = bpy.context.object
    assert two.data != one.data
    still = positions(one.data)
    slide(two.data, -2)
    assert np.array_equal(positions(one.data), still)
    assert np.allclose(positions(two.data), expected(two.data), atol=1e-7)


def test_linked_duplicate_shares_the_face(new_face):
    one = new_face()
    bpy.ops.object.duplicate(linked=True)
    two = bpy.context.object
    assert two.data == one.data
    slide(two.data, 2)
    assert np.allclose(positions(one.data), expected(one.data), atol=1e-7)


def test_copy_of_the_mesh_keeps_its_sliders(new_face):
    mesh = new_face().data
    slide(mesh, 2)
    copy = mesh.copy()
    slide(copy, -2)
    assert mesh.lwae.parts[0].controls[0].value == 2
    assert np.allclose(positions(copy), expected(copy), atol=1e-7)


@pytest.fixture
def library(new_face, tmp_path):
    """A file with one random face whose first slider is keyed from -2 (frame 1) to 2 (frame 11)."""
    face = new_face()
    bpy.ops.lwae.randomise_face(seed=8)
    for frame, value in ((1, -2), (11, 2)):
        slide(face.data, value)
        face.data.keyframe_insert("lwae.parts[0].controls[0].value", frame=frame)
    bpy.context.scene.frame_set(1)
    path = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return path


def load_face(path, link):
    with bpy.data.libraries.load(path, link=link) as (_, wanted):
        wanted.objects = ["Face"]
    face = wanted.objects[0]
    bpy.context.collection.objects.link(face)
    bpy.context.view_layer.update()
    return face


def at(mesh, value):
    wanted = np.array(values(mesh), dtype=np.float32)
    wanted[0] = value
    return expected(mesh, wanted)


def test_append(library, addon):
    face = load_face(library, link=False)
    bpy.context.view_layer.objects.active = face
    assert face.data.lwae.seed == 8
    assert addon("face").trouble(face.data) is None
    bpy.context.scene.frame_set(11)
    assert np.allclose(positions(face.data), at(face.data, 2), atol=1e-6)
    slide(face.data, 1, part=1)
    assert np.allclose(positions(face.data), at(face.data, 2), atol=1e-6)


def test_linked_face_plays_its_animation_and_refuses_buttons(library, addon):
    face = load_face(library, link=True)
    bpy.context.view_layer.objects.active = face
    assert addon("face").trouble(face.data) is None
    before = positions(face.data)
    for frame, value in ((11, 2), (1, -2)):
        bpy.context.scene.frame_set(frame)
        assert np.allclose(positions(face.data), at(face.data, value), atol=1e-6)
    assert np.allclose(positions(face.data), before, atol=1e-6)
    for name in ("randomise_face", "reset_face", "apply", "part_vertex_groups"):
        assert not getattr(bpy.ops.lwae, name).poll()
    with pytest.raises(RuntimeError, match="linked"):
        bpy.ops.lwae.randomise_face()


def test_linked_face_that_was_sculpted_is_left_alone(library, addon):
    bpy.ops.wm.open_mainfile(filepath=library)
    mesh = bpy.data.objects["Face"].data
    mesh.vertices[3].co.z += 0.03
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    face = load_face(library, link=True)
    before = positions(face.data)
    bpy.context.scene.frame_set(11)
    assert np.array_equal(positions(face.data), before)
    assert addon("face").trouble(face.data).kind == "EDITED"


def test_overridden_face_that_was_sculpted_is_left_alone(library, addon):
    bpy.ops.wm.open_mainfile(filepath=library)
    bpy.data.objects["Face"].data.vertices[3].co.z += 0.03
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    face = override(library)
    before = positions(face.data)
    slide(face.data, 2, part=1)
    assert np.array_equal(positions(face.data), before)
    assert not bpy.ops.lwae.keep_edit.poll()
    assert not bpy.ops.lwae.overwrite_edit.poll()


def override(path):
    """The face of another file, its object and mesh overridden here."""
    linked = load_face(path, link=True)
    face = linked.override_create(remap_local_usages=True)
    face.data = face.data.override_create(remap_local_usages=True)
    bpy.context.view_layer.objects.active = face
    bpy.context.view_layer.update()
    return face


def test_an_override_of_the_object_alone_is_told_what_is_missing(library, addon):
    face = load_face(library, link=True).override_create(remap_local_usages=True)
    bpy.context.view_layer.objects.active = face
    said = []
    common, cls = addon("operators.common"), SimpleNamespace(poll_message_set=said.append)
    assert not common.poll_face(cls, bpy.context)
    wanted = "its mesh is still linked: override that too, or use Make Face Local."
    assert said == [f"The object is an override, but {wanted}"]
    assert bpy.ops.lwae.make_local() == {"FINISHED"} and common.poll_face(cls, bpy.context)


def test_overridden_face_has_sliders_of_its_own(library, addon, tmp_path):
    face = override(library)
    mesh = face.data
    assert mesh.override_library and addon("face").trouble(mesh) is None
    slide(mesh, 1.5, part=1)
    bpy.context.view_layer.update()
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)
    slide(mesh, -1.5, part=1)
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)
    bpy.context.scene.frame_set(11)
    assert np.allclose(positions(mesh), at(mesh, 2), atol=1e-6)
    bpy.context.scene.frame_set(1)
    bpy.ops.ed.undo_push(message="One")
    bpy.context.scene.frame_set(5)
    bpy.ops.ed.undo_push(message="Two")
    assert addon("face").trouble(mesh) is None
    bpy.ops.ed.undo()
    bpy.context.scene.frame_set(1)
    mesh = next(mesh for mesh in bpy.data.meshes if mesh.override_library)
    assert addon("face").trouble(mesh) is None
    shown = positions(mesh)
    assert np.allclose(shown, at(mesh, -2), atol=1e-6)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "user.blend"))
    assert addon("face").trouble(mesh) is None
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "user.blend"))
    mesh = next(mesh for mesh in bpy.data.meshes if mesh.override_library)
    assert mesh.lwae.parts[1].controls[0].value == -1.5
    assert addon("face").trouble(mesh) is None
    assert np.allclose(positions(mesh), shown, atol=1e-6)


def test_overridden_face_becomes_local(library, addon):
    face = override(library)
    slide(face.data, 1.5, part=1)
    before = positions(face.data)
    copy = addon("switch").copy_face(face)  # as Switch Model > Copy does
    assert copy != face and not copy.data.override_library and addon("face").trouble(copy.data) is None
    assert np.allclose(positions(copy.data), before, atol=1e-6)
    bpy.context.view_layer.objects.active = face
    assert bpy.ops.lwae.make_local() == {"FINISHED"}
    mesh = bpy.context.object.data
    assert not (mesh.library or mesh.override_library) and addon("face").trouble(mesh) is None
    assert np.allclose(positions(mesh), before, atol=1e-6)
    slide(mesh, -1, part=1)
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)
    assert not bpy.ops.lwae.make_local.poll()


def test_overridden_face_can_be_randomised(library, addon):
    face = override(library)
    assert bpy.ops.lwae.randomise_face(seed=77) == {"FINISHED"}
    assert face.data.lwae.seed == 77
    for name in ("apply", "part_vertex_groups"):  # They need data of their own.
        assert not getattr(bpy.ops.lwae, name).poll()
    assert np.allclose(positions(face.data), expected(face.data), atol=1e-6)


def test_linked_face_with_shape_keys_shows_exactly_what_its_basis_says(library):
    bpy.ops.wm.open_mainfile(filepath=library)
    for name in ("Basis", "Smile"):
        bpy.data.objects["Face"].shape_key_add(name=name)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    mesh = load_face(library, link=True).data
    for frame in (11, 4):
        bpy.context.scene.frame_set(frame)
        basis = np.array([point.co for point in mesh.shape_keys.reference_key.data], dtype=np.float32)
        assert np.array_equal(basis, positions(mesh))
    assert np.allclose(positions(mesh), at(mesh, mesh.lwae.parts[0].controls[0].value), atol=1e-6)


def test_made_local_it_is_ones_own(library, addon):
    face = load_face(library, link=True)
    bpy.context.view_layer.objects.active = face
    face.select_set(True)
    bpy.ops.object.make_local(type="SELECT_OBDATA")
    mesh = bpy.context.object.data
    assert addon("face").trouble(mesh) is None
    slide(mesh, 1, part=1)
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_file_opened_without_the_addon(new_face, addon, tmp_path):
    bpy.ops.lwae.add_face()
    bpy.ops.lwae.randomise_face(seed=8)
    before, sliders = positions(bpy.context.object.data), values(bpy.context.object.data)
    path = str(tmp_path / "face.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    addon_utils.disable(ADDON)
    try:
        bpy.ops.wm.open_mainfile(filepath=path)
        mesh = bpy.data.objects["Face"].data
        assert not hasattr(mesh, "lwae")
        assert np.array_equal(positions(mesh), before)
        bpy.context.scene.frame_set(3)
        bpy.ops.wm.save_mainfile()
        bpy.ops.wm.open_mainfile(filepath=path)
    finally:
        addon_utils.enable(ADDON)
    mesh = bpy.data.objects["Face"].data
    assert values(mesh) == sliders
    assert np.array_equal(positions(mesh), before)
    slide(mesh, 1)
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_frame_changed_without_the_addon(library, addon):
    addon_utils.disable(ADDON)
    try:
        bpy.ops.wm.open_mainfile(filepath=library)
        bpy.context.scene.frame_set(11)
        bpy.ops.wm.save_mainfile()
    finally:
        addon_utils.enable(ADDON)
    bpy.ops.wm.open_mainfile(filepath=library)
    mesh = bpy.data.objects["Face"].data
    assert bpy.context.scene.frame_current == 11
    assert np.allclose(positions(mesh), at(mesh, 2), atol=1e-6)
    assert addon("face").trouble(mesh) is None


def test_driver_moved_without_the_addon(new_face, tmp_path):
    face = new_face()
    bpy.ops.object.empty_add()
    driver = face.data.driver_add("lwae.parts[0].controls[0].value").driver
    variable = driver.variables.new()
    variable.type = "TRANSFORMS"
    variable.targets[0].id = bpy.context.object
    variable.targets[0].transform_type = "LOC_X"
    driver.expression = variable.name
    path = str(tmp_path / "driven.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    addon_utils.disable(ADDON)
    try:
        bpy.ops.wm.open_mainfile(filepath=path)
        bpy.data.objects["Empty"].location.x = 2
        bpy.ops.wm.save_mainfile()
    finally:
        addon_utils.enable(ADDON)
    bpy.ops.wm.open_mainfile(filepath=path)
    mesh = bpy.data.objects["Face"].data
    assert np.allclose(positions(mesh), at(mesh, 2), atol=1e-6)
