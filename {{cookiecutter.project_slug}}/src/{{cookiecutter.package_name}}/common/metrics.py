"""How good predictions are. Values are what `tasks.values_of` gives (rows x width), targets what `targets_of` gives."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..config import Task
from .tasks import MAIN_SCORE, decisions_of

DECIMALS = 6

Scorer = Callable[[np.ndarray], dict[str, float]]


def scorer(task: Task, targets: np.ndarray, values: np.ndarray) -> Scorer:
    """A function from the weight of each row to the scores; with all weights 1 they are those of the rows."""
    if task == "regression":
        return _numbers(targets.astype(np.float64), values[:, 0].astype(np.float64))
    if task == "multi_label":
        return _sets_of_labels(targets.astype(bool), decisions_of(task, values).astype(bool))
    return _labels(targets, decisions_of(task, values)[:, 0], values.shape[1])


def scores(task: Task, targets: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Every score of the task.

    Labels: accuracy, macro_f1 (the mean of the labels' F1; a label that is never met counts as 0). Sets of labels:
    micro_f1, macro_f1, exact_match. Numbers: r2, rmse and mae in the unit of the target.
    """
    return scorer(task, targets, values)(np.ones(len(targets)))


def main_score(task: Task, targets: np.ndarray, values: np.ndarray) -> float:
    """The score by which models of this task are chosen."""
    return scores(task, targets, values)[MAIN_SCORE[task]]


def _labels(targets: np.ndarray, chosen: np.ndarray, labels: int) -> Scorer:
    right = targets == chosen

    def weighted(weights: np.ndarray) -> dict[str, float]:
        hits = np.bincount(targets[right], weights[right], labels)
        members = np.bincount(targets, weights, labels) + np.bincount(chosen, weights, labels)
        return {"accuracy": float(hits.sum() / weights.sum()), "macro_f1": float(_f1(hits, members).mean())}

    return weighted


def _sets_of_labels(targets: np.ndarray, chosen: np.ndarray) -> Scorer:
    both = (targets & chosen).astype(np.float64)
    either = targets.astype(np.float64) + chosen
    exact = (targets == chosen).all(axis=1)

    def weighted(weights: np.ndarray) -> dict[str, float]:
        hits, members = weights @ both, weights @ either
        return {
            "micro_f1": float(_f1(hits.sum(), members.sum())),
            "macro_f1": float(_f1(hits, members).mean()),
            "exact_match": float(weights[exact].sum() / weights.sum()),
        }

    return weighted


def _f1(hits: Any, members: Any) -> np.ndarray:
    """F1 from the rows that are right and the sum of those that have the label and those that were given it."""
    return np.divide(2 * hits, members, out=np.zeros(np.shape(hits)), where=np.asarray(members) > 0)


def _numbers(targets: np.ndarray, values: np.ndarray) -> Scorer:
    errors = values - targets

    def weighted(weights: np.ndarray) -> dict[str, float]:
        share = weights / weights.sum()
        squared = float(share @ errors**2)
        spread = float(share @ (targets - share @ targets) ** 2)
        # All targets equal: nothing to explain, and what is off by anything explains nothing.
        r2 = 1 - squared / spread if spread > 0 else float(squared == 0)
        return {"r2": r2, "rmse": squared**0.5, "mae": float(share @ abs(errors))}

    return weighted


