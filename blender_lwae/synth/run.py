# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the faces of a plan, block by block: meshes, one table, thumbnails; continues what a run before began."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ..backend.ahead import MOST_THREADS, map_ahead, usable_cores
from ..backend.decoder import Decoder
from ..backend.files import atomic_write
from ..backend.synthesis import BLOCK, Plan, Table, block_ranges, decode_block, share_size, single_threaded_blas
from .folder import SCRATCH, TEMPLATE_FILE, THUMBNAILS, remove_leftovers, scratch_folder
from .writers import FaceFiles, make_writer, write_template

SHEET_FACES = 60


@dataclass(frozen=True)
class Job:
    """What to make and where.

    Attributes:
        shard: which of `shards` shares of the blocks, from 0.
        thumbnail_size: pixels; 0 renders nothing.
        worker: makes faces only; table and contact sheet are its parent's.
    """

    plan: Plan
    out: Path
    format: str
    unit: str = "m"
    shard: int = 0
    shards: int = 1
    thumbnail_size: int = 0
    worker: bool = False

    @property
    def blocks(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of each, one at a time: there may be millions."""
        return block_ranges(self.plan.count, self.shard, self.shards)

    @property
    def block_count(self) -> int:
        return share_size(self.plan.count, self.shard, self.shards)[0]

    @property
    def face_count(self) -> int:
        return share_size(self.plan.count, self.shard, self.shards)[1]

    @property
    def scratch(self) -> Path:
        """Where Blender's own exporters and renders put what is not finished."""
        return self.out / f"{SCRATCH}{self.shard + 1}-of-{self.shards}.{os.getpid()}"

    def path(self, stem: str, suffix: str) -> Path:
        """faces.csv, or faces.2-of-4.csv where several machines fill one folder."""
        return self.out / (
            f"{stem}{suffix}" if self.shards == 1 else f"{stem}.{self.shard + 1}-of-{self.shards}{suffix}"
        )

    def owns(self, name: str) -> bool:
        """Whether this shard, and no other, writes the file or folder `name`."""
        scratch = re.fullmatch(rf"{re.escape(SCRATCH)}(\d+)-of-(\d+)", name)
        if scratch:  # With --jobs its processes have shares of this share.
            number, total = int(scratch[1]) - 1, int(scratch[2])
            return number % self.shards == self.shard and total % self.shards == 0
        face = re.match(r"faces?_(\d+)\.", name)
        if face:
            return int(face[1]) // BLOCK % self.shards == self.shard
        return name in (self.path("faces", ".csv").name, self.path("contact_sheet", ".png").name)


@dataclass(frozen=True)
class Block:
    """What is to make of one block of faces.

    Attributes:
        start: number of its first face.
        codes: float32 [n, D].
        meshes, pictures: numbers of the faces whose files are missing.
    """

    start: int
    codes: np.ndarray
    meshes: list[int]
    pictures: list[int]


def run(job: Job, decoder: Decoder, advance: Callable[..., None], check_stop: Callable[[], None]) -> None:
    """Make every face of the job that is not there yet, then the table and the contact sheet.

    Args:
        advance: told after each step how many faces were `made` and how many were `kept` from an earlier run.
        check_stop: called between files; raises to stop the run, which can be continued later.

    Raises:
        LwaeError: when a file cannot be written.
    """
    model = job.plan.model
    writer = make_writer(job.format, model, job.out, job.unit, job.scratch)
    thumbnails = _thumbnails(job) if job.thumbnail_size else None
    table = Table(job.plan)
    if not job.worker:
        remove_leftovers(job.out, job.owns)
    with single_threaded_blas(), scratch_folder(job.scratch), _table_stream(job) as stream:
        if not job.worker:
            # By way of our own folder: every shard writes this file.
            write_template(job.scratch / TEMPLATE_FILE, model, job.unit)
            os.replace(job.scratch / TEMPLATE_FILE, job.out / TEMPLATE_FILE)
        stream.write(table.header())

        def begin() -> Iterator[Block]:
            for start, stop in job.blocks:
                codes = job.plan.codes(start, stop)
                stream.write(table.rows(start, codes, writer.names(start, stop)))
                meshes = writer.missing(start, stop)
                pictures = thumbnails.missing(start, stop) if thumbnails else []
                to_make = len(set(meshes) | set(pictures))
                advance(kept=stop - start - to_make)
                check_stop()
                if to_make:
                    yield Block(start, codes, meshes, pictures)

        # A worker shares the processors with others.
        threads = 0 if job.worker else min(usable_cores(), MOST_THREADS)
        for block, vertices in map_ahead(lambda block: decode_block(decoder, block.codes), begin(), threads):
            labels = {"codes": block.codes, "values": table.values(block.codes)}
            for faces in writer.write(block.meshes, block.start, vertices, labels) if block.meshes else ():
                advance(made=len(set(faces).difference(block.pictures)))
                check_stop()
            for faces in thumbnails.write(block.pictures, block.start, vertices, labels) if block.pictures else ():
                advance(made=len(faces))
                check_stop()
    if thumbnails and not job.worker:
        _contact_sheet(job, thumbnails)


def _table_stream(job: Job) -> contextlib.AbstractContextManager[TextIO]:
    """The table appears when all its faces are there: a folder with a table is complete."""
    if job.worker:
        return open(os.devnull, "w", encoding="utf-8")
    return atomic_write(job.path("faces", ".csv"), "w", encoding="utf-8", newline="")


def _thumbnails(job: Job) -> FaceFiles:
    from .portrait import Portrait  # Needs bpy.

    folder = job.out / THUMBNAILS
    folder.mkdir(exist_ok=True)
    return FaceFiles(folder, "png", Portrait(job.plan.model, job.thumbnail_size, job.scratch).save)


def _contact_sheet(job: Job, thumbnails: FaceFiles) -> None:
    from .contact_sheet import write_contact_sheet

    # Of part combinations, a row for each pair of target and source.
    parts = len(job.plan.parts)
    columns = parts if job.plan.combines and 1 < parts <= SHEET_FACES // 2 else 0
    shown = SHEET_FACES // columns * columns if columns else SHEET_FACES
    names = (name for start, stop in job.blocks for name, _ in thumbnails.names(start, stop))
    paths = [job.out / THUMBNAILS / name for name in itertools.islice(names, shown)]
    if paths:
        write_contact_sheet(paths, job.path("contact_sheet", ".png"), columns)
