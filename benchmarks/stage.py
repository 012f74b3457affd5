"""Run one stage of a grown project as its launcher does, with a clock.

    python benchmarks/stage.py review_sentiment embeddings      (in the project's root, its src on PYTHONPATH)

The last line it prints is JSON: `import`, the seconds until the stage is imported; `seconds`, those of its run;
`processor`, those of all processors in it; `parts`, the seconds of each function of the package that the stage
calls by name (one may call another); `peak`, the largest resident memory in MB.
"""

import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any

from machine import peak

SPIN = "BENCH_SPIN"  # set: threads that wait spin, as OpenMP and onnxruntime let them by default


def main() -> None:
    """Run the stage that the command line names."""
    package, stage = sys.argv[1:]
    start = time.perf_counter()
    params, module = loaded(package, stage)
    imported = time.perf_counter() - start
    parts: dict[str, float] = {}
    for name, value in list(vars(module).items()):
        if isinstance(value, FunctionType) and value.__module__.startswith(package) and name != "run":
            setattr(module, name, timed(value, parts))
    start, before = time.perf_counter(), time.process_time()
    module.run(params)
    seconds, processor = time.perf_counter() - start, time.process_time() - before
    measured = {"import": imported, "seconds": seconds, "processor": processor, "parts": parts, "peak": peak()}
    print(json.dumps(measured))


def loaded(package: str, stage: str) -> tuple[Any, Any]:
    """The parameters, and the stage's module in the process environment that the launcher gives it."""
    params = importlib.import_module(f"{package}.config").load_params()
    importlib.import_module(f"{package}.common.determinism").set_up_process(params.compute)
    if SPIN in os.environ:
        del os.environ["OMP_WAIT_POLICY"]
    return params, importlib.import_module(f"{package}.stages.{stage}")


def timed(function: Callable, parts: dict[str, float]) -> Callable:
    """The function, its seconds added up under its name."""

    @functools.wraps(function)
    def run(*arguments: object, **named: object) -> object:
        start = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            parts[function.__name__] = parts.get(function.__name__, 0.0) + time.perf_counter() - start

    return run


if __name__ == "__main__":
    main()
