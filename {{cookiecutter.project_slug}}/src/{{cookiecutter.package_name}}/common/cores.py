"""How many cores this process may use. A container or `taskset` may allow fewer than the machine has."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CPUS = Path("/sys/devices/system/cpu")


def usable_cores() -> int:
    """The number of cores that this process may run on, at most the quota of its cgroup (version 2), rounded up.

    Two CPUs that are threads of one core count once, because onnxruntime gains nothing from the second.
    """
    if not hasattr(os, "sched_getaffinity"):  # as on macOS
        return os.cpu_count() or 1
    cores = {_text(CPUS / f"cpu{cpu}/topology/thread_siblings_list") or cpu for cpu in os.sched_getaffinity(0)}
    return math.ceil(min(len(cores), cpu_quota()))


def cpu_quota() -> float:
    """The smallest CPU quota, in CPUs, of this process's cgroup and those above it; infinity if none has a quota."""
    own = _text(Path("/proc/self/cgroup")).rpartition("::")[2].strip().lstrip("/")
    limits = [_text(folder / "cpu.max").split() for folder in (CGROUPS / own, *(CGROUPS / own).parents)]
    return min((int(limit[0]) / int(limit[1]) for limit in limits if limit and limit[0] != "max"), default=math.inf)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
