# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a .blend file is all there. Blender does not notice when a disk takes only most of a compressed one."""

from __future__ import annotations

import os
import struct

import numpy as np

# Zstandard's seekable format: frames, then a table of their sizes, which ends with how many there are.
SEEKABLE = 0x8F92EAB1
FOOTER = struct.Struct("<IBI")  # Frames, descriptor, magic.
TABLE_HEADER = 8


def is_whole(path: str | os.PathLike) -> bool:
    """Whether a compressed file, once on disk, has the table that Blender writes last, and that adds up to the file."""
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())  # Some file systems find only now that they are full.
        content = stream.read()
    end = len(content) - FOOTER.size
    if end < TABLE_HEADER:
        return False
    frames, _, magic = FOOTER.unpack_from(content, end)
    if magic != SEEKABLE or 8 * frames + TABLE_HEADER > end:
        return False
    sizes = np.frombuffer(content, "<u4", 2 * frames, end - 8 * frames)[::2]
    return int(sizes.sum(dtype=np.int64)) + TABLE_HEADER + 8 * frames == end
