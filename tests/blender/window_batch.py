# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a Blender with a window (`window_steps`): makes faces from the panel while the window stays alive.

A picture of the panel at work goes where LWAE_TEST says.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from window_steps import empty_scene, event, in_view, install, main, open_panel, picture, view  # noqa: E402

COUNT = 8000  # some seconds, of which the first are enough to see it run
BLOCKED = 0.05  # Seconds, at most; drawing in software apart.


def call(operator, *arguments, **options):
    with in_view():
        start = time.perf_counter()
        result = operator(*arguments, **options)
        return result, time.perf_counter() - start


def until(done, limit=60.0):
    end = time.monotonic() + limit
    while not done():
        assert time.monotonic() < end, "it takes too long"
        yield 0.1


def steps():
    install()
    from bl_ext.user_default.blender_lwae import batch
    from bl_ext.user_default.blender_lwae.panels.batch import LWAE_PT_batch

    open_panel(LWAE_PT_batch)
    yield from empty_scene()
    folder = Path(tempfile.mkdtemp(prefix="lwae_window_batch_"))
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "heads.blend"))
    settings = bpy.context.scene.lwae_batch
    assert settings.folder == "//faces"
    settings.count, settings.opens_folder = COUNT, False
    yield 0.5

    result, seconds = call(bpy.ops.lwae.batch_make, "INVOKE_DEFAULT")
    print(f"started in {seconds * 1e3:.1f} ms", flush=True)
    assert result == {"RUNNING_MODAL"} and seconds < 2 * BLOCKED
    run = batch.running
    yield from until(lambda: run.progress.done > COUNT // 80)
    busy = []
    for _ in range(10):
        start = time.perf_counter()
        run.poll()
        busy.append(time.perf_counter() - start)
        yield 0.02
    print(f"a look at the run takes {max(busy) * 1e3:.2f} ms at most", flush=True)
    assert max(busy) < BLOCKED
    picture()
    yield 0.3
    assert batch.running is run
    event("ESC", "PRESS", view().x + 100, view().y + 100)
    event("ESC", "RELEASE", view().x + 100, view().y + 100)
    yield from until(lambda: batch.running is None)
    made = len(list((folder / "faces").glob("face_*.ply")))
    assert 0 < made < COUNT and not (folder / "faces" / "faces.csv").exists()
    assert "Resume continues" in batch.last[1], batch.last
    print(f"stopped after {made} faces", flush=True)

    settings.count = 7  # Resume takes what the run asked for.
    yield 0.5
    assert call(bpy.ops.lwae.batch_resume, "INVOKE_DEFAULT")[0] == {"RUNNING_MODAL"}
    yield from until(lambda: batch.running is None, 120)
    assert len(list((folder / "faces").glob("face_*.ply"))) == COUNT and settings.count == COUNT, batch.last
    assert (folder / "faces" / "faces.csv").exists()

    # Another job is refused with the sentence of synth.
    settings.count = 7
    call(bpy.ops.lwae.batch_make, "INVOKE_DEFAULT")
    yield from until(lambda: batch.running is None)
    assert f"was made with count = {COUNT}, not 7" in batch.last[1]
    yield 0.5

    # Another file opened meanwhile ends the run.
    settings.count = COUNT * 10
    settings.folder = str(folder / "more")
    call(bpy.ops.lwae.batch_make, "INVOKE_DEFAULT")
    run = batch.running
    yield from until(lambda: run.progress.done > 10)
    call(bpy.ops.wm.read_homefile, use_factory_startup=True, use_empty=False)
    yield 1.0
    assert batch.running is None
    yield from until(lambda: run.poll(), 20)
    shutil.rmtree(folder)
    print("stopped, resumed, refused, ended with the file", flush=True)


if __name__ == "__main__":
    main(steps)
