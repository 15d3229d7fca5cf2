# SPDX-License-Identifier: GPL-3.0-or-later
"""The Faces tab of the 3D viewport's sidebar, a file for each panel, from top to bottom."""

from . import (
    batch,
    expressions,
    face,
    from_mesh,
    library,
    mesh,
    mix,
    model,
    parts,
    plausibility,
    pull,
    symmetry,
    variations,
)

MODULES = (
    face,
    plausibility,
    variations,
    parts,
    mix,
    symmetry,
    pull,
    from_mesh,
    expressions,
    library,
    batch,
    mesh,
    model,
)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
