# SPDX-License-Identifier: GPL-3.0-or-later
"""How the losses fell during training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from .plate import DOTS, INK, PALE, SMALL, Plate

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def curves_plate(history: Sequence[dict[str, float]]) -> Plate | None:
    """Mean losses of each epoch on a logarithmic scale; None before the first epoch is complete.

    Args:
        history: of a checkpoint: losses by name, epoch after epoch.
    """
    curves = {name: [losses[name] for losses in history] for name in (history[0] if history else ())}
    curves = {name: values for name, values in curves.items() if min(values) > 0}
    if not curves:
        return None
    figure = Figure(figsize=(1560 / DOTS, 620 / DOTS), dpi=DOTS, facecolor="white")
    axes = figure.add_axes((0.075, 0.15, 0.9, 0.82))
    epochs, marker = range(1, len(history) + 1), "o" if len(history) < 30 else ""
    for (name, values), colour in zip(curves.items(), itertools.cycle(COLOURS)):
        axes.semilogy(epochs, values, color=colour, linewidth=1.6, marker=marker, markersize=3.5, label=name)
    least, most = min(map(min, curves.values())), max(map(max, curves.values()))
    axes.set_ylim(least / 1.3, most * 1.3)
    ticks = (1, 1.5, 2, 3, 5, 7) if most < 10 * least else (1, 2, 5) if most < 1000 * least else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=ticks))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend(frameon=False, fontsize=SMALL + 0.5, labelcolor=INK)
    axes.set_xlabel("epoch", size=SMALL, color=INK)
    axes.set_ylabel("mean of the epoch", size=SMALL, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(1 - 0.03 * len(history), 1.03 * len(history))
    axes.tick_params(labelsize=SMALL, colors=PALE, width=0.6)
    axes.grid(which="major", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(linewidth=0.6, color=PALE, visible=side in ("left", "bottom"))
    caption = (
        "Losses on the training faces, as optimised. Reconstruction and cycle are mean absolute differences per "
        "coordinate, in mm; cycle: parts of two faces exchanged, decoded, encoded, exchanged back and decoded."
    )
    return Plate("curves", "Training", caption, figure)
