"""How often a candidate that is as good as the champion is called otherwise, and how many labels a gain takes.

    python benchmarks/promotion.py build/production/review-sentiment

Simulated labels, looked at after every one. The fixed test beside it is the two-sided one at 5 % with a power of 80 %.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from machine import machine
from pairs import Measure, Watch, item, keep, package_of, parser
from scipy.stats import norm

SIMULATIONS, LEVEL = 1000, 0.05
ACCURACY, GAIN, DIFFER = 0.75, 0.03, 0.1  # of the champion; of the candidate; texts on which they differ
QUIET, LONG = 5000, 40_000  # labels
Z = norm.isf(LEVEL / 2), norm.isf(0.2)


def main() -> None:
    """Measure."""
    project = parser(__doc__).parse_args().project
    with item("promotion"):
        watch = Watch()
        sys.path.insert(0, str(project / "src"))
        evidence = import_module(f"{package_of(project)}.monitoring.evidence")
        better = (1 + GAIN / DIFFER) / 2  # the chance that of one model alone right it is the candidate
        fixed = ((Z[0] / 2 + Z[1] * np.sqrt(better * (1 - better))) / (better - 0.5)) ** 2
        shadow = measures("shadow", lambda rng, gain, rows: paired(evidence, rng, gain, rows), fixed)
        spread = sum(chance * (1 - chance) for chance in (ACCURACY, ACCURACY + GAIN))
        both = 2 * (sum(Z) / GAIN) ** 2 * spread
        canary = measures("canary", lambda rng, gain, rows: two_arms(evidence, rng, gain, rows), both)
        keep(
            "promotion",
            peer="fixed test",
            compared=f"{SIMULATIONS} simulations of {QUIET} labels that are alike, up to {LONG} with a gain of {GAIN}; "
            f"fixed tests: {fixed:.0f} texts of which one model alone is right, {both:.0f} labels of both models; "
            f"shadow: {shadow[1]}; canary: {canary[1]}",
            measures=[*shadow[0], *canary[0]],
            machine=machine(),
            watch=watch,
        )


def measures(name: str, simulated: Callable[[Any, float, int], Any], fixed: float) -> tuple[list[Measure], str]:
    """False alarms, and the labels until the gain is found, in those of the fixed test; their spread in words."""
    limit, false, ratios = np.log(2 / LEVEL), 0, []
    for seed in range(SIMULATIONS):
        rng = np.random.default_rng(seed)
        false += max(side.max() for side in simulated(rng, 0.0, QUIET)) >= limit
        found = simulated(rng, GAIN, LONG).better >= limit
        ratios.append((int(np.argmax(found)) + 1 if found.any() else LONG) / fixed)
    middle, low, high = np.quantile(ratios, [0.5, 0.05, 0.95])
    return [
        Measure(f"{name}: alike, called better or worse: share", [false / SIMULATIONS], at_most=LEVEL, unit=""),
        Measure(f"{name}: labels until 3 points are found, mean", [float(np.mean(ratios))], at_most=1.3),
    ], f"median {middle:.2f}, 90 % from {low:.2f} to {high:.2f} times the fixed test's labels"


def paired(evidence: Any, rng: np.random.Generator, gain: float, rows: int) -> Any:
    """Evidence of texts of which one model alone is right."""
    return evidence.paired(rng.random(rows) < (1 + gain / DIFFER) / 2)


def two_arms(evidence: Any, rng: np.random.Generator, gain: float, rows: int) -> Any:
    """Evidence of a canary that answers half of the requests."""
    by_candidate = rng.random(rows) < 0.5
    return evidence.two_arms(by_candidate, rng.random(rows) < ACCURACY + gain * by_candidate)[0]


if __name__ == "__main__":
    main()
