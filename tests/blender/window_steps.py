# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts share that run in a Blender with a window: the mouse, pictures, and how they begin and end.

    blender --factory-startup --enable-event-simulate --python window_drag.py

Such a script ends with status 0 when all its steps went well. The environment variable LWAE_TEST holds the add-on's zip
and, optionally, a file name for a picture of the screen (taken with ImageMagick's `import`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy

SETTINGS = json.loads(os.environ["LWAE_TEST"])


def window():
    return bpy.context.window_manager.windows[0]


def view():
    return next(area for area in window().screen.areas if area.type == "VIEW_3D")


def region(kind: str):
    return next(item for item in view().regions if item.type == kind)


def in_view():
    return bpy.context.temp_override(window=window(), area=view(), region=region("WINDOW"))


def event(kind: str, value: str, x: float, y: float, **keys: bool) -> None:
    window().event_simulate(type=kind, value=value, x=int(x), y=int(y), **keys)


def picture(path: str | Path | None = None) -> None:
    """Of the screen, where a picture was asked for and ImageMagick is; to the file that LWAE_TEST names, or another."""
    if SETTINGS.get("screenshot") and shutil.which("import"):
        subprocess.run(["import", "-window", "root", str(path or SETTINGS["screenshot"])], check=True)


def install() -> None:
    bpy.ops.extensions.package_install_files(
        filepath=SETTINGS["zip"], repo="user_default", enable_on_install=True
    )


def open_panel(cls) -> None:
    """Show a panel of the Faces tab open and before the others."""
    bpy.utils.unregister_class(cls)
    cls.bl_options, cls.bl_order = set(), -1
    bpy.utils.register_class(cls)


def empty_scene() -> Iterator[float]:
    """Nothing in the scene, and the Faces tab shown; steps."""
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    view().spaces[0].show_region_ui = True
    yield 0.5
    region("UI").active_panel_category = "Faces"
    yield 0.5


def add_face(side: str = "FRONT") -> Iterator[float]:
    """A face seen from a side; steps."""
    with in_view():
        assert bpy.ops.lwae.add_face("INVOKE_DEFAULT") == {"FINISHED"}
        bpy.ops.view3d.view_axis(type=side)
        bpy.ops.view3d.view_selected()
        bpy.ops.ed.undo_push(message="Add Face")  # Operators that a script calls push none.
    yield 1.0


def main(steps: Callable[[], Iterator[float]]) -> None:
    """Take steps, each of which says how many seconds to wait; end Blender with status 0 unless one fails."""
    bpy.context.preferences.view.show_splash = False
    running = steps()

    def tick():
        try:
            return next(running)
        except StopIteration:
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
