# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators by theme. Each is short: read properties, call the core, write, report."""

from . import add_face, batch, edits, groups, pull, randomise, reset

MODULES = (add_face, randomise, reset, pull, edits, groups, batch)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
