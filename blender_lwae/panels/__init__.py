# SPDX-License-Identifier: GPL-3.0-or-later
"""The Faces tab of the 3D viewport's sidebar, a file for each panel, from top to bottom."""

from . import face, mesh, mix, parts, plausibility, symmetry

MODULES = (face, plausibility, parts, mix, symmetry, mesh)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
