# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators by theme. Each is short: read properties, call the core, write, report."""

from . import add_face, edits, explain, expressions, groups, randomise, renew, reset

MODULES = (add_face, randomise, reset, edits, groups, explain, renew, expressions)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
