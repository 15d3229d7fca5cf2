# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from scipy.spatial import ConvexHull

from backend.errors import LwaeError
from trainer.mesh.topology import triangle_edges, umbrella_laplacian, vertex_normals
from trainer.mesh.visibility import visibility
from trainer.weights import find_parts
from trainer.weights import local_weights as lw
from trainer.weights.picture import save_parts_picture
from trainer.weights.seams import Seams, moved_borders


def sphere(count, radius=100.0, centre=(0, 0, 0)):
    half = count // 2  # mirror-symmetric in x
    i = np.arange(half) + 0.5
    polar, turn = np.arccos(1 - 2 * i / half), np.pi * (1 + 5**0.5) * i
    points = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)
    points[:, 0] = np.abs(points[:, 0]) + 0.02
    points = np.concatenate([points, points * [-1, 1, 1]])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    triangles = ConvexHull(points).simplices.astype(np.int64)
    a, b, c = points[triangles.T]
    inward = np.einsum("ti,ti->t", np.cross(b - a, c - a), a + b + c) < 0
    triangles[inward] = triangles[inward, ::-1]
    return radius * points + np.asarray(centre), triangles


@pytest.fixture(scope="module")
def heads():
    """A ball with a small ball at its side; three bands (top, middle, bottom) vary on their own."""
    ball, faces = sphere(700)
    small, small_faces = sphere(40, 12.0, (0, -104.0, 0.0))
    mean = np.concatenate([ball, small])
    triangles = np.concatenate([faces, small_faces + len(ball)])
    height = mean[:, 2]
    bands = np.stack([np.exp(-((height - centre) ** 2) / 1800) for centre in (80, 0, -80)])
    rng = np.random.default_rng(0)
    outwards = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    amounts = 4 * rng.normal(size=(300, 3))
    faces = mean + (amounts @ bands)[:, :, None] * outwards
    faces += 0.05 * rng.normal(size=faces.shape)
    return faces.astype(np.float32), triangles, mean


@pytest.mark.parametrize("smoothing, moved", [("none", 12), ("diffusion", 12), ("seam", 20)])
def test_finds_the_bands(heads, smoothing, moved):
    """With seams in mind borders move away from where the bands meet, to widen the middle one."""
    faces, triangles, mean = heads
    weights = lw.local_weights(faces, triangles, 3, rng=np.random.default_rng(0), smoothing=smoothing)
    assert weights.shape == (3, 740) and weights.dtype == np.float32
    assert weights.min() >= 0 and np.allclose(weights.sum(axis=0), 1, atol=1e-6)
    truth = np.digitize(-mean[:700, 2], [-40, 40])
    clear = np.abs(np.abs(mean[:700, 2]) - 40) > moved
    assert (weights.argmax(axis=0)[:700] == truth)[clear].mean() > 0.98  # sorted from the top down
    assert np.all(weights[1, 700:] == 1)  # the loose ball goes whole to the middle band around it
    report = lw.weights_report(weights, mean, triangles)
    assert report["coverage"] > 0.9 and report["balance"] > 0.9
    assert [p["pieces"] for p in report["parts"]] == [1, 2, 1]
    assert min(p["symmetry"] for p in report["parts"]) > 0.9
    again = lw.local_weights(faces, triangles, 3, rng=np.random.default_rng(0), smoothing=smoothing)
    assert np.array_equal(weights, again)


def test_seam_is_smoother_than_hard_borders_and_diffusion(heads):
    faces, triangles, mean = heads
    laplacian = umbrella_laplacian(triangle_edges(triangles), len(mean))
    rng = np.random.default_rng(1)
    real = np.mean([((laplacian @ (x - mean)) ** 2).sum(axis=1) for x in faces], axis=0)

    def worst_seam(weights):
        total = 0
        for _ in range(200):
            donors = faces[rng.integers(0, len(faces), 3)] - mean
            total = total + ((laplacian @ np.einsum("kn,knc->nc", weights, donors)) ** 2).sum(axis=1)
        return np.percentile(np.sqrt(total / 200 / real), 95)

    seam, diffusion, hard = (
        worst_seam(lw.local_weights(faces, triangles, 3, rng=np.random.default_rng(0), smoothing=s))
        for s in ("seam", "diffusion", "none")
    )
    assert seam < diffusion < hard


def test_the_surface_is_measured_by_area(heads):
    """Two parts of a ball, one of them with thrice as many vertices on half of the surface."""
    points, triangles = sphere(400)
    dense = np.concatenate([points[points[:, 2] <= 0], sphere(1200)[0][sphere(1200)[0][:, 2] > 0]])
    triangles = ConvexHull(dense).simplices
    upper = (dense[:, 2] > 0).astype(float)
    report = lw.weights_report(np.stack([upper, 1 - upper]), dense, triangles)
    assert report["parts"][0]["vertices"] > 2.8 * report["parts"][1]["vertices"]
    assert [part["share"] for part in report["parts"]] == pytest.approx([0.5, 0.5], abs=0.03)


