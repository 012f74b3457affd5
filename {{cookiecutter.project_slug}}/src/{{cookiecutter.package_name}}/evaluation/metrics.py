"""Metrics that are only reported and choose nothing: intervals, calibration, significance, the rows' predictions.

Values are what `tasks.predictions_of` returns (rows x outputs), targets what `tasks.targets_of` returns.
"""

import hashlib
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
import scipy  # loads its parts when they are used

from ..common.tasks import labels_above_threshold, predicted_labels
from ..config import Params, Task
from ..modeling.scores import Scorer, bootstrap_weights, rounded, scorer, scores
from ..text.tokenization import Text, texts_of

# From this many discordant rows on, the mid-p: the exact test rejects too rarely (Fagerland, Lydersen and Laake
# 2013, doi:10.1186/1471-2288-13-91).
EXACT_BELOW = 25
KEY_BYTES = 16
MOST_VALUES = 50
SWAPS = 2000
SHARES = ("accuracy", "exact_match")  # shares of the rows: Wilson's interval has a width even if all rows are right


def groups_of(rows: pl.DataFrame) -> np.ndarray:
    """The index of each row's group (rows, int64); without groups, each row is one."""
    grouped = "group" in rows.columns
    return np.unique(rows["group"].to_numpy(), return_inverse=True)[1] if grouped else np.arange(rows.height)


def intervals(score: Scorer, groups: np.ndarray, samples: int, seed: int) -> dict[str, tuple[float, float]]:
    """95 % intervals of every score: Wilson's (1927) for shares of rows, else bootstrap percentiles of whole groups.

    Samples lack rare labels, so their mean is not the score. The bias (mean - score) is subtracted twice: to centre
    them, and correct the score (Efron and Tibshirani 1993, An Introduction to the Bootstrap, ch. 10). It stays inside.
    """
    count, bounds = int(groups.max()) + 1, {}
    found = [score(weights[groups]) for weights in bootstrap_weights(count, samples, seed=seed)]
    for name, value in score(np.ones(len(groups))).items():
        drawn = np.array([sample[name] for sample in found])
        low, high = np.quantile(drawn, [0.025, 0.975]) + 2 * (value - drawn.mean())
        if name in SHARES and (count == len(groups) or value in (0, 1)):
            low, high = scipy.stats.binomtest(round(value * count), count).proportion_ci(method="wilson")
        least, most = -np.inf if name == "r2" else 0, np.inf if name in ("rmse", "mae") else 1
        bounds[name] = (float(max(least, min(low, value))), float(min(most, max(high, value))))
    return bounds


def significance(
    task: Task, score: str, targets: np.ndarray, values: np.ndarray, baseline: np.ndarray, groups: np.ndarray
) -> tuple[str, float, float]:
    """The paired test of whether two models are equally good: its name, the gain in the score, and the p-value.

    McNemar's test for a share of the rows; for regression the paired t-test, with the mean decrease of the absolute
    error. For any other score, and for rows in groups, see `swapped`.
    """
    tested = "mae" if task == "regression" else score
    if groups.max() + 1 < len(groups) or tested not in (*SHARES, "mae"):
        models = (baseline, values) if task == "regression" else (values, baseline)
        both = scorer(task, np.concatenate([targets, targets]), np.concatenate(models))
        return "swap", *swapped(both, tested, groups)
    if task == "regression":
        better = abs(baseline[:, 0] - targets) - abs(values[:, 0] - targets)
        p_value = float(scipy.stats.ttest_1samp(better, 0).pvalue) if len(better) > 1 and better.any() else 1.0
        return "t_test", float(better.mean()), p_value
    wanted = targets.astype(np.int64).reshape(len(targets), -1)
    right, baseline_right = ((predicted_labels(task, v) == wanted).all(axis=1) for v in (values, baseline))
    better, worse = int(np.sum(right & ~baseline_right)), int(np.sum(~right & baseline_right))
    return "mcnemar", (better - worse) / len(targets), float(mcnemar_p(min(better, worse), better + worse))


