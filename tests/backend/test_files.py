# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import os

import pytest

from backend.errors import LwaeError
from backend.files import atomic_folder, atomic_write, file_stem, made_folder


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "folder"
    with atomic_folder(path) as folder:
        (folder / "file").write_text("x")
        assert not path.exists()
    assert [file.name for file in path.parent.iterdir()] == ["folder"] and (path / "file").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(tmp_path, error):
    with pytest.raises(error), atomic_folder(tmp_path / "folder") as folder:
        (folder / "file").write_text("x")
        raise error
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_write_into_one_folder(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    with pytest.raises(LwaeError, match="Cannot write"), atomic_folder(path) as first:
        (first / "file").write_text("first")
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 0)
            with atomic_folder(path) as second:
                (second / "file").write_text("second")
    assert (path / "file").read_text() == "second" and [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_a_refusal_says_what_to_do(tmp_path, monkeypatch):
    def write(name):
        with atomic_write(tmp_path / name, "w") as stream:
            stream.write("x")

    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, remedy in {
        "none/a": "make that folder or choose another one",
        "file/a": "choose another folder",
        "folder": "choose another name",
        "x" * 300: "choose another name",
    }.items():
        with pytest.raises(LwaeError, match=f"Cannot write .*; {remedy}\\.$"):
            write(name)

    def full(_file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LwaeError, match="No space left on device; free some space"):
        write("a")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


def test_a_place_without_a_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (".", "/", ""):
        for kind in (atomic_write, atomic_folder):
            with pytest.raises(LwaeError, match="ends without a name; add one"), kind(path):
                pass
    assert not list(tmp_path.iterdir())


def test_links_stay_links_and_pipes_stay_pipes(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "file")
    with atomic_write(tmp_path / "link", "w") as stream:
        stream.write("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "deep" / "file").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LwaeError, match="is a device or a pipe; name a file"), atomic_write(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_a_made_folder_goes_again_when_it_stays_empty(tmp_path):
    deep = tmp_path / "a" / "b"
    for name in ("", "kept"):
        with pytest.raises(ValueError, match="failed"), made_folder(deep):
            if name:
                (tmp_path / "a" / name).write_text("x")
            raise ValueError("failed")
        assert [path.name for path in tmp_path.rglob("*")] == (["a", "kept"] if name else [])
    with made_folder(deep):
        pass
    assert deep.is_dir()
    with pytest.raises(LwaeError, match="Cannot write"), made_folder(tmp_path / "a" / "kept" / "c"):
        pass


def test_file_stems_keep_what_file_systems_take():
    assert file_stem("Björn Ågren 2") == "Björn Ågren 2"
    assert file_stem(' a/b\\c:d*"e". ') == "a_b_c_d__e_"
    assert file_stem("con") == "con_" and file_stem("Conrad") == "Conrad" and file_stem("a.con") == "a.con"
    # Windows looks at what comes before the first dot, and takes small digits for others.
    assert [file_stem(name) for name in ("AUX.face", "nul.tar.gz", "com¹", "Lpt9 .x", "com", "com12")] == [
        *("AUX_.face", "nul_.tar.gz", "com¹_", "Lpt9_ .x", "com", "com12"),
    ]
    assert file_stem(" . ") == "" and len(file_stem("x" * 300)) == 100
    assert file_stem("x" * 99 + " y") == "x" * 99
    assert file_stem("顔" * 100) == "顔" * 33, "file systems count bytes"
