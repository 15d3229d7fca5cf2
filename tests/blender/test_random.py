# SPDX-License-Identifier: GPL-3.0-or-later
"""Randomise, lock, seed, reset, vertex groups."""

import bpy
import numpy as np
import pytest
from helpers import expected, positions, slide, values


def code(addon, mesh, model):
    return addon("shape").read_code(mesh, model)


def test_randomise_is_a_draw_from_the_joint_prior(new_face, addon, model):
    mesh = new_face().data
    assert bpy.ops.lwae.randomise_face(seed=11, strength=0.8) == {"FINISHED"}
    rng = addon("backend.synthesis").face_rng(11, 0)
    assert np.allclose(code(addon, mesh, model), model.prior.sample(rng, 1, 0.8)[0], atol=1e-4)
    assert mesh.lwae.seed == 11
    assert mesh.lwae.strength == pytest.approx(0.8)
    assert any(values(mesh)) and mesh.lwae.rest
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_the_same_seed_gives_the_same_face(new_face):
    one, two = new_face().data, new_face().data
    bpy.ops.lwae.randomise_face(seed=4)
    one.lwae.seed = 4
    assert np.array_equal(positions(one), positions(two))
    one.lwae.seed = 5
    assert np.abs(positions(one) - positions(two)).max() > 1e-4


def test_strength_zero_is_the_average_person(new_face, addon, model):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=4, strength=0)
    assert np.allclose(code(addon, mesh, model), model.prior.mean, atol=1e-4)


def test_locked_parts_stay_exactly(new_face, addon, model):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=1)
    before = code(addon, mesh, model)
    mesh.lwae.parts[1].locked = True
    bpy.ops.lwae.randomise_face(seed=2)
    after = code(addon, mesh, model)
    held = model.part_slice(1)
    assert np.allclose(after[held], before[held], rtol=0, atol=1e-6)
    free = np.ones(model.code_size, dtype=bool)
    free[held] = False
    fitting = model.prior.sample_given(before, free, addon("backend.synthesis").face_rng(2, 0), 3.0)
    assert np.allclose(after, fitting, atol=1e-4)
    assert not np.allclose(after[free], before[free], atol=1e-2)
    bpy.ops.lwae.reset_face()
    assert np.allclose(code(addon, mesh, model)[held], before[held], rtol=0, atol=1e-6)
    assert not code(addon, mesh, model)[model.part_slice(0)].any()


def test_all_locked_greys_the_button(new_face):
    mesh = new_face().data
    for part in mesh.lwae.parts:
        part.locked = True
    for operator in (bpy.ops.lwae.randomise_face, bpy.ops.lwae.reset_face):
        assert not operator.poll()
        with pytest.raises(RuntimeError, match="Unlock"):
            operator()


def test_randomise_one_part_leaves_the_others(new_face, addon, model):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=1)
    before, name = code(addon, mesh, model), model.part_names[1]
    bpy.ops.lwae.randomise_part(part=name, seed=9)
    after = code(addon, mesh, model)
    free = np.zeros(model.code_size, dtype=bool)
    free[model.part_slice(1)] = True
    assert np.array_equal(after[~free], before[~free])
    assert not np.allclose(after[free], before[free], atol=1e-3)
    assert mesh.lwae.parts[1].seed == 9
    mesh.lwae.parts[1].seed = 10
    mesh.lwae.parts[1].seed = 9
    assert np.allclose(code(addon, mesh, model), after, atol=1e-4)
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)


def test_unknown_part_gets_a_sentence(new_face):
    new_face()
    with pytest.raises(RuntimeError, match="No part is called 'beard'"):
        bpy.ops.lwae.reset_part(part="beard")
    with pytest.raises(RuntimeError, match="No part is called 'beard'"):
        bpy.ops.lwae.randomise_part(part="beard")


def test_locked_part_refuses(new_face, model):
    mesh = new_face().data
    slide(mesh, 1)
    mesh.lwae.parts[0].locked = True
    assert bpy.ops.lwae.reset_part(part=model.part_names[0]) == {"CANCELLED"}
    assert bpy.ops.lwae.randomise_part(part=model.part_names[0]) == {"CANCELLED"}
    assert mesh.lwae.parts[0].controls[0].value == 1


def test_reset(new_face, addon, model):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=1)
    bpy.ops.lwae.reset_part(part=model.part_names[0])
    # What stays of the part is what the whole face's sliders say.
    assert not any(control.value for control in mesh.lwae.parts[0].controls)
    assert not addon("shape").read_rest(mesh.lwae, model)[model.part_slice(0)].any()
    whole = addon("backend.controls").whole_directions(model) @ addon("face").whole_values(mesh.lwae)
    assert np.allclose(code(addon, mesh, model)[model.part_slice(0)], whole[model.part_slice(0)], atol=1e-5)
    assert not np.allclose(code(addon, mesh, model), whole, atol=1e-2)
    bpy.ops.lwae.reset_face()
    assert not any(values(mesh)) and not mesh.lwae.rest
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-7)


