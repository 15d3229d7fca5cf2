# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators by theme. Each is short: read properties, call the core, write, report."""

from . import add_face, edits, groups, harmonise, mix, randomise, reset, symmetry

MODULES = (add_face, randomise, reset, mix, harmonise, symmetry, edits, groups)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
