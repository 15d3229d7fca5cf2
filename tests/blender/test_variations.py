# SPDX-License-Identifier: GPL-3.0-or-later
"""More Like This: the gallery and what a click on it does."""

from types import SimpleNamespace

import addon_utils
import bpy
import numpy as np
import pytest
from conftest import ADDON
from helpers import expected, positions


def own_code(addon, mesh, model):
    return addon("shape").own_code(mesh, model)


@pytest.fixture
def person(new_face):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=3)
    return mesh


@pytest.fixture(autouse=True)
def no_pictures(addon):
    """As after enabling the add-on."""
    addon("gallery").unregister()


def draw(addon, mesh, seed=20, difference=0.4):
    assert bpy.ops.lwae.more_like_this(seed=seed, difference=difference) == {"FINISHED"}
    return addon("gallery").of(mesh)


def picture(addon, mesh, seed):
    gallery = addon("gallery")
    found = gallery.of(mesh)
    preview = gallery._previews[found.names[list(found.icons).index(seed)]]
    result = np.empty(len(preview.image_pixels_float), np.float32)
    preview.image_pixels_float.foreach_get(result)
    return result.reshape(*preview.image_size, 4)


def test_gallery_holds_eight_faces_and_changes_none(person, addon):
    before = positions(person)
    found = draw(addon, person)
    assert np.array_equal(positions(person), before)
    assert found.seeds == list(range(20, 28))
    assert set(found.icons) == {*found.seeds, addon("gallery").ORIGINAL}
    pictures = [picture(addon, person, seed) for seed in found.icons]
    assert all(np.abs(one - other).mean() > 1e-3 for i, one in enumerate(pictures) for other in pictures[:i])
    assert not found.running
    assert (person.lwae.gallery_seed, person.lwae.difference) == (20, pytest.approx(0.4))


def test_a_picture_shows_the_face_that_a_click_makes(person, addon, model):
    found = draw(addon, person)
    for seed in found.seeds[:2]:
        bpy.ops.lwae.use_variation(seed=seed, difference=found.difference)
        shown = addon("gallery").portraits(model).picture(1000 * positions(person), addon("gallery").SIZE)
        error = np.abs(picture(addon, person, seed) - shown[::-1] / 255)
        assert error.mean() < 1e-3 and (error > 0.1).mean() < 1e-3
    other = np.abs(picture(addon, person, found.seeds[0]) - picture(addon, person, found.seeds[1]))
    assert other.mean() > 5e-3


def test_a_click_resembles_the_original_not_the_last_click(person, addon, model):
    original = own_code(addon, person, model)
    found = draw(addon, person)
    vary = addon("backend.variations").vary
    everything = range(model.part_count)
    for seed in (24, 21):
        assert bpy.ops.lwae.use_variation(seed=seed, difference=found.difference) == {"FINISHED"}
        wanted = vary(model, original, everything, seed, found.difference)
        assert np.allclose(own_code(addon, person, model), wanted, atol=1e-4)
        assert np.allclose(positions(person), expected(person), atol=1e-6)
        face = addon("face")
        assert found.shown[seed] == face.signature(person.lwae, addon("shape").read_values(person.lwae))
    bpy.ops.lwae.use_variation(difference=0)
    assert np.allclose(own_code(addon, person, model), original, atol=1e-5)


def test_without_a_gallery_the_face_itself_is_varied(person, addon, model):
    before = own_code(addon, person, model)
    bpy.ops.lwae.use_variation(seed=8, difference=0.3)
    wanted = addon("backend.variations").vary(model, before, range(model.part_count), 8, 0.3)
    assert np.allclose(own_code(addon, person, model), wanted, atol=1e-4)


