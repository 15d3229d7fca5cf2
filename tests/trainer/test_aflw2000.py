# SPDX-License-Identifier: GPL-3.0-or-later
"""The AFLW2000-3D door, on small files in its layout, written by SciPy."""

import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from backend.errors import LwaeError
from tests.toy import sphere
from trainer.cli import main
from trainer.datasets.aflw2000 import prepare_aflw2000
from trainer.datasets.dataset import load_dataset
from trainer.datasets.mat_files import read_mat
from trainer.mesh.topology import triangulate

VERTICES, SIZES, CORNERS = sphere(8, 12)
TRIANGLES = triangulate(SIZES, CORNERS)
MEAN = 1e3 * np.stack([VERTICES[:, 0], VERTICES[:, 2], -VERTICES[:, 1]], axis=1).astype(float)  # micrometres, Y up
SHAPES, EXPRESSIONS, FACES = 7, 3, 12


def column(vectors):
    return np.reshape(vectors, (-1, 1))


@pytest.fixture
def model(tmp_path):
    """Model_Shape.mat and Model_Exp.mat with more in them than is read."""
    rng = np.random.default_rng(0)
    waves = np.stack([np.ones(len(MEAN)), *np.sin(MEAN.T / 6e4), *np.cos(MEAN.T / 5e4)])
    basis = (rng.normal(size=(SHAPES + EXPRESSIONS, 3, 7)) @ waves).transpose(2, 1, 0).reshape(-1, SHAPES + EXPRESSIONS)
    shape = {
        "mu_shape": column(MEAN - 500),
        "w": basis[:, :SHAPES].astype(np.float32),
        "tri": TRIANGLES.T.astype(np.uint16) + 1,
        "sigma": column(np.ones(SHAPES)),
        "keypoints": np.arange(1, 69)[None].astype(float),
        "segbin": np.array(["nose", "eyes"], dtype=object),
    }
    expression = {
        "mu_exp": column(500 + 300 * np.sin(np.arange(MEAN.size))),
        "w_exp": 2e3 * basis[:, SHAPES:],
        "sigma_exp": column(np.ones(EXPRESSIONS)),
    }
    savemat(tmp_path / "Model_Shape.mat", shape, do_compression=True)
    savemat(tmp_path / "Model_Exp.mat", expression)
    return shape, expression


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "AFLW2000"
    folder.mkdir()
    parameters = []
    for number in range(FACES):
        image = {
            "Shape_Para": 2e3 * rng.normal(size=(SHAPES, 1)),
            "Exp_Para": rng.normal(size=(EXPRESSIONS, 1)).astype(np.float32),
            "Pose_Para": rng.normal(size=(1, 7)),
            "roi": np.array([[1, 2, 3, 4]]),
        }
        savemat(folder / f"image{10 + number:05d}.mat", image, do_compression=number % 2 == 0)
        (folder / f"image{10 + number:05d}.jpg").write_bytes(b"?")
        parameters.append((image["Shape_Para"], image["Exp_Para"]))
    return parameters


def prepare(tmp_path, **options):
    files = (tmp_path / name for name in ("AFLW2000", "Model_Shape.mat", "Model_Exp.mat"))
    return prepare_aflw2000(*files, tmp_path / "data", **options)


def centred(faces):
    return faces - faces.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("neutral", [False, True])
def test_faces_follow_the_formula(neutral, model, images, tmp_path):
    shape, expression = model
    dataset = prepare(tmp_path, neutral=neutral)
    mean, expected = shape["mu_shape"] + expression["mu_exp"], []
    for a, e in images:
        face = mean + shape["w"] @ a + (0 if neutral else expression["w_exp"] @ e)
        x, y, z = face.reshape(-1, 3).T / 1000
        expected.append(np.stack([x, -z, y], axis=1))
    np.testing.assert_allclose(centred(dataset.vertices), centred(np.array(expected)), atol=1e-3)
    if neutral:
        np.testing.assert_allclose(dataset.vertices.mean(axis=1), 0, atol=1e-3)
    assert dataset.labels.shape == (FACES, SHAPES + (0 if neutral else EXPRESSIONS))
    np.testing.assert_allclose(dataset.labels[3, :SHAPES], images[3][0].ravel(), rtol=1e-6)
    assert "non-commercial: see the Basel Face Model's licence" in dataset.licence
    assert "Pose" not in "".join(dataset.label_names) and "without pose" in dataset.provenance


def test_an_open_mouth_does_not_move_the_skull(model, images, tmp_path):
    """Expressions are added after the centroids are matched."""
    _, expression = model
    difference = prepare(tmp_path).vertices
    (tmp_path / "data").rename(tmp_path / "first")
    difference = difference - prepare(tmp_path, neutral=True).vertices
    for moved, (_, e) in zip(difference, images, strict=True):
        x, y, z = (expression["w_exp"] @ e).reshape(-1, 3).T / 1000
        np.testing.assert_allclose(moved, np.stack([x, -z, y], axis=1), atol=1e-3)


