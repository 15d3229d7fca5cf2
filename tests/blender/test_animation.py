# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyframes and drivers on sliders, and rendering them."""

import threading
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from helpers import (
    camera_and_light,
    cycles,
    evaluated_positions,
    exaggerate,
    expected,
    face_controls,
    pixels,
    positions,
    slide,
    slider_path,
    values,
)


@pytest.fixture
def keyed(new_face):
    """A face whose first slider goes from -2 in frame 1 to 2 in frame 11."""
    item = new_face()
    for frame, value in ((1, -2), (11, 2)):
        slide(item.data, value)
        item.data.keyframe_insert(slider_path(), frame=frame)
    return item


def at(mesh, value):
    """Vertices for a value of the first slider, the others as they are."""
    wanted = np.array(values(mesh), dtype=np.float32)
    wanted[0] = value
    return expected(mesh, wanted)


def test_keyframes_move_the_mesh_in_each_frame(keyed):
    for frame in (1, 11, 4, 1):
        bpy.context.scene.frame_set(frame)
        value = keyed.data.evaluated_get(bpy.context.evaluated_depsgraph_get()).lwae.parts[0].controls[0].value
        assert np.allclose(positions(keyed.data), at(keyed.data, value), atol=1e-7)
        assert np.allclose(evaluated_positions(keyed), at(keyed.data, value), atol=1e-7)
    bpy.context.scene.frame_set(11)
    assert np.allclose(positions(keyed.data), at(keyed.data, 2), atol=1e-7)


def test_subframes(keyed):
    bpy.context.scene.frame_set(5, subframe=0.5)
    between = positions(keyed.data)
    bpy.context.scene.frame_set(5)
    assert np.abs(between - positions(keyed.data)).max() > 1e-6


def test_driver_follows_an_object(new_face):
    face = new_face()
    bpy.ops.object.empty_add()
    empty = bpy.context.object
    driver = face.data.driver_add(slider_path()).driver
    variable = driver.variables.new()
    variable.type = "TRANSFORMS"
    variable.targets[0].id = empty
    variable.targets[0].transform_type = "LOC_X"
    driver.expression = variable.name
    for x in (1.0, -2.0, 0.5):
        empty.location.x = x
        bpy.context.view_layer.update()
        assert np.allclose(positions(face.data), at(face.data, x), atol=1e-6)
    empty.location.x = 3
    bpy.context.view_layer.update()
    assert np.allclose(evaluated_positions(face), at(face.data, 3), atol=1e-6)


def test_keyframes_on_two_faces_and_a_linked_duplicate(keyed, new_face):
    other = new_face().data
    slide(other, 1)
    other.keyframe_insert(slider_path(), frame=1)
    slide(other, -1)
    other.keyframe_insert(slider_path(), frame=11)
    twin = bpy.data.objects.new("Twin", keyed.data)
    bpy.context.collection.objects.link(twin)
    bpy.context.scene.frame_set(11)
    assert np.allclose(positions(keyed.data), at(keyed.data, 2), atol=1e-7)
    assert np.allclose(positions(other), at(other, -1), atol=1e-7)
    assert np.allclose(evaluated_positions(twin), evaluated_positions(keyed), atol=1e-7)


def render(path, frame: int) -> np.ndarray:
    scene = bpy.context.scene
    scene.frame_start = scene.frame_end = frame
    scene.render.filepath = str(path / "f")
    bpy.ops.render.render(animation=True)
    return pixels(path / f"f{frame:04d}.png")


def test_rendered_frames_show_their_own_shape(new_face, tmp_path):
    camera_and_light()
    face = new_face()
    exaggerate(face)
    cycles()
    bpy.context.scene.frame_set(1)
    first, last = render(tmp_path, 1), render(tmp_path, 11)
    # What the last frame must look like: the same values, without animation.
    settled = [8.0] * len(face.data.lwae.parts[0].controls)
    face.data.animation_data_clear()
    for control, value in zip(face.data.lwae.parts[0].controls, settled, strict=True):
        control.value = value
    still = render(tmp_path, 11)
    assert np.abs(first - last).max() > 0.2
    assert np.abs(last - still).mean() < 0.003


