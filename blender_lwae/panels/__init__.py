# SPDX-License-Identifier: GPL-3.0-or-later
"""The Faces tab of the 3D viewport's sidebar, a file for each panel, from top to bottom."""

from . import batch, expressions, face, from_mesh, library, mesh, mix, parts, plausibility, pull, symmetry, variations

MODULES = (face, from_mesh, plausibility, variations, parts, mix, symmetry, pull, expressions, library, batch, mesh)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
