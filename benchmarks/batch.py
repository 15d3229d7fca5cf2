# SPDX-License-Identifier: GPL-3.0-or-later
"""Many faces: decoding in batches beside anny, and `synth` from seed to files, its memory and its shards."""

from __future__ import annotations

import filecmp
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np

from backend.numpy_decoder import NumpyDecoder

from . import large_head
from .in_blender import addon, call
from .measure import Row, interleaved, missing, value

BATCH = 100
MANY = 100_000
SHARDS = 3


def run(quick: bool = False) -> list[Row]:
    rows = _decoding(5 if quick else 20)
    try:
        rows += _synth(quick)
    except (RuntimeError, OSError) as error:
        rows.append(missing("synth", f"not measured: {str(error)[-300:]}"))
    return rows


def _decoding(repeats: int) -> list[Row]:
    rows, head = [], _anny_head()
    for model in (large_head.bundled_model(), large_head.large_model()):
        large = model.vertex_count == large_head.PAPER_VERTICES
        codes = model.prior.sample(np.random.default_rng(0), BATCH)
        calls = {"NumPy": _call(NumpyDecoder(model), codes)}
        try:
            from backend.torch_decoder import TorchDecoder

            calls["PyTorch"] = _call(TorchDecoder(model), codes)
        except ImportError as error:
            rows.append(missing("decoding in PyTorch", str(error)))
        if head is not None and not large:
            calls["anny"] = partial(head.forward, BATCH)
        times = interleaved(calls, 3 if large else repeats)
        speed = {name: BATCH / np.median(seconds) for name, seconds in times.items()}
        anny = speed.pop("anny", None)
        for name, found in speed.items():
            what = f"decoding, {name}, batch {BATCH}, {model.vertex_count:,} vertices"
            rows.append(value(what, found, "faces/s", least=anny and round(anny)))
        if anny:
            what = f"anny's head forward, batch {BATCH}, {head.vertex_count:,} vertices"
            rows.append(value(what, anny, "faces/s", baseline=True))
    return rows


def _call(decoder, codes: np.ndarray):
    return partial(decoder.decode, codes)


def _anny_head():
    try:
        from .slider import anny_head

        return anny_head()
    except ImportError:
        return None


def _synth(quick: bool) -> list[Row]:
    rows, count = [], 640 if quick else 6400
    for kind, least in (("npz", 1000), ("ply", 300)):
        faces = count if kind == "npz" else count // 2
        one = call("batch:synth", kind, faces, [])
        note = f"NumPy with {one['blas']}"
        rows.append(value(f"synth to {kind}, one process", faces / one["seconds"], "faces/s", least=least, note=note))
        two = call("batch:synth", kind, faces, ["--jobs", "2"])
        note = "two Blenders start first"
        rows.append(value(f"synth to {kind}, --jobs 2", faces / two["seconds"], "faces/s", note=note))
    rows.append(value("shards that differ from one run", call("batch:differences", 200), "files", most=0))
    many = MANY // 50 if quick else MANY
    grown = call("batch:memory", many)
    note = f"{grown['first'] / 1e6:.0f} MB after the first tenth, then {grown['last'] / 1e6:.0f} MB"
    more = (grown["last"] - grown["first"]) / 1e6
    return [*rows, value(f"memory that {many:,} faces add after the first tenth", more, "MB", most=20, note=note)]


def synth(kind: str, count: int, options: list[str]) -> dict:
    """In Blender: seconds that the command takes, model loading included, and the BLAS that NumPy was built for."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        _command(kind, count, f"{folder}/faces", options)
        return {"seconds": time.perf_counter() - start, "blas": blas}


def _command(kind: str, count: int, out: str, options: list[str]) -> None:
    arguments = ["synth", "--count", str(count), "--seed", "1", "--format", kind, "--out", out, *options]
    status = addon("cli").main(arguments)
    if status:
        raise RuntimeError(f"synth ended with {status}")


def differences(count: int) -> int:
    """In Blender: how many files of one run differ from those that its shards write."""
    with tempfile.TemporaryDirectory() as folder:
        whole, shared = Path(folder, "whole"), Path(folder, "shared")
        _command("ply", count, str(whole), [])
        for shard in range(SHARDS):
            _command("ply", count, str(shared), ["--shard", f"{shard + 1}/{SHARDS}"])
        names = [path.name for path in whole.glob("face_*.ply")]
        if len(names) != count:
            raise RuntimeError(f"{len(names)} files instead of {count}")
        _, mismatch, errors = filecmp.cmpfiles(whole, shared, names, shallow=False)
        return len(mismatch) + len(errors)


def memory(count: int) -> dict:
    """In Blender: memory after the first tenth of many faces and the most after it; files are deleted at once."""
    from .memory import resident

    done, seen = threading.Event(), []
    with tempfile.TemporaryDirectory() as folder:

        def watch():
            deleted = 0
            while not done.wait(0.05):
                finished = sorted(Path(folder).glob("faces/faces_*.npz"))
                for path in finished:
                    path.unlink()
                deleted += len(finished)
                seen.append((deleted, resident()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            _command("npz", count, f"{folder}/faces", [])
        finally:
            done.set()
            watcher.join()
    blocks = seen[-1][0]
    first = max(size for deleted, size in seen if deleted <= blocks / 10)
    return {"first": first, "last": max(size for deleted, size in seen if deleted > blocks / 10)}
