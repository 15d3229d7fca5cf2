# SPDX-License-Identifier: GPL-3.0-or-later
"""Facial actions as shape keys that follow the face."""

import time

import bpy
import numpy as np
import pytest
from helpers import evaluated_positions, positions, slide, slider_path


@pytest.fixture
def known(addon, model):
    """The actions of the model, on any face."""
    if not model.expressions:
        pytest.skip("the model knows no expressions")
    return addon("models").tools(model).expressions


def points(mesh, name):
    result = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.shape_keys.key_blocks[name].points.foreach_get("co", result)
    return result.reshape(-1, 3)


def asked(known, name, mesh):
    """The key as the model makes it for the face as it is now."""
    face = positions_of_basis(mesh)
    vertices, deltas = known.delta(known.numbers[name], face * 1000)
    result = face.copy()
    result[vertices] += deltas / 1000
    return result


def positions_of_basis(mesh):
    return points(mesh, mesh.shape_keys.reference_key.name)


def test_all_expressions_come_as_keys(new_face, addon, known, model):
    face = new_face()
    bpy.ops.lwae.randomise_face(seed=2)
    before = positions(face.data)
    assert bpy.ops.lwae.add_expressions() == {"FINISHED"}
    keys = face.data.shape_keys
    assert [key.name for key in keys.key_blocks] == ["Basis", *model.expressions.names]
    assert {(key.slider_min, key.slider_max, key.value) for key in keys.key_blocks[1:]} == {(0.0, 1.0, 0.0)}
    assert np.allclose(positions_of_basis(face.data), before, atol=1e-7)
    for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileRight", "eyeLookInLeft"):
        assert np.allclose(points(face.data, name), asked(known, name, face.data), atol=1e-6)
    keys.key_blocks["jawOpen"].value = 1
    moved = evaluated_positions(face) - before
    chin = addon("backend.landmarks").landmarks_of(model)["Chin"]
    assert moved[chin, 2] < -0.01
    assert bpy.ops.lwae.relax_expressions() == {"FINISHED"}
    assert np.allclose(evaluated_positions(face), before, atol=1e-6)


def test_some_expressions(new_face, known):
    face = new_face()
    assert bpy.ops.lwae.add_expressions(names="jawOpen, eyeBlinkLeft") == {"FINISHED"}
    assert [key.name for key in face.data.shape_keys.key_blocks] == ["Basis", "jawOpen", "eyeBlinkLeft"]
    bpy.ops.lwae.add_expressions(groups={"JAW"})
    added = {key.name for key in face.data.shape_keys.key_blocks}
    assert added == {"Basis", "jawOpen", "eyeBlinkLeft", "jawLeft", "jawRight", "jawForward"}
    assert bpy.ops.lwae.add_expressions(groups={"JAW"}) == {"CANCELLED"}
    with pytest.raises(RuntimeError, match="no expression 'noseJump'"):
        bpy.ops.lwae.add_expressions(names="noseJump")


def test_keys_follow_the_face(new_face, addon, known):
    """However the face came to be what it is, its keys are those that the model makes for it."""
    face = new_face()
    mesh = face.data
    bpy.ops.lwae.add_expressions()
    for seed in range(3):
        bpy.ops.lwae.randomise_face(seed=seed)
    mesh.lwae.parts["eyes"].controls["Height"].value += 3
    for key in mesh.shape_keys.key_blocks[1:]:
        assert np.allclose(points(mesh, key.name), asked(known, key.name, mesh), atol=2e-6), key.name
    # And that is not the mean face's expression moved along: the jaw turns about this person's own joint.
    mean = known.expressions.deltas[known.expressions.rows(known.numbers["jawOpen"])] / 1000
    jaw = known.expressions.vertices[known.expressions.rows(known.numbers["jawOpen"])]
    own = (points(mesh, "jawOpen") - positions_of_basis(mesh))[jaw]
    assert np.abs(own - mean).max() > 5e-4
    # Undone by the sliders, all is as it was.
    bpy.ops.lwae.reset_face()
    assert np.allclose(points(mesh, "jawOpen"), asked(known, "jawOpen", mesh), atol=2e-6)
    assert addon("face").trouble(mesh) is None


def test_what_an_artist_sculpts_into_a_key_stays(new_face, known):
    mesh = new_face().data
    bpy.ops.lwae.add_expressions(names="jawOpen,mouthPucker")
    for name in ("jawOpen", "mouthPucker"):
        mesh.shape_keys.key_blocks[name].points[100].co.x += 0.01
    bpy.context.object.shape_key_add(name="scar", from_mix=False).points[200].co.y -= 0.02
    bpy.ops.lwae.randomise_face(seed=5)
    for name in ("jawOpen", "mouthPucker"):
        edit = points(mesh, name) - asked(known, name, mesh)
        assert abs(edit[100, 0] - 0.01) < 2e-6
        edit[100] = 0
        assert np.abs(edit).max() < 2e-6
    scar = points(mesh, "scar") - positions_of_basis(mesh)
    assert abs(scar[200, 1] + 0.02) < 1e-6 and np.abs(np.delete(scar, 200, axis=0)).max() < 1e-6
    # Adding again keeps them, rebuilding does not.
    bpy.ops.lwae.add_expressions(groups={"JAW"})
    assert abs((points(mesh, "jawOpen") - asked(known, "jawOpen", mesh))[100, 0] - 0.01) < 2e-6
    bpy.ops.lwae.add_expressions(names="jawOpen", rebuild=True)
    assert np.allclose(points(mesh, "jawOpen"), asked(known, "jawOpen", mesh), atol=1e-6)


