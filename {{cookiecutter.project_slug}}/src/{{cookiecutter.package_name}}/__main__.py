"""Run one stage, as `dvc.yaml` does.

    python -m {{ cookiecutter.package_name }} fine_tune

The parameters are validated and the process environment is set before the stage is imported, because torch and numpy
read their number of threads and instruction sets while they load.
"""

import ctypes
import errno
import importlib
import sys

from .common import determinism
from .config import STAGES, load_params
from .errors import UserError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them


def main() -> int:
    """Run the stage named on the command line; 0 when its outs are written, 1 after a user's mistake."""
    if len(sys.argv) != 2 or sys.argv[1] not in STAGES:
        print(f"usage: python -m {__package__} {'|'.join(STAGES)}", file=sys.stderr)
        return 2
    try:
        params = load_params()
        determinism.set_environment(params.compute)
        keep_freed_memory()
        importlib.import_module(f".stages.{sys.argv[1]}", __package__).run(params)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; `dvc repro` goes on here", file=sys.stderr)
        return 130
    except Exception as error:
        if not disk_is_full(error):
            raise
        print("error: the disk is full; free some space and run `dvc repro` again, it goes on here", file=sys.stderr)
        return 1
    return 0


def keep_freed_memory() -> None:
    """Let glibc keep what is freed; to give it back and take it again costs a seventh of the time of embedding."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**30)
        mallopt(_MMAP_THRESHOLD, 2**30) or mallopt(_MMAP_THRESHOLD, 2**25)  # older ones allow no more


def disk_is_full(error: BaseException) -> bool:
    """Whether a write failed for lack of space; torch and safetensors say so in words of their own."""
    words = ("No space left", "os error 28", "PytorchStreamWriter failed", "unexpected pos")
    return getattr(error, "errno", None) == errno.ENOSPC or any(word in str(error) for word in words)


if __name__ == "__main__":
    sys.exit(main())
