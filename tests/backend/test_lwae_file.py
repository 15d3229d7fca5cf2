# SPDX-License-Identifier: GPL-3.0-or-later
import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.lids import Lids
from backend.lwae_file import FORMAT_VERSION, load_model, read_header, save_model
from backend.numpy_decoder import NumpyDecoder
from tests.toy import toy_model


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "toy.lwae"
    save_model(toy_model(), path)
    return path


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, **changes):
    """The file with some members replaced (an array), or left out (None)."""
    contents = members(path)
    for name, array in changes.items():
        contents.pop(f"{name}.npy", None)
        if array is not None:
            stream = io.BytesIO()
            np.lib.format.write_array(stream, array, allow_pickle=True)
            contents[f"{name}.npy"] = stream.getvalue()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def with_header(path, **changes):
    header = json.loads(bytes(np.load(io.BytesIO(members(path)["header.npy"]))))
    header.update(changes)
    rewrite(path, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))


def test_round_trip(path):
    model, again = toy_model(), load_model(path)
    codes = model.prior.sample(np.random.default_rng(0), 3)
    np.testing.assert_array_equal(NumpyDecoder(again).decode(codes), NumpyDecoder(model).decode(codes))
    assert again.hash == model.hash and again.topology_hash == model.topology_hash
    assert again.part_names == model.part_names
    assert [c.name for c in again.controls] == [c.name for c in model.controls]
    np.testing.assert_array_equal(again.controls[3].direction, model.controls[3].direction)
    np.testing.assert_array_equal(again.polygon_vertices, model.polygon_vertices)
    np.testing.assert_array_equal(again.uv, model.uv)
    assert read_header(path)["licence"] == "CC0-1.0"


def test_equal_models_give_equal_bytes(path, tmp_path):
    save_model(toy_model(), tmp_path / "again.lwae")
    assert path.read_bytes() == (tmp_path / "again.lwae").read_bytes()


