"""The statistics behind `make compare` against scipy, published values and simulated models."""

import numpy as np
import pytest
from paired import (
    bootstrap,
    holm,
    name_of_mcnemar,
    power_of_mcnemar,
    smallest_gain,
    smallest_gain_of_numbers,
)
from scipy import stats

from {{ cookiecutter.package_name }}.evaluation.metrics import mcnemar

ROWS = 1066
DRAWS = 200


def two_models(draw: np.random.Generator, *, gain: float, discordance: float) -> tuple[np.ndarray, np.ndarray]:
    """Which rows two models have right; the second is better by `gain`, and they differ on so many rows."""
    only_second, only_first = (discordance + gain) / 2, (discordance - gain) / 2
    kind = draw.choice(3, ROWS, p=[only_first, only_second, 1 - discordance])
    both = draw.random(ROWS) < 0.8
    return np.where(kind == 2, both, kind == 0).astype(int), np.where(kind == 2, both, kind == 1).astype(int)


def p_of(first: np.ndarray, second: np.ndarray) -> float:
    return mcnemar(int(np.sum(second > first)), int(np.sum(second < first)))


def most_by_chance(rate: float) -> int:
    """What a count of `DRAWS` exceeds once in a thousand times, if its rate is this one."""
    return int(stats.binom.ppf(0.999, DRAWS, rate))


def test_the_form_of_mcnemar_is_named() -> None:
    assert [name_of_mcnemar(12, worse) for worse in (12, 13)] == ["McNemar, exact", "McNemar, mid-p"]


def test_the_bootstrap_interval_is_that_of_scipy() -> None:
    draw = np.random.default_rng(3)
    for differences in (
        draw.choice([-1, 0, 1], 500, p=[0.05, 0.85, 0.1]),
        draw.exponential(size=300) - 0.9,
    ):
        found = bootstrap(differences, samples=5000)
        expected = stats.bootstrap(
            (differences,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
        ).confidence_interval
        width = expected.high - expected.low
        assert found.mean == pytest.approx(differences.mean())
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.04 * width)
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_the_p_value_of_the_bootstrap_is_about_that_of_the_paired_t_test() -> None:
    gains = np.random.default_rng(5).normal(0.05, 1, 2000)
    assert bootstrap(gains).p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue, abs=0.005)
    assert bootstrap(np.zeros(50), samples=200).p == 1.0


@pytest.mark.parametrize("discordance", [0.01, 0.1, 0.3])
def test_equal_models_are_told_apart_in_at_most_1_of_20_draws(discordance: float) -> None:
    draw = np.random.default_rng(11)
    drawn = [two_models(draw, gain=0, discordance=discordance) for _ in range(DRAWS)]
    assert sum(p_of(*models) < 0.05 for models in drawn) <= most_by_chance(0.05)
    rejected = sum(bootstrap(second - first, samples=250).p < 0.05 for first, second in drawn)
    assert rejected <= most_by_chance(0.05)


def test_equal_errors_of_numbers_are_told_apart_in_at_most_1_of_20_draws() -> None:
    draw = np.random.default_rng(12)
    gains = [np.abs(draw.normal(size=(2, ROWS))) for _ in range(DRAWS)]
    assert sum(bootstrap(one - other, samples=250).p < 0.05 for one, other in gains) <= most_by_chance(0.05)


@pytest.mark.parametrize(("discordance", "stated"), [(0.06, 0.985), (0.1, 0.88), (0.15, 0.72)])
def test_a_gain_of_3_points_is_found_as_often_as_stated(discordance: float, stated: float) -> None:
    power = power_of_mcnemar(ROWS, 0.03, discordance)
    assert power == pytest.approx(stated, abs=0.005)
    draw = np.random.default_rng(13)
    drawn = [two_models(draw, gain=0.03, discordance=discordance) for _ in range(2 * DRAWS)]
    found = sum(p_of(*models) < 0.05 and models[1].sum() > models[0].sum() for models in drawn)
    low, high = stats.binom.interval(0.999, 2 * DRAWS, power)
    assert low <= found <= high


def test_the_smallest_gain_has_a_power_of_8_in_10() -> None:
    for discordance in (0.05, 0.1, 0.3):
        gain = smallest_gain(ROWS, discordance)
        assert gain is not None
        assert power_of_mcnemar(ROWS, gain, discordance) == pytest.approx(0.8, abs=0.002)
    assert smallest_gain(ROWS, 0) is None
    assert smallest_gain(20, 0.1) is None


def test_the_smallest_gain_of_numbers_is_found_about_8_times_in_10() -> None:
    draw = np.random.default_rng(14)
    gain = smallest_gain_of_numbers(draw.normal(size=ROWS))
    found = sum(bootstrap(draw.normal(gain, 1, ROWS), samples=200).low > 0 for _ in range(DRAWS))
    low, high = stats.binom.interval(0.9999, DRAWS, 0.8)
    assert low <= found <= high


def test_several_p_values_are_corrected_as_holm_did() -> None:
    # R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
