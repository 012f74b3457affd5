"""The one place, besides the data, that decides the bits of a result: threads, instruction sets and kernels.

Two modes, `compute.determinism` in `params.yaml`:

machine   the same bytes on the same machine, whatever its load, from any directory and in any process
portable  the same weights on any x86-64 CPU with AVX2: the instruction sets are pinned too (fp32 only). Only
          onnxruntime still chooses by the CPU, so what ONNX files predict may differ in its last digits

In both modes the number of threads is a parameter, never read from the machine: sums are split by thread.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

from ..config import Compute

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
# What the user's own environment must not decide: OMP_THREAD_LIMIT=1, for example, changes every sum.
NOT_INHERITED = ("OMP_", "GOMP_", "MKL_", "ONEDNN_", "DNNL_", "OPENBLAS_", "NPY_", *PORTABLE)
NOT_INHERITED += ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE")  # NVIDIA's images of torch set the first
DECIDING = ("model name", "flags", "Features", "CPU implementer", "CPU variant", "CPU part")  # the last four: arm64
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them


def environment(compute: Compute) -> dict[str, str]:
    """The environment variables that must be set before torch and numpy load."""
    variables = {
        "OMP_NUM_THREADS": str(compute.threads),
        "MKL_NUM_THREADS": str(compute.threads),
        # OpenBLAS never starts more threads than there are cores; numpy's part of the work is small.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_DYNAMIC": "FALSE",
        "MKL_DYNAMIC": "FALSE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
    return variables | (PORTABLE if compute.determinism == "portable" else {})


def set_up_process(compute: Compute) -> None:
    """Set the environment that decides bits, and what only saves time. Call it before torch or numpy is imported."""
    for name in [name for name in os.environ if name.startswith(NOT_INHERITED)]:
        del os.environ[name]
    os.environ.update(environment(compute))
    if compute.device == "cuda" and "LOCAL_RANK" not in os.environ:
        # One process uses one GPU and leaves the others alone.
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    # OpenMP's threads would spin while they wait; beside another process they would wait for each other's time slices.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    # Let glibc keep freed memory: returning large buffers and faulting them in again costs time in every batch.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**30)
        mallopt(_MMAP_THRESHOLD, 2**30) or mallopt(_MMAP_THRESHOLD, 2**25)  # older versions allow no more


def hardware(compute: Compute) -> str:
    """The hardware that decides bits: the GPU's name, or the CPU and its instruction sets unless they are pinned."""
    import torch

    if compute.device == "cuda":
        return torch.cuda.get_device_name()
    if compute.determinism == "portable":
        return os.uname().machine
    known = sorted({line for line in processor() if line.startswith(DECIDING)})
    return "\n".join([torch.backends.cpu.get_cpu_capability(), *known])


def processor() -> list[str]:
    """What the system says about the CPU, in the form of Linux."""
    if sys.platform == "darwin":
        ask = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return [f"model name: {subprocess.check_output(ask, text=True)}"]
    about = Path("/proc/cpuinfo")
    return about.read_text(encoding="utf-8").splitlines() if about.exists() else []


def use_deterministic_kernels(compute: Compute) -> None:
    """Let torch use only kernels that give the same bits every time, and the pinned number of threads."""
    import torch

    torch.set_deterministic_debug_mode("error")  # like use_deterministic_algorithms, without importing a compiler
    # Filling fresh memory with NaN finds bugs in kernels, but costs time and puts NaN where models rely on `empty`.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010, the stubs lack it
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(compute.threads)
