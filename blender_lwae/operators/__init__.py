# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators by theme. Each is short: read properties, call the core, write, report."""

from . import (
    add_face,
    assets,
    bake_animation,
    bake_controls,
    batch,
    edits,
    explain,
    expressions,
    face_files,
    from_mesh,
    groups,
    harmonise,
    landmarks,
    make_local,
    mix,
    modals,
    models,
    neck,
    pull,
    pull_tool,
    randomise,
    renew,
    reset,
    runtime,
    show_parts,
    switch_model,
    symmetry,
    variations,
)

MODULES = (
    add_face,
    from_mesh,
    landmarks,
    randomise,
    variations,
    reset,
    mix,
    harmonise,
    symmetry,
    pull,
    pull_tool,
    explain,
    renew,
    expressions,
    assets,
    face_files,
    make_local,
    batch,
    neck,
    show_parts,
    bake_controls,
    bake_animation,
    switch_model,
    models,
    runtime,
    edits,
    groups,
)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    modals.cancel_all()
    for module in reversed(MODULES):
        module.unregister()
