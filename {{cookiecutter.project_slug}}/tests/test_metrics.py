"""The numbers against independent ones."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score, root_mean_squared_error

from {{ cookiecutter.package_name }}.common import metrics, tasks

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 400)
PREDICTED = np.where(RNG.random(400) < 0.7, LABELS, RNG.integers(0, 3, 400))


def test_bootstrap_intervals_are_those_of_drawn_rows() -> None:
    draws = [RNG.integers(0, 400, 400) for _ in range(2000)]
    score = metrics.scorer("single_label", LABELS, np.eye(3)[PREDICTED])
    found = metrics.bootstrap_intervals(score, 400, samples=2000, seed=1)
    for name, independent in {
        "accuracy": accuracy_score,
        "macro_f1": lambda a, b: f1_score(a, b, average="macro"),
    }.items():
        expected = np.quantile([independent(LABELS[rows], PREDICTED[rows]) for rows in draws], [0.025, 0.975])
        assert found[name] == pytest.approx(tuple(expected), abs=0.01)


def test_mcnemar_is_the_binomial_test_of_the_rows_that_differ() -> None:
    better, worse, both = np.ones(30, bool), np.zeros(10, bool), np.ones(100, bool)
    right = np.concatenate([better, worse, both])
    baseline = np.concatenate([~better, ~worse, both])
    assert metrics.mcnemar(right, baseline) == pytest.approx(0.002221435, rel=1e-5)
    assert metrics.mcnemar(both, both) == 1.0


def test_calibration_error_of_a_known_case() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10)
    labels = np.array([0] * 6 + [1] * 4)
    table = metrics.calibration_table("single_label", labels, probabilities, bins=10)
    assert table == [{"rows": 10, "predicted": 0.9, "observed": 0.6}]
    assert metrics.calibration_error(table) == pytest.approx(0.3)


def test_scores_of_labels_are_those_of_scikit_learn() -> None:
    found = metrics.scores("single_label", LABELS, np.eye(3)[PREDICTED])
    assert found["accuracy"] == pytest.approx(accuracy_score(LABELS, PREDICTED))
    assert found["macro_f1"] == pytest.approx(f1_score(LABELS, PREDICTED, average="macro"))


def test_scores_of_sets_of_labels_are_those_of_scikit_learn() -> None:
    targets, values = RNG.random((300, 4)) < 0.3, RNG.random((300, 4))
    targets[:, 3] = values[:, 3] = 0  # a label that is never met
    found = metrics.scores("multi_label", targets.astype(np.float32), values)
    for average in ("micro", "macro"):
        expected = f1_score(targets, values > 0.5, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    assert found["exact_match"] == pytest.approx(accuracy_score(targets, values > 0.5))


def test_scores_of_numbers_are_those_of_scikit_learn() -> None:
    targets = RNG.normal(size=300)
    values = (targets + RNG.normal(size=300))[:, np.newaxis]
    found = metrics.scores("regression", targets, values)
    assert found["r2"] == pytest.approx(r2_score(targets, values))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(targets, values))
    assert found["mae"] == pytest.approx(mean_absolute_error(targets, values))


def test_a_weight_stands_for_a_repeated_row() -> None:
    weights = RNG.integers(0, 4, 400)
    rows = np.repeat(np.arange(400), weights)
    multi = RNG.random((400, 3)) < 0.5
    for task, targets, values in (
        ("single_label", LABELS, np.eye(3)[PREDICTED]),
        ("multi_label", multi.astype(np.float32), RNG.random((400, 3))),
        ("regression", RNG.normal(size=400), RNG.normal(size=(400, 1))),
    ):
        weighted = metrics.scorer(task, targets, values)(weights.astype(float))
        assert weighted == pytest.approx(metrics.scores(task, targets[rows], values[rows]))


def test_calibration_of_numbers_has_bins_of_equally_many_rows() -> None:
    values = np.arange(100.0)[::-1, np.newaxis]
    table = metrics.calibration_table("regression", values[:, 0] + 1, values, bins=4)
    assert [row["rows"] for row in table] == [25] * 4
    assert [row["observed"] - row["predicted"] for row in table] == [1.0] * 4


def test_probabilities_survive_large_logits() -> None:
    logits = np.array([[1000.0, 0.0], [-1000.0, 0.0]])
    one, many = (tasks.values_of(task, logits) for task in ("single_label", "multi_label"))
    assert one.sum(axis=1) == pytest.approx([1, 1])
    assert many == pytest.approx(np.array([[1, 0.5], [0, 0.5]]))


def test_sets_of_labels_become_rows_of_ones() -> None:
    column = pl.Series([[0, 2], [], [1]], dtype=pl.List(pl.UInt32))
    assert tasks.targets_of(column, "multi_label", 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
