"""Write down the environment: `make snapshot`, or `make snapshot NAME=laptop` for snapshots/laptop.json.

What a later reader needs to make the same bytes or to see why they differ: system, processor, GPU, Python, packages,
threads, the environment variables that decide bits, the commit. Of the environment only the variables that
determinism.py names are read, so that no secret is. No stage reads the file; commit it if it should be kept.
"""

import argparse
import csv
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import torch

from {{ cookiecutter.package_name }}.common import determinism
from {{ cookiecutter.package_name }}.common.io import sha256_of, write_json
from {{ cookiecutter.package_name }}.config import Compute, load_params
from {{ cookiecutter.package_name }}.errors import UserError

FOLDER = Path("snapshots")
LOCK = Path("dvc.lock")
# Libraries pick their kernels by these; the other flags of a processor decide nothing here.
INSTRUCTION_SETS = re.compile(r"(s?sse|avx|fma|f16c|amx|bmi|asimd|sve|bf16|i8mm)\w*")
HASH = "sha256 of the sorted entries of the RECORD, without scripts, byte code and the installer's notes"
NOTES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def main() -> int:
    """Write the snapshot; 0 when it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="environment", help="of the file in snapshots/; default: %(default)s")
    parser.add_argument("--output", type=Path, help="another file")
    arguments = parser.parse_args()
    path = arguments.output or FOLDER / f"{arguments.name}.json"
    try:
        write_json(path, snapshot(load_params().compute))
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    print(f"{path}: the environment as it is now")
    return 0


def snapshot(compute: Compute) -> dict[str, Any]:
    """All facts; `compute` is that of params.yaml."""
    return {
        "project": project(),
        "compute": {
            "determinism": compute.determinism,
            "device": compute.device,
            "threads": compute.threads,
            "set": sorted(determinism.environment(compute)),
        },
        "system": system(),
        "cpu": processor(),
        "gpu": gpus(),
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "hash_of_a_package": HASH,
        "packages": {name: {"version": p.version, "hash": hash_of(p)} for name, p in installed().items()},
        "environment": {name: os.environ.get(name) for name in determinism.names_that_decide(compute)},
    }


def project() -> dict[str, Any]:
    """The commit, whether anything beside snapshots differs from it, and the hash of dvc.lock."""
    return {
        "commit": said("git", "rev-parse", "HEAD"),
        "clean": said("git", "status", "--porcelain", "--", ".", f":!{FOLDER}") == "",
        "dvc_lock_sha256": sha256_of(LOCK) if LOCK.exists() else None,
    }


def system() -> dict[str, Any]:
    """Operating system, kernel, C library and memory."""
    release = platform.freedesktop_os_release()["PRETTY_NAME"] if sys.platform == "linux" else platform.platform()
    return {
        "os": release,
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def processor() -> dict[str, Any]:
    """The processor's name, its cores and the instruction sets that kernels are chosen by (Linux)."""
    source = Path("/proc/cpuinfo")
    lines = source.read_text(encoding="utf-8").splitlines() if source.exists() else []
    facts = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = (facts.get("flags") or facts.get("features", "")).split()
    return {
        "name": facts.get("model name") or platform.processor(),
        "family_model_stepping": "/".join(facts.get(key, "?") for key in ("cpu family", "model", "stepping")),
        "cores": os.cpu_count(),
        "instruction_sets": sorted(flag for flag in flags if INSTRUCTION_SETS.fullmatch(flag)),
    }


def gpus() -> dict[str, Any] | None:
    """NVIDIA's cards and driver, and the CUDA and cuDNN of this build of torch; None without either."""
    fields = "name,driver_version,memory.total"
    cards = said("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader") if shutil.which("nvidia-smi") else ""
    if not cards and torch.version.cuda is None:
        return None
    rows = [dict(zip(fields.split(","), map(str.strip, row), strict=True)) for row in csv.reader(cards.splitlines())]
    return {"cards": rows, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def installed() -> dict[str, Distribution]:
    """Every installed package by its normalised name; the first on the path counts, as for an import.

    A directory that was installed, as this project is, is left out: its commit tells more.
    """
    found: dict[str, Distribution] = {}
    for one in distributions():
        if "dir_info" not in json.loads(one.read_text("direct_url.json") or "{}"):
            found.setdefault(re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(), one)
    return dict(sorted(found.items()))


def hash_of(package: Distribution) -> str | None:
    """One hash of the files as they were installed, equal on every machine for one wheel; None without a RECORD."""
    record = package.read_text("RECORD")
    if record is None:
        return None
    entries = [
        f"{path}={digest}"
        for path, digest, _ in csv.reader(record.splitlines())
        if digest and not path.startswith(("..", "/")) and Path(path).name not in NOTES
    ]
    return hashlib.sha256("\n".join(sorted(entries)).encode()).hexdigest()


def said(*command: str) -> str:
    """What a command prints; empty where it fails, as git does before the first commit."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