def test_tiny_parts_are_named(caplog):
    strongest = np.repeat([0, 1, 2], [900, 29, 71])
    find_parts._warn_of_tiny_parts(["head", "nose"], np.zeros(1000, dtype=int), np.ones(1000))
    assert "Hardly a part: nose (0 vertices, 0.0% of the surface); ask for fewer parts than 2." in caplog.text
    caplog.clear()
    areas = np.where(strongest == 2, 0.01, 1.0)
    find_parts._warn_of_tiny_parts(["head", "nose", "ears"], strongest, areas)
    assert "nose (29 vertices, 3.1% of the surface), ears (71 vertices, 0.1% of the surface)" in caplog.text
    assert "head" not in caplog.text


def test_reads_a_memory_map_in_blocks(heads, tmp_path):
    faces, triangles, _ = heads
    np.save(tmp_path / "x.npy", faces)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    a = lw.local_weights(mapped, triangles, 3, rng=np.random.default_rng(0))
    assert np.array_equal(a, lw.local_weights(faces, triangles, 3, rng=np.random.default_rng(0)))


def test_vertices_that_never_move_are_filled(heads):
    faces, triangles, mean = heads
    still = faces.copy()
    frozen = mean[:, 2] > 90
    still[:, frozen] = mean[frozen]
    weights = lw.local_weights(still, triangles, 3, rng=np.random.default_rng(0), smoothing="diffusion")
    assert np.isfinite(weights).all() and np.all(weights[0, frozen] > 0.9)


@pytest.mark.parametrize("bad", [1, 99])
def test_starts_again_when_a_part_is_nowhere_the_strongest(heads, monkeypatch, bad):
    faces, triangles, _ = heads
    sparse_nmf, starts = lw.sparse_nmf, []

    def lame(*arguments, **options):
        factors = sparse_nmf(*arguments, **options)
        starts.append(factors)
        if len(starts) <= bad:
            factors.weights[:, 0] = 0
        return factors

    monkeypatch.setattr(lw, "sparse_nmf", lame)
    if bad > lw.STARTS:
        with pytest.raises(LwaeError, match="1 of 3 parts are nowhere the strongest"):
            lw.local_weights(faces, triangles, 3, rng=np.random.default_rng(0))
        assert len(starts) == lw.STARTS
    else:
        assert lw.local_weights(faces, triangles, 3, rng=np.random.default_rng(0)).max(axis=1).min() > 0.9
        assert len(starts) == 2


def test_one_place_drops_the_smaller_piece(heads):
    _, triangles, mean = heads
    share = np.zeros((740, 2))
    share[:, 1] = 1.0
    share[mean[:, 2] > 50] = share[mean[:, 2] < -85] = (1.0, 0.0)
    kept = lw.keep_main_places(share, mean, triangles, np.ones(740))
    assert np.array_equal(kept[mean[:, 2] > 50], share[mean[:, 2] > 50])
    assert np.all(kept[mean[:, 2] < -85] == 0)
    filled = lw.fill(kept, mean, triangles)
    assert np.all(filled[:700][mean[:700, 2] < -85] == (0.0, 1.0))


def test_left_right_pair_is_one_place(heads):
    _, triangles, mean = heads
    label = np.where(np.abs(mean[:, 0]) > 70, 0, 1)
    piece = lw.pieces_of(label, triangles, mean)
    assert len(np.unique(piece[label == 0])) == 1


def test_a_pair_is_one_place_also_where_one_side_has_more_vertices():
    points, triangles = sphere(700)
    left = points[triangles].mean(axis=1)[:, 0] > 0
    centres = points[triangles[left]].mean(axis=1)
    number = len(points) + np.arange(len(centres))
    a, b, c = triangles[left].T
    fans = [np.stack([first, second, number], axis=1) for first, second in ((a, b), (b, c), (c, a))]
    points, triangles = np.concatenate([points, centres]), np.concatenate([triangles[~left], *fans])
    points -= points.mean(axis=0)
    middle = (points[:, 0].max() + points[:, 0].min()) / 2
    assert abs(middle) > 10, "x = 0 is not the plane of symmetry"
    label = np.where(np.abs(points[:, 0] - middle) > 70, 0, 1)
    piece = lw.pieces_of(label, triangles, points)
    assert len(np.unique(piece[label == 0])) == 1
    one_sided = np.where((label == 0) & (points[:, 0] > middle), 0, 1)
    one_sided[points[:, 2] < -92] = 0
    assert len(np.unique(lw.pieces_of(one_sided, triangles, points)[one_sided == 0])) == 2