def test_lids_close_on_very_different_eyes(new_face, known, model):
    """The gap between the edges of closed lids is the mean face's, whatever the eyes are like."""
    face = new_face()
    mesh = face.data
    bpy.ops.lwae.add_expressions(names="eyeBlinkLeft")
    number = known.numbers["eyeBlinkLeft"]
    rows = known.expressions.rows(number)
    closed = known.mean.copy()
    closed[known.expressions.vertices[rows]] += known.expressions.deltas[rows]
    moved = np.zeros(len(closed))
    moved[known.expressions.vertices[rows]] = np.linalg.norm(known.expressions.deltas[rows], axis=1)
    lid = np.flatnonzero((moved > 0.6 * moved.max()) & model.skin)
    still = np.flatnonzero((moved < 0.2 * moved.max()) & model.skin)
    distances = np.linalg.norm(closed[lid, None] - closed[still], axis=2)
    pairs = [(lid[i], still[distances[i].argmin()]) for i in np.flatnonzero(distances.min(axis=1) < 1.0)]
    assert len(pairs) > 3
    upper, lower = np.array(pairs).T
    for height in (-6, 6):
        mesh.lwae.parts["eyes"].controls["Height"].value = height
        opening = positions_of_basis(mesh)[upper] - positions_of_basis(mesh)[lower]
        change = 1000 * opening - (known.mean[upper] - known.mean[lower])
        assert np.linalg.norm(change, axis=1).max() > 1.0
        gap = 1000 * (points(mesh, "eyeBlinkLeft")[upper] - points(mesh, "eyeBlinkLeft")[lower])
        left = gap - (closed[upper] - closed[lower])
        assert np.linalg.norm(left, axis=1).max() < 0.35 * np.linalg.norm(change, axis=1).max()


def test_undo_takes_all_keys_back_at_once(new_face, known):
    name = new_face().data.name
    bpy.ops.ed.undo_push(message="Add Face")
    bpy.ops.lwae.add_expressions()
    bpy.ops.ed.undo_push(message="Add Expressions")
    bpy.ops.ed.undo()
    assert bpy.data.meshes[name].shape_keys is None
    bpy.ops.ed.redo()
    assert len(bpy.data.meshes[name].shape_keys.key_blocks) == len(known.expressions) + 1


def test_buttons_say_why_they_are_grey(new_face, known):
    face = new_face()
    with pytest.raises(RuntimeError, match="expressions first"):
        bpy.ops.lwae.relax_expressions()
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(RuntimeError, match="Object Mode"):
        bpy.ops.lwae.add_expressions()
    bpy.ops.object.mode_set(mode="OBJECT")
    face.shape_key_add(name="Basis")
    face.data.shape_keys.use_relative = False
    with pytest.raises(RuntimeError, match="absolute"):
        bpy.ops.lwae.add_expressions()


def test_a_slider_stays_quick_with_all_expressions(new_face, known):
    """Not a benchmark: a bound that a loop over vertices would break by far."""
    mesh = new_face().data
    bpy.ops.lwae.add_expressions()
    control = mesh.lwae.parts["eyes"].controls[0]
    for what, slider in (("part", control), ("whole face", mesh.lwae.whole[0])):
        times = []
        for number in range(30):
            start = time.perf_counter()
            slider.value = number / 10
            bpy.context.view_layer.update()
            times.append(time.perf_counter() - start)
        print(f"slider of the {what} with all expressions, ms:", np.round(1000 * np.percentile(times, (50, 95)), 2))
        assert np.median(times) < 0.1


def corners(mesh):
    result = np.empty(len(mesh.loops), dtype=np.int32)
    mesh.loops.foreach_get("vertex_index", result)
    return result


def test_a_linked_face_with_expressions_follows_quickly(new_face, known, tmp_path):
    """Blender's foreach_set does not write linked data, and one point at a time takes more than a second."""
    face = new_face()
    bpy.ops.lwae.add_expressions()
    face.data.shape_keys.key_blocks["jawOpen"].points[100].co.x += 0.01
    face.data.shape_keys.key_blocks["jawOpen"].value = 0.5
    face.active_shape_key_index = 3
    for frame, value in ((1, -1.0), (11, 2.0)):
        for part in range(len(face.data.lwae.parts)):
            slide(face.data, value, part)
            face.data.keyframe_insert(slider_path(part), frame=frame)
    truth = {}
    for frame in (1, 11, 6):
        bpy.context.scene.frame_set(frame)
        truth[frame] = {key.name: points(face.data, key.name) for key in face.data.shape_keys.key_blocks}
    path = str(tmp_path / "face.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(path, link=True) as (_, chosen):
        chosen.objects = ["Face"]
    bpy.context.scene.collection.objects.link(chosen.objects[0])
    mesh = chosen.objects[0].data
    times, order = [], corners(mesh)
    for frame, keys in truth.items():
        start = time.perf_counter()
        bpy.context.scene.frame_set(frame)
        times.append(time.perf_counter() - start)
        for name, wanted in keys.items():
            assert np.abs(points(mesh, name) - wanted).max() < 2e-6, (frame, name)
    print(f"frames of a linked face with {len(mesh.shape_keys.key_blocks)} keys, s:", np.round(times, 3))
    assert min(times) < 0.3
    assert list(bpy.data.meshes) == [mesh] and np.array_equal(corners(mesh), order)
