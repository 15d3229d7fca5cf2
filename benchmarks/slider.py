# SPDX-License-Identifier: GPL-3.0-or-later
"""Slider to vertices in NumPy, one thread: one control moved, the decoder knows the face as it was."""

from __future__ import annotations

import time

import numpy as np

from backend.model import WHOLE, FaceModel
from backend.numpy_decoder import NumpyDecoder

from . import large_head
from .measure import Row, interleaved, missing, row, value

STEPS = 10  # of each drag; the first of them meets another part than the drag before
WHOLE_STEPS = 200  # of a slider of the whole face; some eight of them meet a new direction


def run(quick: bool = False) -> list[Row]:
    rounds = 1 if quick else 3
    rows = [*of_model(large_head.bundled_model(), rounds, {"p95": 1.0}), *_anny(50 if quick else 300)]
    rows += of_model(large_head.large_model(), rounds, {"median": 5.0, "p95": 8.0})
    rows.append(value("LAMM, published, 12,000 vertices", 1000 / 60, "ms", baseline=True, note="60 fps"))
    return rows + _paper(rounds)


def of_model(model: FaceModel, rounds: int, limits: dict[str, float]) -> list[Row]:
    """Every slider of every part dragged in turn, and beside each step the same face decoded as a whole."""
    decoder, rng = NumpyDecoder(model), np.random.default_rng(0)
    code = model.prior.sample(rng, 1)[0]
    decoder.decode_one(code)
    whole, first, later = [], [], []
    for _ in range(rounds):
        for number, control in enumerate(model.controls):
            if control.part == WHOLE:
                continue
            opens = number == 0 or model.controls[number - 1].part != control.part
            for step in range(STEPS):
                code[model.part_slice(control.part)] += np.float32(rng.uniform(-0.2, 0.2)) * control.direction
                start = time.perf_counter()
                decoder.decode_one(code)
                (first if opens and step == 0 else later).append(time.perf_counter() - start)
            start = time.perf_counter()
            decoder.decode(code[None])
            whole.append(time.perf_counter() - start)
    size = f"{model.vertex_count:,} vertices"
    of_all = [control for control in model.controls if control.part == WHOLE]
    all_parts, begun = [], []
    for _ in range(rounds):
        for control in of_all:
            base, amount = code, np.float32(0)
            for step in range(WHOLE_STEPS):
                amount += np.float32(rng.uniform(-0.2, 0.2))
                code = base + amount * control.direction
                start = time.perf_counter()
                decoder.decode_one(code)
                (all_parts if step else begun).append(time.perf_counter() - start)
    of_whole_face = []
    if of_all:
        note = f"{WHOLE_STEPS} steps of every slider"
        of_whole_face = [
            row(f"a slider of the whole face moved, {size}", all_parts, **limits, note=note),
            row(f"the first step of a slider of the whole face, {size}", begun),
        ]
    note = f"{len(first + later)} steps, every slider of every part"
    return [
        row(f"one control of a part moved, {size}", first + later, **limits, note=note),
        row(f"the first step at another part, {size}", first[model.part_count :] or first),
        *of_whole_face,
        row(f"the whole face decoded as a batch of one, {size}", whole, baseline=True),
    ]


def _anny(repeats: int) -> list[Row]:
    try:
        head = anny_head()
    except ImportError:
        return [missing("anny's head forward, batch 1", "anny is not installed")]
    what = f"anny's head forward, batch 1, {head.vertex_count:,} vertices"
    return [row(what, interleaved({"anny": lambda: head.forward(1)}, repeats)["anny"], baseline=True)]


class anny_head:  # noqa: N801 (used like a function)
    """anny's own head model in single precision, at rest pose, with all its shape parameters."""

    def __init__(self):
        import anny
        import torch

        self._torch = torch
        self._body = anny.Anny(rig="makehuman-head", topology="head", local_changes="default", phenotypes="all")
        self._body = self._body.to(torch.float32)
        self.vertex_count = len(self._body.template_vertices)
        self._rng = np.random.default_rng(0)

    def forward(self, batch: int):
        torch = self._torch
        values = torch.as_tensor(self._rng.random((batch, len(self._body.phenotype_labels)), dtype=np.float32))
        changes = self._rng.uniform(-0.2, 0.2, (batch, len(self._body.local_change_labels)))
        with torch.inference_mode():
            changes = torch.as_tensor(changes.astype(np.float32))
            return self._body(phenotype_kwargs=values, local_changes_kwargs=changes)["vertices"]


def _paper(rounds: int) -> list[Row]:
    """The paper's own network, for which there is no limit: one convolution of the finest mesh costs more."""
    try:
        from .paper_scale import untrained_paper_model
    except ImportError:
        return [missing("one control moved, preset paper", "PyTorch or SciPy is not installed")]
    rows = []
    for base in (large_head.bundled_model(), large_head.large_model()):
        model = untrained_paper_model(base)
        decoder, rng = NumpyDecoder(model), np.random.default_rng(0)
        code = rng.standard_normal(model.code_size).astype(np.float32)

        def step(decoder=decoder, model=model, code=code, rng=rng):
            code[model.part_slice(int(rng.integers(model.part_count)))] += 0.1
            decoder.decode_one(code)

        what = f"one part moved, preset paper, {model.vertex_count:,} vertices"
        rows.append(row(what, interleaved({"paper": step}, 10 * rounds)["paper"]))
    return rows
