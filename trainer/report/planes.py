# SPDX-License-Identifier: GPL-3.0-or-later
"""Real and made faces in the plane, with 95 % ellipses (the paper's Fig. 6)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE

from trainer.evaluation.ellipse import Ellipse
from trainer.evaluation.metrics import in_blocks

from .plate import DOTS, INK, PALE, SMALL, TEXT, Plate
from .subject import SEED, Subject

COLOURS = {"train": "#9AA0A6", "test": "#0072B2", "part combinations": "#D55E00", "joint prior": "#009E73"}
REAL = ("train", "test")
MOST = 800  # Faces of a group in the t-SNE, which takes time.
PERPLEXITY = 30.0


def planes_plate(subject: Subject) -> Plate:
    """PCA and t-SNE of train, test, all part combinations, and as many samples of the joint prior."""
    groups = _scores(subject)
    shown = {"PCA": {name: scores[:, :2] for name, scores in groups.items()}, "t-SNE": _tsne(subject, groups)}
    ellipses = {plane: {name: Ellipse.of(points) for name, points in of.items()} for plane, of in shown.items()}
    figure = Figure(figsize=(1560 / DOTS, 640 / DOTS), dpi=DOTS, facecolor="white")
    for place, (plane, points) in enumerate(shown.items()):
        axes = figure.add_axes((0.055 + 0.5 * place, 0.215, 0.435, 0.705))
        _draw(axes, points, ellipses[plane])
        axes.set_title(plane, size=TEXT, color=INK)
    figure.axes[0].set_xlabel("first component, RMS mm", size=SMALL, color=INK)
    figure.axes[0].set_ylabel("second component, RMS mm", size=SMALL, color=INK, labelpad=2)
    figure.axes[1].set(xticks=[], yticks=[])
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4, linewidth=1.6, label=f"{name} ({len(groups[name])})")
        for name, colour in COLOURS.items()
    ]
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False, fontsize=SMALL + 0.5, labelcolor=INK)
    sources, targets = (len(faces) for faces in subject.pairs)
    caption = (
        "Faces on the first two principal components of the training faces, and the same faces (at most "
        f"{MOST} of a group) in a t-SNE of the first {groups['train'].shape[1]}. Ellipses hold 95 % of a Gaussian "
        f"fitted to each group. Part combinations: {sources} sources x {targets} targets x {subject.model.part_count} "
        "parts, one part exchanged in each; as many samples of the joint prior. Distances in a t-SNE mean little, and "
        "so do its ellipses: they stand here beside the paper's."
    )
    return Plate("planes", "Coverage of real and made faces", caption, figure, _facts(shown, ellipses))


def _scores(subject: Subject) -> dict[str, np.ndarray]:
    """Coordinates along the training faces' principal components, RMS mm over the vertices, [n, R] by group."""
    model, bed = subject.model, subject.bed
    unit = bed.pca.deviations / np.sqrt(model.vertex_count)
    combinations = np.concatenate([subject.combinations(part) for part in range(model.part_count)])
    combinations = combinations.reshape(-1, model.code_size)
    samples = model.prior.sample(subject.rng(5), len(combinations))

    def made(codes: np.ndarray) -> np.ndarray:
        return in_blocks(lambda rows: bed.scores(subject.decoder.decode(rows)), codes)

    scores = bed.train_scores, bed.test_scores, made(combinations), made(samples)
    # A plane needs two axes, even where all faces differ in one way only.
    spare = ((0, 0), (0, max(0, 2 - len(unit))))
    return {name: np.pad(group * unit, spare) for name, group in zip(COLOURS, scores, strict=True)}


def _tsne(subject: Subject, groups: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """t-SNE (van der Maaten & Hinton 2008) of all groups together, float [n, 2] each, of at most `MOST` faces."""
    rng = subject.rng(6)
    chosen = [rng.permutation(scores)[:MOST] for scores in groups.values()]
    everything = np.concatenate(chosen)
    perplexity = min(PERPLEXITY, (len(everything) - 1) / 3)
    embedded = TSNE(init="pca", perplexity=perplexity, random_state=SEED).fit_transform(everything)
    ends = np.cumsum([len(scores) for scores in chosen])[:-1]
    return dict(zip(groups, np.split(embedded, ends), strict=True))


def _draw(axes: Axes, points: dict[str, np.ndarray], ellipses: dict[str, Ellipse]) -> None:
    for name, colour in COLOURS.items():
        axes.scatter(*points[name].T, s=5, color=colour, alpha=0.45, linewidths=0)
    for name, colour in COLOURS.items():
        outline = ellipses[name].outline
        axes.plot(*np.concatenate([outline, outline[:1]]).T, color=colour, linewidth=1.7)
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=SMALL, colors=PALE, length=3, width=0.6)
    for side, spine in axes.spines.items():
        spine.set(linewidth=0.6, color=PALE, visible=side in ("left", "bottom"))


def _facts(shown: dict, ellipses: dict) -> list[list[str]]:
    head = ["", "made faces"]
    head += [f"ellipse contains that of {real}" for real in REAL] + [f"area / {real}'s" for real in REAL]
    rows = [[*head, "training faces inside"]]
    for plane, of in ellipses.items():
        for name in [name for name in of if name not in REAL]:
            contains = ["yes" if of[name].contains(of[real]) else "no" for real in REAL]
            areas = [f"{of[name].area / of[real].area:.2f}" if of[real].area else "-" for real in REAL]
            inside = of[name].inside(shown[plane]["train"]).mean()
            rows.append([plane, name, *contains, *areas, f"{100 * inside:.0f} %"])
    return rows
