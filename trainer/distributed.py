# SPDX-License-Identifier: GPL-3.0-or-later
"""One training in several processes, as `torchrun` starts them: who does what.

Every process reads its own share of each batch; gradients are averaged (DistributedDataParallel: NCCL between GPUs,
gloo between CPUs), and the first process alone writes. What is drawn for a batch is drawn for all of it by everybody,
from the same state, so that the result does not depend on how many processes there are, but for what each draws within
its own share: dropout, and the mixes of the seam and leakage losses. A checkpoint of any number of processes can be
continued by any other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from backend.errors import LwaeError


@dataclass(frozen=True)
class Team:
    """The processes of a training, as one of them sees it. `Team()` is a process of its own.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def check_batch(self, faces: int) -> None:
        """Raises LwaeError when batches of that many faces cannot be shared."""
        if self.size > 1 and faces % (2 * self.size):
            raise LwaeError(
                f"Batches of {faces} faces cannot be shared by {self.size} processes in pairs; make batch_size a "
                f"multiple of {2 * self.size}, or change the number of processes."
            )

    def rows(self, faces: int) -> np.ndarray:
        """This process's rows of a batch: as many of its first half as of its second, for the two meet in pairs."""
        if self.size == 1:
            return np.arange(faces)
        pairs = self.pairs(faces // 2)
        return np.concatenate([pairs, pairs + faces // 2])

    def pairs(self, count: int) -> np.ndarray:
        """This process's numbers out of that many pairs."""
        own = count // self.size
        return np.arange(self.rank * own, (self.rank + 1) * own) if self.size > 1 else np.arange(count)

    def share(self, drawn: torch.Tensor) -> torch.Tensor:
        """This process's rows of what was drawn for a whole batch."""
        return drawn[self.rows(len(drawn))] if self.size > 1 else drawn

    def share_of_pairs(self, drawn: torch.Tensor) -> torch.Tensor:
        """This process's rows of what was drawn for all pairs of a batch."""
        return drawn[self.pairs(len(drawn))] if self.size > 1 else drawn

    def wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module, its gradients averaged over all processes."""
        # Buffers are constants of the mesh, which every process made from the same file.
        return DistributedDataParallel(module, broadcast_buffers=False) if self.size > 1 else module

    def mean(self, numbers: torch.Tensor) -> torch.Tensor:
        """The mean of some numbers over all processes."""
        if self.size > 1:
            distributed.all_reduce(numbers)
            numbers /= self.size
        return numbers

    def leader_does(self, task: Callable[[], object]) -> None:
        """Let the first process do something while the others wait; its LwaeError is raised by all."""
        said = [None]
        if self.leads:
            try:
                task()
            except LwaeError as error:
                said = [str(error)]
        if self.size > 1:
            distributed.broadcast_object_list(said)
        if said[0] is not None:
            raise LwaeError(said[0])

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Team()


def own_device(device: str) -> str:
    """The device of this process: of several GPUs in one machine each process has its own."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


@contextlib.contextmanager
def team(device: str) -> Iterator[Team]:
    """The processes that `torchrun` has started, connected; `ALONE` where it has not.

    Raises:
        LwaeError: when they do not find one another.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if not size.isdecimal():
        raise LwaeError(f"The environment variable WORLD_SIZE is {size!r}, and no number of processes; unset it.")
    if int(size) < 2:
        yield ALONE
        return
    if distributed.is_initialized():
        yield Team(distributed.get_rank(), distributed.get_world_size())
        return
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise LwaeError(f"The processes of this training cannot find one another: {error}") from error
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
