# SPDX-License-Identifier: GPL-3.0-or-later
"""Plausibility and Harmonise."""

import threading
import time
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from helpers import positions, values


@pytest.fixture
def mixed(new_face, model):
    """A face whose parts come from itself and two others."""
    for seed, name in ((1, "Ana"), (2, "Ben"), (3, "Face")):
        face = new_face()
        face.name = name
        bpy.ops.lwae.randomise_face(seed=seed)
    mesh = bpy.context.object.data
    for part, name in enumerate(model.part_names):
        bpy.ops.lwae.give_part(part=name, donor=("", "Ana", "Ben")[part % 3])
    return mesh


def code(addon, mesh, model):
    return addon("shape").read_code(mesh, model)


def distance(addon, mesh, model):
    return addon("analysis").of(model).plausibility(code(addon, mesh, model))[0][0]


def test_harmonise_makes_a_mix_plausible_and_editable(mixed, addon, model):
    mixture, before = code(addon, mixed, model), positions(mixed)
    strange = distance(addon, mixed, model)
    assert bpy.ops.lwae.harmonise(amount=0.75) == {"FINISHED"}
    shown = code(addon, mixed, model)
    labels = [part % 3 - 1 for part in range(model.part_count)]
    harmoniser = addon("backend.harmonise").Harmoniser(model)
    assert np.allclose(shown, harmoniser(mixture[None], 0.75, labels)[0], atol=1e-3)
    assert distance(addon, mixed, model) < 0.6 * strange
    assert np.abs(positions(mixed) - before).max() > 1e-4
    assert not any(amount.value for donor in mixed.lwae.donors for amount in donor.amounts)
    split = addon("backend.controls").split_code(model, shown)[0]
    assert np.allclose(values(mixed), split[: len(values(mixed))], atol=1e-3)


def test_nothing_changes_at_amount_zero(mixed):
    before = positions(mixed)
    bpy.ops.lwae.harmonise(amount=0)
    assert np.abs(positions(mixed) - before).max() < 1e-6


def test_the_price_is_what_the_surface_paid(mixed, addon, model):
    before = positions(mixed)
    paths, moved, kept, reached = addon("operators.harmonise").harmonise_face(mixed, 0.5, "DONORS")
    addon("sync").follow(mixed)
    assert paths and 0 < kept < 1 and reached == 0.5
    real = np.linalg.norm(positions(mixed) - before, axis=1).mean() * 1000
    assert moved == pytest.approx(real, rel=1e-3) and moved > 0.05


def test_locked_parts_stay(mixed, addon, model):
    mixed.lwae.parts[1].locked = True
    before = code(addon, mixed, model)
    alike = addon("operators.harmonise").parts_alike(mixed, "DONORS")
    wanted = addon("backend.harmonise").Harmoniser(model)(before[None], 0.5, alike, [1])[0]
    bpy.ops.lwae.harmonise(amount=0.5)
    after = code(addon, mixed, model)
    assert np.allclose(after[model.part_slice(1)], before[model.part_slice(1)], atol=1e-6)
    face = addon("face")
    assert np.allclose(face.whole_values(mixed.lwae), face.read_whole(model, after), atol=1e-3), "and say what is there"
    assert mixed.lwae.donors[0].amounts[1].value == 1, "and still come from whom they came from"
    assert np.allclose(after, wanted, atol=1e-3), "the others fit to them"
    assert np.abs(after - before)[model.part_slice(0)].max() > 1e-2
    for part in mixed.lwae.parts:
        part.locked = True
    assert not bpy.ops.lwae.harmonise.poll()


def test_kept_traits_stay(mixed, addon, model):
    face = addon("face")
    bpy.ops.lwae.bake_mix()
    kept = mixed.lwae.whole[0]
    kept.locked = True
    shown, before = kept.value, code(addon, mixed, model)
    bpy.ops.lwae.harmonise(amount=1, by="SINGLE")
    after = code(addon, mixed, model)
    read = face.read_whole(model, after)
    assert kept.value == shown and read[0] == pytest.approx(face.read_whole(model, before)[0], abs=1e-3)
    assert np.abs(after - before).max() > 0.1 and np.allclose(face.whole_values(mixed.lwae)[1:], read[1:], atol=1e-3)


def test_an_amount_that_is_no_number_counts_as_none(mixed):
    mixed.lwae.donors[0].amounts[0].value = float("nan")
    assert bpy.ops.lwae.harmonise(amount=0.5) == {"FINISHED"}


