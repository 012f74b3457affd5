"""The scores that choose the best epoch and decide whether int8 may ship.

Values are what `tasks.predictions_of` returns (rows x outputs), targets what `targets_of` returns. Metrics that are
only reported are in evaluation/metrics.py, so that a change there does not repeat the training.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..common.tasks import as_written, predicted_labels
from ..config import Task

Scorer = Callable[[np.ndarray], dict[str, float]]


def scorer(task: Task, targets: np.ndarray, values: np.ndarray) -> Scorer:
    """A function from a weight for each row to the scores; with all weights 1, the scores of the rows themselves."""
    if task == "regression":
        return partial(_regression, targets.astype(np.float64), values[:, 0].astype(np.float64))
    if task == "multi_label":
        from scipy.sparse import csr_array  # here: most tasks do not need it

        wanted, chosen = targets.astype(bool), predicted_labels(task, values).astype(bool)
        hits, members = csr_array(1.0 * (wanted & chosen)), csr_array(1.0 * wanted + chosen)
        return partial(_label_sets, hits, members, (wanted == chosen).all(axis=1))
    return partial(_labels, targets, predicted_labels(task, values)[:, 0], values.shape[1])


def scores(task: Task, targets: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Every score of the task.

    single_label and pair: accuracy, macro_f1 (mean F1 of the labels that occur or are predicted).
    multi_label: micro_f1, macro_f1, exact_match. regression: r2, rmse and mae in the unit of the target.
    """
    return scorer(task, targets, values)(np.ones(len(targets)))


def bootstrap_weights(rows: int, samples: int, *, seed: int) -> Iterator[np.ndarray]:
    """For each sample, how often each row is drawn when `rows` rows are drawn with replacement (rows, float64)."""
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64)


def paired_bootstrap(
    task: Task, score: str, targets: np.ndarray, first: np.ndarray, second: np.ndarray, samples: int
) -> np.ndarray:
    """By how much the first model's score is higher, in bootstrap samples that draw the same rows for both (samples).

    Efron 1979, Annals of Statistics 7(1).
    """
    one, other = (scorer(task, targets, values) for values in (first, second))
    drawn = bootstrap_weights(len(targets), samples, seed=0)
    return np.array([one(weights)[score] - other(weights)[score] for weights in drawn])


def rounded(found: dict[str, float]) -> dict[str, float]:
    """Scores, rounded as in the reports."""
    return {name: as_written(value) for name, value in found.items()}


def _labels(targets: np.ndarray, chosen: np.ndarray, label_count: int, weights: np.ndarray) -> dict[str, float]:
    right = targets == chosen
    hits = np.bincount(targets[right], weights[right], label_count)
    members = np.bincount(targets, weights, label_count) + np.bincount(chosen, weights, label_count)
    return {"accuracy": float(hits.sum() / weights.sum()), "macro_f1": _macro_f1(hits, members)}


def _label_sets(hits: Any, members: Any, right: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    hits, members = weights @ hits, weights @ members
    return {
        "micro_f1": float(_f1(hits.sum(), members.sum())),
        "macro_f1": _macro_f1(hits, members),
        "exact_match": float(weights @ right / weights.sum()),
    }


def _f1(hits: Any, members: Any) -> np.ndarray:
    """F1 from the true positives and the sum of the rows that have the label and the rows predicted to have it."""
    return np.divide(2 * hits, members, out=np.zeros(np.shape(hits)), where=np.asarray(members) > 0)


def _macro_f1(hits: np.ndarray, members: np.ndarray) -> float:
    """The mean over the labels that occur; 0 where none does."""
    occurring = members > 0
    return float(_f1(hits, members)[occurring].mean()) if occurring.any() else 0.0


def _regression(targets: np.ndarray, values: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    errors, share = values - targets, weights / weights.sum()
    squared = float(share @ errors**2)
    spread = float(share @ (targets - share @ targets) ** 2)
    # If all drawn targets are equal, there is nothing to explain, whatever their mean rounds to: 1 for exact, else 0.
    r2 = 1 - squared / spread if spread > 0 and np.ptp(targets[weights > 0]) else float(squared == 0)
    return {"r2": r2, "rmse": squared**0.5, "mae": float(share @ abs(errors))}
