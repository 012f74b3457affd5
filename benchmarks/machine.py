"""What a measurement must say of where it was made."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def cpu() -> str:
    """The CPU as the kernel names it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def cpu_flags() -> set[str]:
    """What the CPU can do, as the kernel names it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return set(next((line.split(": ")[1] for line in lines if line.startswith("flags")), "").split())


def machine(*packages: str) -> str:
    """CPU, cores and versions in one line."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    return f"{cpu()}, {os.cpu_count()} cores; {', '.join(versions)}"


def peak() -> float:
    """The largest resident memory of this process, in MB; `getrusage` would also count that of its parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
