# SPDX-License-Identifier: GPL-3.0-or-later
"""Left and right of a face."""

import bpy
import numpy as np
import pytest
from helpers import evaluated_positions, expected, positions


@pytest.fixture
def face(new_face):
    item = new_face()
    bpy.ops.lwae.randomise_face(seed=3)
    return item


@pytest.fixture
def image(addon, model):
    found = addon("analysis").of(model).mirror
    assert found is not None
    return found


def mirrored(shape, image):
    return shape[image] * [-1, 1, 1]


def odd(shape, image):
    return (shape - mirrored(shape, image)) / 2


def test_symmetry_one_is_symmetric_and_keeps_what_the_sides_share(face, image):
    mesh = face.data
    plain = positions(mesh)
    assert np.abs(odd(plain, image)).max() > 1e-5, "the face must have something to take away"
    mesh.lwae.symmetry = 1
    even = positions(mesh)
    assert np.abs(even - mirrored(even, image)).max() < 1e-6
    assert np.allclose(even, (plain + mirrored(plain, image)) / 2, atol=1e-6)
    mesh.lwae.symmetry = 0.25
    assert np.allclose(positions(mesh), plain - 0.25 * odd(plain, image), atol=1e-6)
    mesh.lwae.symmetry = 0
    assert np.array_equal(positions(mesh), plain)


def test_exaggerating_scales_what_differs_alone(face, image):
    mesh = face.data
    plain = positions(mesh)
    mesh.lwae.asymmetry = 2
    shown = positions(mesh)
    assert np.allclose(odd(shown, image), 3 * odd(plain, image), atol=1e-6)
    assert np.allclose(shown - odd(shown, image), plain - odd(plain, image), atol=1e-6)
    mesh.lwae.symmetry = 1
    assert np.abs(odd(positions(mesh), image)).max() < 1e-6


def test_random_asymmetry_on_a_symmetric_face(face, image):
    mesh = face.data
    mesh.lwae.symmetry = 1
    even = positions(mesh)
    bpy.ops.lwae.randomise_asymmetry(seed=7, amount=2)
    assert mesh.lwae.asymmetry_seed == 7 and mesh.lwae.random_asymmetry == 2
    shown = positions(mesh)
    change = shown - even
    assert np.abs(change).max() > 1e-4
    assert np.allclose(change, -mirrored(change, image), atol=1e-6), "what is added is odd"
    mesh.lwae.random_asymmetry = 1
    assert np.allclose(positions(mesh) - even, change / 2, atol=1e-6)
    mesh.lwae.asymmetry_seed = 8
    assert np.abs(positions(mesh) - even - change / 2).max() > 1e-5
    mesh.lwae.asymmetry_seed = 7
    mesh.lwae.random_asymmetry = 2
    assert np.array_equal(positions(mesh), shown)


def test_sliders_work_on_a_symmetric_face(face, image):
    mesh = face.data
    mesh.lwae.symmetry = 1
    mesh.lwae.parts[0].controls[0].value = 2.5
    wanted = expected(mesh)
    assert np.allclose(positions(mesh), wanted - odd(wanted, image), atol=1e-6)


def test_symmetry_can_be_animated(face, image):
    mesh = face.data
    plain = positions(mesh)
    for frame, value in ((1, 0.0), (11, 1.0)):
        mesh.lwae.symmetry = value
        mesh.keyframe_insert("lwae.symmetry", frame=frame)
    bpy.context.scene.frame_set(1)
    assert np.allclose(evaluated_positions(face), plain, atol=1e-6)
    bpy.context.scene.frame_set(11)
    assert np.abs(odd(evaluated_positions(face), image)).max() < 1e-6


def test_settings_survive_saving(face, image, tmp_path):
    face.data.lwae.symmetry = 0.5
    bpy.ops.lwae.randomise_asymmetry(seed=2, amount=3)
    shown = positions(face.data)
    path = str(tmp_path / "symmetry.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    mesh = bpy.data.objects["Face"].data
    assert np.array_equal(positions(mesh), shown)
    mesh.lwae.asymmetry = 0.001
    assert np.abs(positions(mesh) - shown).max() < 1e-4


def test_undo_brings_the_sides_back(face):
    bpy.ops.ed.undo_push(message="before")
    before = positions(face.data)
    bpy.ops.lwae.randomise_asymmetry("EXEC_DEFAULT", True, seed=2, amount=3)
    assert np.abs(positions(face.data) - before).max() > 1e-4
    bpy.ops.ed.undo()
    assert np.array_equal(positions(bpy.data.objects["Face"].data), before)


def test_a_donor_comes_with_its_symmetry(face, new_face, addon, model, image):
    """A snapshot is a code, which holds symmetry to hundredths of a millimetre."""
    face.name = "Donor"
    face.data.lwae.symmetry = 1
    bpy.ops.lwae.randomise_asymmetry(seed=4, amount=2)
    shown = positions(face.data)
    mesh = new_face().data
    bpy.ops.lwae.add_donor(name="Donor")
    mesh.lwae.donors[0].all_amounts = 1
    assert np.linalg.norm(positions(mesh) - shown, axis=1).mean() < 1e-4
    assert np.linalg.norm(positions(mesh) - shown, axis=1).max() < 1e-3


def test_the_seen_code_shows_the_face(face, addon, model):
    """For what takes codes: the face with its symmetry, to hundredths of a millimetre."""
    shape = addon("shape")
    face.data.lwae.symmetry = 0.8
    face.data.lwae.random_asymmetry = 1.5
    seen = shape.seen_code(face.data, model, shape.read_values(face.data.lwae))
    again = addon("backend.numpy_decoder").NumpyDecoder(model).decode(seen[None])[0] / 1000
    away = np.linalg.norm(again - positions(face.data), axis=1)
    assert away.mean() < 5e-5


def test_a_template_that_is_not_symmetric_is_left_alone(face, addon, model):
    known = addon("analysis").of(model)
    plain = positions(face.data)
    _ = known.mirror, known.mirror_matrix
    before = known.__dict__["_mirror"], known.__dict__["_mirror_matrix"]
    known.__dict__["_mirror"] = (None, "This model's template is not symmetric.")
    known.__dict__["_mirror_matrix"] = None
    try:
        face.data.lwae.symmetry = 1
        assert np.array_equal(positions(face.data), plain)
        with pytest.raises(RuntimeError, match="not symmetric"):
            bpy.ops.lwae.randomise_asymmetry(seed=1)
    finally:
        known.__dict__["_mirror"], known.__dict__["_mirror_matrix"] = before


def test_what_is_no_number_counts_as_zero(face):
    mesh = face.data
    before = positions(mesh)
    mesh.lwae.symmetry = mesh.lwae.parts[0].controls[0].value = float("nan")
    mesh.lwae.parts[0].controls[0].value = 0
    mesh.lwae.symmetry = 0
    shown = positions(mesh)
    mesh.lwae.symmetry = float("nan")
    assert np.array_equal(positions(mesh), shown) and np.isfinite(before).all()
    mesh.lwae.parts[0].controls[0].value = float("nan")
    assert bpy.ops.lwae.randomise_part(part=mesh.lwae.parts[1].name) == {"FINISHED"}
    assert np.isfinite(positions(mesh)).all() and np.abs(positions(mesh) - shown).max() > 1e-5