@pytest.mark.parametrize("inward", [False, True])
@pytest.mark.parametrize("rows", [False, True])
def test_triangles_face_outward(inward, rows, model, images, tmp_path):
    shape, _ = model
    triangles = TRIANGLES[:, ::-1] if inward else TRIANGLES
    tri = (triangles + 1.0 if rows else triangles.T + 1.0).astype(float)
    savemat(tmp_path / "Model_Shape.mat", shape | {"tri": tri})
    template = prepare(tmp_path).template
    np.testing.assert_array_equal(template.polygon_vertices.reshape(-1, 3), TRIANGLES)
    assert (template.polygon_sizes == 3).all() and not template.polygon_material.any() and len(template.uv) == 0


def test_model_files_and_hidden_files_in_the_same_folder(model, images, tmp_path):
    folder = tmp_path / "AFLW2000"
    for name in ("Model_Shape.mat", "Model_Exp.mat"):
        (tmp_path / name).rename(folder / name)
    (folder / "._image00010.mat").write_bytes(b"?")
    dataset = prepare_aflw2000(folder, folder / "Model_Shape.mat", folder / "Model_Exp.mat", tmp_path / "data")
    assert len(dataset.vertices) == FACES


def image(tmp_path, **changes):
    path = tmp_path / "AFLW2000" / "image00013.mat"
    content = {name: value for name, value in loadmat(path).items() if name[0] != "_"} | changes
    savemat(path, {name: value for name, value in content.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"Shape_Para": None}, "image00013.mat has no Shape_Para"),
        ({"Exp_Para": None}, "image00013.mat has no Exp_Para"),
        (
            {"Shape_Para": np.zeros((SHAPES + 1, 1))},
            f"Shape_Para of .*00013.mat has {SHAPES + 1} numbers but .*Shape.mat",
        ),
        ({"Exp_Para": np.zeros((0, 0))}, "Exp_Para of .*image00013.mat is no matrix"),
        ({"Exp_Para": "text"}, "Exp_Para of .*image00013.mat is no matrix"),
        ({"Exp_Para": {"a": 1}}, "Exp_Para of .*image00013.mat is no matrix"),
        ({"Exp_Para": 1j * np.ones((EXPRESSIONS, 1))}, "Exp_Para of .*image00013.mat is no matrix"),
        ({"Shape_Para": np.full((SHAPES, 1), np.nan)}, "Shape_Para of .*image00013.mat has NaN"),
        ({"Shape_Para": np.full((SHAPES, 1), 1e30)}, "image00013.mat gives a face more than 10 times as large"),
        ({"Shape_Para": np.full((SHAPES, 1), 1e300)}, "image00013.mat gives a face more than 10 times as large"),
    ],
)
def test_bad_images(changes, match, model, images, tmp_path):
    image(tmp_path, **changes)
    with pytest.raises(LwaeError, match=match):
        prepare(tmp_path)
    assert not list(tmp_path.glob("*data*"))


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("Model_Shape.mat", {"tri": None}, "Model_Shape.mat has no tri"),
        ("Model_Shape.mat", {"tri": TRIANGLES.T}, "tri of .*Model_Shape.mat does not list triangles"),
        ("Model_Shape.mat", {"tri": TRIANGLES.T + 2}, "tri of .*Model_Shape.mat does not list triangles"),
        ("Model_Shape.mat", {"tri": TRIANGLES.T + 1.5}, "tri of .*Model_Shape.mat does not list triangles"),
        ("Model_Shape.mat", {"tri": np.ones((4, 4))}, "tri of .*Model_Shape.mat does not list triangles"),
        ("Model_Shape.mat", {"mu_shape": np.ones((MEAN.size + 3, 1))}, "w of .*Model_Shape.mat has"),
        ("Model_Shape.mat", {"w": np.ones((SHAPES, MEAN.size))}, f"w of .*Model_Shape.mat has {SHAPES} rows"),
        ("Model_Exp.mat", {"mu_exp": np.ones((MEAN.size - 3, 1))}, "mu_exp of .*Model_Exp.mat has"),
        ("Model_Exp.mat", {"w_exp": None}, "Model_Exp.mat has no w_exp"),
    ],
)
def test_bad_models(name, changes, match, model, images, tmp_path):
    content = model[name == "Model_Exp.mat"] | changes
    savemat(tmp_path / name, {key: value for key, value in content.items() if value is not None})
    with pytest.raises(LwaeError, match=match):
        prepare(tmp_path)
    assert not list(tmp_path.glob("*data*"))