def test_every_truncation_is_refused_with_a_sentence(path):
    content = path.read_bytes()
    for length in [0, 1, 100, len(content) // 2, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(LwaeError, match="toy.lwae"):
            load_model(path)


def test_flipped_bytes_never_raise_anything_else(path):
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_model(path)
        except LwaeError as error:
            assert str(error).endswith(".")
            refused += 1
    assert refused > 100


def test_a_pickle_is_never_opened(path, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code of the file ran",))

    rewrite(path, mean=np.array([Bomb()], dtype=object))
    with pytest.raises(LwaeError, match="not numbers"):
        load_model(path)
    (tmp_path / "raw.lwae").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(LwaeError, match="not a .lwae model"):
        load_model(tmp_path / "raw.lwae")


def test_a_newer_format_says_update(path):
    for version in (FORMAT_VERSION + 1, 10**4000):
        with_header(path, format_version=version)
        with pytest.raises(LwaeError, match="update") as error:
            load_model(path)
        assert len(str(error.value)) < 200


def test_other_files_are_not_models(path, tmp_path):
    with open(tmp_path / "other.lwae", "wb") as stream:
        np.savez(stream, vertices=np.zeros(3))
    with pytest.raises(LwaeError, match="not a .lwae model"):
        load_model(tmp_path / "other.lwae")
    with pytest.raises(LwaeError, match="no model file"):
        load_model(tmp_path / "missing.lwae")
    with_header(path, format="zip of cats")
    with pytest.raises(LwaeError, match="not a .lwae model"):
        load_model(path)


@pytest.mark.parametrize(
    "name, array",
    [
        ("mean", None),
        ("mean", np.full((266, 3), np.nan, np.float32)),
        ("mean", np.zeros((200, 3), np.float32)),
        ("weights", np.zeros((2, 266), np.float32)),
        ("polygon_vertices", np.full(1104, 266, np.int32)),
        ("polygon_sizes", np.full(288, 2, np.int32)),
        ("polygon_sizes", np.full(288, 4.5)),
        ("polygon_vertices", np.full(1104, 1 << 32, np.int64)),
        ("mean", np.array(3.0, np.float32)),
        ("weights", np.full((3, 266), 1.0, np.float32)),
        ("weights", np.stack([np.full(266, v, np.float32) for v in (-1, 1, 1)])),
        ("control_directions", np.zeros(3, np.float32)),
        ("prior/factors", np.zeros((5, 5), np.float32)),
        ("polygon_material", np.ones(288, np.uint8)),
        ("polygon_material", np.arange(288, dtype=np.uint8) % 3),
        ("prior/tau", np.array([-1.0])),
        ("prior/tau", np.array([0.0])),
        ("prior/tau", np.array([1.0, 1.0])),
        ("network/part0/basis", np.zeros((4, 1, 3), np.float16)),
        ("network/part1/vertices", None),
        ("network/part1/vertices", np.full(266, -1, np.int32)),
        ("network/residual0/bias1", np.array([np.inf, 0], np.float32)),
        ("network/residual1/weight0", np.zeros((5, 3), np.float32)),
        ("network/mass", np.zeros(3, np.float32)),
        ("network/mass", np.zeros(266, np.float32)),
        ("network/residual0/bias1", np.array([1e160, 0])),
        ("network/residual0/bias1", np.array([1e38, 0], np.float32)),
        ("mean", np.full((266, 3), 1e38, np.float32)),
        ("mean", np.full((266, 3), 1e300)),
        ("prior/mean", np.full(12, 1e38, np.float32)),
        ("prior/mean", np.full(12, 1e5, np.float32)),
        ("prior/factors", np.full((12, 1), 1e7, np.float32)),
        ("prior/tau", np.array([1e300])),
        ("prior/tau", np.array([1e11])),
        ("control_directions", np.full(24, 1e38, np.float32)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(path, name, array):
    rewrite(path, **{name: array})
    with pytest.raises(LwaeError, match="toy.lwae is not a usable model"):
        load_model(path)


@pytest.mark.parametrize(
    "network",
    [
        None,
        [],
        {},
        {"encoder_iterations": 10**9, "sigma_n": 0.1, "residuals": []},
        {"encoder_iterations": 2, "sigma_n": 0, "residuals": []},
        {"encoder_iterations": 2, "sigma_n": float("nan"), "residuals": []},
        {"encoder_iterations": 2, "sigma_n": 0.1, "residuals": [{"parts": [-1]}]},
        {"encoder_iterations": 2, "sigma_n": 0.1, "residuals": [{"parts": "nose"}]},
        {"encoder_iterations": 2, "sigma_n": 0.1, "residuals": [{"parts": [0]}, {"parts": [0, 0]}]},
        {"encoder_iterations": 2, "sigma_n": 0.1, "residuals": [{"parts": [0]}] * 5},
    ],
)
def test_a_strange_configuration_is_refused(path, network):
    with_header(path, network=network)
    with pytest.raises(LwaeError, match="not a usable model"):
        load_model(path)


CONTROLS = [{"name": name, "part": part, "description": ""} for part in range(3) for name in ("Width", "Shape 1")]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ["a", "list"]},
        {"parts": "top"},
        {"parts": ["top", "top", "bottom"]},
        {"parts": ["top", "", "bottom"]},
        {"parts": ["top", "a,b", "bottom"]},
        {"code_sizes": [4, 4, 4.9]},
        {"code_sizes": [4, 4, -4]},
        {"controls": CONTROLS[::-1]},
        {"controls": [CONTROLS[0], CONTROLS[0], *CONTROLS[2:]]},
        {"controls": [{"name": "Width"}]},
        {"name": "two\nlines"},
        {"name": "\x1b[31mred"},
        {"name": "\ud800"},
        {"licence": "a\0b"},
        {"licence": ["CC0"]},
        {"parts": ["top", "\ud800", "bottom"]},
        {"parts": ["top", "mid\x85dle", "bottom"]},
        {"controls": [{**CONTROLS[0], "name": "Wi\0dth"}, *CONTROLS[1:]]},
    ],
)
def test_strange_headers_are_refused(path, changes):
    with_header(path, **changes)
    with pytest.raises(LwaeError, match="not a usable model") as error:
        load_model(path)
    assert str(error.value).isprintable()


def test_the_sentence_never_advises_pickles(path):
    contents = members(path)
    contents["mean.npy"] = b"\x93NUMPY\x01\x00" + (60000).to_bytes(2, "little") + b" " * 60000
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(LwaeError, match="mean.npy is malformed") as error:
        load_model(path)
    assert "pickle" not in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_preset_says_update(path):
    with_header(path, preset="diffusion")
    with pytest.raises(LwaeError, match="update"):
        load_model(path)


def test_a_false_size_takes_no_memory(path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 3)})
    contents = members(path) | {"mean.npy": stream.getvalue()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(LwaeError, match="cut short"):
        load_model(path)


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_to_more_than_it_says_takes_no_memory(path, packing):
    contents, large, said = members(path), 300_000_000, 1_000_003
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        archive.writestr("network/bomb.npy", bytes(large), compress_type=packing)
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", large), struct.pack("<I", said)))
    tracemalloc.start()
    try:
        with pytest.raises(LwaeError):
            load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_arrays_in_columns_are_the_same_model(path):
    model = load_model(path)
    arrays = {name.removesuffix(".npy"): np.load(io.BytesIO(content)) for name, content in members(path).items()}
    rewrite(path, **{name: np.asfortranarray(array) for name, array in arrays.items() if array.ndim > 1})
    again = load_model(path)
    assert all(getattr(again, name).flags.c_contiguous for name in ("mean", "uv", "weights"))
    assert again.prior.factors.flags.c_contiguous and again.hash == model.hash
    codes = model.prior.sample(np.random.default_rng(0), 3)
    first, second = NumpyDecoder(model), NumpyDecoder(again)
    for code in (codes[0], codes[1], np.concatenate([codes[0, :4], codes[1, 4:]])):
        np.testing.assert_allclose(second.decode_one(code), first.decode_one(code), atol=1e-5)
    np.testing.assert_allclose(second.encode(first.decode(codes)), first.encode(first.decode(codes)), atol=1e-4)
    assert Lids(again).drape(again.mean) is again.mean


def test_arrays_of_the_other_byte_order_are_the_same_model(path):
    pytest.importorskip("torch")
    from backend.torch_decoder import TorchDecoder

    model = load_model(path)
    arrays = {name.removesuffix(".npy"): np.load(io.BytesIO(content)) for name, content in members(path).items()}
    rewrite(path, **{name: array.astype(array.dtype.newbyteorder(">")) for name, array in arrays.items()})
    again = load_model(path)
    assert again.hash == model.hash
    codes = model.prior.sample(np.random.default_rng(0), 2)
    faces = NumpyDecoder(model).decode(codes)
    np.testing.assert_array_equal(NumpyDecoder(again).decode(codes), faces)
    np.testing.assert_allclose(TorchDecoder(again).decode(codes), faces, atol=1e-4)


def test_bases_that_no_encoder_can_tell_apart_get_a_sentence(path):
    model = toy_model()
    for name in [name for name in model.network if name.endswith("basis")]:
        model.network[name] = np.full_like(model.network[name], 6e4)
        rewrite(path, **{f"network/{name}": model.network[name]})
    with pytest.raises(LwaeError, match="reach farther than 100 m"):
        load_model(path)
    model.header["network"]["sigma_n"] = 1e-6
    with pytest.raises(LwaeError, match="cannot be inverted"):
        NumpyDecoder(model).encode(model.mean[None])


def test_positions_that_no_encoder_can_take_get_a_sentence():
    model = toy_model()
    with pytest.raises(LwaeError, match="no finite code"):
        NumpyDecoder(model).encode(np.full_like(model.mean, 3e38)[None])


def test_a_name_that_is_too_long_is_a_sentence(tmp_path):
    for read in (load_model, read_header):
        with pytest.raises(LwaeError, match="^Cannot read .*: File name too long\\.$"):
            read(tmp_path / ("x" * 300))


def test_a_name_that_comes_twice_is_refused(path):
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("mean.npy", b"")
    with pytest.raises(LwaeError, match="not packed as"):
        load_model(path)


def test_a_wrong_offset_of_the_directory_is_told(path):
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x05\x06") + 17] ^= 0xFF
    path.write_bytes(content)
    for read in (load_model, read_header):
        with pytest.raises(LwaeError):
            read(path)


@pytest.mark.parametrize("parts, size", [(61, 1), (8, 1025)])
def test_models_that_would_take_hours_are_refused(path, parts, size):
    header = json.loads(np.load(io.BytesIO(members(path)["header.npy"])).tobytes())
    header |= {"parts": [f"part {k}" for k in range(parts)], "code_sizes": [size] * parts}
    rewrite(path, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
    with pytest.raises(LwaeError, match="more than 60 parts"):
        load_model(path)


def test_more_sliders_or_actions_than_a_tool_can_show_are_refused(path):
    many = [{"name": f"{number}", "part": 0, "description": ""} for number in range(100_000)]
    with_header(path, controls=many)
    with pytest.raises(LwaeError, match="more than 4,096 controls"):
        load_model(path)
    with_header(path, controls=many[:4096])
    rewrite(path, control_directions=np.zeros(4096 * 4, np.float32))
    assert len(load_model(path).controls) == 4096
    with_header(path, expressions=[entry["name"] for entry in many])
    with pytest.raises(LwaeError, match="more than 1,024 expressions"):
        load_model(path)


def test_a_vertex_named_twice_is_refused(path):
    vertices = np.load(io.BytesIO(members(path)["network/part0/vertices.npy"]))
    vertices[1] = vertices[0]
    rewrite(path, **{"network/part0/vertices": vertices})
    with pytest.raises(LwaeError, match="twice"):
        load_model(path)


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LwaeError, match="No space left"):
        save_model(toy_model(seed=1), path)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["toy.lwae"]
