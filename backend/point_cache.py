# SPDX-License-Identifier: GPL-3.0-or-later
"""PC2 point caches: positions of a mesh, frame after frame, for Blender's Mesh Cache modifier and other programs."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import TracebackType

import numpy as np

from .files import refusals

HEADER = struct.Struct("<12siiffi")  # Magic, version, points, first frame, frames per sample, samples.
MAGIC = b"POINTCACHE2\0"


class PointCacheWriter:
    """Writes a PC2 file, sample after sample; as a context it leaves a whole file or none.

    Args:
        path: the file; one that exists is replaced at the end.
        points: vertices of the mesh.
        start: frame of the first sample.
        step: frames from sample to sample.
        samples: how many there will be.

    Raises:
        LwaeError: here and in all it does, when the system refuses (no space, no permission, no such folder).
    """

    def __init__(self, path: str | Path, points: int, start: float, step: float, samples: int):
        self.path, self.points, self.samples, self.written = Path(path), points, samples, 0
        self._part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        with refusals(self.path):
            self._file = open(self._part, "wb")
        self._file.write(HEADER.pack(MAGIC, 1, points, start, step, samples))

    def write(self, positions: np.ndarray) -> None:
        """Add one sample: float32 [points, 3]."""
        positions = np.ascontiguousarray(positions, dtype="<f4")
        if positions.shape != (self.points, 3):
            raise ValueError(f"{positions.shape} positions in a cache of {self.points} points")
        with refusals(self.path):
            self._file.write(positions.tobytes())
        self.written += 1

    def __enter__(self) -> PointCacheWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with refusals(self.path):
                self._file.close()  # Fails on a full disk.
                if kind is None and self.written == self.samples:
                    os.replace(self._part, self.path)
        finally:
            self._part.unlink(missing_ok=True)


def read_point_cache(path: str | Path) -> tuple[np.ndarray, float, float]:
    """Samples of a PC2 file: float32 [samples, points, 3], the first frame, frames per sample.

    Raises:
        ValueError: when the file is none or cut off.
    """
    content = Path(path).read_bytes()
    if len(content) < HEADER.size or content[:12] != MAGIC:
        raise ValueError(f"{path} is no PC2 file")
    _, _, points, start, step, samples = HEADER.unpack_from(content)
    if len(content) != HEADER.size + 12 * points * samples:
        raise ValueError(f"{path} is cut off")
    positions = np.frombuffer(content, dtype="<f4", offset=HEADER.size).reshape(samples, points, 3)
    return positions, start, step