@pytest.mark.parametrize("keys", [False, True])
def test_motion_blur_blurs_the_moving_part(new_face, model, tmp_path, keys):
    camera_and_light()
    face = new_face()
    exaggerate(face)
    if keys:
        if not model.expressions:
            pytest.skip("the model knows no expressions")
        bpy.ops.lwae.add_expressions(names="jawOpen")
    cycles()
    bpy.context.scene.cycles.samples = 16
    bpy.context.scene.render.use_motion_blur = True
    bpy.context.scene.render.motion_blur_shutter = 8.0
    blurred = render(tmp_path, 6)
    bpy.context.scene.render.use_motion_blur = False
    sharp = render(tmp_path, 6)
    assert np.abs(blurred - sharp).max() > 0.1
    if keys:
        assert not len(face.modifiers), "shape keys are enough"
    else:
        modifier = face.modifiers[0]
        assert modifier.name == "Face Motion Blur" and not modifier.show_viewport
    assert np.array_equal(evaluated_positions(face), positions(face.data))


@pytest.fixture
def auto_keying():
    """Auto Keying of all sliders; gives the preferences."""
    preferences = bpy.context.preferences.edit
    before = preferences.use_keyframe_insert_available
    preferences.use_keyframe_insert_available = False
    bpy.context.scene.tool_settings.use_keyframe_insert_auto = True
    yield preferences
    preferences.use_keyframe_insert_available = before
    bpy.context.scene.tool_settings.use_keyframe_insert_auto = False


def test_auto_keying_only_what_has_keys(keyed, auto_keying, addon):
    auto_keying.use_keyframe_insert_available = True
    bpy.context.scene.frame_set(5)
    bpy.ops.lwae.reset_face()
    assert addon("animation").animated_paths(keyed.data) == {slider_path()}
    bpy.context.scene.frame_set(1)
    bpy.context.scene.frame_set(5)
    assert not any(values(keyed.data))


def test_auto_keying_is_honoured(new_face, auto_keying):
    mesh = new_face().data
    bpy.context.scene.frame_set(1)
    bpy.ops.lwae.randomise_face(seed=3)
    drawn = values(mesh)
    bpy.context.scene.frame_set(20)
    bpy.ops.lwae.reset_face()
    assert not any(values(mesh))
    bpy.context.scene.frame_set(1)
    assert np.allclose(values(mesh), drawn, atol=1e-5)


def test_auto_keying_is_honoured_by_typed_seeds(new_face, auto_keying, addon):
    mesh = new_face().data
    mesh.lwae.parts[1].seed = 5
    sliders = {slider_path(1, number) for number in range(len(mesh.lwae.parts[1].controls))}
    assert addon("animation").animated_paths(mesh) == sliders
    mesh.lwae.seed = 5
    assert len(addon("animation").animated_paths(mesh)) == len(face_controls(mesh))
    drawn = values(mesh)
    bpy.context.scene.frame_set(20)
    bpy.ops.lwae.reset_face()
    bpy.context.scene.frame_set(1)
    assert np.allclose(values(mesh), drawn, atol=1e-5)


def test_a_face_that_changes_on_other_keyframes_is_said(new_face, auto_keying, addon):
    mesh, reports = new_face().data, []
    common, randomise = addon("operators.common"), addon("operators.randomise")
    operator = SimpleNamespace(report=lambda kind, sentence: reports.append((kind, sentence)))

    def draw(seed):
        common.change(operator, bpy.context, mesh, lambda: randomise.randomise_face(mesh, seed, 1))
        return reports.pop()

    assert draw(3)[0] == draw(4)[0] == {"INFO"}  # The same frame again: no other keyframe.
    bpy.context.scene.frame_set(20)
    kind, sentence = draw(5)
    assert kind == {"WARNING"} and "other keyframes" in sentence
    common.change(operator, bpy.context, mesh, lambda: [slider_path()])
    assert reports.pop()[0] == {"INFO"}  # Only sliders moved.


