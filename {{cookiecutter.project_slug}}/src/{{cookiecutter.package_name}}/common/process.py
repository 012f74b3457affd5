"""Set up the process of a stage before torch and numpy load: what decides bits, and what only saves time."""

import ctypes
import os
import sys

from ..config import Compute
from .determinism import set_environment

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them


def set_up_process(compute: Compute) -> None:
    """Set the environment that decides bits, give idle cores away, and keep freed memory."""
    set_environment(compute)
    # OpenMP's threads would spin while they wait; beside another process they then wait for each other's time slices.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let glibc keep what is freed: returning large buffers and faulting them in again costs time in every batch."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**30)
        mallopt(_MMAP_THRESHOLD, 2**30) or mallopt(_MMAP_THRESHOLD, 2**25)  # older ones allow no more
