"""Does a row cost more when there are ten times as many?

    python benchmarks/scaling.py build/review-sentiment

prepare      rows / 10 and rows of a table made by code
embeddings   the same of short texts, at most 16 tokens
predict      the same texts, int8

The clock starts when everything is imported. Memory is the largest resident size of the process.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from embeddings import short_rows, spread
from machine import machine
from pairs import (
    HERE,
    THREADS,
    VECTORS,
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
    run_items,
    run_stage,
)
from preparing import own_table, put_raw, write_table


def main() -> None:
    """Measure the items that the command line names."""
    made = parser(__doc__, pairs=3)
    made.add_argument("--rows", type=int, default=100_000, help="of prepare; default: %(default)s")
    made.add_argument("--embedded-rows", type=int, default=5000, help="default: %(default)s")
    made.add_argument("--predicted-rows", type=int, default=20_000, help="default: %(default)s")
    run_items(made, "growth", {"prepare": prepare, "embeddings": embeddings, "predict": predict})


def prepare(arguments: Any, folder: Path) -> None:
    """The stage on a table of both sizes."""

    def side(rows: int) -> Callable[[], Any]:
        project = copied(arguments.project, folder / f"ours-{rows}", own_table())
        table = folder / f"{rows}.csv"
        write_table(table, rows)
        put_raw(project, table)
        return lambda: run_stage(project, "prepare")

    compare(arguments, "prepare", arguments.rows, side, "drawn rows", machine("polars"))


def embeddings(arguments: Any, folder: Path) -> None:
    """The stage on short texts of both sizes, nothing kept."""

    def side(rows: int) -> Callable[[], Any]:
        project = copied(arguments.project, folder / f"ours-{rows}", {"text.max_length": 16})
        spread(project, short_rows(arguments.project, arguments.embedded_rows).head(rows))

        def run() -> Any:
            shutil.rmtree(project / VECTORS, ignore_errors=True)
            return run_stage(project, "embeddings")

        return run

    what = "texts of at most 16 tokens, probe and near-duplicates included"
    compare(arguments, "embeddings", arguments.embedded_rows, side, what, machine("torch", "transformers"))


def predict(arguments: Any, folder: Path) -> None:
    """Int8 over a file of both sizes."""
    project = copied(arguments.project, folder / "ours")
    texts = short_rows(arguments.project, arguments.predicted_rows)

    def side(rows: int) -> Callable[[], Any]:
        path = folder / f"{rows}.jsonl"
        texts.head(rows).select(pl.col("text")).write_ndjson(path)
        command = [sys.executable, HERE / "classify.py", package_of(project), path, folder / "labels.json"]
        given = ["--model", "int8", "--threads", THREADS, "--drop"]
        return lambda: answer([*command, *given], project, environment(project))

    compare(arguments, "predict", arguments.predicted_rows, side, "short texts, int8", machine("onnxruntime"))


def compare(
    arguments: Any, name: str, rows: int, side: Callable[[int], Callable[[], Any]], what: str, machine: str
) -> None:
    """Both sizes interleaved."""
    watch = Watch()
    few = rows // 10
    rounds = interleaved({"many": side(rows), "few": side(few)}, arguments.pairs)
    times = [found["many"]["seconds"] / found["few"]["seconds"] / 10 for found in rounds]
    memory = [found["many"]["peak"] / found["few"]["peak"] for found in rounds]
    keep(
        f"growth-{name}",
        peer="itself",
        compared=f"{rows:,} against {few:,} {what}; imports outside the clock; {medians(rounds, 'many'):.1f} s and"
        f" {medians(rounds, 'few'):.1f} s, {medians(rounds, 'many', 'peak'):.0f} MB and"
        f" {medians(rounds, 'few', 'peak'):.0f} MB",
        measures=[
            Measure("time per row", times, at_most=1.1),
            Measure("memory", memory, at_most=1.1),
        ],
        machine=machine,
        watch=watch,
    )


if __name__ == "__main__":
    main()
