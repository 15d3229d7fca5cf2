# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that decodes for Blender in a Python of its own, with PyTorch. `worker_client` starts it.

See `worker_protocol`. Whatever libraries print goes to stderr, which the parent keeps in a file.
"""

from __future__ import annotations

import os
import platform
import queue
import signal
import sys
import threading
import traceback

from . import worker_protocol as protocol

LEAST_PYTHON = (3, 10)


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in Blender's terminal is for Blender.
    reading, writing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    requests = queue.Queue()
    threading.Thread(target=_read, args=(reading, requests), daemon=True).start()
    protocol.send(writing, _hello())
    server = Server()
    while True:
        request = requests.get()
        protocol.send(writing, {"id": request.get("id"), **server.answer(request)})


def _read(stream, requests) -> None:
    """In a thread, so that the process ends with its parent even in the middle of its work."""
    while True:
        try:
            request = protocol.receive(stream)
        except (protocol.ProtocolError, OSError):
            request = None
        if request is None:
            os._exit(0)
        requests.put(request)


def _hello() -> dict:
    hello = {"protocol": protocol.VERSION, "python": platform.python_version()}
    if sys.version_info < LEAST_PYTHON:
        return {**hello, "error": f"it is Python {hello['python']}, but 3.10 or newer is needed"}
    try:
        import numpy  # noqa: F401
        import torch
    except Exception as error:  # A broken installation raises anything.
        traceback.print_exc()
        missing = isinstance(error, ModuleNotFoundError)
        return {**hello, "error": f"it has no module {error.name}" if missing else f"its PyTorch is broken: {error}"}
    return {**hello, "torch": torch.__version__, "devices": devices()}


def devices() -> list:
    """What this PyTorch can compute on, the fastest first: id, name, memory in bytes (0 unknown)."""
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        found.append({"id": f"cuda:{index}", "name": properties.name, "memory": properties.total_memory})
    if torch.backends.mps.is_available():
        found.append({"id": "mps", "name": "Apple GPU", "memory": _system_memory()})
    name = f"Processor, {torch.get_num_threads()} threads"
    return [*found, {"id": "cpu", "name": name, "memory": _system_memory()}]


def _system_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 0


class Server:
    """Answers requests, one at a time."""

    def __init__(self):
        self._arena = None
        self._decoders = {}
        self._actions = {"map": self._map, "load": self._load, "decode": self._decode, "encode": self._encode}

    def answer(self, request: dict) -> dict:
        """What goes back besides the id; never raises."""
        from .errors import LwaeError

        try:
            self._actions[request["do"]](request)
        except LwaeError as error:
            return {"error": str(error), "kind": "input"}
        except Exception as error:  # Whatever it was: the parent goes on without us.
            traceback.print_exc()
            sys.stderr.flush()
            return {"error": f"{type(error).__name__}: {str(error)[:500]}", "kind": _kind(error)}
        return {}

    def _map(self, request: dict) -> None:
        if self._arena is not None:
            self._arena.memory.close()
        self._arena = protocol.Arena(request["path"], request["size"])

    def _load(self, request: dict) -> None:
        import numpy as np
        import torch

        from .errors import LwaeError
        from .lwae_file import load_model
        from .torch_decoder import TorchDecoder

        # The same numbers as NumPy's to 1e-4 mm, which tf32 would not give.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        model = load_model(request["path"])
        if model.hash != request["hash"]:
            raise LwaeError(f"{os.path.basename(request['path'])} was replaced since it was loaded.")
        decoder = TorchDecoder(model, request["device"])
        # The first call of each kind builds kernels and takes seconds: now, not in the middle of a drag.
        vertices = decoder.decode(np.zeros((1, model.code_size), np.float32))
        decoder.encode(vertices)
        self._decoders[request["model"]] = decoder

    def _decode(self, request: dict) -> None:
        decoder = self._decoders[request["model"]]
        self._write(decoder.decode(self._input(request["rows"], (decoder.model.code_size,))))

    def _encode(self, request: dict) -> None:
        decoder = self._decoders[request["model"]]
        self._write(decoder.encode(self._input(request["rows"], (decoder.model.vertex_count, 3))))

    def _input(self, rows: int, shape: tuple):
        """A copy: the answer goes to the same place."""
        import numpy as np

        count = rows * int(np.prod(shape))
        return np.frombuffer(self._arena.memory, np.float32, count).reshape(rows, *shape).copy()

    def _write(self, array) -> None:
        import numpy as np

        np.frombuffer(self._arena.memory, np.float32, array.size)[:] = array.ravel()


def _kind(error: Exception) -> str:
    # PyTorch has a class for a full GPU only, and it moved.
    text = f"{type(error).__name__} {error}".lower()
    full = ("outofmemory", "memoryerror", "out of memory", "allocate memory", "not enough memory")
    return "memory" if any(words in text for words in full) else "failed"
