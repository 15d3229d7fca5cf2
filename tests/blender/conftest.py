# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that import bpy run inside Blender only (see run_in_blender.py), with the add-on from the built zip."""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path

import pytest

INSIDE = "LWAE_TEST" in os.environ
ADDON = "bl_ext.user_default.blender_lwae"
HERE = Path(__file__).parent
NEEDS_BPY = re.compile(r"^import bpy$", re.MULTILINE)

collect_ignore = [
    path.name
    for path in HERE.glob("test_*.py")
    if bool(NEEDS_BPY.search(path.read_text(encoding="utf-8"))) != INSIDE
]

if INSIDE:
    import bpy

    @pytest.fixture(scope="session", autouse=True)
    def installed():
        """The add-on, installed and enabled as a person does it."""
        path = json.loads(os.environ["LWAE_TEST"])["zip"]
        install = bpy.ops.extensions.package_install_files
        assert install(filepath=path, repo="user_default", enable_on_install=True) == {"FINISHED"}
        assert ADDON in bpy.context.preferences.addons

    @pytest.fixture(autouse=True)
    def factory_state(installed):
        """The factory scene without objects, before each test and after the last."""
        _empty()
        yield
        _empty()

    def _empty() -> None:
        if bpy.context.window_manager.windows or bpy.app.background:
            bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)

    @pytest.fixture
    def addon():
        """Imports a module of the installed add-on: addon("face")."""
        return lambda name: importlib.import_module(f"{ADDON}.{name}")

    @pytest.fixture
    def model(addon):
        return addon("models").default()

    @pytest.fixture
    def new_face():
        """Adds a face as the button does and returns its object."""

        def add(**options):
            assert bpy.ops.lwae.add_face(**options) == {"FINISHED"}
            return bpy.context.object

        return add