def test_animation_wins_and_that_is_said(keyed, addon):
    bpy.context.scene.frame_set(11)
    bpy.ops.lwae.reset_face()
    assert keyed.data.lwae.parts[0].controls[0].value == 0
    assert addon("animation").animated_paths(keyed.data) == {slider_path()}
    bpy.context.scene.frame_set(10)
    bpy.context.scene.frame_set(11)
    assert np.allclose(positions(keyed.data), at(keyed.data, 2), atol=1e-7)


def test_one_animated_slider_is_one(keyed, addon):
    common, said = addon("operators.common"), []
    operator = SimpleNamespace(report=lambda _kind, sentence: said.append(sentence))
    keyed.name = "Hero"
    common.change(operator, bpy.context, keyed.data, lambda: [slider_path()])
    common.say_animated(operator, keyed.data, [], 2, "expressions of Hero")
    lost = "1 slider of Hero is animated: its keyframes or drivers win on the next frame"
    assert said == [lost, "Keyed 2 expressions of Hero"]


def test_a_slider_with_keys_can_be_dragged_until_the_frame_changes(keyed):
    bpy.context.scene.frame_set(11)
    slide(keyed.data, -1)
    assert np.allclose(positions(keyed.data), at(keyed.data, -1), atol=1e-7)


def test_every_slider_can_be_keyed(new_face):
    mesh = new_face().data
    for part in range(len(mesh.lwae.parts)):
        assert mesh.keyframe_insert(slider_path(part, 0), frame=1)
    assert len(face_controls(mesh)) > len(mesh.lwae.parts)


def push_down(mesh) -> None:
    """What Push Down Action does: the action becomes an NLA strip."""
    data = mesh.animation_data
    action, slot = data.action, getattr(data, "action_slot", None)
    strip = data.nla_tracks.new().strips.new("Strip", 1, action)
    if slot:
        strip.action_slot = slot
    data.action = None


def test_nla_strips_are_animation(keyed, addon):
    mesh = keyed.data
    push_down(mesh)
    assert addon("animation").animated_paths(mesh) == {slider_path()}
    bpy.context.scene.frame_set(11)
    assert np.allclose(positions(mesh), at(mesh, 2), atol=1e-6)
    bpy.ops.lwae.apply()
    assert not mesh.animation_data
    assert not addon("animation").animated_paths(mesh)


def test_apply_keeps_animation_that_is_not_of_sliders(keyed, addon):
    mesh = keyed.data
    push_down(mesh)
    mesh["mine"] = 1.0
    mesh.keyframe_insert('["mine"]', frame=1)
    bpy.ops.lwae.apply()
    assert addon("animation").animated_paths(mesh) == {'["mine"]'}


def test_auto_keying_of_what_has_keys_leaves_strips_alone(keyed, auto_keying):
    auto_keying.use_keyframe_insert_available = True
    push_down(keyed.data)
    bpy.ops.lwae.reset_face()
    assert keyed.data.animation_data.action is None


def test_a_render_waits_for_sliders_that_are_being_set(new_face, addon):
    mesh, sync = new_face().data, addon("sync")
    render = threading.Thread(target=sync.follow, args=(mesh,), daemon=True)
    with sync.paused():
        slide(mesh, 2.0)
        render.start()
        render.join(0.3)
        assert render.is_alive(), "it went on with the old shape"
    render.join(20)
    assert not render.is_alive() and np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_auto_keying_of_a_relaxed_face(new_face, auto_keying, model):
    if not model.expressions:
        pytest.skip("the model knows no expressions")
    mesh = new_face().data
    bpy.ops.lwae.add_expressions(names=model.expressions.names[0])
    key = mesh.shape_keys.key_blocks[model.expressions.names[0]]
    bpy.context.scene.frame_set(1)
    key.value = 0.7
    mesh.shape_keys.keyframe_insert(key.path_from_id("value"))
    bpy.context.scene.frame_set(5)
    assert bpy.ops.lwae.relax_expressions() == {"FINISHED"}
    bpy.context.scene.frame_set(1)
    assert key.value == pytest.approx(0.7)
    bpy.context.scene.frame_set(5)
    assert key.value == 0, "Auto Keying kept it"
