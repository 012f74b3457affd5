"""The processes (ranks) that run one stage together if `launcher` starts several, as torchrun does.

Each process finds its rank in its environment. If `python` starts a stage, it is one process of rank 0.
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
from ..errors import UserError, raise_if_memory

TIMEOUT = timedelta(hours=2)  # how long a rank may wait for another, which may be reading a large table
_PR_SET_PDEATHSIG = 1


def join(compute: Compute) -> torch.device:
    """Join the process group of this stage, if a launcher started several processes. Returns the device of this rank.

    Raises UserError when there are fewer GPUs than processes that need one, or torch cannot use this rank's.
    """
    if "LOCAL_RANK" in os.environ and sys.platform == "linux":
        # torchrun starts its processes in their own sessions. If it were killed, they would go on training.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    device = _gpu() if compute.device == "cuda" else torch.device("cpu")
    if "LOCAL_RANK" in os.environ:
        distributed.init_process_group("gloo" if device.type == "cpu" else "nccl", timeout=TIMEOUT)
    return device


def _gpu() -> torch.device:
    local_rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if 0 < gpus <= local_rank:
        raise UserError(
            "more processes than GPUs",
            expected=f"at most {gpus} on this machine, one for each GPU",
            found=os.environ["LOCAL_WORLD_SIZE"],
            fix="lower --nproc-per-node in launcher in params.yaml",
        )
    try:
        torch.cuda.init()
        torch.cuda.set_device(local_rank)
        torch.ones(1, device="cuda")
    except (AssertionError, RuntimeError) as error:
        raise_if_memory(error)
        raise UserError(
            "torch finds no GPU that it can use",
            expected=f"a GPU that torch {torch.__version__} supports: {' '.join(torch.cuda.get_arch_list()) or 'none'}",
            found=str(error).partition("\n")[0],
            fix="set compute.device to cpu, or install another build: rm -rf .venv && make setup TORCH_INDEX=…",
        ) from None
    return torch.device("cuda", local_rank)


def world_size() -> int:
    """How many processes run this stage."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def on_rank_0() -> bool:
    """Whether this process writes what all ranks share: outs, reports, caches."""
    return rank() == 0


def barrier() -> None:
    """Wait until every rank has come to this point."""
    if distributed.is_initialized():
        distributed.barrier()


@contextmanager
def rank_0_first() -> Iterator[None]:
    """Let rank 0 finish the block before the others begin it, so that they find what it wrote."""
    if not on_rank_0():
        barrier()
    yield
    if on_rank_0():
        barrier()


def broadcast(value: Any) -> Any:
    """The value of rank 0, on every rank."""
    values = [value]
    if distributed.is_initialized():
        distributed.broadcast_object_list(values)
    return values[0]


def all_reduce_mean(value: Tensor) -> Tensor:
    """The mean of the values of all ranks, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(value)
        value /= world_size()
    return value


def gather(values: list[Any]) -> list[Any] | None:
    """The values of all ranks in one list, on rank 0; None on the others."""
    if not distributed.is_initialized():
        return values
    found: list[Any] | None = [None] * world_size() if on_rank_0() else None
    distributed.gather_object(values, found)
    return None if found is None else [value for own in found for value in own]


def require_divisible(batch_size: int) -> None:
    """Raise UserError when a batch cannot be divided equally among the ranks."""
    if batch_size % world_size():
        raise UserError(
            "a batch cannot be divided equally",
            expected=f"fine_tune.batch_size to be a multiple of {world_size()}, the number of processes",
            found=str(batch_size),
            fix="change fine_tune.batch_size or launcher in params.yaml",
        )


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; the copy to a GPU does not block."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
