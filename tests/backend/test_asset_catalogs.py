# SPDX-License-Identifier: GPL-3.0-or-later
import uuid

import pytest

from backend.asset_catalogs import FILE_NAME, clean_path, ensure_catalog
from backend.errors import LwaeError

OTHERS = (
    "# Mine\r\nVERSION 1\n\n11111111-2222-3333-4444-555555555555:Props/Chairs:Chairs\n"
    "not a line that anybody knows\nAAAAAAAA-2222-3333-4444-555555555555:Old Faces:Old"
)


def test_a_new_library_gets_a_file_as_blender_writes_it(tmp_path):
    identifier = ensure_catalog(tmp_path, "Faces")
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert "VERSION 1" in lines and lines[-1] == f"{identifier}:Faces:Faces"
    assert str(uuid.UUID(identifier)) == identifier
    assert ensure_catalog(tmp_path, " Faces/ ") == identifier
    assert (tmp_path / FILE_NAME).read_text().splitlines() == lines


def test_what_others_have_there_stays_byte_for_byte(tmp_path):
    file = tmp_path / FILE_NAME
    file.write_bytes(OTHERS.encode())
    identifier = ensure_catalog(tmp_path, "People/Faces")
    assert file.read_bytes() == f"{OTHERS}\n{identifier}:People/Faces:People-Faces\n".encode()


def test_a_catalogue_that_is_there_is_used(tmp_path):
    (tmp_path / FILE_NAME).write_text(OTHERS)
    assert ensure_catalog(tmp_path, "Props/Chairs") == "11111111-2222-3333-4444-555555555555"
    assert ensure_catalog(tmp_path, "Old Faces") == "aaaaaaaa-2222-3333-4444-555555555555"
    assert (tmp_path / FILE_NAME).read_text().count("\n") == OTHERS.replace("\r\n", "\n").count("\n")


def test_a_renamed_catalogue_keeps_its_number_and_a_new_one_gets_its_own(tmp_path):
    first = ensure_catalog(tmp_path, "Faces")
    file = tmp_path / FILE_NAME
    file.write_text(file.read_text().replace(f"{first}:Faces:Faces", f"{first}:Heads:Heads"))
    second = ensure_catalog(tmp_path, "Faces")
    assert second != first and ensure_catalog(tmp_path, "Heads") == first
    assert ensure_catalog(tmp_path, "Faces") == second


def test_the_same_path_has_the_same_number_everywhere(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    assert ensure_catalog(tmp_path / "a", "Faces") == ensure_catalog(tmp_path / "b", "Faces")


def test_paths_are_cleaned(tmp_path):
    assert clean_path(" /A: b//c\\d/ ") == "A- b/c-d"
    assert ensure_catalog(tmp_path, " / ") == "" and not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("content", [b"VERSION 2\n", b"hello\n", b"\xff\xfe\x00\x01"])
def test_a_file_that_is_not_understood_is_left_alone(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(LwaeError, match=FILE_NAME):
        ensure_catalog(tmp_path, "Faces")
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_an_empty_file_becomes_a_whole_one(tmp_path):
    (tmp_path / FILE_NAME).write_text("\n")
    identifier = ensure_catalog(tmp_path, "Faces")
    assert ensure_catalog(tmp_path, "Faces") == identifier


def test_a_missing_folder_gets_a_sentence(tmp_path):
    with pytest.raises(LwaeError, match="Cannot write"):
        ensure_catalog(tmp_path / "gone", "Faces")