def bootstrap_intervals(score: Scorer, rows: int, *, samples: int, seed: int) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of every score over rows drawn with replacement (Efron 1979)."""
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(0, rows, rows), minlength=rows) for _ in range(samples))
    found = [score(weights.astype(np.float64)) for weights in drawn]
    bounds = {name: np.quantile([sample[name] for sample in found], [0.025, 0.975]) for name in found[0]}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def against_baseline(task: Task, targets: np.ndarray, values: np.ndarray, baseline: np.ndarray) -> tuple[str, float]:
    """The test that two models err alike, and its p-value: McNemar's on right rows, Wilcoxon's on sizes of errors."""
    from scipy.stats import wilcoxon  # here: most stages need only scores, and it takes half a second

    if task == "regression":
        better = abs(baseline[:, 0] - targets) - abs(values[:, 0] - targets)
        return "wilcoxon", float(wilcoxon(better).pvalue) if better.any() else 1.0
    wanted = targets.astype(np.int64).reshape(len(targets), -1)
    right, baseline_right = ((decisions_of(task, v) == wanted).all(axis=1) for v in (values, baseline))
    return "mcnemar", mcnemar(right, baseline_right)


def mcnemar(right: np.ndarray, baseline_right: np.ndarray) -> float:
    """Exact two-sided McNemar test (1947) that two models err equally often: the p-value."""
    from scipy.stats import binomtest

    better = int(np.sum(right & ~baseline_right))
    worse = int(np.sum(~right & baseline_right))
    return 1.0 if better + worse == 0 else float(binomtest(better, better + worse).pvalue)


def calibration_table(task: Task, targets: np.ndarray, values: np.ndarray, bins: int) -> list[dict[str, float]]:
    """For bins of what was predicted: rows, what was predicted and what was observed, on average; empty ones left out.

    Labels: bins of equal width of the confidence, and the accuracy. Sets of labels: of every label's probability, and
    how often rows have it. Numbers: bins of equally many rows.
    """
    if task == "regression":
        predicted, observed = values[:, 0], targets
        place = np.argsort(np.argsort(predicted, kind="stable"), kind="stable") * bins // len(predicted)
    else:
        multi = task == "multi_label"
        predicted = values.ravel() if multi else values.max(axis=1)
        observed = targets.ravel() if multi else values.argmax(axis=1) == targets
        place = np.minimum((predicted * bins).astype(int), bins - 1)
    return [
        {
            "rows": int(np.sum(place == b)),
            "predicted": _short(predicted[place == b].mean()),
            "observed": _short(observed[place == b].mean()),
        }
        for b in range(bins)
        if np.any(place == b)
    ]


def calibration_error(table: list[dict[str, float]]) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599): mean gap of confidence and accuracy, by rows."""
    rows = sum(b["rows"] for b in table)
    return sum(b["rows"] * abs(b["predicted"] - b["observed"]) for b in table) / rows


def per_class_table(task: Task, targets: np.ndarray, values: np.ndarray, names: list[str]) -> list[dict[str, object]]:
    """For every label: precision, recall, F1 and the number of rows that have it."""
    from sklearn.metrics import precision_recall_fscore_support

    chosen = decisions_of(task, values)
    found = precision_recall_fscore_support(
        targets, chosen if task == "multi_label" else chosen[:, 0], labels=range(len(names)), zero_division=0
    )
    rows = np.column_stack([np.asarray(score) for score in found])
    return [
        {"label": name, "precision": _short(p), "recall": _short(r), "f1": _short(f), "rows": int(n)}
        for name, (p, r, f, n) in zip(names, rows, strict=True)
    ]


def summary(
    task: Task, targets: np.ndarray, values: np.ndarray, baseline: np.ndarray, *, bins: int, samples: int, seed: int
) -> dict[str, float]:
    """Everything that is compared about one model; `baseline` holds the probe's values."""
    score = scorer(task, targets, values)
    found = score(np.ones(len(targets)))
    for name, (low, high) in bootstrap_intervals(score, len(targets), samples=samples, seed=seed).items():
        found |= {f"{name}_low": low, f"{name}_high": high}
    if task != "regression":
        found["calibration_error"] = calibration_error(calibration_table(task, targets, values, bins))
    test, p_value = against_baseline(task, targets, values, baseline)
    found[f"{test}_p_against_probe"] = p_value
    return {name: _short(value) for name, value in found.items()}


def _short(value: float) -> float:
    return round(float(value), DECIMALS)
