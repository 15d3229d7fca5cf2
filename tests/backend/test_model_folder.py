# SPDX-License-Identifier: GPL-3.0-or-later
import io
import json
import os
import zipfile

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.lwae_file import MAX_HEADER_BYTES, load_model, read_header, save_model
from backend.model_folder import install_model, model_files, read_facts
from tests.toy import toy_model


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "toy.lwae"
    save_model(toy_model(), path)
    return path


def array_bytes(array) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    return stream.getvalue()


def with_header(path, **changes):
    """The same file with another header, written as a stranger would."""
    header = {**read_header(path), **changes}
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["header.npy"] = array_bytes(np.frombuffer(json.dumps(header).encode(), np.uint8))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_facts_are_those_of_the_model(path):
    model, facts = toy_model(), read_facts(path)
    assert (facts.name, facts.preset, facts.licence) == ("toy", "local", "CC0-1.0")
    assert facts.parts == tuple(model.part_names)
    assert (facts.vertex_count, facts.code_size) == (model.vertex_count, model.code_size)
    assert facts.control_count == len(model.controls)
    assert facts.hash == model.hash == load_model(path).hash


def test_a_changed_network_has_another_hash_in_its_header(path, tmp_path):
    save_model(toy_model(seed=1), tmp_path / "other.lwae")
    assert read_facts(tmp_path / "other.lwae").hash != read_facts(path).hash


def test_a_strangers_header_is_shown_tame(path):
    with_header(
        path,
        name="Evil\n\x1b[31m" + "x" * 100000,
        licence=["no", "text"],
        metrics={"reconstruction": "high", "leak": float("nan"), "seam_max": 1.5, "flag": True},
        hash={"a": 1},
    )
    facts = read_facts(path)
    assert len(facts.name) <= 200 and facts.name.isprintable() and facts.name.startswith("Evil [31mxxx")
    assert facts.metrics == {"seam_max": 1.5}
    assert isinstance(facts.licence, str) and isinstance(facts.hash, str)


@pytest.mark.parametrize(
    "changes", [{"parts": 3}, {"parts": []}, {"code_sizes": ["a"]}, {"controls": None}, {"format_version": 99}]
)
def test_unusable_headers_are_one_sentence(path, changes):
    with_header(path, **changes)
    with pytest.raises(LwaeError, match="toy.lwae"):
        read_facts(path)


def test_a_header_that_would_fill_the_memory_is_not_read(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", array_bytes(np.zeros(MAX_HEADER_BYTES + 1, np.uint8)))
    assert path.stat().st_size < 100_000
    with pytest.raises(LwaeError, match="too long"):
        read_facts(path)


def test_a_folder_lists_model_files_only(tmp_path, path):
    for name in ("B.LWAE", "a.lwae"):
        (tmp_path / name).write_bytes(path.read_bytes())
    (tmp_path / ".hidden.lwae.1.part").write_bytes(b"x")
    (tmp_path / ".hidden.lwae").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.lwae").mkdir()
    (tmp_path / "gone.lwae").symlink_to(tmp_path / "nowhere")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.lwae")  # Opening one would wait for ever.
    assert [found.name for found in model_files(tmp_path)] == ["a.lwae", "B.LWAE", "toy.lwae"]
    assert model_files(tmp_path / "missing") == [] and model_files(path) == []


def test_install_checks_and_copies(tmp_path, path):
    folder = tmp_path / "deep" / "models"
    target = install_model(path, folder)
    assert target == folder / "toy.lwae" and target.read_bytes() == path.read_bytes()
    assert install_model(path, folder) == install_model(target, folder) == target
    assert [file.name for file in folder.iterdir()] == ["toy.lwae"]


def test_install_replaces_only_when_told(tmp_path, path):
    folder = tmp_path / "models"
    install_model(path, folder)
    before = (folder / "toy.lwae").read_bytes()
    save_model(toy_model(seed=1), path)
    with pytest.raises(LwaeError, match="Another model is installed as toy.lwae"):
        install_model(path, folder)
    assert (folder / "toy.lwae").read_bytes() == before
    install_model(path, folder, overwrite=True)
    assert (folder / "toy.lwae").read_bytes() == path.read_bytes() != before


def test_install_refuses_what_is_damaged_inside(tmp_path, path):
    """Its header reads well; only its arrays are broken."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    read_facts(path)
    with pytest.raises(LwaeError, match="toy.lwae"):
        install_model(path, tmp_path / "models")
    assert not list((tmp_path / "models").glob("*"))
    (tmp_path / "file").write_text("no folder")
    save_model(toy_model(), path)
    for folder in ("file", "x" * 300):
        with pytest.raises(LwaeError, match="Cannot copy"):
            install_model(path, tmp_path / folder)
