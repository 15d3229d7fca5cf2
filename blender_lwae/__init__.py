# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces with sliders for their parts: nose, mouth, eyes, ..."""

from . import (
    analysis,
    cli,
    english,
    gallery,
    menu,
    model_pictures,
    models,
    operators,
    panels,
    part_colours,
    preferences,
    properties,
    runtime,
    sides,
    sync,
)

# In order of need; `unregister` goes backwards.
MODULES = (
    english,
    analysis,
    sides,
    properties,
    preferences,
    gallery,
    model_pictures,
    runtime,
    part_colours,
    operators,
    menu,
    panels,
    sync,
    cli,
)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
    models.clear()
