# SPDX-License-Identifier: GPL-3.0-or-later
"""What realism costs: how well mixes are told from real faces, against how much of the donors is left.

Two ways from a mix to a plausible face are compared: the optimal transport that moves the surface least in mm^2, and
that of `backend.harmonise`, to which parts and people count alike. A third one, for one part of another face, holds
that part and fits the rest to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.decoder import Decoder
from backend.files import atomic_write
from backend.harmonise import Harmoniser
from backend.local_network import linear_gram
from trainer.run import open_run

from . import metrics, mixing
from .closed_forms import with_prior
from .harmonised import harmonised, main_face
from .measure import realism_at
from .metrics import in_blocks
from .regions import Regions, find_regions
from .testbed import TestBed

AMOUNTS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
PART_HELD = "harmonise, part held"


class InMillimetres(Harmoniser):
    """The plain optimal transport: every square millimetre counts alike."""

    def metric(self, alike: np.ndarray, held: Sequence[int] = ()) -> np.ndarray:
        return linear_gram(self._model)


def realism_curve(decoder: Decoder, bed: TestBed, regions: Regions) -> list[dict]:
    """One row for each kind of mix (K donors; one part of another face), way and amount.

    Returns:
        Rows with `kind`, `way`, `amount`, `told` (%, the worse of two classifiers), `transfer` (share of what the
        donors' parts should bring over their cores, see `metrics.responsiveness`; mean over parts) and `moved` (mm,
        mean distance of vertices from the mix).
    """
    model, parts = decoder.model, decoder.model.part_count
    train = bed.train_codes(decoder)
    test = in_blocks(decoder.encode, bed.test)

    def table(kind: str, faces: int, purpose: int) -> np.ndarray:
        if kind == "K donors":
            return mixing.donor_mixes(bed.rng(purpose), faces, parts)
        return mixing.pick_one_part(bed.rng(purpose + 1), mixing.one_part_swaps(bed.rng(purpose), faces, parts))

    def moved(way: str, codes: np.ndarray, donors: np.ndarray, amount: float) -> np.ndarray:
        return harmonised(maps[way], codes, donors, amount, holds=way == PART_HELD)

    maps = {"mm^2": InMillimetres(model), "harmonise": Harmoniser(model)}
    maps[PART_HELD] = maps["harmonise"]
    rows = []
    for kind in ("K donors", "one part"):
        of_train, of_test = table(kind, len(train), 6), table(kind, len(test), 1)
        mixed_train, mixed_test = (
            mixing.mix_codes(model, codes, donors) for codes, donors in ((train, of_train), (test, of_test))
        )
        mixes = in_blocks(decoder.decode, mixed_test)
        for way in maps:
            for amount in AMOUNTS if way != PART_HELD or kind == "one part" else ():
                codes = moved(way, mixed_test, of_test, amount)
                alike = moved(way, mixed_train, of_train, amount)
                told = realism_at("told", decoder, bed, alike, codes).values()["told"]
                made = in_blocks(decoder.decode, codes)
                transfer = _transfer(made, bed, of_test, regions)
                far = float(np.linalg.norm(made - mixes, axis=2).mean())
                rows.append(
                    {"kind": kind, "way": way, "amount": amount, "told": told, "transfer": transfer, "moved": far}
                )
    return rows


def _transfer(made: np.ndarray, bed: TestBed, donors: np.ndarray, regions: Regions) -> float:
    """Mean over the parts that were given of <made - base, donor - base> / |donor - base|^2 over their cores.

    The base is the face that most parts come from, or the mean face where all come from different ones.
    """
    count, parts = donors.shape
    base = np.repeat(bed.pca.mean[None], count, axis=0)
    for row, given in enumerate(donors):
        main, number = main_face(given)
        if number > 1:
            base[row] = bed.test[main]
    sums = np.zeros((parts, 2))
    for part in range(parts):
        wanted = bed.test[donors[:, part]] - base
        sums[part] = metrics.transfer_sums(made - base, wanted, regions.core == part).sum(axis=0)
    given = sums[:, 1] > 0
    return float(np.mean(sums[given, 0] / sums[given, 1]))


def realism_of_run(path: Path, seed: int = 0) -> list[dict]:
    """The curve of a trained run; writes RUN/realism.json.

    Raises:
        LwaeError: when the run is not trained, its data set is gone, or its preset has no linear bases.
    """
    run = open_run(path)
    bed = TestBed.of(run.dataset, seed)
    decoder = with_prior(run.trained_network(), bed, run.image(bed.dataset))
    rows = realism_curve(decoder, bed, find_regions(decoder.model))
    with atomic_write(run.path / "realism.json", "w", encoding="utf-8") as stream:
        json.dump({"seed": seed, "rows": rows}, stream, indent=1)
    return rows


def format_curve(rows: list[dict]) -> str:
    """The rows as plain text."""
    lines = [f"{'mix':10} {'way':20} {'amount':>6} {'told from real':>14} {'transfer':>9} {'moved, mm':>9}"]
    for row in rows:
        told, transfer, far = row["told"], row["transfer"], row["moved"]
        lines.append(
            f"{row['kind']:10} {row['way']:20} {row['amount']:6.2f} {told:13.1f}% {transfer:9.3f} {far:9.2f}"
        )
    return "\n".join(lines)
