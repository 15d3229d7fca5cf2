# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one plain HTML page: no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .folder import GENERATOR
from .plate import Plate

PIXELS = 1.5  # Of a PNG per pixel of the page.

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 1120px; padding: 2rem 1.5rem 4rem; background: #fff; color: #222;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; font-weight: 600; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; font-weight: 600; margin: 3rem 0 .8rem; padding-top: .8rem; border-top: 1px solid #ddd; }
p { max-width: 46rem; margin: .4rem 0; }
p.note { background: #fff6e0; border-left: 3px solid #e69f00; padding: .5rem .8rem; }
nav { margin: 1rem 0 0; font-size: .95rem; }
nav a { margin-right: 1.1rem; white-space: nowrap; }
a { color: #0060a0; text-decoration: none; }
a:hover { text-decoration: underline; }
figure { margin: 0 0 1.5rem; break-inside: avoid; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { margin: .6rem auto 0; max-width: 46rem; font-size: .92rem; color: #444; }
figcaption b { color: #222; font-weight: 600; }
.sheets figure { display: inline-block; box-sizing: border-box; width: 49%; padding: 0 1rem; vertical-align: top; }
@media (max-width: 44rem) { .sheets figure { width: 100%; } }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .9rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #eee; }
thead th { border-bottom: 1px solid #999; font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; white-space: nowrap; }
td small { display: block; color: #777; white-space: nowrap; }
dl { columns: 2 22rem; font-size: .92rem; margin: 1rem 0; }
dl div { display: flex; gap: 1rem; break-inside: avoid; border-bottom: 1px solid #eee; padding: .2rem 0; }
dt { flex: 0 0 11rem; color: #666; }
dd { margin: 0; overflow-wrap: anywhere; }
@media print {
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2 { break-after: avoid; margin-top: 1.5rem; }
  img { max-height: 190mm; width: auto; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding-right: .4rem; }
  tbody th { white-space: normal; }
  tr { break-inside: avoid; }
}
"""


class Page:
    """Collects sections and numbers their figures."""

    def __init__(self, title: str, summary: Iterable[str]):
        """
        Args:
            title: plain text, as everything else here.
            summary: paragraphs below it.
        """
        self._title, self._summary = title, list(summary)
        self._sections: list[tuple[str, list[str]]] = []
        self._figures = 0

    def section(self, title: str) -> None:
        """What is added next stands below this heading."""
        self._sections.append((title, []))

    def paragraph(self, text: str, note: bool = False) -> None:
        """A paragraph, or a note that stands out."""
        self._add(f'<p class="note">{escape(text)}</p>' if note else f"<p>{escape(text)}</p>")

    def plate(self, plate: Plate) -> None:
        """A figure, its caption and its table."""
        self._add(self._figure(plate))
        if plate.table:
            self.table(plate.table)

    def sheets(self, plates: Sequence[Plate]) -> None:
        """Narrow figures, side by side where there is room."""
        self._add('<div class="sheets">', *(self._figure(plate) for plate in plates), "</div>")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Rows of text, the first one being the head; what a cell has in brackets becomes small."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
        lines = [f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>']
        for first, *others in rows[1:]:
            cells = "".join(f"<td>{_with_interval(cell)}</td>" for cell in others)
            lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
        self._add(*lines, "</tbody></table></div>")

    def facts(self, facts: dict[str, object]) -> None:
        """Names and values."""
        lines = (f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in facts.items())
        self._add("<dl>", *lines, "</dl>")

    def html(self) -> str:
        """The whole page."""
        links = "\n".join(f'<a href="#s{i}">{escape(title)}</a>' for i, (title, _) in enumerate(self._sections))
        body = []
        for i, (title, parts) in enumerate(self._sections):
            body += [f'<section id="s{i}">', f"<h2>{escape(title)}</h2>", *parts, "</section>"]
        summary = "\n".join(f"<p>{escape(text)}</p>" for text in self._summary)
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{GENERATOR}
<title>{escape(self._title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(self._title)}</h1>
{summary}
<nav aria-label="Sections">
{links}
</nav>
</header>
<main>
{chr(10).join(body)}
</main>
</body>
</html>
"""

    def _add(self, *lines: str) -> None:
        self._sections[-1][1].extend(lines)

    def _figure(self, plate: Plate) -> str:
        self._figures += 1
        width, height = (round(side / PIXELS) for side in plate.size)
        return (
            f'<figure id="{plate.name}">'
            f'<img src="{plate.name}.png" width="{width}" height="{height}" loading="lazy" alt="{escape(plate.title)}">'
            f"<figcaption><b>Figure {self._figures}.</b> {escape(plate.caption)}</figcaption></figure>"
        )


def _with_interval(cell: str) -> str:
    value, bracket, interval = cell.partition(" [")
    return f"{escape(value)}<small>[{escape(interval)}</small>" if bracket else escape(cell)