def test_without_donors_every_part_counts_by_itself(mixed, addon, model):
    bpy.ops.lwae.bake_mix()
    before = code(addon, mixed, model)
    bpy.ops.lwae.harmonise(amount=0.5)
    wanted = addon("backend.harmonise").Harmoniser(model)(before[None], 0.5)[0]
    assert np.allclose(code(addon, mixed, model), wanted, atol=1e-3)


def test_harmonising_again_and_again_never_makes_a_face_less_plausible(mixed, new_face, addon, model):
    new_face()
    bpy.ops.lwae.randomise_face(seed=2)  # whose parts belong together already
    for mesh in (mixed, bpy.context.object.data):
        bpy.context.view_layer.objects.active = next(item for item in bpy.data.objects if item.data == mesh)
        for amount in (0.5, 1, 1, 0.5, 1, 1):
            before = distance(addon, mesh, model)
            bpy.ops.lwae.harmonise(amount=amount)
            assert distance(addon, mesh, model) < before + 1e-3
        assert distance(addon, mesh, model) < 1.3
    again = positions(mesh)
    bpy.ops.lwae.harmonise(amount=1)
    assert np.abs(positions(mesh) - again).max() < 1e-4


def test_the_redo_panel_says_where_it_stopped(new_face, addon):
    operator = SimpleNamespace(moved=0.5, kept=-1.0, amount=1.0, reached=0.4)
    price = addon("operators.harmonise").LWAE_OT_harmonise.price
    assert "0.40" in price(operator)[1]
    operator.reached = 1.0
    assert len(price(operator)) == 1


def settled_verdict(addon, model, mesh):
    """The verdict as the panel shows it once its threads are done."""
    verdict = addon("panels.plausibility").verdict
    deadline = time.monotonic() + 30
    while verdict(mesh) is None or addon("analysis").of(model).is_busy():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return verdict(mesh)


def test_verdict_of_what_is_seen(mixed, addon, model):
    panel = addon("panels.plausibility")
    panel._verdicts.clear()
    for _ in range(model.part_count):  # Each set of parts is looked at once the one before it is done.
        found = settled_verdict(addon, model, mixed)
    plausibility = addon("analysis").of(model).plausibility
    shown = code(addon, mixed, model)
    assert found.distance == pytest.approx(plausibility(shown)[0][0], rel=1e-4)
    assert found.odd and found.odd == plausibility.odd_parts(shown)[0]
    assert mixed.lwae.applied in panel._verdicts
    bpy.ops.lwae.randomise_face(seed=1)
    again = settled_verdict(addon, model, mixed)
    assert again.distance < found.distance / 2 and not again.odd


def test_a_redraw_costs_a_look_up(mixed, addon, model):
    panel = addon("panels.plausibility")
    for _ in range(model.part_count):
        settled_verdict(addon, model, mixed)
    decoder = addon("models").decoder(model)
    calls = []
    decoder.decode_one, decoder.decode = (lambda *_: calls.append(1),) * 2
    try:
        times = []
        for _ in range(100):
            started = time.perf_counter()
            panel.verdict(mixed)
            times.append(time.perf_counter() - started)
    finally:
        del decoder.decode_one, decoder.decode
    assert not calls and np.median(times) < 3e-4


def test_one_donor_of_all_parts_is_one_person(mixed, addon, model):
    bpy.ops.lwae.randomise_face(seed=3)
    for amount in mixed.lwae.donors[0].amounts:
        amount.value = 1
    alike = addon("operators.harmonise").parts_alike
    assert np.array_equal(alike(mixed, "DONORS"), np.ones((model.part_count,) * 2))
    assert np.array_equal(alike(mixed, "SINGLE"), np.eye(model.part_count))
    before = code(addon, mixed, model)
    bpy.ops.lwae.harmonise(amount=1)
    assert np.abs(code(addon, mixed, model) - before).max() < 1e-3, "nobody's parts go better together"


def test_without_a_window_it_is_done_at_once(addon):
    invoke, done = addon("operators.harmonise").LWAE_OT_harmonise.invoke, []
    invoke(SimpleNamespace(execute=done.append), SimpleNamespace(window=None, object=None), None)
    assert len(done) == 1


def test_the_sidebar_does_not_wait_for_a_harmoniser(addon, model, monkeypatch):
    analysis = addon("analysis")
    found, begun, go_on = analysis.Analysis(model), threading.Event(), threading.Event()

    def slow(_model):
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(analysis, "Harmoniser", slow)
    maker = threading.Thread(target=lambda: found.harmoniser, daemon=True)
    asker = threading.Thread(target=lambda: found.mirror, daemon=True)
    maker.start()
    assert begun.wait(30)
    asker.start()
    asker.join(20)
    waited = asker.is_alive()
    go_on.set()
    maker.join()
    assert not waited
