"""Prediction beside the pipeline of transformers on torch, with the same weights.

    python benchmarks/pipeline.py build/review-sentiment

one       texts one by one: ONNX fp32 beside the pipeline
stream    many texts: ONNX fp32 and int8 beside the pipeline at the batch size that is fastest for it

Importing, loading and a few texts come before both clocks; reading, tokenizing and labelling count. In fp32 all labels
must be the same. `benchmarks/predict.py` has cold start and memory.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from environments import python_of
from machine import machine
from pairs import (
    HERE,
    SPLITS,
    THREADS,
    Measure,
    Watch,
    answer,
    copied,
    environment,
    interleaved,
    keep,
    medians,
    package_of,
    parser,
    peers_model,
    ratios,
    run_items,
    run_peer,
)
from ruamel.yaml import YAML


def main() -> None:
    """Measure the items that the command line names."""
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1536, help="texts of a stream; default: %(default)s")
    made.add_argument("--single", type=int, default=192, help="texts one by one; default: %(default)s")
    run_items(made, "predict", {"one": one_by_one, "stream": stream})


def one_by_one(arguments: Any, folder: Path) -> None:
    """One text at a time."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours")
    texts = write_texts(project, folder / "texts.jsonl", arguments.single)
    sides = {
        "fp32": partial(ours, project, texts, "fp32", "--one-by-one"),
        "int8": partial(ours, project, texts, "int8", "--one-by-one"),
        "peer": partial(theirs, project, texts, "--one-by-one"),
    }
    rounds = interleaved(sides, arguments.pairs)
    keep(
        "predict-one",
        peer="transformers `pipeline`, torch, fp32, one text at a time",
        compared=f"{arguments.single} texts; imports, loading and warming up outside the clock;"
        f" {speeds(rounds, arguments.single)}; {labels_unlike(rounds)}",
        measures=[
            Measure("fp32: times as fast", ratios(rounds, "peer", "fp32"), at_least=2.5),
            Measure("int8: times as fast", ratios(rounds, "peer", "int8")),
            Measure("fp32: labels that differ from the peer's", unlike(rounds, "fp32"), at_most=0, unit=""),
        ],
        machine=machine("torch", "transformers", "onnxruntime"),
        watch=watch,
    )


def stream(arguments: Any, folder: Path) -> None:
    """All texts, as they come."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours")
    texts = write_texts(project, folder / "texts.jsonl", arguments.rows)
    part = write_texts(project, folder / "part.jsonl", min(512, arguments.rows))
    best = theirs(project, part, "--find")["best"]
    sides = {
        "fp32": partial(ours, project, texts, "fp32"),
        "int8": partial(ours, project, texts, "int8"),
        "peer": partial(theirs, project, texts, "--batch-size", best),
    }
    rounds = interleaved(sides, arguments.pairs)
    keep(
        "predict-stream",
        peer=f"transformers `pipeline`, torch, fp32, batches of {best}, the fastest of 1 to 128",
        compared=f"{arguments.rows} texts; imports, loading and warming up outside the clock;"
        f" {speeds(rounds, arguments.rows)}; {labels_unlike(rounds)}",
        measures=[
            Measure("fp32: times as fast", ratios(rounds, "peer", "fp32"), at_least=2.5),
            Measure("int8: times as fast", ratios(rounds, "peer", "int8"), at_least=5),
            Measure("fp32: labels that differ from the peer's", unlike(rounds, "fp32"), at_most=0, unit=""),
        ],
        machine=machine("torch", "transformers", "onnxruntime"),
        watch=watch,
    )


def write_texts(project: Path, path: Path, count: int) -> Path:
    """The texts of all splits in a drawn order, over and over, as JSON Lines."""
    tables = [pl.read_parquet(project / f"data/processed/{split}.parquet") for split in SPLITS]
    texts = pl.concat(tables).select("text").sample(fraction=1, shuffle=True, seed=0)
    pl.concat([texts] * (count // texts.height + 1)).head(count).write_ndjson(path)
    return path


def ours(project: Path, texts: Path, model: str, *options: object) -> dict[str, Any]:
    """Predict as the project does."""
    command = [sys.executable, HERE / "classify.py", package_of(project), texts, project / "labels.json"]
    found = answer([*command, "--model", model, "--threads", THREADS, *options], project, environment(project))
    return found | {"labels": json.loads((project / "labels.json").read_text(encoding="utf-8"))}


def theirs(project: Path, texts: Path, *options: object) -> dict[str, Any]:
    """Predict with the pipeline."""
    out, text = project / "theirs.json", YAML().load((project / "params.yaml").read_text(encoding="utf-8"))["text"]
    given = ["--pooling", text["pooling"], "--max-length", text["max_length"], *options]
    found = run_peer(
        python_of("peers"), "classify.py", project / "models/fine_tuned", peers_model(), texts, out, *given
    )
    return found if "best" in found else found | {"labels": json.loads(out.read_text(encoding="utf-8"))}


def unlike(rounds: list[dict[str, Any]], side: str) -> list[float]:
    """How many labels are not the peer's."""
    return [sum(a != b for a, b in zip(r[side]["labels"], r["peer"]["labels"], strict=True)) for r in rounds]


def labels_unlike(rounds: list[dict[str, Any]]) -> str:
    """The same in words."""
    fp32, int8 = (unlike(rounds, name)[-1] for name in ("fp32", "int8"))
    return f"labels that differ from the peer's: fp32 {fp32:.0f}, int8 {int8:.0f}"


def speeds(rounds: list[dict[str, Any]], texts: int) -> str:
    """Texts per second of each side."""
    return "texts/s: " + ", ".join(f"{side} {texts / medians(rounds, side):.0f}" for side in rounds[0])


if __name__ == "__main__":
    main()
