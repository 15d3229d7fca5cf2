# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPU runtime: install, remove, choose what computes."""

import os
import shlex

import bpy
from bpy.props import StringProperty

from .. import model_list, runtime
from ..backend.errors import LwaeError
from ..backend.runtime_install import default_python, remove_runtime


def _split(options: str) -> list[str]:
    """Words as a shell takes them; on Windows backslashes are parts of paths.

    Raises:
        ValueError: when a quote does not end.
    """
    if os.name != "nt":
        return shlex.split(options)
    return [word.replace('"', "").strip("'") for word in shlex.split(options, posix=False)]


def _poll_online(cls) -> bool:
    if not bpy.app.online_access:
        cls.poll_message_set("Allow Online Access in Preferences > System first.")
        return False
    return True


class LWAE_OT_install_runtime(bpy.types.Operator):
    """Find out what PyTorch for faces on a GPU would download. Nothing is downloaded before you agree"""

    bl_idname = "lwae.install_runtime"
    bl_label = "Install GPU Runtime..."
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context):
        if not _poll_online(cls):
            return False
        if runtime.installation() is not None and runtime.installation().is_running:
            cls.poll_message_set("It is being installed.")
            return False
        return True

    def execute(self, _context):
        python = default_python()
        if not python:
            self.report({"ERROR"}, "This Blender has no Python that can make environments; use a Python of your own.")
            return {"CANCELLED"}
        try:
            options = _split(model_list.preferences().gpu_pip_options)
        except ValueError:
            self.report({"ERROR"}, "The options of pip have a quote that does not end.")
            return {"CANCELLED"}
        runtime.install(python, options)
        return {"FINISHED"}


class LWAE_OT_continue_runtime(bpy.types.Operator):
    """Download and install it"""

    bl_idname = "lwae.continue_runtime"
    bl_label = "Install"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context):
        job = runtime.installation()
        if job is None or job.state != "READY":
            cls.poll_message_set("Press Install GPU Runtime first.")
            return False
        return _poll_online(cls)

    def execute(self, _context):
        runtime.installation().go_on()
        return {"FINISHED"}


class LWAE_OT_cancel_runtime(bpy.types.Operator):
    """Stop the installation and remove what it has made"""

    bl_idname = "lwae.cancel_runtime"
    bl_label = "Cancel"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context):
        job = runtime.installation()
        if job is None or not job.is_running:
            cls.poll_message_set("Nothing is being installed.")
            return False
        return True

    def execute(self, _context):
        runtime.installation().cancel(wait=False)
        return {"FINISHED"}


class LWAE_OT_remove_runtime(bpy.types.Operator):
    """Delete the Python environment that the add-on made. Faces are computed with NumPy then"""

    bl_idname = "lwae.remove_runtime"
    bl_label = "Delete GPU Runtime"
    bl_options = {"REGISTER"}

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context):
        runtime.stop()
        try:
            remove_runtime(runtime.folder())
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        model_list.preferences().gpu_device = ""
        context.preferences.is_dirty = True
        return {"FINISHED"}


class LWAE_OT_restart_worker(bpy.types.Operator):
    """Start the Python that is chosen and list what it can compute on"""

    bl_idname = "lwae.restart_worker"
    bl_label = "Start GPU Runtime"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context):
        if not runtime.python_path():
            cls.poll_message_set("Choose or install a Python with PyTorch in the add-on's preferences first.")
            return False
        return True

    def execute(self, _context):
        runtime.stop()
        runtime.connect().start()
        return {"FINISHED"}


class LWAE_OT_use_device(bpy.types.Operator):
    """Compute faces with this from now on"""

    bl_idname = "lwae.use_device"
    bl_label = "Use Device for Faces"
    bl_options = {"REGISTER"}

    device: StringProperty(
        name="Device", description="PyTorch's name of it; empty for NumPy", options={"HIDDEN", "SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, _context):
        if model_list.preferences() is None:
            cls.poll_message_set("Enable the add-on in the preferences first.")
            return False
        return True

    def execute(self, context):
        settings = model_list.preferences()
        session = runtime.session()
        if session is not None and (session.lost or session.device != self.device):
            runtime.stop()
        settings.gpu_device = self.device
        if self.device and runtime.connect() is not None:
            runtime.connect().start()
        context.preferences.is_dirty = True
        runtime.redraw()
        return {"FINISHED"}


class LWAE_OT_show_preferences(bpy.types.Operator):
    """Open the add-on's preferences: models and GPU runtime"""

    bl_idname = "lwae.show_preferences"
    bl_label = "Face Preferences"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context):
        if context.window is None:
            cls.poll_message_set("There is no window to show preferences in.")
            return False
        return True

    def execute(self, _context):
        return bpy.ops.preferences.addon_show(module=__package__.rpartition(".")[0])


register, unregister = bpy.utils.register_classes_factory(
    (
        LWAE_OT_install_runtime,
        LWAE_OT_continue_runtime,
        LWAE_OT_cancel_runtime,
        LWAE_OT_remove_runtime,
        LWAE_OT_restart_worker,
        LWAE_OT_use_device,
        LWAE_OT_show_preferences,
    )
)
