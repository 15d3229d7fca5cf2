# SPDX-License-Identifier: GPL-3.0-or-later
"""Names parts by what they are: nose, mouth, ears, ..."""

from __future__ import annotations

import numpy as np

HEAD_WIDTH = 171.0  # mm, ear to ear, of the head that the places below were measured on
# Name: where its centre lies and how far it reaches, in mm from the tip of the nose: |sideways|, backward, up.
PLACES = {
    "forehead": ((38, 75, 100), (25, 45, 30)),
    "brow": ((33, 30, 67), (20, 15, 14)),
    "eyes": ((31, 40, 39), (14, 14, 12)),
    "temples": ((68, 75, 60), (12, 20, 18)),
    "nose": ((10, 15, 9), (10, 12, 16)),
    "cheeks": ((54, 55, 5), (15, 22, 20)),
    "ears": ((72, 120, 22), (12, 25, 25)),
    "mouth": ((20, 30, -29), (14, 22, 15)),
    "chin": ((12, 25, -62), (12, 18, 12)),
    "jaw": ((30, 75, -48), (20, 30, 15)),
    "crown": ((35, 125, 135), (30, 40, 20)),
    "skull": ((40, 170, 50), (30, 40, 40)),
    "neck": ((36, 125, -58), (25, 40, 28)),
    "nape": ((36, 185, -25), (25, 30, 22)),
}
FARTHEST = 2.0  # in those reaches (RMS over the axes); beyond, a part is "part 3"
LEAST_OVERLAP = 0.35  # cosine between a part and a labelled region
ONE_SIDED = 0.8
SINGULAR = {"ears": "ear", "eyes": "eye", "cheeks": "cheek", "temples": "temple"}


def name_parts(
    weights: np.ndarray,
    mean: np.ndarray,
    region_names: list[str] | None = None,
    region_of_vertex: np.ndarray | None = None,
    areas: np.ndarray | None = None,
) -> list[str]:
    """Unique names of the parts of a human head.

    Where the data set labels its vertices, a part takes the name of the region that it overlaps most;
    otherwise (or if it matches none) the place of its centre relative to the tip of the nose decides. One-
    sided parts become "left ear"; two parts of one name "upper neck" and "lower neck"; parts that are nowhere
    known "part 3".

    Args:
        weights: [K, N], columns summing to 1.
        mean: [N, 3] mm, Z up, face along -Y, +X the person's left.
        region_names: of the labelled regions.
        region_of_vertex: int [N], index into `region_names`, negative where there is no label.
        areas: [N], the vertices' shares of the surface, so that a part's centre does not depend on where the
            mesh is dense (default: all the same).
    """
    weights = np.asarray(weights, dtype=np.float64)
    mean = np.asarray(mean, dtype=np.float64)
    centres = weights @ mean / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    by_place = _names_by_place(weights if areas is None else weights * areas, mean)
    chosen = list(by_place)
    if region_names:
        overlap = _region_overlap(weights, len(region_names), np.asarray(region_of_vertex))
        chosen = _region_or_place(overlap, list(region_names), by_place)
    names = []
    for k, name in enumerate(chosen):
        here = weights[k] if areas is None else weights[k] * areas
        side = float(here @ np.sign(mean[:, 0]) / max(here.sum(), 1e-12))
        if name and abs(side) > ONE_SIDED:
            name = f"{'left' if side > 0 else 'right'} {SINGULAR.get(name, name)}"
        names.append(name or f"part {k + 1}")
    return _unique(names, centres, weights.sum(axis=1))


def nose_tip(mean: np.ndarray) -> np.ndarray:
    """The foremost vertex near the middle plane, in the middle of the height; [3]."""
    low, size = mean.min(axis=0), np.maximum(np.ptp(mean, axis=0), 1e-9)
    middle = low[0] + 0.5 * size[0]
    up = (mean[:, 2] - low[2]) / size[2]
    near = np.flatnonzero((np.abs(mean[:, 0] - middle) < 0.06 * size[0]) & (up > 0.2) & (up < 0.8))
    candidates = near if len(near) else np.arange(len(mean))
    return mean[candidates[mean[candidates, 1].argmin()]]


def _names_by_place(weights: np.ndarray, mean: np.ndarray) -> list[str | None]:
    tip = nose_tip(mean)
    width = float(np.ptp(mean[mean[:, 2] >= tip[2], 0])) or 1.0
    # A mask ends before the ears: it is not as wide as its head.
    scale = HEAD_WIDTH / width if np.ptp(mean[:, 1]) > width else 1.0
    offset = (mean - tip) * scale
    feature = np.stack([np.abs(offset[:, 0]), offset[:, 1], offset[:, 2]], axis=1)
    centre = weights @ feature / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    places = np.array([place for place, _ in PLACES.values()], dtype=float)
    reaches = np.array([reach for _, reach in PLACES.values()], dtype=float)
    distance = np.sqrt(np.mean(((centre[:, None] - places) / reaches) ** 2, axis=2))
    known = list(PLACES)
    return [known[row.argmin()] if row.min() <= FARTHEST else None for row in distance]


def _region_overlap(weights: np.ndarray, count: int, region: np.ndarray) -> np.ndarray:
    """Cosine between each part and each labelled region, [K, count]."""
    member = (region[None, :] == np.arange(count)[:, None]).astype(float)
    size = np.linalg.norm(weights, axis=1)[:, None] * np.sqrt(member.sum(axis=1))
    return (weights @ member.T) / np.maximum(size, 1e-12)


def _region_or_place(overlap: np.ndarray, regions: list[str], by_place: list[str | None]) -> list[str | None]:
    """The region's name for the part that overlaps it most; another claimant takes its place's name if free."""
    claim = [regions[row.argmax()] if row.max() >= LEAST_OVERLAP else None for row in overlap]
    result: list[str | None] = [None] * len(claim)
    for k in np.argsort(-overlap.max(axis=1), kind="stable"):
        name = claim[k]
        if name is None or (name in result and by_place[k] and by_place[k] not in result):
            name = by_place[k]
        result[k] = name
    return result


def _unique(names: list[str], centres: np.ndarray, sizes: np.ndarray) -> list[str]:
    """Two parts of one name are told apart by where they lie, more than two (or a clash) by numbers."""
    words = (("left", "right"), ("back", "front"), ("upper", "lower"))
    result = list(names)
    for name in dict.fromkeys(names):
        same = [k for k, other in enumerate(names) if other == name]
        if len(same) == 2:
            apart = centres[same[0]] - centres[same[1]]
            axis = int(np.abs(apart).argmax())
            high, low = same if apart[axis] > 0 else same[::-1]
            result[high], result[low] = (f"{word} {name}" for word in words[axis])
        elif len(same) > 2:
            for number, k in enumerate(sorted(same, key=lambda k: -sizes[k])[1:], start=2):
                result[k] = f"{name} {number}"
    taken: set[str] = set()
    for k, name in enumerate(result):
        number = 2
        while result[k] in taken:
            result[k] = f"{name} {number}"
            number += 1
        taken.add(result[k])
    return result
