"""How fast is the CUDA path? Embeddings and training steps of large encoders, beside the Trainer on the same card."""

import json
import shutil
import statistics
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from environments import python_of
from gpu_projects import Bench, FailedError, Shape, with_encoder
from pairs import HERE

WARM_UP = 4  # steps that are not counted
HELD_OUT = 0.02  # of the rows for validation, and as many for the test

Case = tuple[str, Shape, int]  # precision, encoder, tokens of a text


def cases(bench: Bench) -> list[Case]:
    """What is measured, the most important first; in fp32 only the smallest encoder, to save time."""
    shapes = {"bf16": bench.settings.large, "fp32": bench.settings.large[:1]}
    return [
        (precision, shape, length)
        for precision in bench.settings.steps
        for shape in shapes[precision]
        for length in bench.settings.lengths
    ]


def prepared_tables(bench: Bench) -> dict[tuple[str, int], Path]:
    """For each precision and length a prepared project whose texts all have this length."""
    found = {}
    for precision, steps in bench.settings.steps.items():
        for length in bench.settings.lengths:
            batch = bench.settings.tokens_per_step // length
            found[precision, length] = bench.project(
                f"{precision}-{length}",
                bench.of_length(length, round(steps * batch / (1 - 2 * HELD_OUT))),
                compute__precision=precision,
                text__max_length=length,
                fine_tune__batch_size=batch,
                prepare__validation_fraction=HELD_OUT,
                prepare__test_fraction=HELD_OUT,
            )
    return found


def speeds(
    bench: Bench, tables: dict[tuple[str, int], Path], encoders: dict[Shape, Path], peak: dict[str, float]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What was measured, and what was not with the reason.

    peak: TFLOP/s of the card's matrix products by precision.
    """
    found, left_out = [], []
    for case in cases(bench):
        precision, shape, length = case
        name = f"{shape.name}, {length} tokens, {precision}"
        start = time.monotonic()
        project = with_encoder(tables[precision, length], bench.folder / "speed", encoders[shape])
        try:
            found.append(measured(bench, case, project, encoders[shape], peak[precision]))
            print(f"  {name}: {time.monotonic() - start:.0f} s\n    {found[-1]}", flush=True)
        except FailedError as error:
            left_out.append(f"{name} ({error})")
            print(f"  LEFT OUT: {left_out[-1]}", flush=True)
        shutil.rmtree(project)
    return found, left_out


def measured(bench: Bench, case: Case, project: Path, encoder: Path, peak: float) -> dict[str, Any]:
    """Both stages, and as many steps of the Trainer."""
    precision, shape, length = case
    tokens = bench.settings.tokens_per_step
    batches = clocked(bench, project, "forwards", [bench.package, "embeddings"])
    steps = clocked(bench, project, "steps", [bench.package, "fine_tune"])
    peer = ["steps", str(encoder), str(project / "peer"), "--length", str(length), "--batch", str(tokens // length)]
    peer += ["--steps", str(bench.settings.steps[precision]), "--precision", precision]
    peer += ["--device", bench.settings.device]
    trainer = clocked(bench, project, "steps", peer, python_of_trainer()) if bench.settings.with_trainer else None
    sizes = [rows * columns for rows, columns in batches["shapes"]]
    whole = max(sizes)  # tokens of a batch; the encoder also reads short texts, to find out how to batch
    ends = zip(batches["milliseconds"], sizes, sizes[1:], strict=False)
    gaps = [gap for gap, *both in ends if both == [whole, whole]]
    forward, training = (shape.operations(length) * factor / peak / 1e9 for factor in (1, 3))

    def of_steps(record: dict[str, Any]) -> dict[str, float]:
        return summary(record["milliseconds"][WARM_UP:], tokens, training, record["memory"])

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


def summary(milliseconds: list[float], tokens: int, least: float, memory: float) -> dict[str, float]:
    """Of a step or batch of so many tokens: the median, the middle 90 %, and its share of the matrix peak.

    least: the milliseconds that a token takes at the peak.
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
        "share_of_peak": round(tokens * least / median, 4),
        "gigabytes": round(memory, 2),
    }
