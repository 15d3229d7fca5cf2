# SPDX-License-Identifier: GPL-3.0-or-later
"""Many faces from one seed: which code each face has, and decoding them so that the bytes are always the same.

Face i of a plan depends on the seed and on i alone, never on how many faces are asked for, which process makes
it or in what order. Two things make that hold to the last bit on one machine: faces are decoded in blocks of
`BLOCK` rows that start at multiples of it (a row's rounding depends on its place in the matrix product and on the
product's size, not on the other rows), and BLAS is held to one thread (it splits products by its threads).
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .controls import control_label, control_matrix, readouts, slider_matrix
from .decoder import Decoder
from .errors import LwaeError
from .model import FaceModel
from .number_text import number_rows

BLOCK = 64
MAX_FACES = 2**31 - 1

# Independent random streams of one seed.
FACES, SOURCES, TARGETS, ASYMMETRY, SHUFFLE = range(5)

# Variance with which the parts that stay count as observed when only some parts are drawn (see
# Prior.sample_given): 3 leaves parts beside an average face about 0.6 of the spread of whole faces.
LOOSENESS = 3.0
MIN_LOOSENESS = 1e-4


def face_rng(seed: int, index: int, stream: int = FACES) -> np.random.Generator:
    """The generator of face number `index`: numpy's SeedSequence spawn, made without its predecessors."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, index)))


def sample_parts(
    model: FaceModel,
    code: np.ndarray,
    parts: Iterable[int],
    rng: np.random.Generator,
    strength: float,
    kept: np.ndarray | None = None,
) -> np.ndarray:
    """Redraw the parts numbered `parts` so that they fit the others; a whole new face when these are all.

    Args:
        code: float32 [D].
        strength: of a whole face, multiplies the deviation from the mean face; of some parts, how far they may go
            from what the others suggest (1 is `LOOSENESS`, a variance, and so it grows with the square).
        kept: bool [W], which controls of the whole face (age, ...) the new face shows just as this code does.

    Returns:
        A new code, float32 [D]; the other parts are copied exactly.
    """
    free = model.part_columns(parts)
    looseness = max(LOOSENESS * strength**2, MIN_LOOSENESS)
    if free.all():
        drawn = model.prior.sample(rng, 1, strength)[0]
    else:
        drawn = model.prior.sample_given(code, free, rng, looseness)
    if kept is None or not kept.any():
        return drawn
    return model.prior.with_readings(drawn, code, readouts(model)[kept], free, looseness)


def sampling_hash(model: FaceModel) -> str:
    """Identifies what `FaceModel.hash` leaves out and synth depends on: the prior and the controls."""
    digest = hashlib.sha256(repr([(control.part, control.name) for control in model.controls]).encode())
    for array in (model.prior.mean, model.prior.factors, model.prior.tau, control_matrix(model), readouts(model)):
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """Which faces to make.

    Random faces (`sources` and `targets` 0): `count` draws from the joint prior. With `parts`, the other parts
    stay average and the named ones are drawn so that they fit them.

    Part combinations (after Kim & Kim 2021, arXiv 2107.08737): `sources` and `targets` whole faces are drawn, and
    every target takes, one part at a time, each part of each source; 5 sources, 11 targets and 4 parts make 220
    faces. Row (target * sources + source) * len(parts) + p is target `target` with part parts[p]
    of source `source`.

    Attributes:
        model: the face model.
        seed: not negative.
        count: number of random faces; for part combinations sources * targets * parts.
        strength: how far drawn faces go from the mean face, see `sample_parts`.
        parts: part numbers in order; empty means all.
    """

    model: FaceModel
    seed: int
    count: int
    strength: float = 1.0
    parts: tuple[int, ...] = ()
    sources: int = 0
    targets: int = 0

    @classmethod
    def combinations(
        cls, model: FaceModel, seed: int, sources: int, targets: int, parts: tuple[int, ...] = (), strength=1.0
    ) -> Plan:
        """The plan of all sources x targets x parts."""
        parts = parts or tuple(range(model.part_count))
        return cls(model, seed, sources * targets * len(parts), strength, parts, sources, targets)

    def __post_init__(self):
        if min(self.count, self.seed, self.sources, self.targets) < 0 or bool(self.sources) != bool(self.targets):
            raise LwaeError("Counts and seeds are whole numbers from 0; sources and targets are given together.")
        if self.count > MAX_FACES:
            raise LwaeError(f"That makes {self.count} faces, and one run makes at most {MAX_FACES}; ask for fewer.")

    @property
    def combines(self) -> bool:
        return self.sources > 0

    def combination(self, index: int) -> tuple[int, int, int]:
        """Target, source and part number of row `index` of a plan of part combinations."""
        pair, place = divmod(index, len(self.parts))
        target, source = divmod(pair, self.sources)
        return target, source, self.parts[place]

    def codes(self, start: int, stop: int) -> np.ndarray:
        """Codes of faces start..stop-1, float32 [stop - start, D]."""
        if not self.combines:
            if set(self.parts) in (set(), set(range(self.model.part_count))):
                return self._whole_faces(start, stop)
            return np.stack([self._some_parts(index) for index in range(start, stop)])
        whole = cache(self._whole)
        result = np.empty((stop - start, self.model.code_size), dtype=np.float32)
        for row, index in zip(result, range(start, stop), strict=True):
            target, source, part = self.combination(index)
            row[:] = whole(TARGETS, target)
            columns = self.model.part_slice(part)
            row[columns] = whole(SOURCES, source)[columns]
        return result

    def _whole(self, stream: int, index: int) -> np.ndarray:
        return self.model.prior.sample(face_rng(self.seed, index, stream), 1, self.strength)[0]

    def _whole_faces(self, start: int, stop: int) -> np.ndarray:
        """Blocks are drawn whole, since a row's rounding depends on its place in the product."""
        first = start - start % BLOCK
        blocks = [
            self.model.prior.sample_each((face_rng(self.seed, block + row) for row in range(BLOCK)), self.strength)
            for block in range(first, stop, BLOCK)
        ]
        return np.concatenate(blocks)[start - first : stop - first]

    def _some_parts(self, index: int) -> np.ndarray:
        rng = face_rng(self.seed, index)
        return sample_parts(self.model, self.model.prior.mean, self.parts, rng, self.strength)


