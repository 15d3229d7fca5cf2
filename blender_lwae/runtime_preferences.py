# SPDX-License-Identifier: GPL-3.0-or-later
"""The preferences' section on the GPU runtime."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, StringProperty

from . import runtime
from .backend.runtime_install import as_size


def _python_changed(settings, _context) -> None:
    runtime.stop()


class RuntimePreferences:
    gpu_python_source: EnumProperty(
        name="Python",
        description="Where PyTorch is",
        items=(
            ("INSTALLED", "Installed Here", "A Python environment that the add-on makes in its own folder"),
            ("OWN", "Use This Python", "A Python that you have, with PyTorch"),
        ),
        update=_python_changed,
    )
    gpu_python: StringProperty(
        name="Executable",
        description="The python executable of an environment with PyTorch and NumPy",
        subtype="FILE_PATH",
        update=_python_changed,
    )
    gpu_device: StringProperty(
        name="Device", description="What decodes faces; empty means NumPy in Blender itself", options={"HIDDEN"}
    )
    gpu_pip_options: StringProperty(
        name="Options of pip",
        description="What else pip is told, such as the index that has PyTorch for your graphics card. "
        "Empty means pip's own configuration",
    )


def draw(settings: bpy.types.AddonPreferences, layout: bpy.types.UILayout, _context) -> None:
    header, body = layout.panel("lwae_gpu_runtime", default_closed=True)
    header.label(text="GPU Runtime (optional)", icon="MEMORY")
    if body is None:
        return
    body.label(text="Faces are computed with NumPy, everywhere. PyTorch in a process of its own can do it on a GPU;")
    body.label(text="it pays for models with far more vertices than the one that came with the add-on.")
    column = body.column()
    column.use_property_split = True
    column.row().prop(settings, "gpu_python_source", expand=True)
    if settings.gpu_python_source == "OWN":
        column.prop(settings, "gpu_python")
    else:
        draw_installation(settings, body)
    if runtime.python_path():
        draw_devices(settings, body)


def draw_installation(settings: bpy.types.AddonPreferences, layout: bpy.types.UILayout) -> None:
    job = runtime.installation()
    box = layout.box().column()
    if job is None or not job.is_running:
        if job is not None and job.state == "FAILED":
            box.label(text=job.error, icon="ERROR")
        row = box.row()
        if runtime.python_path():
            row.label(text="PyTorch is installed", icon="CHECKMARK")
            row.operator("lwae.remove_runtime", icon="TRASH")
            return
        column = box.column()
        column.use_property_split = True
        column.prop(settings, "gpu_pip_options")
        box.operator("lwae.install_runtime", icon="IMPORT")
        box.label(text="First shows how much it would download; then you decide.", icon="INFO")
        return
    if job.state == "READY":
        at_least = "" if job.is_size_known else "at least "
        box.label(
            text=f"{at_least}{as_size(job.download_bytes)} to download ({len(job.packages)} packages), "
            f"about {as_size(job.disk_bytes)} on disk".capitalize()
        )
        row = box.row(align=True)
        row.operator("lwae.continue_runtime", icon="IMPORT")
        row.operator("lwae.cancel_runtime", icon="X")
        return
    row = box.row(align=True)
    row.progress(text=job.phase, factor=job.progress)
    row.operator("lwae.cancel_runtime", text="", icon="X")


def draw_devices(settings: bpy.types.AddonPreferences, layout: bpy.types.UILayout) -> None:
    session = runtime.session()
    column = layout.column()
    if session is not None and session.lost:
        column.label(text=session.lost, icon="ERROR")
    if session is None or session.lost:
        column.operator("lwae.restart_worker", text="Look for Devices", translate=False, icon="VIEWZOOM")
    elif not session.has_started:
        column.label(text="Starting Python...", icon="SORTTIME")
    rows = [("", "NumPy, in Blender itself")]
    if session is not None and session.has_started and not session.lost:
        column.label(text=f"Python {session.worker.python}, PyTorch {session.worker.torch}")
        for device in session.worker.devices:
            memory = f", {as_size(device.memory)}" if device.memory else ""
            rows.append((device.id, f"{device.name}{memory} ({device.id})"))
    elif settings.gpu_device:
        rows.append((settings.gpu_device, settings.gpu_device))
    for device, text in rows:
        chosen = settings.gpu_device == device
        row = column.row()
        row.alignment = "LEFT"
        icon = "RADIOBUT_ON" if chosen else "RADIOBUT_OFF"
        row.operator("lwae.use_device", text=text, translate=False, icon=icon, emboss=False).device = device
