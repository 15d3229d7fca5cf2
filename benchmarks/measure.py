# SPDX-License-Identifier: GPL-3.0-or-later
"""What all benchmarks have in common: rows of figures, timing with the baseline in the same run, peak memory."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclasses.dataclass
class Row:
    """One figure.

    Attributes:
        what: what was measured.
        unit: of `median` and `p95`.
        limit: what the figure must reach, as text such as "p95 <= 1"; empty where there is none.
        met: whether it did; None without a limit.
        baseline: it is there to compare with.
        note: how it was measured, or why it was not.
    """

    what: str
    median: float | None
    p95: float | None
    unit: str
    limit: str = ""
    met: bool | None = None
    baseline: bool = False
    note: str = ""


def row(what: str, seconds: Sequence[float], *, median=None, p95=None, unit="ms", **options) -> Row:
    """A row of durations; `median` and `p95` are the largest ones allowed."""
    scale = {"ms": 1e3, "s": 1.0}[unit]
    middle, high = (float(np.percentile(seconds, share)) * scale for share in (50, 95))
    limits = [("median", median, middle), ("p95", p95, high)]
    limits = [(name, most, found) for name, most, found in limits if most is not None]
    met = all(found <= most for _, most, found in limits) if limits else None
    limit = ", ".join(f"{name} <= {most:g}" for name, most, _ in limits)
    return Row(what, middle, high, unit, limit, met, **options)


def value(what: str, number: float, unit: str, *, least=None, most=None, **options) -> Row:
    """A row of one number, such as a ratio or a size."""
    limit = f">= {least:g}" if least is not None else f"<= {most:g}" if most is not None else ""
    number = float(number)
    met = None if not limit else number >= least if least is not None else number <= most
    return Row(what, number, None, unit, limit, met, **options)


def missing(what: str, note: str, unit: str = "") -> Row:
    return Row(what, None, None, unit, note=note)


def interleaved(
    functions: dict[str, Callable[[], object]], repeats: int, warm_ups: int = 2
) -> dict[str, list[float]]:
    """Seconds of each call by name, the functions taking turns, so that what else the machine does hits all alike."""
    for _ in range(warm_ups):
        for function in functions.values():
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return times


def pinned(threads: int) -> dict[str, str]:
    """An environment in which BLAS and PyTorch use that many threads."""
    return os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"PYTHONPATH": str(ROOT)}


def machine() -> dict[str, str | int]:
    """What a figure depends on: processor, cores, versions; no names of machines or people."""
    found = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    from importlib import metadata

    for name in ("torch", "torch-geometric", "scipy", "anny", "bpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return found | {"revision": "unknown"}
    return found | {"revision": result.stdout.strip()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    flags = next((line for line in lines if line.startswith("flags")), "")
    widest = next((kind for kind in ("avx512f", "avx2", "avx") if f" {kind}" in flags), "")
    return f"{model} {widest}".strip()
