# SPDX-License-Identifier: GPL-3.0-or-later
from html.parser import HTMLParser

from matplotlib.figure import Figure

from trainer.report.page import Page
from trainer.report.plate import DOTS, Plate

VOID = {"meta", "img"}


class Checker(HTMLParser):
    """Every element is closed in order; collects texts and attributes."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.elements = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def plate(name, table=()):
    return Plate(name, '<Title> & "more"', "Caption <b>& more</b>", Figure(figsize=(300 / DOTS, 150 / DOTS)), table)


def test_the_page_is_plain_and_well_formed():
    hostile = '<script>alert("x")</script> & co'
    page = Page(hostile, [hostile])
    page.section(hostile)
    page.paragraph(hostile, note=True)
    page.plate(plate("one", [["", hostile], [hostile, f"1.0 [0.5, {hostile}]"]]))
    page.sheets([plate("two"), plate("three")])
    page.facts({hostile: hostile})
    html = page.html()
    checked = Checker(html)
    assert html.startswith("<!DOCTYPE html>") and "<script" not in html and "http" not in html
    images = [attributes for tag, attributes in checked.elements if tag == "img"]
    assert [image["src"] for image in images] == ["one.png", "two.png", "three.png"]
    assert all((image["width"], image["height"], image["loading"]) == ("200", "100", "lazy") for image in images)
    assert all(image["alt"] for image in images)
    assert [text for text in checked.texts if text.startswith("Figure")] == ["Figure 1.", "Figure 2.", "Figure 3."]
    ids = [attributes["id"] for _, attributes in checked.elements if "id" in attributes]
    links = [attributes["href"][1:] for tag, attributes in checked.elements if tag == "a"]
    assert len(ids) == len(set(ids)) and set(links) <= set(ids)
    assert checked.texts.count(hostile) >= 6
