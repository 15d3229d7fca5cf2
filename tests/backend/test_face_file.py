# SPDX-License-Identifier: GPL-3.0-or-later
import json

import numpy as np
import pytest

from backend.controls import split_code
from backend.errors import LwaeError
from backend.face_file import (
    MAX_BYTES,
    DonorRecord,
    FaceRecord,
    PartRecord,
    dump_face,
    fits,
    load_face,
    own_code,
    read_face,
    split_parts,
    write_face,
)
from tests.toy import toy_model


def record_of(model, code, name="Ada", donor=None):
    """A face of a model with settings of all kinds."""
    values, rest = split_code(model, code)
    parts = {}
    for k, part in enumerate(model.part_names):
        numbers = [index for index, control in enumerate(model.controls) if control.part == k]
        sliders = {model.controls[index].name: float(values[index]) for index in numbers}
        parts[part] = PartRecord(sliders, rest[model.part_slice(k)].tolist(), {"locked": k == 1, "seed": 7 + k})
    donors = []
    if donor is not None:
        amounts = dict.fromkeys(model.part_names, 0.25)
        donors.append(DonorRecord("Björn", split_parts(model, donor), amounts, {"pinned": True}))
    settings = {"seed": 2**31 - 1, "strength": 0.8, "tags": ["a", "b"]}
    arrays = {"neck_edge": [0.5, -1.25]}
    return FaceRecord(name, model.name, model.hash, model.topology_hash, parts, {}, donors, settings, {}, arrays)


@pytest.fixture(scope="module")
def model():
    return toy_model()


@pytest.fixture
def record(model):
    codes = model.prior.sample(np.random.default_rng(0), 2)
    return record_of(model, codes[0], donor=codes[1])


def test_everything_comes_back_to_the_last_bit(model, record, tmp_path):
    write_face(record, tmp_path / "ada.json")
    back = read_face(tmp_path / "ada.json")
    assert fits(record, model) and fits(back, model)
    assert np.array_equal(own_code(back, model), own_code(record, model))
    assert np.allclose(own_code(back, model), model.prior.sample(np.random.default_rng(0), 2)[0], atol=1e-6)
    for name, numbers in record.donors[0].code.items():
        assert np.array_equal(np.float32(back.donors[0].code[name]), np.float32(numbers))
    assert dump_face(back) == dump_face(record) and "sliders" not in json.loads(dump_face(back))["model"]
    assert (back.name, back.donors[0].name, back.donors[0].amounts) == ("Ada", "Björn", record.donors[0].amounts)
    assert back.parts["middle"].settings == {"locked": True, "seed": 8}
    assert back.settings["seed"] == 2**31 - 1 and back.settings["tags"] == ["a", "b"]
    assert np.float32(back.settings["strength"]) == np.float32(0.8)
    assert back.arrays == {"neck_edge": [0.5, -1.25]}
    assert dump_face(back) == dump_face(record)
    assert [path.name for path in tmp_path.iterdir()] == ["ada.json"]


def test_the_text_is_small_and_readable(record):
    record.parts["top"].sliders["Width"] = float(np.float32(0.1))
    text = dump_face(record)
    assert '"Width": 0.1,' in text or '"Width": 0.1\n' in text
    assert "Björn" in text
    assert len(text) < 2500 and max(len(line) for line in text.splitlines()) < 200


def test_every_float32_comes_back(record):
    numbers = np.random.default_rng(1).standard_normal(4000).astype(np.float32) ** 3
    record.parts["top"].rest = numbers.tolist()
    back = load_face(dump_face(record))
    assert np.array_equal(np.float32(back.parts["top"].rest), numbers)


def test_a_record_of_another_model_or_of_other_sliders_does_not_fit(model, record):
    assert not fits(record, toy_model(seed=1))
    record.parts["top"].rest = [1.0]
    assert not fits(record, model)
    record.parts["top"].rest = []
    assert fits(record, model)
    record.parts["top"].sliders["Height"] = 1.0
    assert not fits(record, model)


def changed(record, path, value):
    content = json.loads(dump_face(record))
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (["format"], "gltf", "is no face file"),
        (["version"], 99, "update the add-on"),
        (["version"], "1", "version"),
        (["version"], True, "version"),
        (["model"], [], "'model'"),
        (["model", "hash"], 7, "'hash'"),
        (["name"], "a\0b", "'name'"),
        (["settings", "note"], "\ud800", "'note'"),
        (["name"], "x" * 2000, "'name'"),
        (["parts"], [], "'parts'"),
        (["parts", "top"], 3, "'top'"),
        (["parts", "top", "sliders", "Width"], "wide", "'Width'"),
        (["parts", "top", "sliders", "Width"], True, "'Width'"),
        (["parts", "top", "sliders", "Width"], float("nan"), "'Width'"),
        (["parts", "top", "sliders", "Width"], 10**400, "'Width'"),
        (["parts", "top", "rest"], [1, "2"], "'top'"),
        (["parts", "top", "rest"], [float("inf")], "'top'"),
        (["parts", "top", "settings"], {"locked": {"a": 1}}, "'locked'"),
        (["settings"], {"seed": float("nan")}, "'seed'"),
        (["settings"], {"seed": [0] * 1000}, "'seed'"),
        (["whole"], {"Age": None}, "'Age'"),
        (["whole_settings"], {"Age": 3}, "'settings'"),
        (["arrays"], {"neck_edge": "AAAA"}, "'neck_edge'"),
        (["donors"], {}, "'donors'"),
        (["donors", 0], "Björn", "donor"),
        (["donors", 0, "code", "top"], None, "'top'"),
        (["donors", 0, "amounts", "top"], [], "'top'"),
    ],
)
def test_damaged_files_get_a_sentence(record, tmp_path, path, value, sentence):
    file = tmp_path / "face.json"
    file.write_text(changed(record, path, value))
    with pytest.raises(LwaeError, match=sentence) as error:
        read_face(file)
    assert str(error.value).startswith("face.json ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"7", b"null", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"format": "lwae-face"}', b"1" * 6000],
)
def test_what_is_no_face_gets_a_sentence(tmp_path, content):
    (tmp_path / "face.json").write_bytes(content)
    with pytest.raises(LwaeError, match="face.json "):
        read_face(tmp_path / "face.json")


def test_missing_folders_and_huge_files_get_a_sentence(record, tmp_path):
    with pytest.raises(LwaeError, match="Cannot read"):
        read_face(tmp_path / "no.json")
    with pytest.raises(LwaeError, match="Cannot read"):
        read_face(tmp_path)
    with open(tmp_path / "huge.json", "wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(LwaeError, match="MB"):
        read_face(tmp_path / "huge.json")
    with pytest.raises(LwaeError, match="Cannot write"):
        write_face(record, tmp_path / "no" / "face.json")


def test_a_failed_write_leaves_the_old_file(record, tmp_path, monkeypatch):
    file = tmp_path / "face.json"
    write_face(record, file)
    before = file.read_bytes()
    record.settings["odd"] = object()
    with pytest.raises(TypeError):
        write_face(record, file)
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_truncated_at_any_place_it_is_an_error_not_another_face(record, tmp_path):
    text = dump_face(record).rstrip()
    file = tmp_path / "face.json"
    for length in range(0, len(text), 97):
        file.write_text(text[:length])
        with pytest.raises(LwaeError, match="face.json"):
            read_face(file)


def test_a_byte_order_mark_is_no_harm(record, tmp_path):
    (tmp_path / "face.json").write_text(dump_face(record), encoding="utf-8-sig")
    assert read_face(tmp_path / "face.json").name == "Ada"
