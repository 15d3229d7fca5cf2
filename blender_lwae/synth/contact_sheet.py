# SPDX-License-Identifier: GPL-3.0-or-later
"""Many thumbnails in one picture."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import bpy
import numpy as np

from ..backend.files import atomic_write

GAP = 8
PAPER = 24  # Grey level between the pictures.
MAX_WIDTH = 3000


def write_contact_sheet(pictures: list[Path], path: Path, columns: int = 0) -> None:
    """Put PNGs of one size side by side, row by row.

    Args:
        columns: pictures in a row; 0 makes the sheet about 4:3.

    Raises:
        LwaeError: when it cannot be written.
    """
    columns = columns or math.ceil(math.sqrt(len(pictures) * 4 / 3))
    rows = math.ceil(len(pictures) / columns)
    first = _read_png(pictures[0])
    step = max(1, math.ceil(columns * first.shape[1] / MAX_WIDTH))
    height, width = (first[: side - side % step].shape[0] // step for side in first.shape[:2])
    sheet = np.full((GAP + rows * (height + GAP), GAP + columns * (width + GAP), 3), PAPER, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        pixels = _read_png(picture)[: height * step, : width * step].astype(np.float32)
        pixels = pixels.reshape(height, step, width, step, 3).mean((1, 3)).round().astype(np.uint8)
        y, x = GAP + row * (height + GAP), GAP + column * (width + GAP)
        sheet[y : y + height, x : x + width] = pixels
    with atomic_write(path) as stream:
        stream.write(png_bytes(sheet))


def png_bytes(pixels: np.ndarray) -> bytes:
    """An 8-bit RGB picture [H, W, 3] as PNG (ISO/IEC 15948), unfiltered rows."""
    height, width, _ = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 6)),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _read_png(path: Path) -> np.ndarray:
    """uint8 [H, W, 3], top row first."""
    image = bpy.data.images.load(str(path))
    try:
        width, height = image.size
        pixels = np.empty(width * height * image.channels, dtype=np.float32)
        image.pixels.foreach_get(pixels)
        pixels = pixels.reshape(height, width, image.channels)[::-1, :, :3]
        return (pixels * 255).round().astype(np.uint8)
    finally:
        bpy.data.images.remove(image)
