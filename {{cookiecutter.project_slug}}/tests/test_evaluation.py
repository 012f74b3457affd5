"""Scores against those of scikit-learn, of rows with weights too."""

import numpy as np
import pytest
from sklearn import metrics as independent

from {{ cookiecutter.package_name }}.modeling import scores

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 400)
PREDICTED = np.where(RNG.random(400) < 0.7, LABELS, RNG.integers(0, 3, 400))


def test_scores_of_labels_are_those_of_scikit_learn() -> None:
    found = scores.scores("single_label", LABELS, np.eye(3)[PREDICTED])
    assert found["accuracy"] == pytest.approx(independent.accuracy_score(LABELS, PREDICTED))
    assert found["macro_f1"] == pytest.approx(independent.f1_score(LABELS, PREDICTED, average="macro"))
    right = np.eye(4)[LABELS]  # of the fourth label there is no row
    assert scores.scores("single_label", LABELS, right).items() >= {"accuracy": 1, "macro_f1": 1}.items()


def test_scores_of_label_sets_are_those_of_scikit_learn() -> None:
    targets, values = RNG.random((300, 4)) < 0.3, RNG.random((300, 4))
    targets[:, 3] = values[:, 3] = 0  # a label that never occurs counts nowhere
    found = scores.scores("multi_label", targets.astype(np.float32), values)
    for average in ("micro", "macro"):
        expected = independent.f1_score(targets[:, :3], values[:, :3] > 0.5, average=average)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    assert found["exact_match"] == pytest.approx(independent.accuracy_score(targets, values > 0.5))


def test_scores_of_numbers_are_those_of_scikit_learn() -> None:
    targets = RNG.normal(size=300)
    values = (targets + RNG.normal(size=300))[:, np.newaxis]
    found = scores.scores("regression", targets, values)
    assert found["r2"] == pytest.approx(independent.r2_score(targets, values))
    assert found["rmse"] == pytest.approx(independent.root_mean_squared_error(targets, values))
    assert found["mae"] == pytest.approx(independent.mean_absolute_error(targets, values))
