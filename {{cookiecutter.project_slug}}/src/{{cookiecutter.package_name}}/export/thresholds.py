"""The lowest probability at which a label may be predicted, so that it is right often enough.

The share of right rows is not enough if rows are few: every tenth threshold that just looks good on the validation rows
would fail on others. So Wilson's lower bound of the share (1927, doi:10.1080/01621459.1927.10502953) must be enough.
"""

import math

import numpy as np

from ..common.tasks import labels_above_threshold
from ..config import Task

DECIMALS = 6
Z = 0.6745  # with it, the bound lies below the true share in three of four cases


def thresholds(task: Task, targets: np.ndarray, values: np.ndarray, precision: float) -> list[float | None]:
    """For each label, the lowest probability that gives it this precision; 0 if all do, None if none does.

    The precision of a threshold is that of the decisions at or above it, minus what chance may have added.
    targets, values: of the validation rows, see `tasks.targets_of` and `tasks.predictions_of`.
    """
    labels = values.shape[1]
    wanted = targets.astype(bool) if task == "multi_label" else np.eye(labels, dtype=bool)[targets]
    candidates = labels_above_threshold(task, values, None)
    return [lowest(values[rows, n], wanted[rows, n], precision) for n, rows in enumerate(candidates.T)]


def lowest(probabilities: np.ndarray, right: np.ndarray, precision: float) -> float | None:
    """The lowest probability that works as a threshold: enough of the rows at or above it are right, beyond chance."""
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order].astype(np.float64)
    rows = np.arange(1, len(order) + 1)
    shares = np.cumsum(right[order]) / rows
    width = Z * np.sqrt(shares * (1 - shares) / rows + (Z / rows / 2) ** 2)
    bounds = (shares + Z**2 / rows / 2 - width) / (1 + Z**2 / rows)
    ends = np.append(ordered[1:] < ordered[:-1], True)[: len(order)]  # equal probabilities pass together
    enough = np.flatnonzero(ends & (bounds >= precision))
    if len(enough) and enough[-1] == len(order) - 1:  # nothing speaks for a threshold
        return 0.0
    return math.floor(ordered[enough[-1]] * 10**DECIMALS) / 10**DECIMALS if len(enough) else None
