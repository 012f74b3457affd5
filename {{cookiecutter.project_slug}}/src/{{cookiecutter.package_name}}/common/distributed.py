"""The processes that run one stage together, where `launcher` starts several, as torchrun does.

Each is told its rank by its environment. Started by `python`, a stage is one process, and nobody is waited for.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from ..config import Compute
from ..errors import UserError

PATIENCE = timedelta(hours=2)  # how long one may wait for another, which may be reading a large table
_PR_SET_PDEATHSIG = 1


def join(compute: Compute) -> torch.device:
    """Meet the other processes of this stage, if a launcher started any; the device of this one.

    Raises UserError when there are more processes than GPUs.
    """
    if "LOCAL_RANK" not in os.environ:
        return torch.device(compute.device)
    _end_with_the_launcher()
    if compute.device == "cpu":
        distributed.init_process_group("gloo", timeout=PATIENCE)
        return torch.device("cpu")
    place, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= cards:
        raise UserError(
            "more processes than GPUs",
            expected=f"at most {cards} on this machine, one for each GPU",
            found=os.environ["LOCAL_WORLD_SIZE"],
            fix="lower --nproc-per-node in launcher in params.yaml",
        )
    torch.cuda.set_device(place)
    distributed.init_process_group("nccl", timeout=PATIENCE)
    return torch.device("cuda", place)


def count() -> int:
    """How many processes run this stage."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the one that writes what all share: outs, reports, marks."""
    return rank() == 0


def wait() -> None:
    """Wait until every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """Let the first process end the block before the others begin it: they find what it wrote."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def as_the_first(value: bool) -> bool:
    """The value of the first process, in all of them."""
    said = [value]
    if distributed.is_initialized():
        distributed.broadcast_object_list(said)
    return said[0]


def mean(value: Tensor) -> Tensor:
    """The mean of all processes' values."""
    if distributed.is_initialized():
        distributed.all_reduce(value)
        value /= count()
    return value


def gather(values: list[Any]) -> list[Any] | None:
    """All processes' values under each other, for the first process; None for the others."""
    if not distributed.is_initialized():
        return values
    found: list[Any] | None = [None] * count() if is_first() else None
    distributed.gather_object(values, found)
    return None if found is None else [value for own in found for value in own]


def share_of_batch(batch_size: int) -> int:
    """The rows of a batch that fall to each process. Raises UserError when they cannot be shared equally."""
    if batch_size % count():
        raise UserError(
            "a batch cannot be shared equally",
            expected=f"fine_tune.batch_size to be a multiple of {count()}, the number of processes",
            found=str(batch_size),
            fix="change fine_tune.batch_size or launcher in params.yaml",
        )
    return batch_size // count()


def _end_with_the_launcher() -> None:
    # torchrun gives its processes sessions of their own: killed itself, it would leave them training.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