def test_hidden_vertices():
    outer, faces = sphere(1500)
    inner, inner_faces = sphere(100, 40.0)
    vertices = np.concatenate([outer, inner])
    normals = vertex_normals(vertices, np.concatenate([faces, inner_faces + 1500]))
    seen = visibility(vertices, normals)
    assert seen[:1500].min() > 0.2 and seen[1500:].max() == 0


def test_rounding_makes_no_parts(heads):
    faces, *_ = heads
    still = faces[:1] + 1e-5 * np.random.default_rng(0).normal(size=faces.shape)
    with pytest.raises(LwaeError, match="All training faces are the same"):
        lw.deviations(still.astype(np.float32), still.mean(axis=0))


def test_the_inside_of_a_mask_is_hidden_from_behind():
    """A bowl, open at the back, with a ball in it."""
    outer, faces = sphere(2000)
    bowl = faces[(outer[faces][:, :, 1] < 10).all(axis=1)]
    inner, inner_faces = sphere(100, 30.0)
    vertices = np.concatenate([outer, inner - [0, 30, 0]])
    seen = visibility(vertices, vertex_normals(vertices, np.concatenate([bowl, inner_faces + 2000])))
    skin = np.setdiff1d(np.unique(bowl), np.flatnonzero(outer[:, 1] > -10))
    assert seen[skin].min() > 0.1 and (seen[2000:] > 0).mean() < 0.2


def test_a_factor_that_leads_nowhere_gets_a_place():
    rng = np.random.default_rng(0)
    share, vote = rng.uniform(0.5, 1, (4000, 3)), np.ones(4000)
    share[:, 2] *= 0.4
    share[:, 2] += 0.05 * np.exp(-np.arange(4000) / 100)  # nearest to leading at the first ones
    assert (share.argmax(axis=1) == 2).sum() < 5
    found = lw.with_least_votes(share, vote)
    assert 30 < (found.argmax(axis=1) == 2).sum() < 50
    np.testing.assert_array_equal(found[:, :2], share[:, :2])
    np.testing.assert_array_equal(lw.with_least_votes(found, vote), found)


def test_what_is_hidden_close_under_the_skin_goes_with_it():
    skin, close, deep = (sphere(count, radius)[0] for count, radius in ((6000, 100.0), (100, 98.0), (100, 60.0)))
    mean = np.concatenate([skin, close, deep])
    hidden = np.arange(len(mean)) >= len(skin)
    leaders = lw.skin_over(mean, hidden, ~hidden)
    itself = leaders == np.arange(len(mean))
    assert itself[: len(skin)].all() and itself[-100:].all()
    assert (leaders[len(skin) : -100][~itself[len(skin) : -100]] < len(skin)).all()
    assert (~itself[len(skin) : -100]).mean() > 0.9
    np.testing.assert_array_equal(lw.skin_over(mean, hidden, np.zeros(len(mean), bool)), np.arange(len(mean)))


def test_borders_pass_followers_with_their_leaders(heads):
    faces, triangles, mean = heads
    label = (mean[:, 2] < 0).astype(int)
    leaders = np.arange(len(mean))
    leaders[:50] = 600
    seams = Seams(faces, mean, triangles, triangle_edges(triangles))
    moved = moved_borders(np.eye(2)[label[leaders]], seams, None, leaders)
    assert (moved[:50] == moved[600]).all()


def test_picture_is_a_png(heads, tmp_path):
    _, triangles, mean = heads
    weights = np.eye(3)[np.digitize(-mean[:, 2], [-40, 40])].T
    save_parts_picture(tmp_path / "parts.png", mean, triangles, weights, ["top", "$\\middle$", "bottom"], size=80)
    assert (tmp_path / "parts.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_gets_a_sentence(heads):
    faces, triangles, _ = heads
    rng = np.random.default_rng(0)
    with pytest.raises(LwaeError, match="the same"):
        lw.local_weights(np.repeat(faces[:1], 5, axis=0), triangles, 3, rng=rng)
    broken = faces[:9].copy()
    broken[3, 5] = np.nan
    with pytest.raises(LwaeError, match="not finite"):
        lw.local_weights(broken, triangles, 3, rng=rng)
    with pytest.raises(LwaeError, match="smoothing"):
        lw.local_weights(faces, triangles, 3, rng=rng, smoothing="blur")
    with pytest.raises(LwaeError, match=r"fewer parts, another sparsity, or sparsity on the vertices \(W\)"):
        lw._require_all(np.zeros(9, dtype=int), 2, "H", np.arange(3)[None])
    with pytest.raises(LwaeError, match="fewer parts, or another sparsity.$"):
        lw._require_all(np.zeros(9, dtype=int), 2, "W", np.arange(3)[None])
    with pytest.raises(LwaeError, match="leave out --sharpen, or say --smoothing"):
        lw.local_weights(faces, triangles, 3, rng=rng, sharpen=4.0)
