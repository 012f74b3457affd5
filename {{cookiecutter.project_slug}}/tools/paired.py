"""Whether two models differ on the same rows: statistics alone, without files.

Numbers of rows decide for right and wrong, differences of a row's errors for numbers. A gain is always positive.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import root_scalar
from scipy.stats import binom, norm

from {{ cookiecutter.package_name }}.evaluation.metrics import (
    EXACT_BELOW,
    mcnemar_p,
)

ALPHA = 0.05
POWER = 0.8
SAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """The mean of the differences of the rows, its 95 % interval, and the p-value that it is 0."""

    mean: float
    low: float
    high: float
    p: float


def name_of_mcnemar(better: int, worse: int) -> str:
    """Which of its forms is used."""
    return "McNemar, exact" if better + worse < EXACT_BELOW else "McNemar, mid-p"


def bootstrap(differences: np.ndarray, *, samples: int = SAMPLES, seed: int = 0) -> Interval:
    """The paired bootstrap: rows are drawn with both models' results (Efron and Tibshirani 1993, chapters 13 and 15).

    The p-value belongs to the percentile interval: it is below 0.05 where 0 lies outside.
    """
    rng = np.random.default_rng(seed)
    rows = len(differences)
    means = np.array([differences[rng.integers(0, rows, rows)].mean() for _ in range(samples)])
    low, high = np.quantile(means, [ALPHA / 2, 1 - ALPHA / 2])
    fewer = min(np.sum(means <= 0), np.sum(means >= 0))
    return Interval(float(differences.mean()), float(low), float(high), min(1.0, 2 * float(fewer + 1) / (samples + 1)))


def holm(p_values: list[float]) -> list[float]:
    """The p-values of several comparisons, corrected so that all their verdicts hold together (Holm 1979)."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def power_of_mcnemar(rows: int, gain: float, discordance: float) -> float:
    """How often the test finds a gain, if the models differ in being right on this share of the rows (>= gain).

    Exact: over every number of rows that differ, and every way in which they may.
    """
    least, most = (int(binom.ppf(share, rows, discordance)) for share in (1e-9, 1 - 1e-9))
    differing = np.arange(least, most + 1)
    near = binom.ppf(ALPHA / 2, differing, 0.5)
    # The largest number of rows in the minority that is still rejected; -1 where none is.
    candidates = np.clip(near[:, np.newaxis] + np.array([-2, -1, 0, 1]), -1, None)
    rejected = mcnemar_p(candidates, differing[:, np.newaxis]) < ALPHA
    largest = np.where(rejected & (candidates >= 0), candidates, -1).max(axis=1)
    share = (discordance + gain) / (2 * discordance)
    found = np.where(largest >= 0, binom.cdf(largest, differing, 1 - share), 0)
    return float(binom.pmf(differing, rows, discordance) @ found)


def smallest_gain(rows: int, discordance: float) -> float | None:
    """The gain that McNemar's test finds 8 times out of 10 at this discordance; None where it finds none so often."""
    if discordance == 0 or power_of_mcnemar(rows, discordance, discordance) < POWER:
        return None
    found = root_scalar(
        lambda gain: power_of_mcnemar(rows, gain, discordance) - POWER, bracket=(0, discordance), xtol=1e-5
    )
    return float(found.root)


def smallest_gain_of_numbers(differences: np.ndarray) -> float:
    """The gain in mean error that the bootstrap finds 8 times out of 10, by the normal approximation."""
    return float((norm.isf(ALPHA / 2) + norm.ppf(POWER)) * differences.std() / len(differences) ** 0.5)
