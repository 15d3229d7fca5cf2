# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model from nothing, as its card says: the commands one after the other, training at full length."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .measure import ROOT, Row, missing, value

LIMIT_MINUTES = 20


def run(quick: bool = False) -> list[Row]:
    faces, epochs = (200, 2) if quick else (2000, None)
    with tempfile.TemporaryDirectory() as folder:
        data, trained, start = (str(Path(folder, name)) for name in ("data", "run", "start"))
        length = ["--epochs", str(epochs)] if epochs else []
        commands = {
            f"prepare anny, {faces:,} heads": ["prepare", "anny", "--count", str(faces), "--seed", "0", "--out", data],
            "weights, 8 parts": ["weights", data, "--parts", "8"],
            "its start, the closed form, and one epoch": ["train", data, "--epochs", "1", "--out", start],
            f"training, {epochs or 'all'} epochs, start included": ["train", data, *length, "--out", trained],
        }
        rows = []
        for what, command in commands.items():
            command, begun = [sys.executable, "-m", "trainer", *command], time.perf_counter()
            result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if result.returncode:
                return [*rows, missing(what, result.stderr.strip().splitlines()[-1])]
            minutes = (time.perf_counter() - begun) / 60
            limit = {"most": LIMIT_MINUTES} if "start included" in what and not quick else {}
            rows.append(value(what, minutes, "minutes", baseline=not limit, **limit))
    return rows
