"""What the card is, the versions, and how fast its matrix products are, as JSON.

    python benchmarks/gpu_card.py cuda

TFLOP/s of the largest product that a model could hope for, 8192 x 8192 x 8192 of random numbers; in float32 without
TF32, because the project does not use it. The median of ten after three.
"""

import json
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version

import torch
from machine import cpu

SIZE = {"cuda": 8192, "cpu": 256}
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    """Print it."""
    device = sys.argv[1]
    packages = ("torch", "transformers", "tokenizers", "numpy", "polars")
    found = {
        "card": cpu(),
        "driver": "",
        "versions": f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages),
        "peak": {name: rate(device, kind) for name, kind in KINDS.items()},
    }
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        found |= {"card": f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB", "driver": driver}
        found["versions"] += f", CUDA {torch.version.cuda}"
    print(json.dumps(found))


def rate(device: str, kind: torch.dtype) -> float:
    """TFLOP/s of a product in this precision."""
    size = SIZE[device]
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    seconds = []
    for _ in range(13):
        wait(device)
        start = time.perf_counter()
        left @ right
        wait(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[3:]) / 1e12


def wait(device: str) -> None:
    """Wait until the device has nothing more to do."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