def test_randomise_takes_all_selected_faces(new_face):
    faces = [new_face() for _ in range(3)]
    for face in faces:
        face.select_set(True)
    bpy.ops.lwae.randomise_face(seed=7)
    assert sorted(face.data.lwae.seed for face in faces) == [7, 8, 9]
    shapes = [positions(face.data) for face in faces]
    assert np.abs(shapes[0] - shapes[1]).max() > 1e-4


def test_part_vertex_groups_on_request(new_face, model):
    face = new_face()
    assert not face.vertex_groups
    mine = face.vertex_groups.new(name=model.part_names[0])
    mine.add([3], 0.25, "REPLACE")
    bpy.ops.lwae.part_vertex_groups()
    assert sorted(group.name for group in face.vertex_groups) == sorted(model.part_names)
    index = face.vertex_groups[model.part_names[1]].index
    weights = np.zeros(model.vertex_count)
    for vertex in face.data.vertices:
        for group in vertex.groups:
            if group.group == index:
                weights[vertex.index] = group.weight
    assert np.allclose(weights, model.weights[1], atol=1e-6)
    assert mine.weight(3) == pytest.approx(0.25)


def test_groups_and_expressions_are_for_all_selected_faces(new_face, addon, model):
    faces = [new_face() for _ in range(4)]
    for face in faces[:3]:
        face.select_set(True)
    faces[1].data.vertices[5].co.z += 0.01
    faces[3].select_set(False)
    bpy.context.view_layer.objects.active = faces[0]
    assert bpy.ops.lwae.part_vertex_groups() == {"FINISHED"}
    assert [len(face.vertex_groups) for face in faces] == [model.part_count, 0, model.part_count, 0]
    known = addon("models").tools(model).expressions.numbers
    if known:
        assert bpy.ops.lwae.add_expressions() == {"FINISHED"}
        made = [len(face.data.shape_keys.key_blocks) - 1 if face.data.shape_keys else 0 for face in faces]
        assert made == [len(known), 0, len(known), 0]
        for face in faces[1:]:
            face.select_set(False)
        assert bpy.ops.lwae.add_expressions() == {"CANCELLED"}


def test_a_strength_that_is_no_number_changes_nothing(new_face, addon):
    mesh = new_face().data
    before = positions(mesh)
    for draw in (
        lambda: bpy.ops.lwae.randomise_face(seed=1, strength=np.nan),
        lambda: bpy.ops.lwae.randomise_part(part="nose", seed=1, strength=np.nan),
    ):
        with pytest.raises(RuntimeError, match="not finite"):
            draw()
        assert addon("face").trouble(mesh) is None and np.array_equal(positions(mesh), before)
    mesh.lwae.whole[0].value = np.nan
    assert bpy.ops.lwae.randomise_part(part="nose", seed=1, strength=1.0) == {"FINISHED"}
    assert addon("face").trouble(mesh) is None and np.isfinite(positions(mesh)).all()


def test_selected_faces_that_stay_are_named_and_keep_their_number(new_face, addon):
    faces = [new_face() for _ in range(4)]
    for face in faces:
        face.select_set(True)
    bpy.context.view_layer.objects.active = faces[0]
    faces[1].data.vertices[0].co.z += 0.01
    faces[1].data.update()
    faces[1].name = "Villain"  # The mesh keeps its name, which people do not see.
    faces[3].data.lwae.model_hash = "0" * 16
    order = [mesh.name for mesh in addon("operators.common").all_selected_faces(bpy.context)]
    common, said = addon("operators.common"), []

    class Operator:
        def report(self, kind, sentence):
            said.append((kind, sentence))

    before = positions(faces[1].data)
    draw = addon("operators.randomise").randomise_face
    assert common.change_selected(Operator(), bpy.context, lambda mesh, n: draw(mesh, 50 + n, 1.0)) == {"FINISHED"}
    (kind, sentence), = said
    assert kind == {"WARNING"} and sentence.startswith("2 selected faces stayed as they are: ")
    assert f"{faces[1].name} (edited by hand)" in sentence and f"{faces[3].name} (model missing)" in sentence
    assert np.array_equal(positions(faces[1].data), before)
    for face in (faces[0], faces[2]):
        assert face.data.lwae.seed == 50 + order.index(face.data.name)
    assert bpy.ops.lwae.randomise_face(seed=7) == {"FINISHED"}
    assert faces[2].data.lwae.seed == 7 + order.index(faces[2].data.name)
    assert bpy.ops.lwae.reset_face() == {"FINISHED"} and not any(values(faces[2].data))