def test_locked_parts_stay_exactly(person, addon, model):
    person.lwae.parts[0].locked = True
    before, locked = own_code(addon, person, model), model.part_slice(0)
    found = draw(addon, person)
    bpy.ops.lwae.use_variation(seed=22, difference=found.difference)
    after = own_code(addon, person, model)
    assert np.allclose(after[locked], before[locked], atol=1e-6)
    assert np.abs(after - before).max() > 0.1
    face = addon("face")
    shown = face.whole_values(person.lwae)
    assert np.allclose(shown, face.read_whole(model, after), atol=1e-3), "sliders of the whole face say what is there"
    # Locked later, changed later: as it is now.
    person.lwae.parts[1].controls[0].value = 2.5
    person.lwae.parts[1].locked = True
    before = own_code(addon, person, model)
    bpy.ops.lwae.use_variation(seed=23, difference=found.difference)
    after = own_code(addon, person, model)
    assert np.allclose(after[model.part_slice(1)], before[model.part_slice(1)], atol=1e-6)


def test_all_locked_greys_the_buttons(person):
    for part in person.lwae.parts:
        part.locked = True
    for operator in (bpy.ops.lwae.more_like_this, bpy.ops.lwae.use_variation):
        with pytest.raises(RuntimeError, match="Unlock"):
            operator()


def test_donors_and_pictures_agree(person, addon, model):
    """Faces like the one that is seen, donors included; the original comes back with its donors."""
    donor = person.lwae.donors.add()
    code = model.prior.sample(np.random.default_rng(4), 1)[0]
    donor.code = addon("shape").encode_numbers(code)
    for name in model.part_names:
        donor.amounts.add().name = name
    donor.amounts[0].value = donor.amounts[1].value = 0.8
    person.lwae.parts[1].locked = True
    before, seen = positions(person), addon("shape").read_code(person, model)
    found = draw(addon, person)
    seed, picture_of = found.seeds[5], addon("gallery").portraits(model).picture
    bpy.ops.lwae.use_variation(seed=seed, difference=found.difference)
    shown = picture_of(1000 * positions(person), addon("gallery").SIZE)
    assert np.abs(picture(addon, person, seed) - shown[::-1] / 255).mean() < 1e-3
    now = addon("shape").read_code(person, model)
    free = [index for index in range(model.part_count) if index != 1]
    wanted = addon("backend.variations").vary(model, seen, free, seed, found.difference)
    assert np.allclose(now, wanted, atol=1e-4)
    assert np.allclose(now[model.part_slice(1)], seen[model.part_slice(1)], atol=1e-6)
    assert [amount.value for amount in person.lwae.donors[0].amounts][:2] == [0, pytest.approx(0.8)]
    bpy.ops.lwae.use_variation(difference=0)
    assert [amount.value for amount in person.lwae.donors[0].amounts][:2] == [pytest.approx(0.8)] * 2
    assert np.allclose(positions(person), before, atol=1e-6)
    original = picture_of(1000 * before, addon("gallery").SIZE)
    assert np.abs(picture(addon, person, addon("gallery").ORIGINAL) - original[::-1] / 255).mean() < 1e-3


def test_the_original_comes_back_after_a_donor_was_refreshed(person, addon, model):
    rng = np.random.default_rng(4)
    donor = person.lwae.donors.add()
    donor.code = addon("shape").encode_numbers(model.prior.sample(rng, 1)[0])
    for name in model.part_names:
        donor.amounts.add().name = name
    donor.amounts[0].value = 0.8
    before = positions(person)
    found = draw(addon, person)
    bpy.ops.lwae.use_variation(seed=found.seeds[0], difference=found.difference)
    donor.code = addon("shape").encode_numbers(model.prior.sample(rng, 1)[0])
    bpy.ops.lwae.use_variation(difference=0)
    assert np.allclose(positions(person), before, atol=1e-6)


def test_galleries_are_forgotten_with_their_pictures(new_face, addon):
    gallery = addon("gallery")
    faces = [new_face().data for _ in range(gallery.KEPT + 1)]
    for item in faces:
        bpy.context.view_layer.objects.active = next(o for o in bpy.data.objects if o.data == item)
        draw(addon, item)
    assert gallery.of(faces[0]) is None and gallery.of(faces[1]) is not None
    assert len(gallery._previews) == 9 * gallery.KEPT
    assert bpy.ops.lwae.close_gallery() == {"FINISHED"}
    assert gallery.of(faces[-1]) is None and len(gallery._previews) == 9 * (gallery.KEPT - 1)
    with pytest.raises(RuntimeError, match="There is no gallery"):
        bpy.ops.lwae.close_gallery()


