# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on speaks English in every language of Blender, whose catalogue knows some of its words by chance.

Labels of classes and properties get a context of their own here. A `text` that a layout is given has none whatever is
shown, and so says `translate=False`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import bpy

CONTEXT = "blender_lwae"  # Blender's catalogue has nothing in it.
KINDS = ("Operator", "Panel", "Menu", "UIList", "PropertyGroup", "AddonPreferences")
LABELLED = ("Operator", "Panel", "Menu")  # The others show no label of their own.


def register() -> None:
    """Give all classes of the add-on and their properties a context; before any of them is registered."""
    for kind in KINDS:
        for cls in _own_classes(getattr(bpy.types, kind)):
            if kind in LABELLED:
                cls.bl_translation_context = CONTEXT
            for base in filter(_is_own, cls.__mro__):
                _mark_properties(base)


def unregister() -> None:
    """Classes and their properties keep it."""


def _mark_properties(cls: type) -> None:
    # Blender makes a property of what is declared when it registers the class; of text it would evaluate it anew.
    cls.__annotations__ = inspect.get_annotations(cls, eval_str=True)
    for declared in cls.__annotations__.values():
        if isinstance(declared, bpy.props._PropertyDeferred):
            declared.keywords["translation_context"] = CONTEXT


def _is_own(cls: type) -> bool:
    """Not one of Blender's helpers, which other add-ons share."""
    return cls.__module__.startswith(f"{__package__}.")


def _own_classes(base: type) -> Iterator[type]:
    for cls in base.__subclasses__():
        if _is_own(cls):
            yield cls
        yield from _own_classes(cls)
