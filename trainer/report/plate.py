# SPDX-License-Identifier: GPL-3.0-or-later
"""A figure with its caption, and grids of pictures with labels and a colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from backend.files import atomic_write

from .colour_map import LIGHT_MAGMA

DOTS = 144  # Per inch; the page shows two thirds of the pixels' number.
TEXT, SMALL = 9.5, 8.5  # Points.
LINE = 26  # Pixels of a line of text.
INK, PALE = "#222222", "#666666"


@dataclass(frozen=True)
class Plate:
    """A figure of the report.

    Attributes:
        name: of its PNG, without suffix.
        title: a few words.
        caption: what is seen, plain text.
        figure: drawn with `DOTS` per inch.
        table: rows of text below it, the first one being their head.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    table: Sequence[Sequence[str]] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return tuple(round(side * DOTS) for side in self.figure.get_size_inches())

    def save(self, folder: Path) -> None:
        """Write the PNG; LwaeError when the disk is full."""
        with atomic_write(folder / f"{self.name}.png", durable=False) as stream:
            FigureCanvasAgg(self.figure).print_png(stream, metadata={"Software": None})


@dataclass(frozen=True)
class Scale:
    """A linear colour scale from zero.

    Attributes:
        most: the value of the last colour; more gets the same.
        label: what is measured, and its unit.
        open: whether there are larger values.
    """

    most: float
    label: str
    open: bool = False

    def colours(self, values: np.ndarray) -> np.ndarray:
        """Values [N] to sRGB, float64 [N, 3]."""
        return LIGHT_MAGMA(np.clip(values / self.most, 0, 1))[:, :3]

    @classmethod
    def of(cls, values: np.ndarray, label: str, share: float = 0.999) -> Scale:
        """A scale that ends at a round number by which `share` of the values are covered."""
        end = float(np.quantile(values, share))
        step = 10.0 ** np.floor(np.log10(max(end, 1e-9))) / 2
        most = float(step * np.ceil(max(end, 1e-9) / step))
        return cls(most, label, bool(values.max() > most))


def picture_grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    *,
    columns: Sequence[str] = (),
    names: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    scale: Scale | None = None,
    gap: int = 6,
    name_width: int = 0,
    foot: int = 0,
) -> Figure:
    """Pictures in rows, pixel by pixel, with a little text around them.

    Args:
        rows: uint8 [h, w, 3] pictures, about equally large; None leaves a place empty.
        columns: titles above the columns.
        names: of the rows, in a column `name_width` pixels wide.
        notes: a line below each picture.
        scale: draws a colour bar below.
        gap: pixels between pictures.
        foot: pixels that stay free at the lower end.
    """
    pictures = [picture for row in rows for picture in row if picture is not None]
    height, width = (max(picture.shape[side] for picture in pictures) for side in (0, 1))
    count = max(len(row) for row in rows)
    head = LINE + 6 if columns else gap
    foot += 92 if scale else gap
    step_x, step_y = width + gap, height + gap + (LINE if notes else 0)
    total_width, total_height = name_width + count * step_x + gap, head + len(rows) * step_y + foot
    page = np.full((total_height, total_width, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(total_width / DOTS, total_height / DOTS), dpi=DOTS, facecolor="white")

    def write(x: float, y: float, text: str, size: float = TEXT, colour: str = INK, **options) -> None:
        place = x / total_width, 1 - y / total_height
        options |= {"ha": "center", "va": "center", "parse_math": False}
        figure.text(*place, text, size=size, color=colour, **options)

    for i, row in enumerate(rows):
        top = head + i * step_y
        for j, picture in enumerate(row):
            left = name_width + gap + j * step_x
            if picture is not None:
                middle = left + (width - picture.shape[1]) // 2
                page[top : top + picture.shape[0], middle : middle + picture.shape[1]] = picture
            if notes:
                write(left + width / 2, top + height + LINE / 2, notes[i][j], SMALL, PALE)
        if names:
            write(name_width / 2, top + height / 2, names[i], rotation=90)
    for j, text in enumerate(columns):
        write(name_width + gap + j * step_x + width / 2, head / 2, text)
    figure.figimage(page, zorder=-1)
    if scale:
        wide = min(0.42 * total_width, 620)
        left = name_width + (total_width - name_width - wide) / 2
        place = left / total_width, 62 / total_height, wide / total_width, 13 / total_height
        draw_scale(figure, place, scale)
    return figure


def draw_scale(figure: Figure, place: tuple[float, float, float, float], scale: Scale) -> None:
    """A horizontal colour bar at (left, bottom, width, height) in shares of the figure."""
    axes = figure.add_axes(place)
    mappable = ScalarMappable(Normalize(0, scale.most), LIGHT_MAGMA)
    bar = figure.colorbar(mappable, cax=axes, orientation="horizontal", extend="max" if scale.open else "neither")
    bar.set_label(scale.label, size=SMALL, color=INK, labelpad=3)
    bar.ax.tick_params(labelsize=SMALL, colors=INK, length=3, width=0.6)
    bar.outline.set_linewidth(0.4)