def test_a_gallery_of_another_model_is_not_shown(person, addon):
    draw(addon, person)
    person.lwae.model_hash = "0" * 16
    assert addon("gallery").of(person) is None


def test_stopped_drawings_keep_what_is_drawn(person, addon):
    drawing = addon("operators.variations").Drawing(person, 50, 0.4)
    while drawing.done < 3:
        assert drawing.step()
        drawing.wait()
    drawing.end()
    found = addon("gallery").of(person)
    assert found.seeds[:2] == [50, 51] and len(found.seeds) < 8 and not found.running
    bpy.ops.lwae.use_variation(seed=51, difference=0.4)
    assert np.allclose(positions(person), expected(person), atol=1e-6)


def test_stopped_before_the_first_picture_the_old_gallery_comes_back(person, addon):
    old = draw(addon, person)
    drawing = addon("operators.variations").Drawing(person, 50, 0.4)
    drawing.step()
    drawing.end()
    gallery = addon("gallery")
    assert gallery.of(person) is old and len(gallery._previews) == 9
    assert picture(addon, person, 20).any()
    new = draw(addon, person, seed=60)
    assert gallery.of(person) is new and len(gallery._previews) == 9


def test_pressed_again_while_drawing_the_first_drawing_ends(person, addon):
    gallery, Drawing = addon("gallery"), addon("operators.variations").Drawing
    old = draw(addon, person)
    first = Drawing(person, 50, 0.4)
    first.step()
    second = Drawing(person, 60, 0.4)
    assert not first.step()
    first.end()
    third = Drawing(person, 70, 0.4)
    while third.done < 2:
        assert third.step()
        third.wait()
    assert not second.step()
    second.end()
    fourth = Drawing(person, 80, 0.4)
    third.end()
    fourth.end()
    assert gallery.of(person) is third.gallery and third.gallery.seeds == [70]
    assert picture(addon, person, 70).any() and len(gallery._previews) == 2 and not old.names
    bpy.ops.lwae.close_gallery()
    assert not third.step() and len(gallery._previews) == 0


def test_a_face_that_is_deleted_ends_the_drawing(person, addon):
    drawing = addon("operators.variations").Drawing(person, 50, 0.4)
    bpy.data.meshes.remove(person)
    for _ in range(4):
        going_on = drawing.step()
        if not going_on:
            break
        drawing.wait()
    assert not going_on
    drawing.end()


def test_disabling_frees_the_pictures(person, addon):
    draw(addon, person)
    previews = addon("gallery")._previews
    addon_utils.disable(ADDON)
    try:
        assert len(previews) == 0
        assert addon("gallery")._previews is None and not addon("gallery")._galleries
    finally:
        addon_utils.enable(ADDON)
    assert draw(addon, bpy.context.object.data) is not None


def test_a_typed_seed_of_another_face_or_a_locked_one_draws_nothing(person, new_face, addon):
    other = new_face().data
    person.lwae.gallery_seed = 7  # Not the active one.
    assert person.lwae.gallery_seed == 7 and not addon("gallery")._galleries
    for part in other.lwae.parts:
        part.locked = True
    other.lwae.gallery_seed = 8
    assert other.lwae.gallery_seed == 8 and not addon("gallery")._galleries


def test_disabling_cancels_what_runs(addon):
    modals, cancelled = addon("operators.modals"), []
    running = [SimpleNamespace(cancel=cancelled.append) for _ in range(2)]
    manager = SimpleNamespace(modal_handler_add=lambda operator: True)
    context = SimpleNamespace(window_manager=manager, window=bpy.context.window)
    for operator in running:
        modals.begin(operator, context)
    modals.end(running[0])
    addon_utils.disable(ADDON)
    try:
        assert len(cancelled) == 1 and not modals._running
    finally:
        addon_utils.enable(ADDON)
