# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender and the process that decodes for it say to each other.

Messages are JSON, each after its length, over the worker's stdin and stdout; numbers lie in one file that both have
mapped into memory (`Arena`), float32, the input of a request and then its output, both from the first byte on. The
worker speaks first (`hello`); then each request gets one answer, in order.

    hello    {"protocol", "python", "torch", "devices": [{"id", "name", "memory"}]}  or  {"protocol", "error"}
    request  {"id", "do": "map", "path", "size"}
             {"id", "do": "load", "model", "path", "hash", "device"}
             {"id", "do": "decode" | "encode", "model", "rows"}
    answer   {"id"}  or  {"id", "error", "kind": "input" | "memory" | "failed"}

A worker whose stdin ends, ends itself: nothing outlives Blender, however Blender ended. This file and `worker_server`
run in any Python from 3.7 on, so that an old one gets a sentence.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import tempfile
from typing import IO

VERSION = 1
MAGIC = b"LWW1"
MAX_MESSAGE = 1 << 20
_HEAD = struct.Struct("<4sI")


class ProtocolError(Exception):
    """What came over the pipe is no message."""


def send(stream: IO[bytes], message: dict) -> None:
    """Write one message.

    Raises:
        OSError: when nobody reads any more.
    """
    content = json.dumps(message).encode()
    stream.write(_HEAD.pack(MAGIC, len(content)) + content)
    stream.flush()


def receive(stream: IO[bytes]) -> dict | None:
    """Wait for one message; None when the other side has ended.

    Raises:
        ProtocolError: when something else was written there.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, length = _HEAD.unpack(head)
    if magic != MAGIC or length > MAX_MESSAGE:
        raise ProtocolError("something that is no message")
    content = stream.read(length)
    if len(content) < length:
        return None
    try:
        message = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a message that is no JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message of another kind")
    return message


class Arena:
    """Memory that two processes share: a file that both map.

    Not `multiprocessing.shared_memory`, whose tracker would start a second Blender where `sys.executable` is one.

    Attributes:
        path: of the file; gone from the folder already where the system allows that (`unlink`).
        size: bytes.
    """

    def __init__(self, path: str, size: int):
        """Map a file of that size.

        Raises:
            OSError, ValueError: when the file is missing or shorter.
        """
        self.path, self.size = path, size
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), size)

    @classmethod
    def create(cls, size: int) -> Arena:
        """A new file in memory, where the system has such files, else in the temporary folder.

        Raises:
            OSError: when there is no room.
        """
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        handle, path = tempfile.mkstemp(prefix="lwae_worker_", dir=folder)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)  # A sparse file would crash the process once the disk is full.
            else:
                os.truncate(handle, size)
        except OSError:
            os.close(handle)
            os.unlink(path)
            raise
        os.close(handle)
        return cls(path, size)

    def unlink(self) -> None:
        """Take the file's name away; both sides keep the memory. Windows allows that only after `close`."""
        try:
            os.unlink(self.path)
        except OSError:
            pass

    def close(self) -> None:
        self.memory.close()
        self.unlink()
