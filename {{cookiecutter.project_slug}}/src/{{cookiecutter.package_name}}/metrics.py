"""Numbers about predictions. Probabilities are rows x labels, labels are indices; everything is seeded or exact."""

import numpy as np
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

DECIMALS = 6


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """Softmax over the labels, in float64."""
    return softmax(logits.astype(np.float64), axis=1)


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Share of rows with the right label."""
    return float(np.mean(labels == predicted))


def macro_f1(labels: np.ndarray, predicted: np.ndarray, number_of_labels: int) -> float:
    """Mean of the labels' F1; a label that is never met counts as 0."""
    return float(f1_score(labels, predicted, labels=range(number_of_labels), average="macro", zero_division=0))


def calibration_table(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> list[dict[str, float]]:
    """Rows, mean confidence and accuracy for equal-width bins of the confidence; empty bins are left out."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "rows": int(np.sum(place == b)),
            "confidence": _short(confidence[place == b].mean()),
            "accuracy": _short(right[place == b].mean()),
        }
        for b in range(bins)
        if np.any(place == b)
    ]


def calibration_error(table: list[dict[str, float]]) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599): mean gap of confidence and accuracy, by rows."""
    rows = sum(b["rows"] for b in table)
    return sum(b["rows"] * abs(b["confidence"] - b["accuracy"]) for b in table) / rows


def bootstrap_intervals(
    labels: np.ndarray, predicted: np.ndarray, number_of_labels: int, *, samples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of accuracy and macro-F1 over rows drawn with replacement (Efron 1979).

    Rows with the same label and prediction are alike, so the counts of those cells are drawn (multinomial) instead of
    the rows: the same distribution, without the rows.
    """
    cells = confusion_matrix(labels, predicted, labels=range(number_of_labels))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(labels), cells.ravel() / len(labels), size=samples).reshape(samples, *cells.shape)
    hits = np.diagonal(drawn, axis1=1, axis2=2)
    members = drawn.sum(axis=1) + drawn.sum(axis=2)
    f1 = np.divide(2 * hits, members, out=np.zeros(hits.shape), where=members > 0)
    values = {"accuracy": hits.sum(axis=1) / len(labels), "macro_f1": f1.mean(axis=1)}
    bounds = {name: np.quantile(value, [0.025, 0.975]) for name, value in values.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def per_class_table(labels: np.ndarray, probabilities: np.ndarray, names: list[str]) -> list[dict[str, object]]:
    """For every label: precision, recall, F1 and the number of rows that have it."""
    scores = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(names)), zero_division=0
    )
    rows = np.column_stack([np.asarray(score) for score in scores])
    return [
        {"label": name, "precision": _short(p), "recall": _short(r), "f1": _short(f), "rows": int(n)}
        for name, (p, r, f, n) in zip(names, rows, strict=True)
    ]


def mcnemar(right: np.ndarray, baseline_right: np.ndarray) -> float:
    """Exact two-sided McNemar test (1947) that two models err equally often: the p-value."""
    better = int(np.sum(right & ~baseline_right))
    worse = int(np.sum(~right & baseline_right))
    return 1.0 if better + worse == 0 else float(binomtest(better, better + worse).pvalue)


def summary(
    labels: np.ndarray, probabilities: np.ndarray, baseline: np.ndarray, *, bins: int, samples: int, seed: int
) -> dict[str, float]:
    """Everything that is compared about one model; `baseline` holds the probe's predicted labels (rows)."""
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    number_of_labels = probabilities.shape[1]
    values = {
        "accuracy": accuracy(labels, predicted),
        "macro_f1": macro_f1(labels, predicted, number_of_labels),
        "calibration_error": calibration_error(calibration_table(labels, probabilities, bins)),
        "mcnemar_p_against_probe": mcnemar(right, baseline == labels),
    }
    intervals = bootstrap_intervals(labels, predicted, number_of_labels, samples=samples, seed=seed)
    for name, (low, high) in intervals.items():
        values |= {f"{name}_low": low, f"{name}_high": high}
    return {name: _short(value) for name, value in values.items()}


def _short(value: float) -> float:
    return round(float(value), DECIMALS)
