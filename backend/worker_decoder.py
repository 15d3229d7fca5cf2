# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder that computes in another process, and the one that goes on with NumPy when that process is lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import numpy as np

from .decoder import Decoder, checked_batch
from .lwae_file import save_model
from .model import FaceModel
from .worker_client import Worker, WorkerError

MAX_BYTES = 1 << 26  # Of vertices in one request.
# Seconds for a request, and for each face more: a hung device keeps a drag waiting once, a busy machine is not hung.
TIMEOUTS = {"decode": (5.0, 0.1), "encode": (30.0, 1.0)}


class WorkerDecoder:
    """Drives a `TorchDecoder` in a child process; equal to `NumpyDecoder` to 1e-4 mm."""

    def __init__(self, model: FaceModel, worker: Worker, device: str = "cpu", path: str = ""):
        """Load the model there; takes seconds.

        Args:
            worker: a started one; several decoders may share it.
            device: one of `worker.devices`.
            path: the model's file; written to the temporary folder for the moment when left out.

        Raises:
            WorkerError: when the worker is lost or cannot load it.
        """
        self.model = model
        self._worker = worker
        self._name = f"{model.hash}-{id(model)}"
        if path:
            worker.load(self._name, os.path.abspath(path), model.hash, device)
            return
        with tempfile.TemporaryDirectory(prefix="lwae_worker_") as folder:
            file = os.path.join(folder, "model.lwae")
            save_model(model, file)
            worker.load(self._name, file, model.hash, device)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes float32 [B, D] to vertices float32 [B, N, 3] in mm.

        Raises:
            LwaeError: when the codes do not fit; WorkerError when the worker is lost, or its answer is of no use.
        """
        return self._compute("decode", checked_batch(self.model, codes, "codes"), (self.model.vertex_count, 3))

    def decode_one(self, code: np.ndarray) -> np.ndarray:
        """One code float32 [D] to vertices float32 [N, 3] in mm."""
        return self.decode(np.asarray(code)[None])[0]

    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices float32 [B, N, 3] in mm, in the model's frame, to codes float32 [B, D].

        Raises:
            LwaeError: when the vertices do not fit; WorkerError when the worker is lost, or its answer is of no use.
        """
        return self._compute("encode", checked_batch(self.model, vertices, "vertices"), (self.model.code_size,))

    def _compute(self, do: str, batch: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        rows = max(1, MAX_BYTES // (12 * self.model.vertex_count))
        pieces = [batch[first : first + rows] for first in range(0, len(batch), rows)]
        base, each = TIMEOUTS[do]
        results = [self._worker.compute(do, self._name, piece, shape, base + each * len(piece)) for piece in pieces]
        if len(results) == 1:
            return results[0]
        return np.concatenate(results) if results else np.zeros((0, *shape), dtype=np.float32)


class FallbackDecoder:
    """Decodes with a worker until that is lost, then with NumPy: no call fails because of the worker.

    Attributes:
        model: both decoders'.
    """

    def __init__(self, worker: WorkerDecoder, steady: Decoder, on_loss: Callable[[WorkerError], None]):
        """
        Args:
            on_loss: told once why, in the thread whose call noticed it.
        """
        self.model = steady.model
        self._worker: WorkerDecoder | None = worker
        self._steady = steady
        self._on_loss = on_loss

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """As `Decoder.decode`."""
        return self._call("decode", codes)

    def decode_one(self, code: np.ndarray) -> np.ndarray:
        """As `NumpyDecoder.decode_one`."""
        return self._call("decode_one", code)

    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """As `Decoder.encode`."""
        return self._call("encode", vertices)

    def _call(self, method: str, batch: np.ndarray) -> np.ndarray:
        worker = self._worker
        if worker is not None:
            try:
                return getattr(worker, method)(batch)
            except WorkerError as error:
                if self._worker is not None:  # Another thread may have been quicker.
                    self._worker = None
                    self._on_loss(error)
        return getattr(self._steady, method)(batch)
