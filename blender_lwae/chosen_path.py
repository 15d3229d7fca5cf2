# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders that a person chooses."""

from __future__ import annotations

from pathlib import Path

import bpy

from .backend.errors import LwaeError


def chosen_path(text: str, what: str) -> Path:
    """Where a chosen path leads; it may lie beside the .blend file ("//").

    Args:
        what: such as "a folder for the faces", for the sentence.

    Raises:
        LwaeError: when nothing was chosen, or a place beside a file that was never saved.
    """
    if not text.strip():
        raise LwaeError(f"Choose {what}.")
    if text.startswith("//") and not bpy.data.filepath:
        raise LwaeError("That place is beside this file, which is not saved yet. Save it, or choose another one.")
    return Path(bpy.path.abspath(text)).absolute()