def test_folders_that_cannot_be_used(model, images, tmp_path):
    for file in list((tmp_path / "AFLW2000").glob("*.mat"))[1:]:
        file.unlink()
    with pytest.raises(LwaeError, match="has .mat files of 1 faces"):
        prepare(tmp_path)
    (tmp_path / "Model_Exp.mat").unlink()
    (tmp_path / "AFLW2000" / "other.mat").write_bytes(b"")
    with pytest.raises(LwaeError, match="Model_Exp.mat cannot be read as a MATLAB file .No such file"):
        prepare(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(LwaeError, match="exists already"):
        prepare(tmp_path)


def test_command_line(model, images, tmp_path, capsys):
    arguments = ["--aflw", tmp_path / "AFLW2000", "--bfm", tmp_path / "Model_Shape.mat", "--exp"]
    arguments += [tmp_path / "Model_Exp.mat", "--neutral", "--out", tmp_path / "data"]
    assert main(["prepare", "aflw2000", *map(str, arguments)]) == 0
    assert f"{FACES} faces of {len(MEAN)} vertices" in capsys.readouterr().out
    command = "aflw2000 --aflw AFLW2000 --bfm Model_Shape.mat --exp Model_Exp.mat --neutral --seed=0 --out DATA"
    assert load_dataset(tmp_path / "data").command == f"python -m trainer prepare {command}"
    (tmp_path / "Model_Exp.mat").write_bytes(b"?")
    assert main(["prepare", "aflw2000", *map(str, arguments[:-1]), str(tmp_path / "b")]) == 1
    assert "Model_Exp.mat cannot be read" in capsys.readouterr().err


# MATLAB files.

MATRICES = {
    "double": np.arange(12.0).reshape(3, 4) / 7,
    "whole": np.arange(3.0)[:, None],
    "single": np.float32([[1.5]]),
    **{f"i{bits}": np.array([[-(2 ** (bits - 1)), 5]], f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": np.array([[2**bits - 1], [5]], f"u{bits // 8}") for bits in (8, 16, 32, 64)},
}


@pytest.mark.parametrize("compressed", [False, True])
def test_matrices_as_scipy_writes_them(compressed, tmp_path):
    others = {
        "text": "abc",
        "cell": np.array([1, "a"], dtype=object),
        "struct": {"a": {"b": 2}},
        "flag": np.array([True]),
    }
    savemat(tmp_path / "a.mat", others | MATRICES, do_compression=compressed)
    for name, found in zip(MATRICES, read_mat(tmp_path / "a.mat", tuple(MATRICES)), strict=True):
        np.testing.assert_array_equal(found, MATRICES[name])


@pytest.mark.parametrize("order", "<>")
def test_numbers_stored_in_a_smaller_type(order, tmp_path):
    """As MATLAB itself does with whole numbers, and with up to four bytes in the tag; of either byte order."""
    name = struct.pack(order + "I", 1 << 16 | 1) + b"a\0\0\0"
    flags = struct.pack(order + "4I", 6, 8, 6, 0)
    shape = struct.pack(order + "2I2i", 5, 8, 1, 3)
    numbers = struct.pack(order + "I", 3 << 16 | 2) + b"\x01\x02\xff\0"
    body = flags + shape + name + numbers
    matrix = struct.pack(order + "2I", 14, len(body)) + body
    packed = zlib.compress(matrix)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "H", 0x100) + (b"IM" if order == "<" else b"MI")
    (tmp_path / "a.mat").write_bytes(header + matrix)
    (tmp_path / "b.mat").write_bytes(header + struct.pack(order + "2I", 15, len(packed)) + packed)
    for file in ("a.mat", "b.mat"):
        (found,) = read_mat(tmp_path / file, ("a",))
        assert found.tolist() == [[1, 2, 255]] == loadmat(tmp_path / file)["a"].tolist()


def test_files_of_other_versions(tmp_path):
    hdf5 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + struct.pack("<H", 0x200) + b"IM"
    (tmp_path / "a.mat").write_bytes(hdf5.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(LwaeError, match=r"a.mat is a MATLAB 7.3 file \(HDF5\); save it again .*'-v7'"):
        read_mat(tmp_path / "a.mat", ("a",))
    savemat(tmp_path / "b.mat", {"a": np.ones((2, 2))}, format="4")
    for name in ("b.mat", __file__):
        with pytest.raises(LwaeError, match="is not one of version 5 to 7"):
            read_mat(tmp_path / name, ("a",))


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files(compressed, tmp_path):
    """Whatever byte is wrong, and wherever the file ends: an array of numbers, or one sentence."""
    savemat(tmp_path / "a.mat", {"s": {"a": 1}, "a": np.arange(30.0)[:, None] / 7}, do_compression=compressed)
    good = (tmp_path / "a.mat").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(200):
        bad = bytearray(good)
        for at in rng.integers(len(good), size=rng.integers(1, 4)):
            bad[at] = rng.integers(256)
        if trial % 4 == 0:
            bad = bad[: rng.integers(len(good))]
        (tmp_path / "b.mat").write_bytes(bad)
        try:
            (found,) = read_mat(tmp_path / "b.mat", ("a",))
            assert found.ndim == 2 and np.isfinite(found).all()
        except LwaeError as error:
            assert "b.mat" in str(error)
            refused += 1
    assert refused > 50
