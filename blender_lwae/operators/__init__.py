# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators by theme. Each is short: read properties, call the core, write, report."""

from . import add_face, assets, edits, face_files, groups, make_local, randomise, reset, variations

MODULES = (add_face, randomise, variations, reset, edits, groups, assets, face_files, make_local)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
