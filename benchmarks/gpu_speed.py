"""How fast is the CUDA path? Embeddings and training steps of large encoders, beside the Trainer on the same card."""

import json
import shutil
import statistics
import sys
import time
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from environments import python_of
from gpu_projects import Bench, FailedError, Shape, with_encoder
from pairs import HERE

WARM_UP = 4  # steps that are not counted
HELD_OUT = 0.02  # of the rows for validation, and as many for the test

Case = tuple[str, Shape, int]


def speeds(bench: Bench, peak: dict[str, float]) -> tuple[list[dict[str, Any]], list[str]]:
    """What was measured of each precision, encoder and length, and which of them the time did not allow.

    peak: TFLOP/s of the card's matrix products by precision.
    """
    settings = bench.settings
    encoders = {shape: bench.encoder(shape) for shape in settings.large}
    tables = {length: table_of(bench, length) for length in settings.lengths}
    found, left_out = [], []
    for case in product(settings.precisions, settings.large, settings.lengths):
        precision, shape, length = case
        name = f"{shape.name}, {length} tokens, {precision}"
        start = time.monotonic()
        try:
            found.append(measured(bench, case, tables[length], encoders[shape], peak[precision]))
            print(f"  {name}: {time.monotonic() - start:.0f} s\n    {found[-1]}", flush=True)
        except FailedError as error:
            left_out.append(f"{name} ({error})")
            print(f"  LEFT OUT: {left_out[-1]}", flush=True)
    return found, left_out


def table_of(bench: Bench, length: int) -> Path:
    """A prepared project whose texts all have this length."""
    batch = bench.settings.tokens_per_step // length
    rows = round(bench.settings.steps * batch / (1 - 2 * HELD_OUT))
    return bench.project(
        f"length-{length}",
        bench.of_length(length, rows),
        text__max_length=length,
        fine_tune__batch_size=batch,
        prepare__validation_fraction=HELD_OUT,
        prepare__test_fraction=HELD_OUT,
    )


def measured(bench: Bench, case: Case, prepared: Path, encoder: Path, peak: float) -> dict[str, Any]:
    """Both stages, and as many steps of the Trainer."""
    precision, shape, length = case
    project = with_encoder(prepared, bench.folder / "speed", encoder, compute__precision=precision)
    batches = clocked(bench, project, "forwards", [bench.package, "embeddings"])
    steps = clocked(bench, project, "steps", [bench.package, "fine_tune"])
    tokens = bench.settings.tokens_per_step
    peer = ["steps", str(encoder), str(project / "peer"), "--length", str(length), "--batch", str(tokens // length)]
    peer += ["--steps", str(bench.settings.steps), "--precision", precision, "--device", bench.settings.device]
    trainer = clocked(bench, project, "steps", peer, python_of_trainer()) if bench.settings.with_trainer else None
    shutil.rmtree(project)
    whole = max(rows * tokens for rows, tokens in batches["shapes"])
    kept = [size == whole for size in (rows * tokens for rows, tokens in batches["shapes"])]
    gaps = [gap for gap, before, own in zip(batches["milliseconds"], kept, kept[1:], strict=False) if before and own]
    forward, training = (shape.operations(length) * factor / peak / 1e9 for factor in (1, 3))

    def of_steps(found: dict[str, Any]) -> dict[str, float]:
        return summary(found["milliseconds"][WARM_UP:], tokens, training, found["memory"])

    return {
        "encoder": shape.name,
        "tokens": length,
        "precision": precision,
        "embeddings": summary(gaps[:-1], whole, forward, batches["memory"]),  # the last batch is filled up
        "fine_tune": of_steps(steps),
        "trainer": trainer and of_steps(trainer),
    }


def python_of_trainer() -> str:
    """A Python with what the Trainer needs beside transformers."""
    return sys.executable if find_spec("accelerate") else str(python_of("peers"))


def clocked(bench: Bench, project: Path, kind: str, command: list[str], python: str = sys.executable) -> dict[str, Any]:
    """What `gpu_clock.py` recorded."""
    record = project / "clock.json"
    bench.command([python, str(HERE / "gpu_clock.py"), kind, str(record), *command], project)
    return json.loads(record.read_text(encoding="utf-8"))


def summary(milliseconds: list[float], tokens: int, floor: float, memory: float) -> dict[str, float]:
    """Of a step or batch of so many tokens: the median, the middle 90 %, and its share of the matrix peak.

    floor: the milliseconds that a token takes at the peak.
    """
    if len(milliseconds) < 2:
        raise FailedError(f"only {len(milliseconds)} steps or batches to take the time of")
    median = statistics.median(milliseconds)
    low, *_, high = statistics.quantiles(milliseconds, n=20, method="inclusive")
    return {
        "milliseconds": round(median, 3),
        "low": round(low, 3),
        "high": round(high, 3),
        "n": len(milliseconds),
        "tokens_per_second": round(1000 * tokens / median),
        "share_of_peak": round(tokens * floor / median, 4),
        "gigabytes": round(memory, 2),
    }
