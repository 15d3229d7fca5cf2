# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators by theme. Each is short: read properties, call the core, write, report."""

from . import (
    add_face,
    assets,
    batch,
    edits,
    explain,
    expressions,
    face_files,
    groups,
    harmonise,
    make_local,
    mix,
    models,
    pull,
    randomise,
    renew,
    reset,
    runtime,
    switch_model,
    symmetry,
    variations,
)

MODULES = (
    add_face,
    randomise,
    variations,
    reset,
    mix,
    harmonise,
    symmetry,
    pull,
    explain,
    renew,
    expressions,
    assets,
    face_files,
    make_local,
    batch,
    edits,
    groups,
    switch_model,
    models,
    runtime,
)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
