# SPDX-License-Identifier: GPL-3.0-or-later
"""Start-up in Blender: enabling the add-on, the first Add Face, opening a file with faces."""

from __future__ import annotations

import compileall
import tempfile
import time
from pathlib import Path

from .in_blender import ADDON, addon, call
from .measure import Row, missing, row

FACES = 20


def run(quick: bool = False) -> list[Row]:
    repeats = 2 if quick else 5
    try:
        starts = [call("start_up:first_use") for _ in range(repeats)]
        opened = [call("start_up:opening") for _ in range(repeats)]
    except (RuntimeError, OSError) as error:
        return [missing("start-up", f"not measured: {str(error)[-300:]}")]
    more = [found["faces"] - found["plain"] for found in opened]
    return [
        row("enabling the add-on", [found["enable"] for found in starts], median=150),
        row("the first Add Face, model loading included", [found["add"] for found in starts], median=500),
        row("the next Add Face", [found["again"] for found in starts]),
        row(f"opening a file with {FACES} faces: what faces add", more, median=1000),
        row(f"opening the same file with {FACES} plain meshes", [found["plain"] for found in opened], baseline=True),
    ]


def first_use(path: str) -> dict:
    """In a Blender without the add-on: seconds of enabling it once it is installed, and of the first faces."""
    import addon_utils
    import bpy

    bpy.ops.extensions.package_install_files(filepath=path, repo="user_default", enable_on_install=False)
    # As at every start but the very first, which compiles the modules.
    compileall.compile_dir(Path(bpy.utils.user_resource("EXTENSIONS"), *ADDON.split(".")[1:]), quiet=1)
    result = {}
    for name, action in (
        ("enable", lambda: addon_utils.enable(ADDON)),
        ("add", lambda: bpy.ops.lwae.add_face()),
        ("again", lambda: bpy.ops.lwae.add_face()),
    ):
        start = time.perf_counter()
        action()
        result[name] = time.perf_counter() - start
    return result


first_use.installs = True  # for `in_blender`: the function installs the add-on itself


def opening() -> dict:
    """In Blender: seconds of opening a file of faces as a new session does, and of the same meshes as plain ones."""
    import bpy

    for number in range(FACES):
        bpy.ops.lwae.add_face()
        bpy.context.object.data.lwae.parts[0].controls[0].value = number / 10
    with tempfile.TemporaryDirectory() as folder:
        paths = {"faces": str(Path(folder, "faces.blend")), "plain": str(Path(folder, "plain.blend"))}
        bpy.ops.wm.save_as_mainfile(filepath=paths["faces"])
        for mesh in bpy.data.meshes:
            mesh.property_unset("lwae")
        bpy.ops.wm.save_as_mainfile(filepath=paths["plain"])
        result = {}
        for name in ("plain", "faces"):
            addon("models").clear()  # a new session has read no model
            start = time.perf_counter()
            bpy.ops.wm.open_mainfile(filepath=paths[name])
            result[name] = time.perf_counter() - start
        faces = [mesh for mesh in bpy.data.meshes if mesh.lwae.is_face]
        if len(faces) != FACES or addon("face").trouble(faces[-1]) is not None:
            raise RuntimeError(f"{len(faces)} sound faces instead of {FACES} were opened")
        return result
