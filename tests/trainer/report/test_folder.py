# SPDX-License-Identifier: GPL-3.0-or-later
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.errors import LwaeError
from trainer.report.folder import GENERATOR, PAGE, report_folder


def write(path, text="first"):
    with report_folder(path) as folder:
        (folder / PAGE).write_text(f'{GENERATOR}<p>{text}</p><img src="{text}.png">')
        (folder / f"{text}.png").write_bytes(b"png")


def state(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_an_old_report_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "new" / "report"
    write(path, "first")
    assert set(state(path)) == {PAGE, "first.png"}
    write(path, "second")
    assert set(state(path)) == {PAGE, "second.png"} and b"second" in state(path)[PAGE]
    assert [entry.name for entry in path.parent.iterdir()] == ["report"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_old_one_stays_until_the_new_one_is_complete(error, tmp_path):
    path = tmp_path / "report"
    write(path)
    before = state(path)
    with pytest.raises(error), report_folder(path) as folder:
        (folder / PAGE).write_text("half")
        assert state(path) == before
        raise error
    assert state(path) == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="nobody knows which processes run")
def test_what_killed_reports_left_goes_and_what_others_write_stays(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone, stays = ended.pid, os.getppid()
    leftovers = [f".report.{gone}.new", f".report.{gone}.old", f"..report.{gone}.new.{gone}.part"]
    others = [f".report.{stays}.new", f"..report.{stays}.new.{stays}.part", f".reports.{gone}.new", ".report.old"]
    for name in leftovers + others:
        (tmp_path / name).mkdir()
        (tmp_path / name / PAGE).write_text("half")
    write(tmp_path / "report")
    assert {entry.name for entry in tmp_path.iterdir()} == {"report", *others}


def test_the_old_one_comes_back_when_the_exchange_fails(tmp_path, monkeypatch):
    path = tmp_path / "report"
    write(path)
    before, rename = state(path), Path.rename

    def failing(self, target):
        if self.name.endswith(".new"):
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(LwaeError, match="Permission denied"):
        write(path, "second")
    assert state(path) == before and len(list(tmp_path.iterdir())) == 1


def test_what_is_no_report_is_left_alone(tmp_path):
    notes, file, page = tmp_path / "notes", tmp_path / "file", tmp_path / "page"
    for folder in (notes, page):
        folder.mkdir()
    (notes / "thesis.txt").write_text("years of work")
    (page / PAGE).write_text("<p>my homepage</p>")
    file.write_text("text")
    for path, words in ((notes, "thesis.txt"), (page, PAGE), (file, "is a file")):
        with pytest.raises(LwaeError, match=words):
            write(path)
    assert (notes / "thesis.txt").exists() and "homepage" in (page / PAGE).read_text() and file.exists()
    report = tmp_path / "report"
    write(report)
    (report / "my notes.txt").write_text("look at the ears")
    with pytest.raises(LwaeError, match="my notes.txt"):
        write(report, "second")
    assert b"first" in state(report)[PAGE] and (report / "my notes.txt").exists()


def test_a_file_that_comes_meanwhile_is_not_lost(tmp_path):
    path = tmp_path / "report"
    write(path)
    with pytest.raises(LwaeError, match="late.txt"), report_folder(path) as folder:
        (folder / PAGE).write_text("new")
        (path / "late.txt").write_text("just now")
    assert set(state(path)) == {PAGE, "first.png", "late.txt"} and len(list(tmp_path.iterdir())) == 1


def test_empty_folders_and_links(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_bytes(b"left by a file manager")
    write(tmp_path / "empty")
    os.symlink(tmp_path / "empty", tmp_path / "link")
    write(tmp_path / "link", "second")
    assert (tmp_path / "link").is_symlink() and b"second" in state(tmp_path / "empty")[PAGE]
