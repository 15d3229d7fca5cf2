# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds together while sliders move: the edge of the neck, the lids before the eyeballs."""

import bpy
import numpy as np
import pytest
from helpers import expected, positions, slide, slider_path


@pytest.fixture
def neck(addon, model):
    found = addon("models").tools(model).neck
    if not len(found.edge):
        pytest.skip("this model has no open neck")
    return found


def neck_slider(model):
    return model.part_names.index("neck")


def test_the_neck_stays_where_it_was_switched_on(new_face, addon, model, neck):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=4)
    before = positions(mesh)
    mesh.lwae.keep_neck = True
    assert np.allclose(positions(mesh), before, atol=1e-7), "switching it on must not move anything"
    for seed in (0, 1, 2, 3):
        bpy.ops.lwae.randomise_face(seed=seed)
        mesh.lwae.keep_neck = True  # Once more: it is kept already.
        assert np.abs(positions(mesh)[neck.edge] - before[neck.edge]).max() < 1e-7
        assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)
        assert addon("face").trouble(mesh) is None
    held = positions(mesh)
    mesh.lwae.keep_neck = False
    assert np.abs(positions(mesh) - held).max() > 0.001, "it held nothing"
    assert np.abs(positions(mesh)[neck.edge] - before[neck.edge]).max() > 0.001


def test_average_neck(new_face, model, neck):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=4)
    assert bpy.ops.lwae.average_neck() == {"FINISHED"}
    assert mesh.lwae.keep_neck
    for seed in (1, 2):
        bpy.ops.lwae.randomise_face(seed=seed)
        assert np.abs(positions(mesh)[neck.edge] * 1000 - neck.mean_edge).max() < 1e-4


def test_the_neck_is_kept_in_animations_copies_undo_and_files(new_face, model, neck, tmp_path):
    face = new_face()
    bpy.ops.lwae.randomise_face(seed=4)
    face.data.lwae.keep_neck = True
    edge = positions(face.data)[neck.edge]
    part = neck_slider(model)
    for frame, value in ((1, -3), (11, 3)):
        slide(face.data, value, part=part)
        face.data.keyframe_insert(slider_path(part), frame=frame)
    bpy.ops.object.duplicate()
    shown = []
    for frame in (1, 6, 11):
        bpy.context.scene.frame_set(frame)
        for item in bpy.data.objects:
            assert np.abs(positions(item.data)[neck.edge] - edge).max() < 1e-7
        shown.append(positions(face.data))
    assert np.abs(shown[0] - shown[2]).max() > 0.001
    bpy.ops.ed.undo_push(message="Keyed")
    face.data.lwae.keep_neck = False
    bpy.ops.ed.undo_push(message="Free")
    bpy.ops.ed.undo()
    assert np.abs(positions(bpy.data.objects["Face"].data)[neck.edge] - edge).max() < 1e-7
    path = str(tmp_path / "face.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=path)
    bpy.context.scene.frame_set(6)
    assert np.allclose(positions(bpy.data.objects["Face"].data), shown[1], atol=1e-6)


def test_the_neck_of_a_face_edited_by_hand_waits(new_face, addon, model, neck):
    mesh = new_face().data
    mesh.vertices[5].co.z += 0.01
    mesh.update()
    sculpted = positions(mesh)
    mesh.lwae.keep_neck = True
    assert np.array_equal(positions(mesh), sculpted)
    bpy.ops.lwae.keep_edit()
    assert np.allclose(positions(mesh), sculpted, atol=1e-6)
    slide(mesh, 3, part=neck_slider(model))
    assert np.abs(positions(mesh) - sculpted).max() > 0.001
    assert np.abs(positions(mesh)[neck.edge] - sculpted[neck.edge]).max() < 1e-6


def test_average_neck_needs_an_open_neck(new_face, addon, model, monkeypatch):
    mesh = new_face().data
    tools, has_open_neck = addon("models").tools(model), addon("operators.neck").has_open_neck
    assert has_open_neck(mesh)
    monkeypatch.setitem(tools.__dict__, "neck", type("Closed", (), {"edge": np.empty(0, int)})())
    assert not bpy.ops.lwae.average_neck.poll() and not has_open_neck(mesh)
    with pytest.raises(RuntimeError, match="no open neck"):
        bpy.ops.lwae.average_neck()


def test_lids_are_draped_unless_switched_off(new_face, addon, model):
    lids = addon("models").tools(model).lids
    if not lids.eyes:
        pytest.skip("this model has no eyeballs")
    mesh = new_face().data
    part = model.part_names.index("eyes")
    names = [control.name for control in mesh.lwae.parts[part].controls]
    slide(mesh, -7, part=part, control=names.index("Width"))
    draped = positions(mesh)
    assert lids.gaps(draped * 1000).min() > -0.05
    mesh.lwae.keep_lids = False
    bare = positions(mesh)
    assert lids.gaps(bare * 1000).min() < -0.1
    assert np.allclose(bare, expected(mesh), atol=1e-6)
    mesh.lwae.keep_lids = True
    assert np.allclose(positions(mesh), draped, atol=1e-7)
    slide(mesh, 0, part=part, control=names.index("Width"))
    mesh.lwae.keep_lids = False
    assert np.array_equal(positions(mesh), expected(mesh)) or np.allclose(positions(mesh), expected(mesh), atol=1e-7)