def block_ranges(count: int, shard: int = 0, shards: int = 1) -> Iterator[tuple[int, int]]:
    """(start, stop) of the blocks that shard number `shard` of `shards` makes: every shards-th block."""
    for start in range(shard * BLOCK, count, shards * BLOCK):
        yield start, min(start + BLOCK, count)


def share_size(count: int, shard: int, shards: int) -> tuple[int, int]:
    """How many blocks and how many faces `block_ranges` gives."""
    starts = range(shard * BLOCK, count, shards * BLOCK)
    missing = max(0, starts[-1] + BLOCK - count) if starts else 0
    return len(starts), len(starts) * BLOCK - missing


def decode_block(decoder: Decoder, codes: np.ndarray) -> np.ndarray:
    """Codes float32 [n <= BLOCK, D] of one block to vertices float32 [n, N, 3] in mm.

    A short block is filled up with zero codes, because its size decides how the products are rounded.
    """
    return decoder.decode(_filled(codes))[: len(codes)]


def _filled(codes: np.ndarray) -> np.ndarray:
    full = np.zeros((BLOCK, codes.shape[1]), dtype=np.float32)
    full[: len(codes)] = codes
    return full


class Table:
    """The rows of faces.csv: what each face is, its control values and its part codes."""

    def __init__(self, plan: Plan):
        model = plan.model
        self.plan = plan
        self._sliders = np.ascontiguousarray(slider_matrix(model).T)
        self.controls = [control_label(model, index) for index in range(len(model.controls))]
        self.columns = [
            *("index", "file", "row", "seed"),
            *(("target", "source", "part") if plan.combines else ()),
            *self.controls,
            *(f"{name}[{i}]" for k, name in enumerate(model.part_names) for i in range(model.code_sizes[k])),
        ]

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Control values float32 [n, controls] of a block's codes [n, D], as `controls.split_code` gives."""
        return (_filled(codes) @ self._sliders)[: len(codes)]

    def header(self) -> str:
        return ",".join(_quoted(column) for column in self.columns) + "\n"

    def rows(self, start: int, codes: np.ndarray, files: list[tuple[str, int]]) -> str:
        """Lines of faces start, start + 1, ...; `files` holds each face's file name and its row in that file."""
        numbers = number_rows(np.concatenate([self.values(codes), codes], axis=1))
        lines = []
        for index, ((file, row), line) in enumerate(zip(files, numbers, strict=True), start=start):
            label = f"{index},{file},{row},{self.plan.seed},"
            if self.plan.combines:
                target, source, part = self.plan.combination(index)
                label += f"{target},{source},{_quoted(self.plan.model.part_names[part])},"
            lines.append(f"{label}{line}\n")
        return "".join(lines)


def _quoted(text: str) -> str:
    """One CSV cell (RFC 4180)."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold numpy's OpenBLAS to one thread; other BLAS libraries stay as they are."""
    functions = _blas_threads()
    if functions is None:
        yield
        return
    set_threads, get_threads = functions
    before = get_threads()
    set_threads(1)
    try:
        yield
    finally:
        set_threads(before)


def _blas_threads() -> tuple[Callable[[int], None], Callable[[], int]] | None:
    """What sets and gets the number of threads of numpy's OpenBLAS; None where it has another BLAS.

    The functions are looked up in the library that numpy has loaded, because environment variables come too late
    inside Blender. Names: Debian's, numpy 1 wheels', numpy 2 wheels'.
    """
    for path in _blas_libraries():
        library = ctypes.CDLL(str(path))
        for name in ("openblas_%s_num_threads", "openblas_%s_num_threads64_", "scipy_openblas_%s_num_threads64_"):
            if hasattr(library, name % "set"):
                return getattr(library, name % "set"), getattr(library, name % "get")
    return None


def _blas_libraries() -> list[Path]:
    if os.name == "nt":  # There a library does not show what those that it needs do; wheels have them beside numpy.
        package = Path(np.__file__).parent
        return [*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".libs/*openblas*")]
    try:
        from numpy._core import _multiarray_umath as umath
    except ImportError:
        from numpy.core import _multiarray_umath as umath
    return [Path(umath.__file__)]
