"""A rare label with class weights, beside the same training without: macro-F1.

    python benchmarks/rare_labels.py build/review-sentiment

The sample without 95 % of its positive rows. Its test rows hold some 25 positive ones, which say little of a model; so
those that were left out, of which none is in training, say how many positive rows it finds. Macro-F1 is that of rows
with the label's share of the training rows: positive ones are found as among those left out, and negative ones taken
for positive as among the test rows. The same of the test rows alone stands beside it.

Each seed draws the rows that stay, the split, the order and dropout. The code of the stages is that of the project.
"""

import json
import shutil
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
from machine import machine
from pairs import Measure, Watch, copied, item, keep, package_of, parser, run_stage
from recipe import DEFAULTS, each, one_pair, prepared, reviews

KEPT = 0.05  # of the positive rows
WEIGHTED = {"fine_tune.class_weights": "balanced", "select_by": "macro_f1"}
POSITIVE = "1"


def main() -> None:
    """Both, one seed after the other."""
    made = parser(__doc__)
    made.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5], help="default: 1 to 5")
    arguments = made.parse_args()
    with item("rare-labels") as folder:
        sys.path.insert(0, str(arguments.project / "src"))
        classifier = import_module(f"{package_of(arguments.project)}.inference").OnnxClassifier
        watch, rounds = Watch(), []
        for seed in arguments.seeds:
            stayed, left = without_most(reviews("rotten_tomatoes"), seed)
            base = prepared(arguments.project, {"table": stayed}, seed, folder / f"{seed}-base")
            run_stage(base, "embeddings")
            changes = {"plain": {}, "weighted": WEIGHTED}
            sides = {
                name: partial(
                    trained, base, folder / f"{seed}-{name}", DEFAULTS | more | {"seed": seed}, left, classifier
                )
                for name, more in changes.items()
            }
            rounds += one_pair(sides, seed)
        keep(
            "rare-labels",
            peer="no weights",
            compared=f"{stayed.height:,} rows, among them {KEPT:.0%} of the positive ones; ONNX fp32, by seed: macro-F1"
            f" {both(rounds, 'sharp')}; on the test rows alone {both(rounds, 'f1')}; positive rows found"
            f" {both(rounds, 'found')}; false alarms {both(rounds, 'alarms')}",
            measures=[
                Measure("macro-F1, points more", points(rounds, "sharp"), at_least=3, unit=""),
                Measure("the same, on the test rows alone", points(rounds, "f1"), unit=""),
            ],
            machine=machine("torch", "transformers", "onnxruntime"),
            watch=watch,
        )


def both(rounds: list[dict[str, Any]], key: str) -> str:
    """What each side gave for every seed."""
    return ", ".join(f"{side} {each(rounds, side, key)}" for side in ("weighted", "plain"))


def points(rounds: list[dict[str, Any]], key: str) -> list[float]:
    """How many points more the weights give, in each pair."""
    return [100 * (one["weighted"][key] - one["plain"][key]) for one in rounds]


def without_most(table: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The table without most of its positive rows; and those, less each text that stayed."""
    positive = table.filter(pl.col("label") == POSITIVE)
    stayed = positive.sample(fraction=KEPT, seed=seed)
    rest = pl.concat([table.filter(pl.col("label") != POSITIVE), stayed])
    return rest, positive.join(rest, on="text", how="anti")


def trained(base: Path, target: Path, changes: dict[str, Any], left: pl.DataFrame, classifier: Any) -> dict[str, Any]:
    """Train by these parameters, export, and score."""
    copied(base, target, changes)
    runs = [run_stage(target, stage) for stage in ("fine_tune", "export_onnx", "evaluate")]
    metrics = json.loads((target / "reports/metrics.json").read_text(encoding="utf-8"))
    model = classifier(target / "models/onnx", "fp32", threads=2)
    tables = {split: pl.read_parquet(target / f"data/processed/{split}.parquet") for split in ("train", "test")}
    index = model.labels.index(POSITIVE)
    found = share_of_positive(model, left["text"].to_list())
    alarms = share_of_positive(model, tables["test"].filter(pl.col("label") != index)["text"].to_list())
    share = (tables["train"]["label"] == index).mean()
    shutil.rmtree(target)
    return {
        "f1": metrics["onnx_fp32"]["macro_f1"],
        "sharp": macro_f1(found, alarms, share),
        "found": found,
        "alarms": alarms,
        "processor": sum(run["processor"] for run in runs),
    }


def share_of_positive(model: Any, texts: list[str]) -> float:
    """How many of these texts the model calls positive, 0 to 1."""
    answers = list(model.predict(texts))
    return sum(answer["label"] == POSITIVE for answer in answers) / len(answers)


def macro_f1(found: float, alarms: float, share: float) -> float:
    """The mean of the two labels' F1, where this share of the rows is positive."""
    hits, missed, false, true = share * found, share * (1 - found), (1 - share) * alarms, (1 - share) * (1 - alarms)
    return (2 * hits / (2 * hits + missed + false) + 2 * true / (2 * true + missed + false)) / 2


if __name__ == "__main__":
    main()
