# SPDX-License-Identifier: GPL-3.0-or-later
"""How the panels fit the sidebar, narrow and wide."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import blf
import bpy
import pytest

SENTENCE = "This mesh was edited by hand. Keep that edit as an offset, or overwrite it."


@pytest.fixture
def sidebar():
    """A context with a sidebar of a width; without a window, Blender itself has a scale of 0."""

    def make(width):
        style = SimpleNamespace(widget=SimpleNamespace(points=11))
        preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=1), ui_styles=[style])
        return SimpleNamespace(object=bpy.context.object, region=SimpleNamespace(width=width), preferences=preferences)

    return make


def pixels(text):
    return blf.dimensions(0, text)[0]


@pytest.mark.parametrize("width", [60, 110, 200, 1000])
def test_a_message_fills_lines_that_fit(addon, width):
    blf.size(0, 11)
    lines = addon("panels.common").broken(SENTENCE, width)
    assert " ".join(lines) == SENTENCE
    assert all(pixels(line) <= width for line in lines)
    for line, following in zip(lines, lines[1:], strict=False):
        assert pixels(f"{line} {following.split()[0]}") > width


def test_only_a_word_longer_than_a_line_is_torn(addon):
    blf.size(0, 11)
    path = "/home/somebody/faces/of_a_long_name.lwae"
    lines = addon("panels.common").broken(f"Not found: {path} (again)", 100)
    assert all(pixels(line) <= 100 for line in lines)
    assert lines[0].startswith("Not found: /") and lines[-1].endswith(" (again)")
    assert "".join(lines) == f"Not found: {path} (again)"


def test_a_message_asks_for_the_width_of_the_sidebar(addon, sidebar):
    drawn = []
    for width in (204, 292):
        layout = MagicMock()
        addon("panels.common").draw_message(layout, sidebar(width), SENTENCE, "ERROR")
        labels = layout.box().column().label.call_args_list
        assert [call.kwargs["icon"] for call in labels] == ["ERROR"] + ["BLANK1"] * (len(labels) - 1)
        drawn.append(len(labels))
    assert drawn[0] > drawn[1] > 1


@pytest.mark.parametrize(("width", "way", "other"), [(204, "column", "row"), (292, "row", "column")])
def test_two_fields_are_one_above_the_other_in_a_narrow_sidebar(new_face, sidebar, width, way, other):
    new_face()
    layout = MagicMock()
    bpy.types.LWAE_PT_face.draw(SimpleNamespace(layout=layout), sidebar(width))
    fields = [[call.args[1] for call in getattr(layout, kind)().prop.call_args_list] for kind in (way, other)]
    assert fields == [["seed", "strength"], []]
