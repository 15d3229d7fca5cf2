# SPDX-License-Identifier: GPL-3.0-or-later
"""The output folder of a synth run: what it was made with, which of its files are ours, what a killed run left."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..backend.errors import LwaeError
from ..backend.files import atomic_write, runs
from ..backend.synthesis import BLOCK

RUN_FILE = "run.json"
TEMPLATE_FILE = "template.npz"
THUMBNAILS = "thumbnails"
SCRATCH = ".unfinished-"  # with the share and the process behind it
ABANDONED = 3600  # Seconds after which an unfinished file is nobody's any more.
OURS = re.compile(
    r"(faces?_\d{6,}\.(ply|obj|mtl|stl|glb|npz|png)|faces(\.\d+-of-\d+)?\.csv"
    r"|contact_sheet(\.\d+-of-\d+)?\.png|template\.npz|run\.json)"
)


def prepare(out: Path, record: dict, overwrite: bool) -> None:
    """Make the folder, or check that it was made with the same arguments, and write run.json.

    Args:
        record: what run.json shall say; everything under "arguments" and "model" must agree with what is there, and
            "shares" adds up.
        overwrite: start afresh; removes the files of the run that run.json describes, and nothing else.

    Raises:
        LwaeError: when the folder holds another run, foreign files with our names, or cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        named = [path for path in out.iterdir() if OURS.fullmatch(path.name)]
        pictures = [path for path in (out / THUMBNAILS).glob("*") if OURS.fullmatch(path.name)]
        old = _read_record(out)  # After looking: another shard's run.json comes before its other files.
        if named and old is None:
            raise LwaeError(
                f"{out} has {min(named).name} but no {RUN_FILE}, so it may be somebody else's; use another folder."
            )
        if pictures and "size" in record["arguments"] and not (old and "size" in old["arguments"]):
            raise LwaeError(
                f"{out / THUMBNAILS} has {min(pictures).name}, but {RUN_FILE} knows of no portraits; move that folder "
                "or use another one."
            )
        if old and overwrite:
            _remove_run(out, named, old["arguments"])
            old = None
    except OSError as error:
        raise LwaeError(f"Cannot use the folder {out}: {error.strerror or error}.") from error
    for group in ("model", "arguments") if old else ():
        for key in old[group].keys() & record[group].keys():
            if old[group][key] != record[group][key]:
                other = "another model: " if group == "model" else ""
                raise LwaeError(
                    f"{out} was made with {other}{key} = {_shown(old[group][key])}, not {_shown(record[group][key])}; "
                    "use the same arguments to continue it, another folder, or start afresh (--overwrite)."
                )
    if old:
        shares = sorted({*old["shares"], *record["shares"]})
        record = record | {"arguments": old["arguments"] | record["arguments"], "shares": shares}
    with atomic_write(out / RUN_FILE, "w", encoding="utf-8", newline="\n") as stream:
        json.dump(record, stream, indent=2, ensure_ascii=False)
        stream.write("\n")


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[None]:
    """Room for what other programs may leave unfinished; gone at the end."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(out: Path, owns: Callable[[str], bool]) -> None:
    """Remove unfinished files and folders that killed runs left (see atomic_write), never one that is being written.

    Those of `owns` go at once unless their process runs; others, such as another shard's, when they are old.
    """
    for path in (*out.glob(".*.part"), *out.glob(f"{SCRATCH}*")):
        is_scratch = path.name.startswith(SCRATCH) and path.is_dir()
        name, _, process = (path.name if is_scratch else path.name[1:].removesuffix(".part")).rpartition(".")
        # Several shards clean one folder at once; Windows refuses to remove what is open.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            old = time.time() - path.stat().st_mtime > ABANDONED
            if is_scratch and (old or owns(name)) and not runs(process):
                shutil.rmtree(path, ignore_errors=True)
            elif OURS.fullmatch(name) and (old or owns(name) and not runs(process)):
                path.unlink()


def read_run(out: Path) -> tuple[dict, dict, list[str]] | None:
    """The model of the run in a folder, what it was asked for, and which shares ("2/3") were begun, as run.json says.

    None where there is no run.

    Raises:
        LwaeError: when run.json is not a record of a run, or cannot be read.
    """
    try:
        record = _read_record(out)
    except OSError as error:
        raise LwaeError(f"Cannot read {out / RUN_FILE}: {error.strerror or error}.") from error
    return record and (record["model"], record["arguments"], record["shares"])


def only_share(out: Path, shares: list[str]) -> tuple[int, int]:
    """The share i of n that alone was begun in a folder, from 1; (1, 1) where all or several were.

    Args:
        shares: as `read_run` gives.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", shares[0]) if len(shares) == 1 else None
    number, total = (int(found[1]), int(found[2])) if found else (1, 1)
    # Shares that begin at the same moment may overwrite each other's note.
    faces = (re.fullmatch(r"faces?_(\d+)\.\w+", path.name) for path in out.iterdir())
    if not 1 <= number <= total or any(face and int(face[1]) // BLOCK % total != number - 1 for face in faces):
        return 1, 1
    return number, total


def _read_record(out: Path) -> dict | None:
    path = out / RUN_FILE
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        arguments = dict(record["arguments"])
        return {
            "model": dict(record["model"]),
            "arguments": arguments | {"count": int(arguments["count"]), "format": str(arguments["format"])},
            "shares": [str(share) for share in record.get("shares", [])],
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise LwaeError(f"{path} is not a record of a synth run; use another folder.") from error


def _remove_run(out: Path, named: list[Path], arguments: dict) -> None:
    """Remove what a run with these arguments writes, run.json last: until then the rest can be told."""
    face, count, kind = re.compile(r"faces?_(\d+)\.(\w+)"), arguments["count"], arguments["format"]

    def made(path: Path, *suffixes: str) -> bool:
        found = face.fullmatch(path.name)
        return bool(found) and int(found[1]) < count and found[2] in suffixes

    foreign = [path for path in named if face.fullmatch(path.name) and not made(path, kind, "mtl" * (kind == "obj"))]
    if foreign:
        raise LwaeError(f"{min(foreign)} is not of the run that {RUN_FILE} describes; move it or use another folder.")
    pictures = out / THUMBNAILS
    for path in list(pictures.iterdir()) if "size" in arguments and pictures.is_dir() else ():
        if made(path, "png"):
            path.unlink()
    for path in sorted(named, key=lambda path: path.name == RUN_FILE):
        path.unlink()


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
