"""Temperature scaling: make probabilities agree with the share of right predictions (Guo et al. 2017).

One number divides all logits (arXiv:1706.04599). It changes no label, and it becomes part of the head, so every file
made from the model has it.
"""

import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from ..config import Task
from ..modeling.classifier import LOSSES

LOWEST, HIGHEST = 0.1, 10.0
FEWEST = 10  # rows; of fewer, the standard error says nothing
DECIMALS = 4  # rounding gives the same bits wherever the logits have the same bits


def temperature(task: Task, logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature with the lowest loss on these rows (validation), between 0.1 and 10.

    It is 1 for regression; for few rows; if the loss falls by less than one standard error of its fall, which may be
    chance; and if the loss falls without end, because all rows are right.
    """
    if task == "regression" or len(logits) < FEWEST:
        return 1.0
    exact = logits.astype(np.float64)
    wanted = torch.from_numpy(targets if task != "multi_label" else targets.astype(np.float64))

    def losses(divisor: float) -> np.ndarray:
        """The loss of every row after the logits are divided; in multi_label the mean over its labels."""
        of_rows = LOSSES[task](torch.from_numpy(exact / divisor), wanted, reduction="none")
        return of_rows.reshape(len(exact), -1).mean(dim=1).numpy()

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(lambda logarithm: losses(math.exp(logarithm)).mean(), bounds=bounds, method="bounded")
    best = round(math.exp(found.x), DECIMALS)
    if best < 1.01 * LOWEST:
        return 1.0
    gains = losses(1.0) - losses(best)
    return best if gains.mean() > gains.std(ddof=1) / math.sqrt(len(gains)) else 1.0