def swapped(both: Scorer, score: str, groups: np.ndarray) -> tuple[float, float]:
    """The gain in a score, and how often it is as large when random groups swap the predictions of the two models.

    both: of one model's rows, then the other's. Approximate randomization (Noreen 1989; Yeh 2000, arXiv:cs/0008005).
    """
    rng, count = np.random.default_rng(0), int(groups.max()) + 1
    swaps = chain([np.zeros(len(groups))], (rng.integers(0, 2, count)[groups].astype(float) for _ in range(SWAPS)))
    gains = [both(np.concatenate([1 - s, s]))[score] - both(np.concatenate([s, 1 - s]))[score] for s in swaps]
    least = abs(gains[0]) - 1e-9 * abs(both(np.ones(2 * len(groups)))[score])  # sums in another order round otherwise
    return gains[0], float(np.mean(np.abs(gains) >= least))


def mcnemar_p(fewer: Any, discordant: Any) -> np.ndarray:
    """The two-sided p-value, from the `discordant` rows that one model alone has right; the weaker has `fewer`."""
    exact = 2 * scipy.stats.binom.cdf(fewer, discordant, 0.5)
    mid_p = exact - scipy.stats.binom.pmf(fewer, discordant, 0.5)
    return np.where(np.asarray(discordant) < EXACT_BELOW, np.minimum(exact, 1), mid_p)


def calibration_table(task: Task, targets: np.ndarray, values: np.ndarray, bins: int) -> list[dict[str, float]]:
    """For each bin that is not empty: its rows, the mean prediction and the mean observation.

    single_label and pair: bins of equal width of the confidence, and the accuracy. multi_label: such bins of all
    labels' probabilities, and how often rows have the label. regression: bins of equally many rows.
    """
    if task == "regression":
        predicted, observed = values[:, 0], targets
        bin_of = np.argsort(np.argsort(predicted, kind="stable"), kind="stable") * bins // len(predicted)
    else:
        multi = task == "multi_label"
        predicted = values.ravel() if multi else values.max(axis=1)
        observed = targets.ravel() if multi else values.argmax(axis=1) == targets
        bin_of = np.minimum((predicted * bins).astype(int), bins - 1)
    return [
        {"rows": int(rows.sum())}
        | rounded({"predicted": float(predicted[rows].mean()), "observed": float(observed[rows].mean())})
        for rows in (bin_of == b for b in range(bins))
        if rows.any()
    ]


def calibration(task: Task, targets: np.ndarray, values: np.ndarray, bins: int, seed: int) -> dict[str, float]:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599), and the highest by chance in 95 % of 200 draws.

    In multi_label, of the predicted labels: the many that are absent would hide them. Empty if none is predicted.
    """
    wanted = targets if task == "multi_label" else np.arange(values.shape[1]) == targets[:, None]
    given = labels_above_threshold(task, values, None)
    confidence, rows = values[given], int(given.sum())
    if not rows:
        return {}
    table = calibration_table("multi_label", wanted[given], confidence, bins)
    error = sum(b["rows"] * abs(b["predicted"] - b["observed"]) for b in table) / rows
    bin_of, rng = np.minimum((confidence * bins).astype(int), bins - 1), np.random.default_rng(seed)
    gaps = ((rng.random(rows) < confidence) - confidence for _ in range(200))
    chance = np.quantile([abs(np.bincount(bin_of, gap)).sum() / rows for gap in gaps], 0.95)
    return {"calibration_error": error, "calibration_error_by_chance": float(chance)}


def per_class_table(task: Task, targets: np.ndarray, values: np.ndarray, labels: list[str]) -> list[dict[str, object]]:
    """For every label: precision, recall, F1 and the number of rows that have it."""
    wanted = targets.astype(bool) if task == "multi_label" else np.arange(len(labels)) == targets[:, None]
    given = labels_above_threshold(task, values, None)
    hits, predicted, rows = (np.sum(pairs, axis=0) for pairs in (wanted & given, given, wanted))
    scores = (hits / np.maximum(predicted, 1), hits / np.maximum(rows, 1), 2 * hits / np.maximum(predicted + rows, 1))
    return [
        {"label": label, **rounded({"precision": float(p), "recall": float(r), "f1": float(f)}), "rows": int(n)}
        for label, p, r, f, n in zip(labels, *scores, rows, strict=True)
    ]


def summary(
    params: Params, targets: np.ndarray, values: np.ndarray, baseline: np.ndarray | None, groups: np.ndarray
) -> dict[str, float]:
    """All metrics that models are compared by, for one model; `baseline` holds the probe's values, if it is another."""
    task, settings = params.task, params.evaluate
    measured = scorer(task, targets, values)
    found = measured(np.ones(len(targets)))
    for name, (low, high) in intervals(measured, groups, settings.bootstrap_samples, params.seed).items():
        found |= {f"{name}_low": low, f"{name}_high": high}
    if task != "regression":
        found |= calibration(task, targets, values, settings.calibration_bins, params.seed)
    if baseline is not None:
        test, gain, p_value = significance(task, params.score, targets, values, baseline, groups)
        found |= {"gain_over_probe": gain, f"{test}_p_against_probe": p_value}
    return rounded(found)


