"""How often the statistics of label queues err, by simulation."""

import math

import numpy as np
import pytest
from review_sentiment.monitoring import decay
from review_sentiment.monitoring.queue import Estimate, draw, estimate, falls_in, inclusion_probabilities
from scipy.stats import norm, ttest_ind_from_stats

pytestmark = pytest.mark.slow

FAR_MORE = 10**9  # predictions than labels


def test_a_queue_that_did_not_fall_rarely_seems_to() -> None:
    rng = np.random.default_rng(3)
    p = []
    for _ in range(2000):
        right, labels = int(rng.binomial(60, 0.85)), rng.random(40) < 0.85
        error = labels.std(ddof=1) / math.sqrt(40)
        p.append(decay.p_of_no_fall(labels.mean(), error, 40, FAR_MORE, right, 60))
    assert 0.01 < np.mean(np.array(p) < 0.05) <= 0.05
    assert decay.p_of_no_fall(0.8, 0.05, 40, FAR_MORE, 425, 500) == pytest.approx(
        ttest_ind_from_stats(0.8, 0.05 * math.sqrt(40), 40, 0.85, math.sqrt(0.85 * 0.15), 500, equal_var=False,
                             alternative="less").pvalue, abs=2e-3)  # fmt: skip
    assert 0 < decay.p_of_no_fall(1.0, 0.0, 40, FAR_MORE, 500, 500) < 1


@pytest.mark.parametrize(("accuracy", "count"), [(0.5, 2), (0.8, 100), (0.95, 30)])
def test_a_queue_of_all_predictions_rarely_alarms_where_nothing_fell(accuracy: float, count: int) -> None:
    rng, all_of_them, alarms = np.random.default_rng(4), np.ones(count), 0
    for _ in range(2000):
        correct = (rng.random(count) < accuracy).astype(float)
        found = estimate(correct, all_of_them, all_of_them, drawn=count, mean_right=1.0, rows=count)
        assert found and found.error == 0  # of these very predictions all is known
        right = int(rng.binomial(1300, accuracy))
        alarms += decay.p_of_no_fall(found.mean, found.error, found.labels, count, right, 1300) <= 0.05
    assert alarms <= 0.06 * 2000
    assert decay.p_of_no_fall(accuracy - 0.4, 0.0, 100, 100, int(accuracy * 1300), 1300) < 1e-6


@pytest.mark.parametrize(("claim", "accuracy"), [(0.95, 0.99), (0.999, 0.99)])
def test_the_interval_of_a_queue_holds_the_truth_though_it_shows_few_surprises(claim: float, accuracy: float) -> None:
    rng, held, rows = np.random.default_rng(6), 0, 1000
    chances = np.full(rows, claim)
    probabilities = inclusion_probabilities(rows, 60, chances)
    for seed in range(300):
        correct = (rng.random(rows) < accuracy).astype(float)
        drawn = draw(probabilities, seed)
        sample = correct[drawn], probabilities[drawn], chances[drawn]
        found = estimate(*sample, drawn=len(drawn), mean_right=claim, rows=rows)
        assert found and 0 <= found.low <= found.high <= 1
        held += found.low <= correct.mean() <= found.high
    assert held >= 0.93 * 300


def test_few_years_of_queues_alarm_where_nothing_fell() -> None:
    rng = np.random.default_rng(5)
    normal = rng.standard_normal((5000, decay.A_YEAR))
    windows = [np.lib.stride_tricks.sliding_window_view(normal, many, axis=1) for many in decay.TOGETHER]
    least = np.min([window.mean(axis=2).min(axis=1) * math.sqrt(window.shape[2]) for window in windows], axis=0)
    assert 0.04 < np.mean(norm.cdf(least) <= decay.limit_of_p(0.05, 0)) < 0.06
    alarms = 0
    for _ in range(50):
        queues = [Estimate(mean, 0.02, 0.0, 1.0, 400, 1e9) for mean in rng.normal(0.8, 0.02, decay.A_YEAR)]
        alarms += any(falls_in(queues, rng.binomial(1000, 0.8), 1000, 0.2))
    assert 1 <= alarms <= 18
