"""How many labels the label queue needs for an interval of the accuracy, beside texts that are drawn alike.

    python benchmarks/label_queue.py build/production/review-sentiment [MODEL …]

MODEL: further projects that were run, of any scope. Traffic is drawn, with replacement, from the validation and test
rows of each; the labels of a sample of it then give an interval, again and again. Beside it as many texts, each with
the same chance, and the share of right ones. The labels needed for one width are as the variances. If the model's
probability c of being right is true, no weighing by it needs less than the square of the mean of sqrt(c (1 - c)), by
the variance of being right (Neyman 1934); a finite traffic makes it a little less.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from machine import machine
from pairs import Measure, Watch, item, keep, package_of, parser

SIMULATIONS, TRAFFIC, LABELS = 1000, 20_000, 300


def main() -> None:
    """Measure."""
    made = parser(__doc__)
    made.add_argument(
        "models", nargs="*", type=lambda name: Path(name).resolve(), help="further projects that were run"
    )
    arguments = made.parse_args()
    with item("label-queue"):
        watch = Watch()
        sys.path.insert(0, str(arguments.project / "src"))
        package = package_of(arguments.project)
        queue = import_module(f"{package}.monitoring.queue")
        classifier = import_module(f"{package}.inference").OnnxClassifier
        found = [
            simulated(queue, *rows_of(classifier, model))
            for model in dict.fromkeys([arguments.project, *arguments.models])
        ]
        keep(
            "label-queue",
            peer="texts drawn alike",
            compared="; ".join(words for words, _ in found)
            + f"; {SIMULATIONS} simulations each of {LABELS} labels of {TRAFFIC:,} texts",
            measures=[measure for _, measures in found for measure in measures],
            machine=machine("onnxruntime"),
            watch=watch,
        )


def rows_of(classifier: Any, project: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """The model's probability that it is right, whether it is (rows, both), and how many labels there are."""
    tables = [pl.read_parquet(project / f"data/processed/{split}.parquet") for split in ("validation", "test")]
    table = pl.concat(tables)
    model = classifier(project / "models/onnx", threads=1)
    answers = list(model.predict(table["text"].to_list()))
    index = {label: number for number, label in enumerate(model.labels)}
    right = [index[answer["label"]] == label for answer, label in zip(answers, table["label"], strict=True)]
    chances = [max(answer["probabilities"].values()) for answer in answers]
    return np.array(chances), np.array(right, dtype=np.float64), len(model.labels)


def simulated(queue: Any, chances: np.ndarray, right: np.ndarray, labels: int) -> tuple[str, list[Measure]]:
    """What was simulated, in words; the labels needed, how far the mean estimate is off, how often it covers."""
    variances, errors, covered = [], [], 0
    for seed in range(SIMULATIONS):
        drawn = np.random.default_rng(seed).integers(len(right), size=TRAFFIC)
        chance, correct = chances[drawn], right[drawn]
        ours = estimate(queue, correct, chance, queue.inclusion_probabilities(TRAFFIC, LABELS, chance), seed)
        alike = estimate(queue, correct, np.zeros(TRAFFIC), queue.inclusion_probabilities(TRAFFIC, LABELS), seed)
        variances.append((ours.error**2, alike.error**2))
        errors.append(ours.mean - correct.mean())
        covered += ours.low <= correct.mean() <= ours.high
    mean_ours, mean_alike = np.mean(variances, axis=0)
    name, error = f"{labels} labels", np.std(errors) / np.sqrt(SIMULATIONS)
    least = np.sqrt(chances * (1 - chances)).mean() ** 2 / right.var()
    return (
        f"{name}: accuracy {right.mean():.3f} on {len(right):,} rows, the mean estimate off by "
        f"{np.mean(errors):+.5f} (standard error {error:.5f})",
        [
            Measure(f"{name}: labels for the same interval", [float(mean_ours / mean_alike)], at_most=0.7),
            Measure(f"{name}: the least by the model's probabilities", [float(least)]),
            Measure(f"{name}: intervals of 95 % that hold the accuracy", [covered / SIMULATIONS], unit=""),
        ],
    )


def estimate(queue: Any, correct: np.ndarray, chance: np.ndarray, probabilities: np.ndarray, seed: int) -> Any:
    """The accuracy by the labels of a sample. chance: what the model says of itself; 0 where nobody asks it."""
    rows = queue.draw(probabilities, seed)
    return queue.estimate(
        correct[rows],
        probabilities[rows],
        chance[rows],
        drawn=len(rows),
        mean_right=float(chance.mean()),
        rows=len(correct),
    )


if __name__ == "__main__":
    main()