def at_thresholds(task: Task, targets: np.ndarray, values: np.ndarray, thresholds: np.ndarray) -> dict[str, float]:
    """The effect of thresholds: the share of the rows that still get a label (coverage), and the share of right labels.

    In multi_label, recall takes the place of coverage. If no label is predicted, none is right or wrong.
    """
    chosen = labels_above_threshold(task, values, thresholds)
    wanted = targets.astype(bool) if task == "multi_label" else np.arange(values.shape[1]) == targets[:, None]
    right = int(np.sum(chosen & wanted))
    share = right / max(1, int(wanted.sum())) if task == "multi_label" else float(chosen.any(axis=1).mean())
    name = "recall" if task == "multi_label" else "coverage"
    return rounded({name: share} | ({"precision": right / int(chosen.sum())} if chosen.any() else {}))


def scores_by_column(
    task: Task, rows: pl.DataFrame, targets: np.ndarray, values: dict[str, np.ndarray], score: str
) -> list[dict[str, Any]]:
    """For every value of a kept column that has at most `MOST_VALUES`: its rows, and each model's score on them."""
    found = []
    for column in rows["kept"].struct.unnest().iter_columns() if "kept" in rows.columns else ():
        given = column.alias("value")  # polars takes the name ^a$ for a pattern of names
        for value in given.unique().sort() if given.n_unique() <= MOST_VALUES else ():
            some = given.eq_missing(value).to_numpy()
            by_model = rounded({model: scores(task, targets[some], v[some])[score] for model, v in values.items()})
            found.append({"column": column.name, "value": value, "rows": int(some.sum()), **by_model})
    return found


def predictions_table(task: Task, rows: pl.DataFrame, labels: list[str], values: dict[str, np.ndarray]) -> pl.DataFrame:
    """A row for each test row: `key`, `label`, `group`, kept columns, and each model's prediction; labels by name.

    The texts are left out: a key identifies the same row in two commits without showing its text.
    """
    actual, types = rows["label"].to_list(), None
    if task == "multi_label":
        types = dict.fromkeys(["label", *values], pl.List(pl.String))  # polars cannot infer it where all are empty
        actual = [[labels[index] for index in indices] for indices in actual]
    elif task != "regression":
        actual = [labels[index] for index in actual]
    by_model = {model: predicted(task, found, labels) for model, found in values.items()}
    kept = {name: rows[name] for name in rows.columns if name in ("group", "kept")}
    columns = {"key": [key_of(text) for text in texts_of(rows)], "label": actual, **kept, **by_model}
    return pl.DataFrame(columns, schema_overrides=types)


def key_of(text: Text) -> str:
    """A hash of a text or of both texts of a pair (BLAKE2b, RFC 7693), in hexadecimal."""
    joined = text if isinstance(text, str) else "\0".join(text)
    return hashlib.blake2b(joined.encode(), digest_size=KEY_BYTES).hexdigest()


def predicted(task: Task, values: np.ndarray, labels: list[str]) -> list[str] | list[list[str]] | list[float]:
    """The label, the labels or the number that each row of values predicts."""
    if task == "regression":
        return values[:, 0].astype(np.float64).tolist()
    chosen = predicted_labels(task, values)
    if task == "multi_label":
        return [[labels[index] for index in np.flatnonzero(row)] for row in chosen]
    return [labels[index] for index in chosen[:, 0]]
