"""The numbers against independent ones."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from {{ cookiecutter.package_name }} import metrics

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 400)
PREDICTED = np.where(RNG.random(400) < 0.7, LABELS, RNG.integers(0, 3, 400))


def test_bootstrap_intervals_are_those_of_drawn_rows() -> None:
    draws = [RNG.integers(0, 400, 400) for _ in range(2000)]
    found = metrics.bootstrap_intervals(LABELS, PREDICTED, 3, samples=2000, seed=1)
    for name, score in {
        "accuracy": accuracy_score,
        "macro_f1": lambda a, b: f1_score(a, b, average="macro"),
    }.items():
        expected = np.quantile([score(LABELS[rows], PREDICTED[rows]) for rows in draws], [0.025, 0.975])
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
    table = metrics.calibration_table(labels, probabilities, bins=10)
    assert table == [{"rows": 10, "confidence": 0.9, "accuracy": 0.6}]
    assert metrics.calibration_error(table) == pytest.approx(0.3)


def test_probabilities_sum_to_one_and_survive_large_logits() -> None:
    probabilities = metrics.probabilities_of(np.array([[1000.0, 0.0], [-1000.0, 0.0]]))
    assert probabilities.sum(axis=1) == pytest.approx([1, 1])
    assert np.isfinite(probabilities).all()
