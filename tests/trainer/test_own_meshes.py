# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's "Train your own", on a folder of OBJ files that name no regions."""

import json

import numpy as np

from backend.lwae_file import load_model
from backend.numpy_decoder import NumpyDecoder
from tests.toy import sphere
from trainer.cli import main
from trainer.weights.weights_file import weights_command


def write_obj(path, vertices, sizes, corners):
    faces = np.split(corners + 1, np.cumsum(sizes)[:-1])
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in vertices]
    path.write_text("\n".join(lines + ["f " + " ".join(map(str, face)) for face in faces]) + "\n")


def write_spheres(folder, count):
    """OBJ files of spheres that swell at three heights; returns the polygons' corners."""
    vertices, sizes, corners = sphere()
    rng = np.random.default_rng(0)
    bands = [np.exp(-(((vertices[:, 2] - height) / 40) ** 2)) for height in (80, 0, -80)]
    folder.mkdir()
    for number in range(count):
        moved = vertices * (1 + 0.1 * np.tensordot(rng.normal(size=3), bands, 1))[:, None]
        write_obj(folder / f"{number}.obj", moved, sizes, corners)
    return corners


def test_a_mesh_in_pieces_is_told(tmp_path, capsys, caplog):
    """Each polygon has vertices of its own, as unwelded exports have."""
    vertices, sizes, corners = sphere()
    write_spheres(tmp_path / "faces", 12)
    for path in (tmp_path / "faces").iterdir():
        moved = np.array([line.split()[1:] for line in path.read_text().splitlines() if line[0] == "v"], dtype=float)
        write_obj(path, moved[corners], sizes, np.arange(len(corners)))
    data = str(tmp_path / "data")
    assert main(["prepare", "meshes", str(tmp_path / "faces"), "--up", "z", "--out", data]) == 0
    assert f"{len(corners) - len(vertices)} vertices lie on others" in caplog.text
    assert "needs 14 faces at least" in capsys.readouterr().out
    assert main(["weights", data, "--parts", "3"]) == 1
    assert "merge the mesh by distance: it is in 288 pieces." in capsys.readouterr().err
    assert not (tmp_path / "data" / "weights.npz").exists()


def test_from_a_folder_of_meshes_to_a_model(tmp_path, capsys):
    corners = write_spheres(tmp_path / "faces", 40)
    rng = np.random.default_rng(1)
    data, run, model = (str(tmp_path / name) for name in ("data", "run", "model.lwae"))
    for command in (
        ["prepare", "meshes", str(tmp_path / "faces"), "--up", "z", "--no-align", "--out", data],
        ["weights", data, "--parts", "3", "--smoothing", "diffusion", "--sharpen", "6"],
        ["train", data, "--out", run, "--epochs", "2", "--set", "hidden=8"],
        ["evaluate", run],
        ["export", run, "--out", model],
    ):
        assert main(command) == 0, capsys.readouterr().err
    assert "against the best closed form" in capsys.readouterr().out
    loaded = load_model(model)
    assert len(set(loaded.part_names)) == 3 and loaded.header["metrics"]["reconstruction"] < 1
    assert np.array_equal(loaded.polygon_vertices, corners) and loaded.controls
    faces = NumpyDecoder(loaded).decode(loaded.prior.sample(rng, 4))
    assert np.ptp(np.linalg.norm(faces, axis=2), axis=1).max() < 150
    facts = json.loads((tmp_path / "data" / "weights.json").read_text())
    assert facts["parts"] == loaded.part_names
    # A kill may leave the file of another command.
    (tmp_path / "data" / "weights.json").write_text(json.dumps(facts | {"command": "another"}))
    command = "python -m trainer weights DATA --parts 3 --sharpen 6.0 --smoothing diffusion"
    assert weights_command(tmp_path / "data") == facts["command"] == command == loaded.header["rebuild"].splitlines()[1]
