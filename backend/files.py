# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing files and folders so that a full disk or a killed process never leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import LwaeError


def file_stem(name: str) -> str:
    """A file name without suffix that all operating systems take, as like a name as possible; may be empty.

    Letters of all scripts stay. Windows' device names, which end at the first dot there, get an underscore.
    """
    stem = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name).strip(" .")
    # File systems count bytes; a cut may leave half a letter, or end at a space.
    stem = stem.encode(errors="ignore")[:100].decode(errors="ignore").rstrip(" .")
    return re.sub(r"(?i)^(con|prn|aux|nul|(?:com|lpt)[\d¹²³])(?= *\.|$)", r"\1_", stem)


REMEDIES = {
    "make that folder or choose another one": (errno.ENOENT,),
    "choose a folder that you may write to": (errno.EACCES, errno.EPERM, errno.EROFS),
    "choose another name": (errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR),
    "choose another folder": (errno.ENOTDIR,),
}


def _beside(path: Path) -> Path:
    """Where what will be at `path` is made."""
    if not path.name:
        raise LwaeError(f"Cannot write {path}: it ends without a name; add one.")
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _refusal(path: Path, error: OSError) -> LwaeError:
    """What the operating system says, and what to do."""
    remedies = [text for text, numbers in REMEDIES.items() if error.errno in numbers]
    remedy = remedies[0] if remedies else "free some space or choose another folder"
    reason = error.strerror or str(error).strip().removeprefix("Error: ")  # The latter as Blender says it.
    return LwaeError(f"Cannot write {path}: {reason}; {remedy}.")


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """What the system refuses in this block, told as a sentence about `path`."""
    try:
        yield
    except OSError as error:
        raise _refusal(path, error) from error


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """For what writes a file by its name: yields a name beside `path`, which is renamed over it at the end.

    When anything fails, `path` is as it was and the file beside it is gone.

    Raises:
        LwaeError: when `path` has no name or is a device or a pipe, or the system refuses (no space, no permission, no
            such folder).
    """
    path = Path(path)
    # By `os.path`, which asks without raising.
    if os.path.islink(path):
        path = Path(os.path.realpath(path))  # What a link points to is replaced, not the link.
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise LwaeError(f"Cannot write {path}: it is a device or a pipe; name a file.")
    beside = _beside(path)
    try:
        with refusals(path):
            yield beside
            os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):  # Gone already, or never there: what is wrong has been said.
            beside.unlink()


@contextlib.contextmanager
def atomic_write(
    path: str | os.PathLike, mode: str = "wb", durable: bool = True, **open_options
) -> Iterator[IO]:
    """Open a file that appears at `path` only once it is complete and, if `durable`, on disk; see `atomic_path`."""
    with atomic_path(path) as beside, open(beside, mode, **open_options) as stream:
        yield stream
        if durable:
            stream.flush()
            os.fsync(stream.fileno())


@contextlib.contextmanager
def made_folder(path: str | os.PathLike) -> Iterator[None]:
    """Make a folder and those above it; the ones that were not there go again when the block fails and they are empty.

    Raises:
        LwaeError: when the system refuses.
    """
    path, missing = Path(path), []
    try:
        with refusals(path):
            missing = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # Not empty.
            for folder in missing:
                folder.rmdir()
        raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Make a folder that appears at `path` only once all its files are written.

    Yields a folder beside `path`, of this process alone: renamed at the end, removed when anything fails.

    Raises:
        LwaeError: when `path` has no name, the operating system refuses, or somebody else has made `path` meanwhile.
    """
    path = Path(path)
    beside = _beside(path)
    try:
        shutil.rmtree(beside, ignore_errors=True)
        with refusals(path):
            beside.mkdir(parents=True)
            yield beside
            beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def runs(process: str) -> bool:
    """Whether a process other than this one has that number on this machine; on Windows nobody knows."""
    if os.name != "posix" or not process.isdecimal() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # Somebody else's.
    return True
